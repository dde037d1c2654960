//! A unit that floods the agent with names, and its neighbours: theirs is whole, or marked with what they lost
//! themselves, and the agent stays small.
//!
//! Floods of six seconds here, which take about half a minute with what follows them; of a minute in `cargo xtask soak`,
//! beside 40 units that last, and 60 every three seconds that do not.

mod flood;
mod kills;
mod whole;

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use harden_agent::observation::{Observation, Text};
use harden_tests::{
    Agent, Setup, as_patient,
    deeds::{Then, Workshop},
    is_emulated, met, observed,
    usage::{processor, status},
};

use self::{
    flood::{CGROUPS, COPIES, FLOOD, FORKS, Flood},
    whole::{DEEDS, has_all, is_marked_or_whole},
};

/// The most memory that the agent may take, in KiB.
const MEMORY: u64 = 150 << 10;

/// What a program may send at once, and each second; all programs of a unit together as much as so many.
const SHARES: u64 = 8;
const AT_ONCE: u64 = 2000;
const PER_SECOND: u64 = 100;

/// How long a question may take meanwhile. Alone on two processors it is a fifth of that.
const ANSWER: Duration = Duration::from_secs(1);
/// The same of the list of hundreds of units.
const LIST: Duration = Duration::from_secs(3);

/// How long things take, and how many there are.
struct Course {
    flood: Duration,
    /// Neighbours that begin with the flood, and are slow.
    long: usize,
    /// Short ones that begin at once,
    short: usize,
    /// as often as this, or when those before them are gone.
    every: Duration,
    /// Within so long after it the agent rests,
    rest: Duration,
    /// which is to take no more than this share of a processor,
    load: f64,
    /// as long as this.
    measured: Duration,
}

/// Some seconds, or what `HARDEN_FLOOD_SECONDS` says.
fn course() -> Result<Course> {
    Ok(match env::var("HARDEN_FLOOD_SECONDS") {
        Ok(seconds) => Course {
            flood: Duration::from_secs(seconds.parse()?),
            long: 40,
            short: 60,
            every: Duration::from_secs(3),
            rest: Duration::from_secs(30),
            load: 0.01,
            measured: Duration::from_secs(5),
        },
        Err(_) => Course {
            flood: Duration::from_secs(6),
            long: 10,
            short: 10,
            every: Duration::ZERO,
            rest: Duration::from_secs(20),
            load: 0.02,
            measured: Duration::from_secs(1),
        },
    })
}

/// The agent comes to rest within the time that it has.
fn rests(pid: u32, course: &Course) -> Result<()> {
    let begun = Instant::now();
    loop {
        let (at, before) = (begun.elapsed(), processor(pid)?);
        thread::sleep(course.measured);
        let load = (processor(pid)? - before) / course.measured.as_secs_f64();
        if load <= course.load {
            println!(
                "at rest {at:.1?} later: {:.2} % of a processor",
                load * 100.0
            );
            return Ok(());
        }
        ensure!(at < as_patient(course.rest), "{load} of a processor");
    }
}

/// How long the slowest answers took.
#[derive(Debug, Default)]
struct Slowest {
    status: Duration,
    units: Duration,
}

impl Slowest {
    fn ask(&mut self, agent: &Agent) -> Result<()> {
        let asked = Instant::now();
        agent.status()?;
        self.status = self.status.max(asked.elapsed());
        let asked = Instant::now();
        agent.units()?;
        self.units = self.units.max(asked.elapsed());
        Ok(())
    }
}

/// A unit, and the first of its deeds.
type Neighbour = (String, usize);

/// Units that begin at once; returns when they are gone.
fn burst(workshop: &Workshop, neighbours: &[Neighbour]) -> Result<()> {
    let begin = |(name, first): &Neighbour| {
        let unit = workshop.unit(name)?;
        let child = workshop.begin(&unit, *first, DEEDS, Duration::ZERO, Then::End)?;
        Ok((child, unit))
    };
    let running: Vec<_> = neighbours.iter().map(begin).collect::<Result<_>>()?;
    for (mut child, unit) in running {
        ensure!(child.wait()?.success());
        drop(unit);
    }
    Ok(())
}

#[test]
fn a_flood_of_names_takes_nothing_from_its_neighbours() -> Result<()> {
    if !met(
        "a_flood_of_names_takes_nothing_from_its_neighbours",
        &["sh", "python3"],
    ) {
        return Ok(());
    }
    let flooded = beside(FLOOD, "")?;
    let lost = flooded.losses();
    assert!(lost.contains_key("over-share"), "{lost:?}");
    Ok(())
}

#[test]
fn a_flood_of_programs_takes_nothing_from_its_neighbours() -> Result<()> {
    if !met(
        "a_flood_of_programs_takes_nothing_from_its_neighbours",
        &["sh", "python3"],
    ) {
        return Ok(());
    }
    beside(FORKS, "").map(drop)
}

#[test]
fn a_flood_of_other_programs_and_cgroups_takes_nothing_from_its_neighbours() -> Result<()> {
    if !met(
        "a_flood_of_other_programs_and_cgroups_takes_nothing_from_its_neighbours",
        &["sh", "python3", "cat"],
    ) {
        return Ok(());
    }
    let kernel = format!("slots = 384\npaths_at_once = {AT_ONCE}\npaths_per_second = {PER_SECOND}");
    let flooded = beside(COPIES, &kernel)?;
    let lost = flooded.losses();
    // Each program is a slot, and more of them ran than the flood has slots.
    assert!(lost.contains_key("slots-exhausted"), "{lost:?}");
    assert!(lost.contains_key("over-share"), "{lost:?}");
    // So many shares for all of them, however many there are.
    let names = flooded.names("/flood-");
    let share = SHARES * (AT_ONCE + PER_SECOND * (flooded.lasted.as_secs() + 1));
    println!(
        "the flood sent {names} of its names in {:?}; its share is {share}",
        flooded.lasted
    );
    assert!(names > 0 && names <= share, "{names} of {share}");
    Ok(())
}

#[test]
fn a_flood_of_cgroups_takes_nothing_from_its_neighbours() -> Result<()> {
    if !met(
        "a_flood_of_cgroups_takes_nothing_from_its_neighbours",
        &["sh", "python3"],
    ) {
        return Ok(());
    }
    // With what the machine has, the flood's alone would fill the table.
    let flooded = beside(CGROUPS, "cgroups = 300")?;
    let lost = flooded.losses();
    assert!(lost.contains_key("cgroups-full"), "{lost:?}");
    Ok(())
}

/// What became of a flood.
struct Flooded {
    observation: Observation,
    lasted: Duration,
}

impl Flooded {
    /// What its run lost.
    fn losses(&self) -> BTreeMap<&str, u64> {
        let run = self.observation.runs.values().next();
        run.map(observed::losses).unwrap_or_default()
    }

    /// How many names that begin with `prefix` are known of its programs.
    fn names(&self, prefix: &str) -> u64 {
        let runs = self.observation.runs.values();
        let programs = runs.flat_map(|run| run.executables.values());
        let names = programs.flat_map(|facts| facts.files.keys());
        let is_meant = |name: &&Text| name.as_bytes().starts_with(prefix.as_bytes());
        names.filter(is_meant).count() as u64
    }
}

/// Has neighbours work beside the flood that `script` makes, with `kernel` in the agent's configuration.
fn beside(script: &str, kernel: &str) -> Result<Flooded> {
    let mut agent = Agent::start(&Setup {
        include: &["neighbour-*"],
        state: "compact_every = '3s'",
        kernel,
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let pid = agent.status()?.pid;
    let course = course()?;
    let (calm_memory, calm) = (status(pid, "VmRSS:")?, processor(pid)?);
    let mut next = (0..).step_by(DEEDS);
    let mut long = Vec::new();
    let flood = Flood::begin(&workshop, "neighbour-flood.service", script)?;
    let begun = Instant::now();
    for (number, first) in next.by_ref().take(course.long).enumerate() {
        let name = format!("neighbour-long-{number}.service");
        let unit = workshop.unit(&name)?;
        let child = workshop.begin(&unit, first, DEEDS, Duration::from_millis(300), Then::End)?;
        long.push((child, unit, (name, first)));
    }
    let mut short: Vec<Neighbour> = Vec::new();
    let mut slowest = Slowest::default();
    while begun.elapsed() < course.flood {
        let round_begun = Instant::now();
        let numbered = (short.len()..).zip(next.by_ref()).take(course.short);
        let named =
            numbered.map(|(number, first)| (format!("neighbour-short-{number}.service"), first));
        let round: Vec<Neighbour> = named.collect();
        burst(&workshop, &round)?;
        short.extend(round);
        slowest.ask(&agent)?;
        thread::sleep(course.every.saturating_sub(round_begun.elapsed()));
    }
    let taken = processor(pid)? - calm;
    let mut neighbours = Vec::new();
    for (mut child, unit, neighbour) in long {
        ensure!(child.wait()?.success());
        drop(unit);
        neighbours.push(neighbour);
    }
    drop(flood);
    let lasted = begun.elapsed();
    let most = status(pid, "VmHWM:")?;
    println!(
        "{} short units beside a flood of {:.1?}; the agent: {calm_memory} KiB before, {most} KiB at most, {taken:.1} s of a processor; \
         the slowest answers: {slowest:?}",
        short.len(),
        lasted,
    );
    let all = short.len() + neighbours.len() + 1;
    agent.until(|agent| {
        let (known, status) = (agent.units()?.len(), agent.status()?);
        ensure!(known == all, "{known} of {all} units");
        ensure!(status.slots_used == 0, "{} slots in use", status.slots_used);
        Ok(())
    })?;
    rests(pid, &course)?;
    // An emulated machine's processors are busy with the flood: how fast it is says nothing of the agent.
    let is_quick = slowest.status < ANSWER && slowest.units < LIST;
    assert!(is_quick || is_emulated(), "{slowest:?}");
    let losses = agent.status()?.losses;
    // Where the kernel skips a program, as emulated ones do, nobody knows whose call that was, and all are marked: then it
    // counts that a neighbour has all that it did.
    let skips = is_emulated() && losses.keys().any(|kind| kind.starts_with("skipped-"));
    let mut whole = 0;
    neighbours.extend(short);
    for (name, first) in &neighbours {
        let observation = agent.snapshot(name)?;
        let is_whole = is_marked_or_whole(&observation, &workshop, *first)?;
        whole += usize::from(is_whole || skips && has_all(&observation, &workshop, *first));
    }
    println!("{whole} of {} neighbours are whole", neighbours.len());
    println!("lost in all: {losses:?}");
    // Where the agent is many times as slow as the flood, a neighbour may lose some of its facts; it is marked then.
    let wanted = if is_emulated() {
        neighbours.len() * 9 / 10
    } else {
        neighbours.len()
    };
    assert!(whole >= wanted, "{whole} of {}", neighbours.len());
    assert!(most < MEMORY, "{most} KiB");
    let flooded = Flooded {
        observation: agent.snapshot("neighbour-flood.service")?,
        lasted,
    };
    println!("the flood lost {:?}", flooded.losses());
    Ok(flooded)
}
