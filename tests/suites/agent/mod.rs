//! `harden agent` on a machine with a systemd: what the units do is recorded, whole, and for the right unit.

mod daemons;
mod news;
mod units;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{
    Abi, Executable, File, Inodes, Join as _, Observation, Operation, Text,
};
use harden_tests::{
    Agent, Machine, Scratch, Setup, as_patient, harden,
    observed::{self, acts, assert_same, printed_acts},
    programs,
    programs::install,
    trees,
};

static TURN: RwLock<()> = RwLock::new(());

/// Where slots are counted: beside a test whose daemons come and go, there is always one more.
fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Where nothing is counted.
fn beside() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// What all programs of the unit did, in all runs and commands.
fn programs(observation: &Observation) -> BTreeMap<Text, Executable> {
    let mut all = BTreeMap::new();
    for run in observation.runs.values() {
        all.join(run.executables.clone());
        run.control
            .values()
            .for_each(|programs| all.join(programs.clone()));
    }
    all
}

fn calls(facts: &Executable) -> BTreeSet<String> {
    let native = facts.syscalls.get(&Abi::Native).into_iter().flatten();
    native.map(|(call, _)| call.to_string()).collect()
}

/// The paths with which this was done, whatever came of it.
fn done(observation: &Observation, operation: Operation) -> BTreeSet<String> {
    let programs = programs(observation);
    let files = programs.values().flat_map(|facts| &facts.files);
    files
        .filter(|(_, file)| file.operations.has(operation))
        .map(|(path, _)| path.as_path().display().to_string())
        .collect()
}

/// Of no run was anything lost.
fn assert_whole(observation: &Observation) {
    for (id, run) in &observation.runs {
        let losses = observed::losses(run);
        assert!(losses.is_empty(), "{} {id}: {losses:?}", observation.name);
    }
}

/// The snapshot of a unit, once it has this many runs, all of which have ended.
fn ended(agent: &mut Agent, unit: &str, runs: usize) -> Result<Observation> {
    agent.until(|agent| {
        let observation = agent.snapshot(unit)?;
        let found = observation.runs.len();
        ensure!(found == runs, "{unit}: {found} runs, not {runs}");
        let written = observed::stored(agent.state(), unit)?;
        ensure!(
            of_the_agent(&written) == of_the_agent(&observation),
            "{unit}: more is known than written"
        );
        Ok(observation)
    })
}

/// Without what `harden snapshot` adds from the file system, which the agent does not see.
fn of_the_agent(observation: &Observation) -> Observation {
    let mut observation = observation.clone();
    for run in observation.runs.values_mut() {
        run.symlinks.clear();
        let others = run.control.values_mut().flat_map(BTreeMap::values_mut);
        for executable in run.executables.values_mut().chain(others) {
            executable.interpreters.clear();
            executable.invoked_as.clear();
            let connected = |file: &&mut File| file.operations.has(Operation::Connect);
            for file in executable.files.values_mut().filter(connected) {
                file.inodes = Inodes::default();
            }
        }
    }
    observation
}

#[test]
fn a_second_instance_records_at_the_same_time() -> Result<()> {
    let Some(machine) = Machine::here("a second instance records at the same time")? else {
        return Ok(());
    };
    let _turn = beside();
    let bin = Scratch::new(Path::new("/run"))?;
    let program = install("acts", &bin)?;
    let inside = machine.root().join("usr/local/bin/harden-acts");
    fs::create_dir_all(inside.parent().context("a directory")?)?;
    programs::copy(&program, &inside)?;
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
    let (of_unit, of_run) = (
        machine.root().join("var/tmp/harden-acts"),
        Scratch::new(Path::new("/var/tmp"))?,
    );
    fs::create_dir_all(&of_unit)?;
    trees::for_acts(&of_unit)?;
    trees::for_acts(of_run.path())?;
    let (printed, recorded) = thread::scope(|scope| {
        let unit = scope.spawn(|| {
            machine.run(&[
                "systemd-run",
                "--quiet",
                "--pipe",
                "--wait",
                "--unit=harden-acts",
                "/usr/local/bin/harden-acts",
                "/var/tmp/harden-acts",
            ])
        });
        let recorded = harden::record(
            "acts",
            &[],
            &[program.as_os_str(), of_run.path().as_os_str()],
        );
        (unit.join().expect("no panic"), recorded)
    });
    let recorded = recorded?;
    let expected = printed_acts(&recorded.output);
    assert!(expected.len() > 70, "{}", recorded.output);
    assert_same(
        &expected,
        &acts(
            observed::facts(&recorded.observation, "acts"),
            of_run.path(),
        ),
    );

    let observation = ended(&mut agent, &machine.key("harden-acts.service"), 1)?;
    let expected = printed_acts(&printed?);
    assert!(expected.len() > 70);
    let facts = programs(&observation);
    let facts = facts
        .get(&Text::from("/usr/local/bin/harden-acts"))
        .context("the program")?;
    assert_same(&expected, &acts(facts, Path::new("/var/tmp/harden-acts")));
    assert_whole(&observation);
    let _ = fs::remove_dir_all(&of_unit);
    let _ = fs::remove_file(&inside);
    Ok(())
}

/// How long it takes to write all of a hundred units, at best, into memory: what a disk takes to keep hundreds of files
/// is another matter. No more is tried once it is quick enough.
fn fastest_snapshot(agent: &Agent, format: &str, enough: Duration) -> Result<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let out = Scratch::new(Path::new("/dev/shm"))?;
        let directory = out.path().to_str().context("a path in UTF-8")?;
        let begun = Instant::now();
        agent.say(&["snapshot", "--all", "--format", format, "--out", directory])?;
        fastest = fastest.min(begun.elapsed());
        // Beside each profile lies what it was made from.
        let files = fs::read_dir(out.path())?.count();
        assert_eq!(files, if format == "observation" { 100 } else { 200 });
        if fastest < enough {
            break;
        }
    }
    Ok(fastest)
}

#[test]
fn a_hundred_units_are_told_of_at_once() -> Result<()> {
    let Some(machine) = Machine::here("a hundred units are told of at once")? else {
        return Ok(());
    };
    let _turn = alone();
    machine.unit(
        "harden-hundred@.service",
        "[Service]\nExecStart=/bin/sh -c 'cat /etc/passwd /etc/hosts >/run/harden-%i; exec sleep infinity'\n",
    )?;
    let agent = Agent::start(&Setup {
        include: &["harden-hundred@*"],
        ..Setup::default()
    })?;
    let mut start = vec!["systemctl".to_owned(), "start".to_owned()];
    start.extend((0..100).map(|number| format!("harden-hundred@{number}.service")));
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    machine.run(&start)?;
    let mut agent = agent;
    agent.until(|agent| {
        let all = agent.snapshots(&["--all"])?;
        ensure!(all.len() == 100, "{} units", all.len());
        for observation in &all {
            ensure!(programs(observation).contains_key(&Text::from("/usr/bin/sleep")));
        }
        Ok(())
    })?;
    // With what the command itself takes to start and to write; without optimisation many times as long.
    let is_optimised = harden::binary().iter().any(|part| part == "release");
    let most = as_patient(Duration::from_millis(if is_optimised { 200 } else { 5000 }));
    for format in ["observation", "firejail"] {
        let fastest = fastest_snapshot(&agent, format, most)?;
        println!("a snapshot of 100 units as {format} takes {fastest:?}");
        assert!(fastest < most, "{format}: {fastest:?}");
    }
    machine.run(&["systemctl", "stop", "harden-hundred@*.service"])?;
    Ok(())
}

#[test]
fn an_agent_that_is_ended_leaves_nothing() -> Result<()> {
    let Some(_machine) = Machine::here("an agent that is ended leaves nothing")? else {
        return Ok(());
    };
    let _turn = beside();
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
    let before = agent.status()?;
    agent.end(nix::sys::signal::Signal::SIGTERM)?;
    agent.begin(&[])?;
    let after = agent.status()?;
    assert_ne!(before.pid, after.pid);
    assert_eq!(
        after.kernel_side,
        harden_agent::agent::request::KernelSide::Adopted
    );
    assert_eq!(before.since, after.since);
    let pins = agent.home().join("bpf/harden");
    assert_eq!(fs::read_dir(&pins)?.count(), 1);
    agent.end(nix::sys::signal::Signal::SIGTERM)?;
    let unload = agent
        .command(&["agent", "--unload", "--config"])
        .arg(agent.config())
        .output()?;
    assert!(unload.status.success(), "{unload:?}");
    assert!(!pins.exists() || fs::read_dir(&pins)?.count() == 0);
    let again = Command::new(harden::binary())
        .args(["agent", "--unload", "--config"])
        .arg(agent.config())
        .output()?;
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("no kernel side"),
        "{again:?}"
    );
    Ok(())
}
