//! What becomes of `harden agent` when its disk is full, its files are gone, or what is in them makes no sense: it
//! says so, goes on recording, overwrites nothing, and writes everything once it can.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    observation::{self, Observation, Operation, Text},
    output::file_stem,
};
use harden_tests::{Agent, Machine, Setup, Small, observed};
use nix::sys::signal::Signal;

const UNIT: &str = "harden-obeys.service";
const OBEYS: &str = "[Service]
ExecStartPre=/bin/sh -c 'rm -f /run/harden-orders; mkfifo /run/harden-orders'
ExecStart=/bin/sh -c 'exec 3<>/run/harden-orders; while read -r order <&3; do eval \"$order\"; done'
";

/// A unit that does what it is told, and an agent that watches it.
struct Stage {
    machine: Machine,
    agent: Agent,
    key: String,
}

impl Stage {
    fn set(test: &str, parent: Option<&Path>) -> Result<Option<Self>> {
        let Some(machine) = Machine::here(test)? else {
            return Ok(None);
        };
        machine.unit(UNIT, OBEYS)?;
        let agent = Agent::start(&Setup {
            include: &["harden-obeys.service"],
            state: "compact_every = \"1s\"",
            parent,
            beside: true,
            ..Setup::default()
        })?;
        machine.run(&["systemctl", "start", UNIT])?;
        let key = machine.key(UNIT);
        Ok(Some(Self {
            machine,
            agent,
            key,
        }))
    }

    /// The unit makes a file.
    fn order(&self, name: &str) -> Result<()> {
        let script = format!("echo ': >/run/harden-order-{name}' >/run/harden-orders");
        self.machine.run(&["sh", "-c", &script]).map(drop)
    }

    /// Waits until the agent reports these.
    fn told(&mut self, names: &[&str]) -> Result<()> {
        let key = &self.key;
        self.agent.until(|agent| has(&agent.snapshot(key)?, names))
    }

    /// Where the unit's file is.
    fn file(&self) -> PathBuf {
        let stem = file_stem(&Text::from(&*self.key));
        self.agent
            .state()
            .join("units")
            .join(format!("{stem}.json"))
    }

    /// Waits until these are in the unit's file.
    fn written(&mut self, names: &[&str]) -> Result<()> {
        let key = &self.key;
        self.agent
            .until(|agent| has(&observed::stored(agent.state(), key)?, names))
    }

    fn said(&mut self, text: &str) -> Result<()> {
        self.agent.until(|agent| {
            ensure!(agent.log().contains(text), "{text:?} is not said");
            Ok(())
        })
    }

    fn errors(&mut self, are_there: bool) -> Result<()> {
        self.agent.until(|agent| {
            let errors = agent.status()?.errors;
            ensure!(errors.is_empty() != are_there, "{errors:?}");
            Ok(())
        })
    }
}

fn has(observation: &Observation, names: &[&str]) -> Result<()> {
    let mut made = BTreeSet::new();
    for run in observation.runs.values() {
        let programs = run
            .executables
            .values()
            .chain(run.control.values().flat_map(|programs| programs.values()));
        for (path, file) in programs.flat_map(|facts| &facts.files) {
            if file.operations.has(Operation::Create) {
                made.insert(path.as_path().display().to_string());
            }
        }
    }
    for name in names {
        ensure!(
            made.contains(&format!("/run/harden-order-{name}")),
            "{name} is not in {made:?}"
        );
    }
    Ok(())
}

#[test]
fn a_full_disk_costs_nothing_once_there_is_room() -> Result<()> {
    let small = Small::mount()?;
    let Some(mut stage) = Stage::set(
        "a full disk costs nothing once there is room",
        Some(small.path()),
    )?
    else {
        return Ok(());
    };
    stage.order("before")?;
    stage.written(&["before"])?;
    let whole = observation::read(&stage.file())?;
    small.fill()?;
    // Each is more than what is left of a page.
    let names: Vec<String> = (0..40)
        .map(|number| format!("full-{number}-{}", "x".repeat(200)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        stage.order(name)?;
    }
    stage.told(&names)?;
    stage.said("No space left on device")?;
    stage.errors(true)?;
    // It tries again every five seconds.
    thread::sleep(Duration::from_secs(6));
    // What was there is there, and whole.
    has(&observation::read(&stage.file())?, &["before"])?;
    assert!(whole.runs.len() == 1);
    let said = stage
        .agent
        .log()
        .lines()
        .filter(|line| line.contains("ERROR"))
        .count();
    assert!(said <= 3, "the log is flooded:\n{}", stage.agent.log());
    assert!(
        !stage.agent.log().contains("works again"),
        "{}",
        stage.agent.log()
    );

    small.empty()?;
    stage.said("works again")?;
    stage.errors(false)?;
    // At once: not even SIGKILL takes it now.
    stage.agent.end(Signal::SIGKILL)?;
    stage.agent.begin(&[])?;
    stage.told(&names)?;
    stage.written(&names)?;
    stage.order("after")?;
    stage.written(&["before", "after"])
}

#[test]
fn an_agent_that_begins_or_is_killed_with_a_full_disk_loses_nothing_in_silence() -> Result<()> {
    let small = Small::mount()?;
    let Some(mut stage) = Stage::set(
        "an agent that is killed with a full disk loses nothing in silence",
        Some(small.path()),
    )?
    else {
        return Ok(());
    };
    stage.order("before")?;
    stage.written(&["before"])?;
    small.fill()?;
    let long = format!("full-{}", "x".repeat(200));
    let names: Vec<String> = (0..40).map(|number| format!("{long}-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        stage.order(name)?;
    }
    stage.told(&names)?;
    stage.errors(true)?;
    let status = stage.agent.status()?;
    assert!(
        !status.losses.contains_key("unwritten"),
        "{:?}",
        status.losses
    );
    stage.agent.end(Signal::SIGKILL)?;

    // There is no room for the next one either.
    stage.agent.begin(&[])?;
    stage.errors(true)?;
    let status = stage.agent.status()?;
    let unwritten = status.losses.get("unwritten").copied();
    assert!(
        unwritten.is_some_and(|count| count > 0),
        "{:?}",
        status.losses
    );
    stage.told(&["before"])?;
    stage.order("after")?;
    stage.told(&["before", "after"])?;

    small.empty()?;
    stage.said("works again")?;
    stage.errors(false)?;
    stage.agent.end(Signal::SIGKILL)?;
    stage.agent.begin(&[])?;
    stage.told(&["before", "after"])?;
    let observation = stage.agent.snapshot(&stage.key)?;
    let mut runs = observation.runs.values();
    let is_marked = runs.any(|run| run.losses.keys().any(|kind| kind.as_str() == "unwritten"));
    assert!(is_marked, "the run does not say so");
    Ok(())
}

#[test]
fn a_state_directory_that_is_gone_is_made_again() -> Result<()> {
    let Some(mut stage) = Stage::set("a state directory that is gone is made again", None)? else {
        return Ok(());
    };
    stage.order("before")?;
    stage.written(&["before"])?;
    // The agent may be writing into it: what is there by then is removed too.
    while let Err(error) = fs::remove_dir_all(stage.agent.state()) {
        ensure!(error.kind() == ErrorKind::DirectoryNotEmpty, "{error}");
    }
    stage.order("after")?;
    stage.said("only harden may write there")?;
    stage.written(&["after"])?;
    stage.errors(false)?;
    stage.order("killed")?;
    stage.told(&["killed"])?;
    stage.agent.end(Signal::SIGKILL)?;
    stage.agent.begin(&[])?;
    stage.told(&["after", "killed"])?;
    Ok(())
}

#[test]
fn a_corrupt_file_is_kept_and_told_of() -> Result<()> {
    let Some(mut stage) = Stage::set("a corrupt file is kept and told of", None)? else {
        return Ok(());
    };
    stage.order("before")?;
    stage.written(&["before"])?;
    stage.agent.end(Signal::SIGTERM)?;
    let file = stage.file();
    let mut content = fs::read(&file)?;
    let middle = content.len() / 2;
    content.truncate(middle);
    fs::write(&file, &content)?;
    stage.order("meanwhile")?;
    stage.agent.begin(&[])?;
    stage.said("cannot be used")?;
    stage.order("after")?;
    // What was recorded while no agent ran is there too.
    stage.written(&["meanwhile", "after"])?;
    let mut aside = file.into_os_string();
    aside.push(".corrupt-1");
    assert_eq!(fs::read(&aside)?, content);
    stage.errors(false)?;
    // Until somebody has seen it.
    let aside = Text::from(aside.as_encoded_bytes());
    assert_eq!(
        stage.agent.status()?.set_aside,
        std::slice::from_ref(&aside)
    );
    let status = stage.agent.harden(&["status"])?;
    assert_eq!(status.status.code(), Some(6));
    let said = String::from_utf8(status.stdout)?;
    ensure!(said.contains(&format!("set aside: {aside}")), "{said}");
    stage.agent.say(&["forget", &stage.key])?;
    assert!(stage.agent.status()?.set_aside.is_empty());
    assert_eq!(stage.agent.harden(&["status"])?.status.code(), Some(0));
    Ok(())
}

#[test]
fn a_corrupt_journal_is_kept_and_told_of() -> Result<()> {
    let Some(mut stage) = Stage::set("a corrupt journal is kept and told of", None)? else {
        return Ok(());
    };
    stage.order("before")?;
    stage.written(&["before"])?;
    stage.order("killed")?;
    stage.told(&["killed"])?;
    stage.agent.end(Signal::SIGKILL)?;
    let mut journals = Vec::new();
    for entry in fs::read_dir(stage.agent.state())? {
        let path = entry?.path();
        if path.is_file() {
            let mut content = fs::read(&path)?;
            let middle = content.len() / 2;
            content[middle] ^= 0xff;
            fs::write(&path, &content)?;
            journals.push((path, content));
        }
    }
    ensure!(!journals.is_empty(), "there is no journal");
    stage.agent.begin(&[])?;
    stage.said("is corrupt at byte")?;
    stage.order("after")?;
    stage.written(&["before", "after"])?;
    for (path, content) in journals {
        let mut aside = path.clone().into_os_string();
        aside.push(".corrupt-1");
        assert_eq!(
            fs::read(&aside).with_context(|| format!("{}", path.display()))?,
            content
        );
        let shown = stage.agent.status()?.set_aside;
        ensure!(
            shown.contains(&Text::from(aside.as_encoded_bytes())),
            "{shown:?}"
        );
        fs::remove_file(&aside)?;
    }
    assert!(stage.agent.status()?.set_aside.is_empty());
    stage.errors(false)
}
