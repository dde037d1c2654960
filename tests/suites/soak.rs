//! What weeks do to the agent, in seconds; with `HARDEN_SOAK_MINUTES`, which `cargo xtask soak` sets, in so many
//! minutes.

use std::{
    env, fs,
    io::Read as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{
    Agent, Setup,
    deeds::{Running, Then, Workshop},
    met,
    usage::{processor, status},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What the agent may take.
struct Limits {
    /// Resident memory, in KiB, whatever it observes.
    memory: u64,
    /// Its share of one processor.
    load: f64,
    /// KiB for each cgroup that has come and gone. A name that stays in the list of units takes half a one.
    growth: f64,
    /// Descriptors.
    leak: f64,
    /// After so many seconds the journal is folded, for which each slot is read; by default it is every five minutes.
    compact: u64,
    /// For so many seconds the load is measured: some rounds of that.
    measured: u64,
    /// At most so often: beside a guest the agent may still be at work when it is first looked at.
    rounds: u64,
}

const WEEK: Limits = Limits {
    memory: 20 << 10,
    load: 0.005,
    growth: 0.5,
    leak: 0.001,
    compact: 20,
    measured: 20,
    rounds: 1,
};

/// In seconds, and on a machine that does something else too, the noise is more than what is measured: a few
/// megabytes are needed once, and the first hundreds of cgroups find them.
const SECONDS: Limits = Limits {
    memory: 32 << 10,
    load: 0.05,
    growth: 40.0,
    leak: 0.02,
    compact: 3,
    measured: 6,
    rounds: 5,
};

fn limits() -> Result<Limits> {
    Ok(if minutes()?.is_some() { WEEK } else { SECONDS })
}

/// Units that run at once, each with sixty calls and sixty paths.
const UNITS: usize = 500;
const DEEDS: usize = 60;

/// What `HARDEN_SOAK_MINUTES` says.
fn minutes() -> Result<Option<u64>> {
    match env::var("HARDEN_SOAK_MINUTES") {
        Ok(minutes) => Ok(Some(minutes.parse()?)),
        Err(_) => Ok(None),
    }
}

fn memory(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The share of one processor that the agent takes for so long.
fn load(pid: u32, duration: Duration) -> Result<f64> {
    let (begun, before) = (Instant::now(), processor(pid)?);
    thread::sleep(duration);
    Ok((processor(pid)? - before) / begun.elapsed().as_secs_f64())
}

/// Takes nothing in what it does not need: what is told is what was asked for last.
fn settled(agent: &mut Agent, compact: u64) -> Result<u32> {
    let pid = agent.status()?.pid;
    let mut last = 0;
    agent.until(|agent| {
        let events = agent.status()?.events;
        let is_same = events == std::mem::replace(&mut last, events);
        thread::sleep(Duration::from_millis(500));
        ensure!(is_same, "{events} events and more");
        Ok(())
    })?;
    // And what was in memory is on disk, for which the agent is given two rounds: the older journals are gone.
    thread::sleep(Duration::from_secs(compact + 2));
    agent.until(|agent| {
        let journals = journals(agent)?;
        ensure!(journals == 1, "{journals} journals");
        Ok(())
    })?;
    Ok(pid)
}

/// The files of the journal: more than one while what the older ones have is being written.
fn journals(agent: &Agent) -> Result<usize> {
    let mut number = 0;
    for entry in fs::read_dir(agent.state())? {
        let name = entry?.file_name();
        number += usize::from(name.as_encoded_bytes().starts_with(b"journal."));
    }
    Ok(number)
}

#[test]
fn five_hundred_units_take_little_memory_and_no_time() -> Result<()> {
    let test = "five_hundred_units_take_little_memory_and_no_time";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    let limits = limits()?;
    let mut agent = Agent::start(&Setup {
        include: &["soak-*"],
        state: &format!("compact_every = '{}s'", limits.compact),
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let pid = agent.status()?.pid;
    println!("at the start: {} KiB", memory(pid)?);
    let mut running = Running::default();
    for number in 0..UNITS {
        let unit = workshop.unit(&format!("soak-{number}.service"))?;
        let child = workshop.begin(&unit, 0, DEEDS, Duration::ZERO, Then::Stay)?;
        running.0.push((child, unit));
        // As quick as a machine boots. Any faster, and a slow one's ring buffer is full.
        thread::sleep(Duration::from_millis(10));
    }
    settled(&mut agent, limits.compact)?;
    println!(
        "the most: {} KiB; {:.2} s of a processor",
        status(pid, "VmHWM:")?,
        processor(pid)?
    );
    let mut rounds = limits.rounds;
    let (used, idle) = loop {
        let used = memory(pid)?;
        let idle = load(pid, Duration::from_secs(limits.measured))?;
        println!(
            "{UNITS} units: {used} KiB, {:.3} % of a processor",
            idle * 100.0
        );
        rounds -= 1;
        if rounds == 0 || (used < limits.memory && idle < limits.load) {
            break (used, idle);
        }
    };
    let summaries = agent.units()?;
    assert_eq!(summaries.len(), UNITS);
    for unit in &summaries {
        assert!(unit.calls >= 55 && unit.paths >= 60, "{unit:?}");
        assert!(unit.losses.is_empty(), "{unit:?}");
    }
    assert!(used < limits.memory, "{used} KiB");
    assert!(idle < limits.load, "{idle}");

    // The next one has as much to take over.
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    let pid = settled(&mut agent, limits.compact)?;
    let used = memory(pid)?;
    println!("taken over: {used} KiB");
    assert!(used < limits.memory, "{used} KiB");
    Ok(())
}

#[test]
fn half_a_million_calls_a_second_take_no_time() -> Result<()> {
    let test = "half_a_million_calls_a_second_take_no_time";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    let mut agent = Agent::start(&Setup {
        include: &["soak-*"],
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let mut running = Running::default();
    for number in 0..2 {
        let unit = workshop.unit(&format!("soak-{number}.service"))?;
        let child = workshop.begin(&unit, 0, DEEDS, Duration::ZERO, Then::Spin)?;
        running.0.push((child, unit));
    }
    let begun = Instant::now();
    let limits = limits()?;
    // Nothing is compacted meanwhile: that is for every five minutes.
    let pid = settled(&mut agent, 0)?;
    let load = load(pid, Duration::from_secs(limits.measured))?;
    let mut calls = 0;
    for (child, _) in &mut running.0 {
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        let mut made = String::new();
        let output = child.stdout.as_mut().context("a pipe")?;
        output.read_to_string(&mut made)?;
        calls += made.trim().parse::<u32>()?;
    }
    let rate = f64::from(calls) / begun.elapsed().as_secs_f64();
    println!(
        "{rate:.0} calls a second: {:.3} % of a processor",
        load * 100.0
    );
    assert!(rate > 500_000.0, "{rate}");
    assert!(load < limits.load, "{load}");
    Ok(())
}

/// Least squares: by how much the second of each pair grows for one of the first.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let products: f64 = samples.iter().map(|one| (one.0 - x) * (one.1 - y)).sum();
    let squares: f64 = samples.iter().map(|one| (one.0 - x).powi(2)).sum();
    products / squares
}

#[test]
fn what_comes_and_goes_leaves_nothing() -> Result<()> {
    let test = "what_comes_and_goes_leaves_nothing";
    if !met(test, &["sh"]) {
        return Ok(());
    }
    // A week has 10,000 cgroups.
    let minutes = minutes()?;
    let (cgroups, patience) = match minutes {
        Some(minutes) => (10_000_usize, Duration::from_secs(minutes * 60)),
        None => (600, Duration::ZERO),
    };
    let mut agent = Agent::start(&Setup {
        include: &["soak-*"],
        state: "compact_every = '3s'\nkeep_invocations = 20",
        runs: "window = '1s'",
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let pid = agent.status()?.pid;
    let mut samples = Vec::new();
    let begun = Instant::now();
    let mut last_sample = Instant::now();
    for number in 0..cgroups {
        // One of fifty units restarts, the next is one that nobody has seen before.
        let name = match number % 2 {
            0 => format!("soak-{}.service", number / 2 % 50),
            _ => format!("soak-once-{number}.service"),
        };
        let pause = Duration::from_millis(u64::from(number % 5 == 0));
        workshop.run(&name, number % 40, 10, pause)?;
        if number % 100 == 0 {
            agent.say(&["mark", &format!("case {number}")])?;
        } else if number % 100 == 50 {
            agent.say(&["mark", "--end"])?;
        }
        // In seconds there are two: what it has while it works goes up and down by more than stays.
        let is_due = match minutes {
            Some(_) => last_sample.elapsed() > Duration::from_secs(1),
            None => number == cgroups / 3,
        };
        if is_due {
            last_sample = Instant::now();
            if minutes.is_none() {
                settled(&mut agent, 3)?;
            }
            samples.push((number, memory(pid)?, descriptors(pid)?));
        }
        // Spread over the time there is.
        let due = patience
            .mul_f64(f64::from(u32::try_from(number)?) / f64::from(u32::try_from(cgroups)?));
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    settled(&mut agent, 3)?;
    if minutes.is_none() {
        samples.push((cgroups, memory(pid)?, descriptors(pid)?));
    }
    for sample in samples.iter().step_by(samples.len().div_ceil(20).max(1)) {
        println!(
            "{} cgroups: {} KiB, {} descriptors",
            sample.0, sample.1, sample.2
        );
    }
    // What is needed once is there by then. What is needed for a moment goes up and down by megabytes: the least of
    // each stretch is what stays.
    let late = &samples[samples.len() / 3..];
    let stretch = late.len().div_ceil(20).max(1);
    let growth = |of: fn(&(usize, u64, usize)) -> f64| -> Result<f64> {
        let least = late.chunks(stretch).filter_map(|samples| {
            let order = |one: &&_, other: &&_| of(one).total_cmp(&of(other));
            samples.iter().min_by(order)
        });
        let pairs = least.map(|sample| Ok((f64::from(u32::try_from(sample.0)?), of(sample))));
        Ok(slope(&pairs.collect::<Result<Vec<_>>>()?))
    };
    #[expect(clippy::cast_precision_loss)]
    let memory_growth = growth(|sample| sample.1 as f64)?;
    #[expect(clippy::cast_precision_loss)]
    let descriptor_growth = growth(|sample| sample.2 as f64)?;
    println!(
        "a cgroup takes {memory_growth:.3} KiB and {descriptor_growth:.5} descriptors for good"
    );
    let status = agent.status()?;
    println!("{} slots in use, {} KiB", status.slots_used, memory(pid)?);
    // What comes to be in the machine beside these is observed for a moment.
    agent.until(|agent| {
        let used = agent.status()?.slots_used;
        ensure!(used == 0, "{used} slots in use");
        Ok(())
    })?;
    let limits = limits()?;
    assert!(memory_growth < limits.growth, "{memory_growth} KiB");
    assert!(descriptor_growth < limits.leak, "{descriptor_growth}");
    assert!(memory(pid)? < limits.memory);
    let units = agent.units()?;
    assert_eq!(units.len(), 50 + cgroups / 2);
    assert!(units.iter().all(|unit| unit.losses.is_empty()));
    Ok(())
}
