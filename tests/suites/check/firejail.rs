//! Under Firejail, on this machine.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use fastrand::Rng;
use harden_tests::{Process, Profile, Scratch, firejail, harden, met, network};

use super::{
    super::{http_server, nginx, redis},
    Matrix, Predicted, check, count, is_true, paths, predicted, seed,
};

/// A daemon, and its work.
struct Daemon<'w> {
    name: &'static str,
    command: Vec<String>,
    prepare: &'w (dyn Fn() -> Result<()> + Sync),
    work: &'w (dyn Fn(&mut Process) -> Result<()> + Sync),
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
            if path.split('/').count() < 3 || !Path::new(path).exists() {
                return None;
            }
            Some((
                format!("{directive} added"),
                profile.with(&format!("{directive} {path}")),
            ))
        }
    }
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
    let seed = seed(daemon.name)?;
    println!("{}: seed {seed}", daemon.name);
    let mut random = Rng::with_seed(seed);
    let mut tried = 0;
    while tried < count()? {
        let Some((directive, profile)) = change(&recorded.profile, &paths, &mut random) else {
            continue;
        };
        tried += 1;
        profile.write(&file)?;
        let report = check(&file, &observation)?;
        (daemon.prepare)()?;
        let result = firejail::run_to_fail(&profile, &daemon.command, daemon.work);
        let predicted = predicted(&report, &own);
        matrix.add(&directive, predicted, result.is_ok());
        if let (Predicted::Allowed, Err(error)) = (predicted, result) {
            let text = fs::read_to_string(&file)?;
            let changed = text.lines().filter(|line| !recorded.profile.has(line));
            let changed = changed.filter(|line| !line.is_empty() && !line.starts_with('#'));
            let changed: Vec<&str> = changed.collect();
            let unjudged = &report.1["facts_not_judged"];
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
    is_true(&matrix)
}
