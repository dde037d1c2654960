//! Under drop-ins, by a real systemd.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use fastrand::Rng;
use harden_tests::{Agent, Machine, Scratch, Setup, Written};

use super::{
    super::drop_in::{DAEMONS, Daemon},
    Matrix, Predicted, check, count, is_true, paths, predicted, seed,
};

/// Lists of which a word may be missing.
const LISTS: [&str; 4] = [
    "CapabilityBoundingSet",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "SystemCallFilter",
];

/// Lines that refuse something, whatever the daemon did. In a container there is no firewall of systemd's.
const LINES: [&str; 14] = [
    "CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL",
    "MemoryDenyWriteExecute=yes",
    "NoExecPaths=/\nExecPaths=/usr /lib /lib64",
    "NoExecPaths=/usr/sbin /usr/bin",
    "PrivateDevices=yes",
    "PrivateNetwork=yes",
    "ProtectHome=yes",
    "ProtectSystem=strict\nReadWritePaths=",
    "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX",
    "RestrictAddressFamilies=~AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "SystemCallFilter=~@network-io",
    "SystemCallFilter=~@clock @module @mount",
    "SystemCallFilter=~@setuid",
];

/// A changed drop-in, and what was changed; none if nothing could be.
fn change(drop_in: &str, paths: &[String], random: &mut Rng) -> Option<(String, String)> {
    match random.u8(..4) {
        0 | 1 => {
            let directive = LISTS[random.usize(..LISTS.len())];
            let start = format!("{directive}=");
            let line = drop_in.lines().find(|line| line.starts_with(&start))?;
            let mut words: Vec<&str> = line[start.len()..].split(' ').collect();
            words.swap_remove(random.usize(..words.len()));
            // Without any, there is no list.
            let shorter = format!("{start}{}", words.join(" "));
            let changed = drop_in.replace(line, &shorter);
            (!words.is_empty()).then(|| (directive.to_owned(), changed))
        }
        2 => {
            let line = LINES[random.usize(..LINES.len())];
            let name = line.split('=').next()?;
            Some((format!("{name} added"), format!("{drop_in}{line}\n")))
        }
        _ => {
            let kinds = ["InaccessiblePaths", "ReadOnlyPaths", "TemporaryFileSystem"];
            let directive = kinds[random.usize(..kinds.len())];
            let path = &paths[random.usize(..paths.len())];
            let path = if directive == "TemporaryFileSystem" {
                Path::new(path).parent()?.to_str()?
            } else {
                path
            };
            // systemd does not start what it cannot reach.
            if path.split('/').count() < 3 {
                return None;
            }
            let prefix = if directive == "TemporaryFileSystem" {
                ""
            } else {
                "-"
            };
            let line = format!("{directive}={prefix}{path}");
            Some((format!("{directive} added"), format!("{drop_in}{line}\n")))
        }
    }
}

struct Tried<'m> {
    machine: &'m Machine,
    daemon: &'m Daemon,
    unit: String,
    directory: Scratch,
}

impl Tried<'_> {
    /// What is predicted of the unit with the drop-in.
    fn check(&self, drop_in: &str) -> Result<(i32, serde_json::Value)> {
        let file = self.directory.path().join("whole.service");
        fs::write(&file, format!("{}\n{drop_in}", self.unit))?;
        check(&file, &self.directory.path().join("d.observation.json"))
    }

    /// Whether it works under it.
    fn works(&self, drop_in: &str) -> Result<()> {
        self.daemon.install(self.machine, drop_in)?;
        let result = self.daemon.live(self.machine, Machine::BRIEF);
        if result.is_err() {
            let _ = self
                .machine
                .try_run(&["systemctl", "stop", self.daemon.unit])?;
            let _ = self
                .machine
                .try_run(&["systemctl", "reset-failed", self.daemon.unit])?;
        }
        result
    }
}

/// How often each prediction came true.
fn compare(tried: &Tried<'_>, drop_in: &str, matrix: &mut Matrix) -> Result<()> {
    let (status, own) = tried.check(drop_in)?;
    ensure!(status == 0, "its own drop-in: {own}");
    tried.works(drop_in)?;
    let paths = paths(&tried.directory.path().join("d.observation.json"))?;
    let seed = seed(tried.daemon.unit)?;
    println!("{}: seed {seed}", tried.daemon.unit);
    let mut random = Rng::with_seed(seed);
    let mut number = 0;
    while number < count()? {
        let Some((directive, changed)) = change(drop_in, &paths, &mut random) else {
            continue;
        };
        number += 1;
        let report = tried.check(&changed)?;
        let result = tried.works(&changed);
        let predicted = predicted(&report, &own);
        matrix.add(&directive, predicted, result.is_ok());
        if let (Predicted::Allowed, Err(error)) = (predicted, result) {
            let lines = changed.lines().filter(|line| !drop_in.contains(line));
            let lines: Vec<&str> = lines.collect();
            eprintln!(
                "{}: {directive}: predicted to work, and failed: {lines:?}\n{error:#}",
                tried.daemon.unit
            );
        }
    }
    tried.daemon.install(tried.machine, "")
}

#[test]
fn what_is_predicted_of_a_drop_in_comes_true() -> Result<()> {
    let Some(machine) = Machine::here("what is predicted of a drop-in comes true")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    let mut matrix = Matrix::default();
    for daemon in &DAEMONS {
        machine.try_run(&["systemctl", "stop", daemon.unit])?;
        daemon.live(&machine, Machine::PATIENCE)?;
        let written = Written::of(&agent, &machine, daemon.unit)?;
        let tried = Tried {
            machine: &machine,
            daemon,
            unit: machine.run(&["systemctl", "cat", "--no-pager", daemon.unit])?,
            directory: Scratch::new(Path::new("/run"))?,
        };
        fs::write(
            tried.directory.path().join("d.observation.json"),
            &written.observation,
        )?;
        compare(&tried, &written.drop_in, &mut matrix)?;
    }
    is_true(&matrix)
}
