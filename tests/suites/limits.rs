//! The limits of what the agent keeps: of one unit, of all together, and of their number. What is beyond them is folded,
//! said so, and goes on being recorded.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Result, ensure};
use harden_agent::observation::{Observation, Operation};
use harden_tests::{Agent, Setup, deeds::Workshop, met};

fn setup<'a>(include: &'a [&'a str], state: &'a str) -> Setup<'a> {
    Setup {
        include,
        state,
        beside: true,
        ..Setup::default()
    }
}

/// The bytes of the units' files.
fn size(agent: &Agent) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(agent.state().join("units"))? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

/// The paths in which something was made.
fn made(observation: &Observation) -> BTreeSet<String> {
    let programs = observation
        .runs
        .values()
        .flat_map(|run| run.executables.values());
    let files = programs.flat_map(|program| &program.files);
    let written = files.filter(|(_, file)| file.operations.operations().any(Operation::writes));
    written.map(|(path, _)| path.to_string()).collect()
}

fn files(observation: &Observation) -> usize {
    let programs = observation
        .runs
        .values()
        .flat_map(|run| run.executables.values());
    programs.map(|program| program.files.len()).sum()
}

fn lost(observation: &Observation) -> Vec<String> {
    let kinds = observation.runs.values().flat_map(|run| run.losses.keys());
    kinds.map(|kind| kind.as_str().to_owned()).collect()
}

#[test]
fn a_unit_with_too_many_files_has_their_directories() -> Result<()> {
    const LIMIT: u64 = 262_144;
    if !met("a_unit_with_too_many_files_has_their_directories", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let state = format!("compact_every = \"1s\"\nmax_per_unit = {LIMIT}");
    let mut agent = Agent::start(&setup(&["large-*"], &state))?;
    workshop.run("large-beside.service", 0, 20, Duration::ZERO)?;
    for run in 0..6 {
        workshop.run("large-one.service", run * 900, 900, Duration::ZERO)?;
    }
    let directory = workshop.files().to_string_lossy().into_owned();
    let seen = agent.until(|agent| {
        let observation = agent.snapshot("large-one.service")?;
        let made = made(&observation);
        let some: Vec<_> = made.iter().take(5).collect();
        ensure!(made.contains(&directory), "no {directory} in {some:?}");
        ensure!(files(&observation) < 2000, "{} files", files(&observation));
        let stem = agent.state().join("units/large-one.service");
        let bytes = |ending: &str| {
            fs::metadata(stem.with_added_extension(ending)).map_or(0, |file| file.len())
        };
        let bytes = bytes("json") + bytes("added");
        ensure!(bytes > 0 && bytes <= LIMIT, "{bytes} bytes");
        Ok(observation)
    })?;
    assert!(lost(&seen).is_empty(), "{:?}", lost(&seen));
    let log = agent.log();
    assert!(
        log.contains("large-one.service: its record has no room"),
        "{log}"
    );
    // It goes on being recorded, and its neighbour has all its names.
    workshop.run("large-one.service", 0, 5, Duration::ZERO)?;
    agent.until(|agent| {
        let now = agent.snapshot("large-one.service")?;
        let last = |observation: &Observation| observation.runs.values().map(|run| run.ended).max();
        ensure!(last(&now) > last(&seen), "nothing new");
        Ok(())
    })?;
    let beside = agent.snapshot("large-beside.service")?;
    let names = (0..20).map(|number| format!("{directory}/{number}"));
    let names: BTreeSet<String> = names.collect();
    assert!(names.is_subset(&made(&beside)), "{:?}", made(&beside));
    Ok(())
}

#[test]
fn units_beyond_the_limit_share_a_record() -> Result<()> {
    if !met("units_beyond_the_limit_share_a_record", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&setup(
        &["many-*"],
        "compact_every = \"1s\"\nmax_units = 10",
    ))?;
    for number in 0..30 {
        let unit = format!("many-{number}.service");
        workshop.run(&unit, number * 10, 10, Duration::ZERO)?;
    }
    let directory = workshop.files().to_string_lossy().into_owned();
    let shared = agent.until(|agent| {
        let units = agent.units()?;
        ensure!(units.len() == 11, "{} units", units.len());
        let mut found = BTreeSet::new();
        for unit in &units {
            found.extend(made(&agent.snapshot(&unit.unit.to_string())?));
        }
        let missing = (0..300).find(|number| !found.contains(&format!("{directory}/{number}")));
        ensure!(missing.is_none(), "{missing:?} is in no record");
        agent.snapshot("others.slice")
    })?;
    assert_eq!(shared.runs.len(), 20);
    let limits = agent.status()?.limits;
    assert!(
        limits
            .iter()
            .any(|limit| limit.starts_with("state.max_units: ")),
        "{limits:?}"
    );
    let text = agent.say(&["status"])?;
    assert!(text.contains("limit reached: state.max_units"), "{text}");
    // There is room again.
    agent.say(&["forget", "many-?.service"])?;
    workshop.run("many-new.service", 0, 10, Duration::ZERO)?;
    agent.until(|agent| {
        let observation = agent.snapshot("many-new.service")?;
        ensure!(observation.runs.len() == 1, "{:?}", observation.runs.keys());
        let stem = agent.state().join("units/many-new.service.json");
        ensure!(stem.exists(), "{}", stem.display());
        Ok(())
    })
}

#[test]
fn all_units_together_have_room_for_so_much() -> Result<()> {
    const LIMIT: u64 = 700_000;
    if !met("all_units_together_have_room_for_so_much", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let state = format!("compact_every = \"1s\"\nmax_total = {LIMIT}\nmax_units = 10");
    let mut agent = Agent::start(&setup(&["total-*"], &state))?;
    workshop.run("total-small.service", 0, 20, Duration::ZERO)?;
    for number in 0..4 {
        let unit = format!("total-{number}.service");
        for run in 0..3 {
            workshop.run(&unit, run * 500, 500, Duration::ZERO)?;
        }
    }
    let directory = workshop.files().to_string_lossy().into_owned();
    agent.until(|agent| {
        for number in 0..4 {
            let observation = agent.snapshot(&format!("total-{number}.service"))?;
            ensure!(!made(&observation).is_empty(), "{number}: nothing");
        }
        let bytes = size(agent)?;
        ensure!(bytes > 100_000 && bytes <= LIMIT, "{bytes} bytes");
        let folded = (0..4).filter(|number| {
            let observation = agent.snapshot(&format!("total-{number}.service"));
            observation.is_ok_and(|observation| made(&observation).contains(&directory))
        });
        ensure!(folded.count() > 0, "none was made smaller");
        Ok(())
    })?;
    let small = made(&agent.snapshot("total-small.service")?);
    let names = (0..20).map(|number| format!("{directory}/{number}"));
    assert!(
        names.collect::<BTreeSet<_>>().is_subset(&small),
        "{small:?}"
    );
    Ok(())
}
