//! What the agent itself takes: processor time at rest, for calls and for new facts, and memory.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{
    Agent, Setup,
    deeds::{Running, Then, Unit},
    usage,
};

use crate::{
    effort::Effort,
    held::enter,
    place::Place,
    workload::{read, run},
};

/// What each unit does, of which the agent keeps the memory: as many paths, and about as many calls.
pub const DEEDS: usize = 20;

/// The agent's default of `kernel.slots`, `kernel.cgroups` and `state.max_units`; there are more where more are needed.
const TABLES: usize = 4096;

/// How often what is in memory is written.
const COMPACT: Duration = Duration::from_secs(3);

/// Processor time in nanoseconds, and memory in KiB.
pub struct Upkeep {
    /// Of a processor, without anything to do.
    pub rest: f64,
    /// For a million calls that it knows.
    pub million_calls: f64,
    /// For one path that it did not know.
    pub new_fact: f64,
    /// How many paths that were.
    pub facts: u64,
    /// How many more came faster than one unit may send them, and were counted as lost.
    pub lost: u64,
    /// Of an agent for each number of units.
    pub memory: Vec<Memory>,
}

/// Resident memory in KiB.
pub struct Memory {
    pub units: usize,
    /// Once everything is written, and what is free was given back.
    pub at_rest: u64,
    /// At the start the types of the kernel are read.
    pub most: u64,
}

/// Measures.
pub fn measure(place: &Place, effort: &Effort) -> Result<Upkeep> {
    let mut agent = start(TABLES)?;
    let pid = agent.status()?.pid;
    let watched = Duration::from_secs(effort.watched_seconds.into());
    settle(&mut agent)?;
    let begun = Clock::start(pid)?;
    thread::sleep(watched);
    let rest = begun.took(0.0)? / begun.passed();

    let (calls, took) = {
        let unit = place.workshop.unit("bench-calls.service")?;
        let begun = Clock::start(pid)?;
        let cost = measure_calls(place, &unit, watched)?;
        settle(&mut agent)?;
        (watched.as_secs_f64() * 1e9 / cost, begun.took(rest)?)
    };
    let (facts, lost, fact_time) = {
        let unit = place.workshop.unit("bench-facts.service")?;
        let begun = Clock::start(pid)?;
        measure_facts(place, &unit, effort)?;
        settle(&mut agent)?;
        let took = begun.took(rest)?;
        let (facts, lost) = paths(&agent, "bench-facts.service")?;
        (facts, lost, took)
    };
    Ok(Upkeep {
        rest,
        million_calls: took / calls * 1e6,
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        new_fact: fact_time / facts as f64,
        facts,
        lost,
        memory: {
            drop(agent);
            let memory = |&units| memory(place, units);
            effort.units.iter().map(memory).collect::<Result<_>>()?
        },
    })
}

/// An agent with room for so many units.
fn start(tables: usize) -> Result<Agent> {
    Agent::start(&Setup {
        include: &["bench-*.service"],
        state: &format!(
            "compact_every = '{}s'\nmax_units = {tables}",
            COMPACT.as_secs()
        ),
        kernel: &format!("slots = {tables}\ncgroups = {tables}"),
        ..Setup::default()
    })
}

/// The processor time of a process from some moment on.
struct Clock {
    pid: u32,
    begun: Instant,
    before: f64,
}

impl Clock {
    fn start(pid: u32) -> Result<Self> {
        Ok(Self {
            pid,
            begun: Instant::now(),
            before: processor(pid)?,
        })
    }

    /// Nanoseconds since then.
    fn passed(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1e9
    }

    /// Nanoseconds of a processor since then, without the share that the process takes at rest.
    fn took(&self, rest: f64) -> Result<f64> {
        let took = processor(self.pid)? - self.before;
        Ok((took - rest * self.passed()).max(0.0))
    }
}

/// Nanoseconds for one call.
fn measure_calls(place: &Place, unit: &Unit, watched: Duration) -> Result<f64> {
    let result = place.path("result");
    let mut command = enter(unit);
    command.args([&place.calls, &result]);
    command.args([watched.as_millis().to_string(), "1".to_owned()]);
    command.args([&place.files, &place.cgroup]).arg("getppid");
    run(&mut command)?;
    let figures = read(&result)?;
    figures.first().map(|figure| figure.1).context("no figure")
}

fn measure_facts(place: &Place, unit: &Unit, effort: &Effort) -> Result<()> {
    let mut command = enter(unit);
    command.args([&place.calls, &place.path("result")]);
    command.args(["1".to_owned(), effort.fact_directories().to_string()]);
    command.args([&place.facts, &place.cgroup]).arg("distinct");
    run(&mut command)
}

/// How many paths the agent has of a unit, and how much it has lost.
fn paths(agent: &Agent, name: &str) -> Result<(u64, u64)> {
    let units = agent.units()?;
    let unit = units.iter().find(|unit| unit.unit.to_string() == name);
    let unit = unit.with_context(|| format!("{name} is not observed"))?;
    let lost = unit.losses.values().sum();
    Ok((unit.paths, lost))
}

/// The memory of an agent that knows so many units, which all run.
fn memory(place: &Place, units: usize) -> Result<Memory> {
    let mut agent = start(TABLES.max((units * 2).next_power_of_two()))?;
    let mut running = Running::default();
    for number in 0..units {
        let unit = place.workshop.unit(&format!("bench-{number}.service"))?;
        let child = place
            .workshop
            .begin(&unit, 0, DEEDS, Duration::ZERO, Then::Stay)?;
        running.0.push((child, unit));
        // As quick as a machine boots.
        thread::sleep(Duration::from_millis(2));
    }
    settle(&mut agent)?;
    let known = agent.units()?.len();
    ensure!(known == units, "{known} units of {units}");
    thread::sleep(COMPACT * 3);
    let pid = agent.status()?.pid;
    let memory = Memory {
        units,
        at_rest: usage::status(pid, "VmRSS:")?,
        most: usage::status(pid, "VmHWM:")?,
    };
    println!("the agent's memory at {units} units was read");
    Ok(memory)
}

/// Waits until the agent has read all that there is, and has written it.
fn settle(agent: &mut Agent) -> Result<()> {
    let mut last = None;
    agent.until(|agent| {
        let events = Some(agent.status()?.events);
        let is_same = last == events;
        last = events;
        thread::sleep(Duration::from_millis(500));
        ensure!(is_same, "{events:?} events and more");
        Ok(())
    })?;
    thread::sleep(COMPACT + Duration::from_secs(1));
    Ok(())
}

/// Processor time of all threads so far, in nanoseconds. `/proc/PID/stat` counts it in hundredths of a second.
fn processor(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_processor: f64 = text.split(' ').next().context("schedstat")?.parse()?;
        nanoseconds += on_processor;
    }
    Ok(nanoseconds)
}
