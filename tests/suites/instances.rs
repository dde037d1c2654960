//! Units without end: of thousands of short instances, transient units and sessions, the agent keeps no more than of the
//! first hundreds.
//!
//! 600 of them here, in about fifteen seconds; as many as `HARDEN_INSTANCES` says in `cargo xtask soak`: 20,000 in about
//! four minutes.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Scratch, Setup, deeds::Workshop, met, observed, usage};

/// What the machine names itself has numbers from here on: none that a machine has given already.
const FIRST: usize = 90_000_000;
/// What each of them does.
const DEEDS: usize = 5;

/// A hundred instances, what the others are kept under, the program of the transient units, and the sessions.
const KEPT: usize = 103;
/// Of so many runs that were folded into one, the agent knows the identifiers.
const FOLDED: usize = 1000;
/// How often the journal is folded.
const COMPACT: Duration = Duration::from_secs(1);

/// How long the list of units and the page of figures may take. Alone on two processors it is a fifth of that.
const ANSWER: Duration = Duration::from_secs(1);

/// How many there are, and how often what is kept is looked at.
struct Course {
    instances: usize,
    samples: usize,
    /// By how many KiB the agent may grow after the first sample.
    growth: u64,
    /// How long the agent is left alone before its memory is looked at: at rest it gives back what is free. What it uses
    /// is about a megabyte; the rest is fragments of the allocator's, whose number goes with the largest round before.
    rest: Duration,
}

fn course() -> Result<Course> {
    Ok(match env::var("HARDEN_INSTANCES") {
        Ok(instances) => Course {
            instances: instances.parse().context("HARDEN_INSTANCES")?,
            samples: 20,
            growth: 4 << 10,
            rest: Duration::from_secs(5),
        },
        Err(_) => Course {
            instances: 600,
            samples: 2,
            growth: 4 << 10,
            rest: Duration::ZERO,
        },
    })
}

/// The name of one of them: most are instances, of which the agent keeps a hundred apart.
fn name(number: usize) -> String {
    match number % 6 {
        4 => format!("run-u{}.service", FIRST + number),
        5 => format!("session-{}.scope", FIRST + number),
        _ => format!("endless@{number}.service"),
    }
}

/// What is kept.
#[derive(Debug)]
struct Kept {
    /// Bytes in the state directory.
    disk: u64,
    /// Files there.
    files: usize,
    /// Resident memory of the agent, in KiB.
    memory: u64,
    /// Bytes of the page of figures.
    page: usize,
    /// How long the list and the page took.
    list: Duration,
}

impl Kept {
    /// Looks once everything is written, and nothing is left to be done.
    fn look(agent: &mut Agent, metrics: &Path, rest: Duration) -> Result<Self> {
        let pid = settled(agent)?;
        thread::sleep(rest);
        let memory = usage::status(pid, "VmRSS:")?;
        let mut disk = 0;
        let mut files = 0;
        for directory in [agent.state().to_owned(), agent.state().join("units")] {
            for entry in fs::read_dir(directory)? {
                let metadata = entry?.metadata()?;
                if metadata.is_file() {
                    disk += metadata.len();
                    files += 1;
                }
            }
        }
        let asked = Instant::now();
        agent.units()?;
        let page = page(metrics)?.len();
        Ok(Self {
            list: asked.elapsed(),
            disk,
            files,
            memory,
            page,
        })
    }
}

/// The agent's figures, as a collector gets them.
fn page(metrics: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(metrics).context("no figures")?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with("HTTP/1.0 200"), "{text}");
    Ok(text)
}

/// Waits until no unit is there, and all that was recorded is in the files that are kept.
fn settled(agent: &mut Agent) -> Result<u32> {
    agent.until(|agent| {
        let (status, units) = (agent.status()?, agent.units()?.len());
        let journals = journals(agent)?;
        ensure!(
            status.slots_used == 0 && journals == 1 && units == KEPT,
            "{} slots, {journals} journals, {units} units",
            status.slots_used
        );
        Ok(())
    })?;
    // The journal has what was written still: it is folded once more.
    thread::sleep(COMPACT * 2);
    agent.until(|agent| {
        let journals = journals(agent)?;
        ensure!(journals == 1, "{journals} journals");
        Ok(())
    })?;
    Ok(agent.status()?.pid)
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
fn after_the_first_hundreds_nothing_grows() -> Result<()> {
    if !met("after_the_first_hundreds_nothing_grows", &["sh"]) {
        return Ok(());
    }
    let course = course()?;
    let directory = Scratch::new(Path::new("/run"))?;
    let metrics = directory.path().join("metrics");
    let mut agent = Agent::start(&Setup {
        include: &[
            "endless@*",
            "run-u9???????.service",
            "session-9???????.scope",
        ],
        state: &format!(
            "compact_every = '{}s'\nkeep_invocations = 20",
            COMPACT.as_secs()
        ),
        metrics: Some(&metrics),
        ..Setup::default()
    })?;
    let workshop = Workshop::new()?;
    let begun = Instant::now();
    let mut samples = Vec::new();
    for number in 0..course.instances {
        workshop.run(&name(number), 0, DEEDS, Duration::ZERO)?;
        if (number + 1) % (course.instances / course.samples) == 0 {
            let kept = Kept::look(&mut agent, &metrics, course.rest)?;
            println!("{} after {:.1?}: {kept:?}", number + 1, begun.elapsed());
            samples.push(kept);
        }
    }
    let first = samples.first().context("no sample")?;
    let last = samples.last().context("no sample")?;
    let is_flat = |first: usize, last: usize| last <= first + first / 10;
    ensure!(is_flat(first.page, last.page), "{first:?} {last:?}");
    // A record is written whole again once as much was added to it.
    ensure!(
        last.disk <= 2 * first.disk && last.files <= 2 * KEPT + 3,
        "{first:?} {last:?}"
    );
    ensure!(last.list < ANSWER, "{last:?}");
    ensure!(
        last.memory <= first.memory + course.growth,
        "{first:?} {last:?}"
    );

    // None of them is lost in silence: each is a run of what it is kept under, or was folded into one.
    let (mut runs, mut is_counted) = (0, true);
    for observation in agent.snapshots(&["--all"])? {
        for run in observation.runs.values() {
            runs += 1 + run.stands_for.len();
            is_counted &= run.stands_for.len() < FOLDED;
            ensure!(observed::losses(run).is_empty(), "{}", observation.name);
        }
    }
    ensure!(
        runs == course.instances || !is_counted && runs > FOLDED,
        "{runs} runs"
    );
    Ok(())
}
