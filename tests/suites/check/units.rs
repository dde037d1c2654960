//! Many changes of one unit (units.txt), each under a real systemd: of a work of many kinds (chores.c), nothing that was
//! predicted to work may fail.
//!
//! Only what is predicted to work is tried; with `HARDEN_CHECKED_PROFILES`, as in `cargo xtask soak`, all are, which shows how
//! often harden is too careful.

use std::{collections::BTreeSet, env, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Machine, Scratch, Setup, Written, programs};

use super::{Matrix, Predicted, check, is_true, predicted};

const CHANGES: &str = include_str!("units.txt");

const UNIT: &str =
    "[Service]\nType=oneshot\nExecStart=/srv/harden/bin/chores /srv/harden\nTimeoutStartSec=20\n";
const RECORDED: &str = "chores.service";

/// Before each run: what the work needs, and nothing of what an earlier one left.
const PREPARE: &str = "rm -rf /srv/harden/data /srv/harden/pub /run/harden /var/lib/harden /var/lib/private/harden /var/lib/other /root/.harden
mkdir -p /srv/harden/data /srv/harden/pub /srv/harden/real /run/harden /var/lib/harden /root/.harden /usr/share/harden
chmod 777 /srv/harden/pub; echo x >/root/.harden/c; echo x >/srv/harden/real/f; echo x >/usr/share/harden/data
ln -sfn real /srv/harden/link
";
/// Starts each unit that is named, and prints those that did their work. The start of a oneshot service is over when its process is;
/// systemd removes its `RuntimeDirectory=` after that, and the next unit needs what is prepared for it.
const START: &str = "for unit; do prepare; systemctl start --quiet \"$unit\" 2>&1 >/dev/null && echo \"$unit\"; \
                     systemctl stop --quiet \"$unit\"; done; true";

/// The drop-ins of a change, beside that of harden.
fn drop_ins(change: &str, own: &str) -> Result<Vec<String>> {
    let (how, rest) = change.split_at(1);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let mut files = rest.split(";;").map(|file| {
        let lines: Vec<&str> = file.trim_matches(' ').split(" | ").collect();
        lines.join("\n")
    });
    let first = files.next().unwrap_or_default();
    let mut all = vec![format!("[Service]\n{first}\n")];
    match how {
        "+" => all.insert(0, own.to_owned()),
        "0" => {}
        _ => anyhow::bail!("no change: {change}"),
    }
    all.extend(files.map(|file| format!("{file}\n")));
    Ok(all)
}

struct Tried<'m> {
    machine: &'m Machine,
    directory: Scratch,
    own: String,
}

impl Tried<'_> {
    fn observation(&self) -> std::path::PathBuf {
        self.directory.path().join("d.observation.json")
    }

    /// What is predicted of a unit with these drop-ins.
    fn check(&self, files: &[String]) -> Result<(i32, serde_json::Value)> {
        let unit = self.directory.path().join("d.service");
        let directory = self.directory.path().join("d.service.d");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory)?;
        fs::write(&unit, UNIT)?;
        for (number, text) in files.iter().enumerate() {
            fs::write(directory.join(format!("{number}.conf")), text)?;
        }
        check(&unit, &self.observation())
    }

    fn install(&self, unit: &str, files: &[String]) -> Result<()> {
        let file = format!("/run/systemd/system/{unit}");
        self.machine.write(&file, UNIT)?;
        for (number, text) in files.iter().enumerate() {
            self.machine
                .write(&format!("{file}.d/{number}.conf"), text)?;
        }
        Ok(())
    }

    /// Which of the units work.
    fn working(&self, units: &[String]) -> Result<BTreeSet<String>> {
        self.machine.run(&["systemctl", "daemon-reload"])?;
        let script = format!("prepare() {{\n{PREPARE}}}\n{START}");
        let mut command = vec!["sh", "-c", &script, "sh"];
        command.extend(units.iter().map(String::as_str));
        let printed = self.machine.run(&command)?;
        Ok(printed.lines().map(str::to_owned).collect())
    }
}

#[test]
fn nothing_that_is_predicted_to_work_fails() -> Result<()> {
    let Some(machine) = Machine::here("nothing that is predicted of a unit to work fails")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    let bin = machine.root().join("srv/harden/bin");
    fs::create_dir_all(&bin)?;
    let built = Scratch::new(Path::new("/run"))?;
    let program = programs::install("chores", &built)?;
    for name in ["chores", "helper"] {
        programs::copy(&program, bin.join(name))?;
    }
    let mut tried = Tried {
        machine: &machine,
        directory: Scratch::new(Path::new("/run"))?,
        own: String::new(),
    };
    tried.install(RECORDED, &[])?;
    ensure!(
        tried.working(&[RECORDED.to_owned()])?.len() == 1,
        "it does not work"
    );
    let written = Written::of(&agent, &machine, RECORDED)?;
    drop(agent);
    fs::write(tried.observation(), &written.observation)?;
    tried.own = written.drop_in;

    let own = tried.check(std::slice::from_ref(&tried.own))?;
    ensure!(own.0 == 0, "its own drop-in: {}", own.1);
    let all = env::var_os("HARDEN_CHECKED_PROFILES").is_some();
    let mut cases = Vec::new();
    for (number, change) in CHANGES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .enumerate()
    {
        let files = drop_ins(change, &tried.own)?;
        let report = tried.check(&files)?;
        let predicted = predicted(&report, &own.1);
        if predicted == Predicted::Allowed || all {
            let unit = format!("changed-{number}.service");
            tried.install(&unit, &files).context(change)?;
            cases.push((unit, change, predicted));
        }
    }
    let units: Vec<String> = cases.iter().map(|(unit, ..)| unit.clone()).collect();
    let working = tried.working(&units)?;
    let mut matrix = Matrix::default();
    for (unit, change, predicted) in &cases {
        let works = working.contains(unit);
        matrix.add(kind(change), *predicted, works);
        if *predicted == Predicted::Allowed && !works {
            let log = machine.try_run(&["journalctl", "--no-pager", "-n", "8", "-u", unit])?;
            let log = String::from_utf8_lossy(&log.stdout).into_owned();
            eprintln!("predicted to work, and failed: {change}\n{log}");
        }
        if *predicted == Predicted::Refused && works {
            println!("predicted to fail, and worked: {change}");
        }
    }
    is_true(&matrix)
}

/// The first directive of a change.
fn kind(change: &str) -> &str {
    let words = change.split([' ', '|', '=', ';']);
    let mut words = words.filter(|word| !matches!(*word, "" | "+" | "0"));
    words.next().unwrap_or("nothing")
}
