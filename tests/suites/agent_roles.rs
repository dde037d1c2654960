//! The commands of a unit are told apart, even where all are the same program. Only the system's own systemd can be
//! asked which process was which command, so this is for machines that systemd has started.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{ControlCommand, Executable, Operation, Run, RunKind, Text, Word};
use harden_tests::{Agent, Machine, Setup, as_patient};
use nix::sys::signal::Signal;

const UNIT: &str = "harden-roles.service";
const LIFE: &str = "[Service]
Type=notify
NotifyAccess=all
ExecCondition=/bin/sh -c ': >/run/harden-roles/condition'
ExecStartPre=/bin/sh -c ': >/run/harden-roles/start-pre'
ExecStartPre=-/bin/sh -c ': >/run/harden-roles/start-pre-2; exit 3'
ExecStart=/bin/sh -c ': >/run/harden-roles/main; systemd-notify --ready; trap \"exit 7\" TERM; while :; do sleep 0.1; done'
ExecStartPost=/bin/sh -c ': >/run/harden-roles/start-post'
ExecReload=/bin/sh -c ': >/run/harden-roles/reload'
ExecStop=/bin/sh -c ': >/run/harden-roles/stop'
ExecStopPost=/bin/sh -c ': >/run/harden-roles/stop-post'
User=nobody
";

/// Where the tests' programs make files.
const DIRECTORY: &str = "/run/harden-roles";

/// The files of the test that these programs made.
fn made(programs: &BTreeMap<Text, Executable>) -> BTreeSet<String> {
    let directory = Path::new(DIRECTORY);
    let files = programs.values().flat_map(|facts| &facts.files);
    files
        .filter(|(_, file)| file.operations.has(Operation::Create))
        .filter_map(|(path, _)| path.as_path().strip_prefix(directory).ok())
        .map(|name| name.display().to_string())
        .collect()
}

/// Which files each command made.
fn roles(run: &Run) -> BTreeMap<Option<ControlCommand>, BTreeSet<String>> {
    let control = run
        .control
        .iter()
        .map(|(role, programs)| (Some(*role), made(programs)));
    [(None, made(&run.executables))]
        .into_iter()
        .chain(control)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn commands_of_one_program_are_told_apart() -> Result<()> {
    let Some(machine) = Machine::here("commands of one program are told apart")? else {
        return Ok(());
    };
    if machine.container().is_some() {
        harden_tests::skip(
            "commands of one program are told apart",
            "the system's own systemd is none",
        );
        return Ok(());
    }
    machine.run(&["mkdir", "-p", "-m", "1777", DIRECTORY])?;
    machine.unit(UNIT, LIFE)?;
    let mut agent = Agent::start(&Setup {
        include: &[UNIT],
        ..Setup::default()
    })?;
    let mut invocations = Vec::new();
    for round in 1..=2 {
        machine.run(&["systemctl", "start", UNIT])?;
        invocations.push(machine.property(UNIT, "InvocationID")?);
        // What was done so far is known before the next.
        agent.until(|agent| {
            let observation = agent.snapshot(UNIT)?;
            let run = newest(&observation.runs)?;
            let found = roles(run);
            ensure!(
                observation.runs.len() == round,
                "{} runs",
                observation.runs.len()
            );
            ensure!(
                found.contains_key(&Some(ControlCommand::StartPost)),
                "{found:?}"
            );
            ensure!(found[&None] == set(&["main"]), "{found:?}");
            Ok(())
        })?;
        machine.run(&["systemctl", "reload", UNIT])?;
        agent.until(|agent| {
            let found = roles(newest(&agent.snapshot(UNIT)?.runs)?);
            ensure!(
                found.contains_key(&Some(ControlCommand::Reload)),
                "{found:?}"
            );
            Ok(())
        })?;
        machine.run(&["systemctl", "stop", UNIT])?;
        // Until the answer has come, the unit may not be started again.
        thread::sleep(as_patient(Duration::from_secs(2)));
    }
    let observation = agent.snapshot(UNIT)?;
    assert_eq!(observation.runs.len(), 2);
    let expected: BTreeMap<_, _> = [
        (None, &["main"][..]),
        (Some(ControlCommand::Condition), &["condition"]),
        (
            Some(ControlCommand::StartPre),
            &["start-pre", "start-pre-2"],
        ),
        (Some(ControlCommand::StartPost), &["start-post"]),
        (Some(ControlCommand::Reload), &["reload"]),
        (Some(ControlCommand::Stop), &["stop"]),
        (Some(ControlCommand::StopPost), &["stop-post"]),
    ]
    .into_iter()
    .map(|(role, names)| (role, set(names)))
    .collect();
    let mut found_invocations = BTreeSet::new();
    for run in observation.runs.values() {
        assert_eq!(run.kind, RunKind::Invocation);
        assert_eq!(roles(run), expected);
        assert_eq!(run.status, Some(7));
        assert_eq!(run.uid, 65534);
        assert_eq!(run.command[..2], [Text::from("/bin/sh"), Text::from("-c")]);
        found_invocations.insert(run.invocation.clone().context("an invocation")?.to_string());
    }
    assert_eq!(found_invocations, invocations.into_iter().collect());
    Ok(())
}

/// The run that began last.
fn newest(runs: &BTreeMap<harden_agent::observation::Word, Run>) -> Result<&Run> {
    runs.values().max_by_key(|run| run.started).context("a run")
}

#[test]
fn of_one_that_is_started_again_at_once_no_other_invocation_is_told() -> Result<()> {
    let name = "of one that is started again at once no other invocation is told";
    let Some(machine) = Machine::here(name)? else {
        return Ok(());
    };
    if machine.container().is_some() {
        harden_tests::skip(name, "the system's own systemd is none");
        return Ok(());
    }
    let unit = "harden-again.service";
    machine.unit(unit, "[Service]\nExecStart=/bin/sleep infinity\n")?;
    let mut agent = Agent::start(&Setup {
        include: &[unit],
        ..Setup::default()
    })?;
    let mut real = BTreeSet::new();
    for _ in 0..4 {
        machine.run(&["systemctl", "restart", unit])?;
        real.insert(machine.property(unit, "InvocationID")?);
    }
    agent.until(|agent| {
        let observation = agent.snapshot(unit)?;
        ensure!(
            observation.runs.len() == 4,
            "{} runs",
            observation.runs.len()
        );
        let told: Vec<String> = observation
            .runs
            .values()
            .filter_map(|run| Some(run.invocation.as_ref()?.to_string()))
            .collect();
        ensure!(!told.is_empty());
        let different: BTreeSet<String> = told.iter().cloned().collect();
        ensure!(
            different.len() == told.len() && different.is_subset(&real),
            "{told:?}, {real:?}"
        );
        Ok(())
    })?;
    machine.run(&["systemctl", "stop", unit])?;
    Ok(())
}

/// What is left of it when it stops says so in a file of its own, once it may.
const LEAVES: &str = "[Service]
KillMode=process
LockPersonality=yes
ExecStartPre=/bin/sh -c ': >/run/harden-roles/pre-$INVOCATION_ID'
ExecStart=/bin/sh -c '(: >/run/harden-roles/left-$INVOCATION_ID; while [ ! -e /run/harden-roles/go ]; do sleep 0.1; done; : >/run/harden-roles/late-$INVOCATION_ID; sleep infinity) & : >/run/harden-roles/main-$INVOCATION_ID; exec sleep infinity'
";

#[test]
fn processes_that_are_left_are_of_the_invocation_that_began_them() -> Result<()> {
    let name = "processes that are left are of the invocation that began them";
    let Some(machine) = Machine::here(name)? else {
        return Ok(());
    };
    if machine.container().is_some() {
        harden_tests::skip(name, "the system's own systemd is none");
        return Ok(());
    }
    let unit = "harden-left.service";
    machine.run(&["mkdir", "-p", "-m", "1777", DIRECTORY])?;
    machine.unit(unit, LEAVES)?;
    let mut agent = Agent::start(&Setup {
        include: &[unit],
        ..Setup::default()
    })?;
    let mut invocations = BTreeSet::new();
    for number in 1..=3 {
        machine.run(&["systemctl", "restart", unit])?;
        let invocation = machine.property(unit, "InvocationID")?;
        // Until the answer has come, it may not be started again.
        agent.until(|agent| {
            let runs = agent.snapshot(unit)?.runs;
            ensure!(runs.len() == number, "{} runs", runs.len());
            let told = runs.values().filter_map(|run| run.invocation.as_ref());
            ensure!(told.into_iter().any(|told| told.as_str() == invocation));
            let roles = roles(newest(&runs)?);
            ensure!(
                roles.contains_key(&Some(ControlCommand::StartPre)),
                "{roles:?}"
            );
            Ok(())
        })?;
        invocations.insert(invocation);
    }
    let runs = agent.snapshot(unit)?.runs;
    for run in runs.values() {
        let filters: Vec<&str> = run.filters.iter().map(Word::as_str).collect();
        ensure!(filters.contains(&"LockPersonality"), "{filters:?}");
    }
    machine.run(&["touch", "/run/harden-roles/go"])?;
    let made = |runs: &BTreeMap<_, Run>| -> Result<BTreeMap<String, BTreeSet<String>>> {
        let runs = runs.values().map(|run| {
            let invocation = run.invocation.as_ref().context("an invocation")?;
            let names = roles(run).into_values().flatten();
            Ok((invocation.to_string(), names.collect()))
        });
        runs.collect()
    };
    let expected: BTreeMap<String, BTreeSet<String>> = invocations
        .iter()
        .map(|id| {
            let names = ["pre", "left", "main", "late"].map(|name| format!("{name}-{id}"));
            (id.clone(), names.into())
        })
        .collect();
    agent.until(|agent| {
        let found = made(&agent.snapshot(unit)?.runs)?;
        ensure!(found == expected, "{found:?}, not {expected:?}");
        Ok(())
    })?;
    // The next agent knows it, too.
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    let found = made(&agent.snapshot(unit)?.runs)?;
    assert_eq!(found, expected);
    machine.run(&["systemctl", "stop", unit])?;
    machine.run(&["systemctl", "kill", "--signal=KILL", unit])?;
    Ok(())
}
