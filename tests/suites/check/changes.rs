//! Many changes of one profile (changes.txt), each under the real Firejail: of a work of many kinds (work.py), nothing that
//! was predicted to work may fail.
//!
//! Only what is predicted to work is tried; with `HARDEN_CHECKED_PROFILES`, as in `cargo xtask soak`, all are, which shows how
//! often harden is too careful.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Process, Scratch, as_patient, harden, met, network};

use super::{Matrix, Predicted, check, is_true, predicted};

const CHANGES: &str = include_str!("changes.txt");
const WORK: &str = include_str!("work.py");
/// What work.py prints at last.
const DONE: &str = "all of it was done";
/// Where it works.
const TOP: &str = "/srv/harden";
const OTHERS: [&str; 3] = ["/root/.harden", "/tmp/harden", "/var/tmp/harden"];

/// The files of the work, removed when dropped.
struct Site {
    interpreter: PathBuf,
    directory: Scratch,
}

impl Site {
    fn new() -> Result<Self> {
        let site = Self {
            interpreter: fs::canonicalize("/usr/bin/python3")?,
            directory: Scratch::new(Path::new("/run"))?,
        };
        let is_own = Path::new(TOP).join("work.py").exists();
        ensure!(
            is_own || !Path::new(TOP).exists(),
            "{TOP} is there, and is not of this test"
        );
        let dir = site.directory.path();
        fs::write(dir.join("inc1.inc"), "blacklist /srv/harden/real\n")?;
        let again = format!("include {}/loop.inc\n", dir.display());
        fs::write(dir.join("loop.inc"), again)?;
        fs::create_dir(dir.join("incdir"))?;
        Ok(site)
    }

    /// As it is before each run.
    fn prepare() -> Result<()> {
        remove()?;
        let top = Path::new(TOP);
        fs::create_dir_all(top.join("data"))?;
        fs::create_dir(top.join("real"))?;
        symlink(top.join("real"), top.join("link"))?;
        fs::write(top.join("real/f.txt"), "found\n")?;
        fs::write(top.join("data/a1.txt"), "1\n")?;
        fs::write(top.join("data/b.txt"), "2\n")?;
        fs::write(top.join("work.py"), WORK)?;
        fs::create_dir(OTHERS[0])?;
        fs::write(Path::new(OTHERS[0]).join("c.ini"), "[a]\nb = 1\n")?;
        Ok(())
    }

    fn command(&self) -> [PathBuf; 2] {
        [self.interpreter.clone(), Path::new(TOP).join("work.py")]
    }

    /// What is printed under a profile.
    fn run(&self, profile: &Path) -> Result<String> {
        Self::prepare()?;
        let mut firejail = Command::new("firejail");
        firejail
            .arg("--quiet")
            .arg(format!("--profile={}", profile.display()));
        firejail.arg("--").args(self.command());
        firejail.env("HOME", "/root").current_dir("/");
        // As under systemd: a shell that none has called is more careful.
        firejail.env_remove("SHLVL").stdin(Stdio::null());
        let mut process =
            Process::start(&mut firejail)?.patience(as_patient(Duration::from_secs(30)));
        // What Firejail waits for ends with it.
        let _ = process.wait();
        Ok(process.output())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = remove();
    }
}

fn remove() -> Result<()> {
    for path in OTHERS.iter().chain(&[TOP]) {
        let path = Path::new(path);
        match fs::symlink_metadata(path) {
            Ok(status) if status.is_dir() => fs::remove_dir_all(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// The profile, changed.
fn changed(base: &[String], change: &str, site: &Site) -> Result<Vec<u8>> {
    let mut lines = base.to_vec();
    for part in change.split(" ;; ") {
        let part = filled(base, part, site)?;
        let (how, rest) = part.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match how {
            "+" => lines.push(rest.to_owned()),
            "^" => lines.insert(0, rest.to_owned()),
            "=" => {
                let (directive, new) = rest.split_once(' ').unwrap_or((rest, ""));
                let at = lines.iter().position(|line| is_of(line, directive));
                let at = at.with_context(|| format!("the profile has no {directive}"))?;
                let new = new.split(" | ").filter(|line| !line.is_empty());
                lines.splice(at..=at, new.map(str::to_owned));
            }
            _ => bail!("no change: {part}"),
        }
    }
    let text = lines.join("\n") + "\n";
    Ok(bytes(&text))
}

fn is_of(line: &str, directive: &str) -> bool {
    line.split(' ').next() == Some(directive)
}

/// With what stands in braces.
fn filled(base: &[String], part: &str, site: &Site) -> Result<String> {
    let python = site.interpreter.file_name().context("python3")?;
    let mut text = part
        .replace("{dir}", &site.directory.path().display().to_string())
        .replace("{python}", &python.to_string_lossy());
    for directive in ["seccomp.keep", "caps.keep"] {
        let start = format!("{{{directive}");
        while let Some(begin) = text.find(&start) {
            let length = text[begin..].find('}').context("no brace")?;
            let without = text[begin + start.len()..begin + length].to_owned();
            let line = base.iter().find(|line| is_of(line, directive));
            let line = line.with_context(|| format!("the profile has no {directive}"))?;
            let (_, items) = line.split_once(' ').context("no list")?;
            let is_left = |item: &&str| {
                !without
                    .split([',', ' '])
                    .any(|one| one.strip_prefix('-') == Some(item))
            };
            let items: Vec<&str> = items.split(',').filter(is_left).collect();
            let line = format!("{directive} {}", items.join(","));
            text.replace_range(begin..=begin + length, &line);
        }
    }
    Ok(text)
}

/// `\xNN`, `\r` and `\t` are bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut rest = text;
    let mut all = Vec::new();
    while let Some(at) = rest.find('\\') {
        all.extend(&rest.as_bytes()[..at]);
        let escape = &rest[at..];
        let number = escape.strip_prefix("\\x").and_then(|digits| {
            let digits = digits.get(..2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        let (byte, length) = match (number, escape.as_bytes().get(1)) {
            (Some(byte), _) => (byte, 4),
            (None, Some(b'r')) => (b'\r', 2),
            (None, Some(b't')) => (b'\t', 2),
            (None, Some(b'\\')) => (b'\\', 2),
            (None, _) => (b'\\', 1),
        };
        all.push(byte);
        rest = &escape[length..];
    }
    all.extend(rest.as_bytes());
    all
}

#[test]
fn nothing_that_is_predicted_to_work_fails() -> Result<()> {
    if !met(
        "check",
        &["/usr/bin/python3", "/usr/bin/sort", "bash", "ip"],
    ) {
        return Ok(());
    }
    network::private(|| {
        let site = Site::new()?;
        Site::prepare()?;
        let recorded = harden::record("work", &[], &site.command())?;
        ensure!(recorded.output.contains(DONE), "{}", recorded.output);
        let base = recorded.profile.text().lines();
        let base = base.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let base: Vec<String> = base.map(str::to_owned).collect();
        let observation = recorded.dir.path().join("work.observation.json");
        let file = site.directory.path().join("work.profile");

        fs::write(&file, changed(&base, "+ # nothing", &site)?)?;
        let own = check(&file, &observation)?;
        ensure!(own.0 == 0, "its own profile: {}", own.1);
        let output = site.run(&file)?;
        ensure!(output.contains(DONE), "its own profile: {output}");

        let all = env::var_os("HARDEN_CHECKED_PROFILES").is_some();
        let mut matrix = Matrix::default();
        for change in CHANGES.lines().filter(|line| !line.starts_with('#')) {
            fs::write(&file, changed(&base, change, &site)?)?;
            let report = check(&file, &observation)?;
            let predicted = predicted(&report, &own.1);
            if predicted == Predicted::Allowed || all {
                let output = site.run(&file)?;
                let works = output.contains(DONE);
                matrix.add(kind(change), predicted, works);
                if predicted == Predicted::Allowed && !works {
                    eprintln!("predicted to work, and failed: {change}\n{output}");
                }
            }
        }
        is_true(&matrix)
    })
}

/// The first directive of a change.
fn kind(change: &str) -> &str {
    let words = change.split([' ', '|', '\\']);
    let mut words = words.filter(|word| !word.is_empty() && !matches!(*word, "+" | "^" | "="));
    words.next().unwrap_or("nothing")
}
