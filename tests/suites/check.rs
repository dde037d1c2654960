//! `harden check`: what it predicts of changed profiles is what Firejail does to the daemon.
//!
//! Each of three daemons is recorded once. Then its profile is changed at random, one line at a time: an element is taken
//! out, or a line is added that refuses something. The same work is done under each, and compared with what was predicted.
//! So many profiles of each daemon are tried as `HARDEN_CHECKED_PROFILES` says.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use harden_tests::{Process, Profile, Scratch, firejail, harden, met, network};
use serde_json::Value;

use super::{http_server, nginx, redis};

/// A daemon, and its work.
struct Daemon<'w> {
    name: &'static str,
    command: Vec<String>,
    prepare: &'w (dyn Fn() -> Result<()> + Sync),
    work: &'w (dyn Fn(&mut Process) -> Result<()> + Sync),
}

/// How often what was predicted came true, by directive.
#[derive(Default)]
struct Matrix(BTreeMap<String, [usize; 6]>);

/// What is predicted of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Predicted {
    Allowed,
    /// It depends on what was not recorded, and the report says on what.
    Doubted,
    Refused,
}

impl Matrix {
    fn add(&mut self, directive: &str, predicted: Predicted, worked: bool) {
        let row = self.0.entry(directive.to_owned()).or_default();
        row[2 * predicted as usize + usize::from(!worked)] += 1;
    }

    /// How many profiles were predicted to work, and did not.
    fn missed(&self) -> usize {
        self.0.values().map(|row| row[1]).sum()
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| changed | allowed: worked | failed | doubted: worked | failed | refused: worked | failed |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (directive, row) in &self.0 {
            let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| `{directive}` | {} |", cells.join(" | "));
        }
        text
    }
}

/// What is not known of a profile.
fn doubts(report: &Value) -> Vec<&Value> {
    let reasons = report["facts_not_judged"].as_array().into_iter().flatten();
    reasons.filter(|one| one["kind"] == "not-known").collect()
}

fn check(profile: &Path, observation: &Path) -> Result<(i32, Value)> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(harden::binary())
        .args(["check", "--json", "--overrides", "/nonexistent"])
        .args([profile, observation])
        .output()?;
    let text = String::from_utf8_lossy(&stderr).into_owned();
    let code = status.code().context("harden check was killed")?;
    ensure!(code < 2, "harden check: {text}");
    Ok((code, serde_json::from_slice(&stdout).context(text)?))
}

/// Lists of which an element may be missing.
const LISTS: [&str; 5] = [
    "seccomp.keep",
    "caps.keep",
    "protocol",
    "private-etc",
    "private-bin",
];

/// Lines that take something back that Firejail refuses.
const LIFTED: [&str; 7] = [
    "whitelist",
    "read-write",
    "noblacklist",
    "writable-var",
    "writable-var-log",
    "keep-var-tmp",
    "keep-dev-shm",
];

/// Lines that refuse something, whatever the daemon did.
const FLAGS: [&str; 9] = [
    "caps.drop all",
    "disable-mnt",
    "memory-deny-write-execute",
    "private-tmp",
    "private-dev",
    "private-opt nothing",
    "protocol unix",
    "restrict-namespaces",
    "seccomp.keep read,write,close",
];

/// A changed profile, and the directive that was changed; none if nothing could be.
fn change(profile: &Profile, paths: &[String], random: &mut Rng) -> Option<(String, Profile)> {
    match random.u8(..4) {
        // Most of what a profile says is a list.
        0 | 1 => {
            let directive = LISTS[random.usize(..LISTS.len())];
            let elements = profile.list(directive);
            // A list cannot be empty.
            let element = *elements.get(random.usize(..elements.len().max(1)))?;
            (elements.len() > 1).then(|| {
                let changed = profile.without(directive, element);
                (directive.to_owned(), changed)
            })
        }
        2 => {
            let lines = profile.rules().filter(|line| {
                let directive = line.split(' ').next().unwrap_or_default();
                LIFTED.contains(&directive)
            });
            let lines: Vec<&str> = lines.collect();
            let line = *lines.get(random.usize(..lines.len().max(1)))?;
            let directive = line.split(' ').next()?.to_owned();
            Some((directive, profile.without_line(line)))
        }
        _ => {
            if random.bool() {
                let line = FLAGS[random.usize(..FLAGS.len())];
                return Some((format!("{line} added"), profile.with(line)));
            }
            let directive = ["blacklist", "read-only", "noexec", "tmpfs"][random.usize(..4)];
            let path = &paths[random.usize(..paths.len())];
            let path = if directive == "tmpfs" {
                Path::new(path).parent()?.to_str()?
            } else {
                path
            };
            // Over the root and the kernel's own directories nothing can be mounted.
            let depth = path.split('/').count();
            let is_kernel = ["/proc", "/sys", "/dev", "/run"]
                .iter()
                .any(|top| path.starts_with(top));
            let is_plain = path
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || "/._-+".contains(one));
            if depth < 3 || is_kernel || !is_plain || !Path::new(path).exists() {
                return None;
            }
            Some((
                format!("{directive} added"),
                profile.with(&format!("{directive} {path}")),
            ))
        }
    }
}

/// What the daemon found.
fn paths(observation: &Path) -> Result<Vec<String>> {
    let observation = harden_agent::observation::read(observation)?;
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let paths = programs
        .flat_map(|facts| facts.files.keys())
        .map(ToString::to_string);
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// How often each prediction came true; nothing that was predicted to work may fail.
fn compare(daemon: &Daemon<'_>, matrix: &mut Matrix) -> Result<()> {
    (daemon.prepare)()?;
    let recorded = harden::record_daemon(daemon.name, &[], &daemon.command, daemon.work)?;
    let observation = recorded
        .dir
        .path()
        .join(format!("{}.observation.json", daemon.name));
    let directory = Scratch::new(Path::new("/run"))?;
    let file = directory.path().join("d.profile");
    recorded.profile.write(&file)?;
    let (status, report) = check(&file, &observation)?;
    ensure!(status == 0, "its own profile: {report}");
    let own = report;
    (daemon.prepare)()?;
    firejail::run(&recorded.profile, &daemon.command, daemon.work)?;

    let paths = paths(&observation)?;
    let count = match env::var("HARDEN_CHECKED_PROFILES") {
        Ok(count) => count.parse().context("HARDEN_CHECKED_PROFILES")?,
        Err(_) => 6,
    };
    let seed = fastrand::u64(..);
    println!("{}: seed {seed}", daemon.name);
    let mut random = Rng::with_seed(seed);
    let mut tried = 0;
    while tried < count {
        let Some((directive, profile)) = change(&recorded.profile, &paths, &mut random) else {
            continue;
        };
        tried += 1;
        profile.write(&file)?;
        let (status, report) = check(&file, &observation)?;
        (daemon.prepare)()?;
        let result = firejail::run_to_fail(&profile, &daemon.command, daemon.work);
        let predicted = match status {
            0 if doubts(&report).iter().all(|one| doubts(&own).contains(one)) => Predicted::Allowed,
            0 => Predicted::Doubted,
            _ => Predicted::Refused,
        };
        matrix.add(&directive, predicted, result.is_ok());
        if let (Predicted::Allowed, Err(error)) = (predicted, result) {
            let text = fs::read_to_string(&file)?;
            let changed = text.lines().filter(|line| !recorded.profile.has(line));
            let changed = changed.filter(|line| !line.is_empty() && !line.starts_with('#'));
            let changed: Vec<&str> = changed.collect();
            let unjudged = &report["facts_not_judged"];
            eprintln!(
                "{}: {directive}: predicted to work, and failed: {changed:?}; not judged: {unjudged}\n{error:#}",
                daemon.name
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_predicted_of_a_profile_comes_true() -> Result<()> {
    if !met(
        "check",
        &[
            "/usr/bin/redis-server",
            "/usr/sbin/nginx",
            "redis-cli",
            "python3",
            "ip",
        ],
    ) {
        return Ok(());
    }
    let mut matrix = Matrix::default();
    network::private(|| {
        let data = Scratch::new(Path::new("/var/lib"))?;
        let daemon = Daemon {
            name: "redis",
            command: redis::command(&data),
            prepare: &|| redis::empty(&data),
            work: &redis::use_it,
        };
        compare(&daemon, &mut matrix)
    })?;
    network::private(|| {
        let site = nginx::Site::new()?;
        let daemon = Daemon {
            name: "nginx",
            command: site.command(),
            prepare: &|| site.empty(),
            work: &|server| site.serve(server),
        };
        compare(&daemon, &mut matrix)
    })?;
    network::private(|| {
        let site = http_server::site()?;
        let daemon = Daemon {
            name: "http-server",
            command: http_server::server(&site, "80"),
            prepare: &|| Ok(()),
            work: &|server| http_server::browse(server, 80),
        };
        compare(&daemon, &mut matrix)
    })?;
    println!("{}", matrix.table());
    let missed = matrix.missed();
    ensure!(
        missed == 0,
        "{missed} profiles were predicted to work, and did not"
    );
    Ok(())
}
