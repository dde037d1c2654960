//! The agent is killed again and again beside a flood, with room on its disk and without: nine seconds each.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use harden_tests::{Agent, Setup, Small, deeds::Workshop, met, observed};
use nix::sys::signal::Signal;

use super::{
    Neighbour,
    flood::{FLOOD, Flood},
    whole::{DEEDS, has_all, is_marked_or_whole},
};

/// Kills of one agent after the other.
const KILLS: u32 = 5;
/// Units whose files are on disk before the flood.
const BEFORE: usize = 5;
/// What the deeds of those beside the flood begin with.
const FIRST: usize = 1_000;

/// Units that were recorded, and are in files.
fn before(agent: &mut Agent, workshop: &Workshop) -> Result<Vec<Neighbour>> {
    let mut units = Vec::new();
    for number in 0..BEFORE {
        let (name, first) = (format!("neighbour-before-{number}.service"), number * DEEDS);
        workshop.run(&name, first, DEEDS, Duration::ZERO)?;
        units.push((name, first));
    }
    agent.until(|agent| on_disk(agent.state(), workshop, &units))?;
    Ok(units)
}

/// All that these did is in their files.
fn on_disk(state: &Path, workshop: &Workshop, units: &[Neighbour]) -> Result<()> {
    for (name, first) in units {
        let observation = observed::stored(state, name)?;
        ensure!(has_all(&observation, workshop, *first), "{name}");
    }
    Ok(())
}

/// Has units come and go as long as `meanwhile` lasts.
fn work_while(
    workshop: &Workshop,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Vec<Neighbour>> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let hand = scope.spawn(|| -> Result<Vec<Neighbour>> {
            let mut units = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let (number, first) = (units.len(), FIRST + units.len() * DEEDS);
                let name = format!("neighbour-short-{number}.service");
                workshop.run(&name, first, DEEDS, Duration::ZERO)?;
                units.push((name, first));
                thread::sleep(Duration::from_millis(30));
            }
            Ok(units)
        });
        let result = meanwhile();
        over.store(true, Ordering::Relaxed);
        let units = hand.join();
        let units = units.map_err(|_| anyhow::anyhow!("the hand panicked"))??;
        result.map(|()| units)
    })
}

/// How many neighbours are whole, marked, and not known.
#[derive(Debug, Default)]
struct Left {
    whole: usize,
    marked: usize,
    unknown: usize,
}

impl Left {
    fn count(agent: &Agent, workshop: &Workshop, neighbours: &[Neighbour]) -> Result<Self> {
        let mut left = Self::default();
        // Of one that was in memory alone, the cgroup may be known still, and nothing that was done in it.
        let units = agent.units()?.into_iter();
        let known = units.filter(|unit| !unit.executables.is_empty());
        let known: BTreeSet<String> = known.map(|unit| unit.unit.to_string()).collect();
        for (name, first) in neighbours {
            if !known.contains(name) {
                left.unknown += 1;
            } else if is_marked_or_whole(&agent.snapshot(name)?, workshop, *first)? {
                left.whole += 1;
            } else {
                left.marked += 1;
            }
        }
        Ok(left)
    }
}

/// Waits until nothing is wrong, and no unit is there.
fn settled(agent: &mut Agent) -> Result<()> {
    agent.until(|agent| {
        let status = agent.status()?;
        let (errors, used) = (status.errors, status.slots_used);
        ensure!(
            errors.is_empty() && used == 0,
            "{errors:?}, {used} slots in use"
        );
        Ok(())
    })
}

/// Kills the agent beside a flood. With a small disk, it is full then.
fn survive(small: Option<&Small>) -> Result<()> {
    let mut agent = Agent::start(&Setup {
        include: &["neighbour-*"],
        state: "compact_every = '1s'",
        parent: small.map(Small::path),
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let mut written = before(&mut agent, &workshop)?;
    let flood = Flood::begin(&workshop, "neighbour-flood.service", FLOOD)?;
    if let Some(small) = small {
        small.fill()?;
    }
    let mut slowest = Duration::ZERO;
    let short = work_while(&workshop, || {
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(fastrand::u64(100..400)));
            agent.end(Signal::SIGKILL)?;
            on_disk(agent.state(), &workshop, &written)?;
            thread::sleep(Duration::from_millis(fastrand::u64(0..200)));
            let begun = Instant::now();
            agent.begin(&[])?;
            slowest = slowest.max(begun.elapsed());
        }
        Ok(())
    })?;
    drop(flood);
    if let Some(small) = small {
        small.empty()?;
    }
    settled(&mut agent)?;
    let left = Left::count(&agent, &workshop, &short)?;
    let losses = agent.status()?.losses;
    println!(
        "of {} neighbours: {left:?}; the slowest start took {slowest:?}; lost: {losses:?}",
        short.len()
    );
    match small {
        None => ensure!(left.whole == short.len(), "{left:?}"),
        // What was in memory alone is gone, units that were nowhere else with it: it is counted.
        Some(_) => ensure!(
            left.unknown + left.marked == 0 || losses.contains_key("unwritten"),
            "{left:?}, {losses:?}"
        ),
    }

    // From now on it is as before.
    let after = ("neighbour-after.service".to_owned(), FIRST - DEEDS);
    workshop.run(&after.0, after.1, DEEDS, Duration::ZERO)?;
    written.push(after);
    agent.until(|agent| on_disk(agent.state(), &workshop, &written))?;
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    for (name, first) in &written {
        ensure!(has_all(&agent.snapshot(name)?, &workshop, *first), "{name}");
    }
    let again = Left::count(&agent, &workshop, &short)?;
    ensure!(
        again.whole == left.whole && again.unknown == left.unknown,
        "{again:?}, not {left:?}"
    );
    Ok(())
}

#[test]
fn five_kills_beside_a_flood() -> Result<()> {
    if !met("five_kills_beside_a_flood", &["sh", "python3"]) {
        return Ok(());
    }
    survive(None)
}

#[test]
fn five_kills_beside_a_flood_with_a_full_disk() -> Result<()> {
    if !met(
        "five_kills_beside_a_flood_with_a_full_disk",
        &["sh", "python3"],
    ) {
        return Ok(());
    }
    survive(Some(&Small::mount()?))
}
