//! Whatever ends the agent, at whatever moment, and whatever it finds when it begins again: nothing that the
//! kernel had recorded is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    maps::{HashMap, Map, MapData, Queue},
    programs::ProgramInfo,
};
use harden_agent::{
    agent::{CRASH_POINTS, request::KernelSide},
    observation::Observation,
};
use harden_common::{Observed, SLOT_INDEX, SlotKey};
use harden_tests::{
    Agent, Process, Setup,
    deeds::{Then, Workshop},
    harden, is_alive, met, observed, scaled,
};
use nix::sys::signal::Signal;

/// Hands that do deeds, each in units of its own.
const HANDS: usize = 3;
/// Deeds of one invocation.
const DEEDS: usize = 8;
/// Invocations of one unit.
const INVOCATIONS: usize = 8;
/// Between deeds, while the agent is being killed.
const PAUSE: Duration = Duration::from_millis(12);

const SETUP: Setup<'_> = Setup {
    include: &["survivor-*"],
    exclude: &[],
    // So that every step of a compaction is among what is cut off.
    state: "compact_every = '1s'\nkeep_invocations = 1000",
    kernel: "",
    runs: "",
    metrics: None,
    parent: None,
    beside: false,
};

/// What each invocation of each unit did. Which is which depends on the time, but not what they did.
type Done = BTreeMap<String, BTreeMap<BTreeSet<String>, usize>>;

fn done(observations: &[Observation]) -> Result<Done> {
    let mut done = Done::new();
    for observation in observations {
        let runs = done.entry(observation.name.to_string()).or_default();
        for run in observation.runs.values() {
            let losses = observed::losses(run);
            ensure!(losses.is_empty(), "{}: {losses:?}", observation.name);
            let facts = run
                .facts()
                .map(|fact| format!("{} {:?}", fact.executable, fact.what));
            *runs.entry(facts.collect()).or_default() += 1;
        }
    }
    Ok(done)
}

/// The first difference, for people.
fn difference(expected: &Done, found: &Done) -> Option<String> {
    if expected == found {
        return None;
    }
    for (unit, runs) in expected {
        let Some(others) = found.get(unit) else {
            return Some(format!("{unit} lacks"));
        };
        for facts in runs.keys() {
            if runs.get(facts) == others.get(facts) {
                continue;
            }
            let Some(near) = others
                .keys()
                .max_by_key(|other| other.intersection(facts).count())
            else {
                return Some(format!("{unit} has no run"));
            };
            let lacks: Vec<_> = facts.difference(near).collect();
            let more: Vec<_> = near.difference(facts).collect();
            return Some(format!(
                "{unit}: of {} and {} runs, one lacks {lacks:?} and has {more:?}",
                runs.values().sum::<usize>(),
                others.values().sum::<usize>()
            ));
        }
    }
    let more = found.keys().filter(|unit| !expected.contains_key(*unit));
    Some(format!("too much: {:?}", more.collect::<Vec<_>>()))
}

/// One invocation of a hand's: units come and go.
fn invoke(workshop: &Workshop, hand: usize, number: usize, pause: Duration) -> Result<()> {
    let unit = format!("survivor-{hand}-{}.service", number / INVOCATIONS);
    let first = (hand * 1_000_000) + number * DEEDS;
    workshop.run(&unit, first, DEEDS, pause)
}

/// Has all hands work while `meanwhile` goes on. Returns how many invocations each had.
fn work_while(workshop: &Workshop, meanwhile: impl FnOnce() -> Result<()>) -> Result<Vec<usize>> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let hand = |hand: usize| {
            let over = &over;
            scope.spawn(move || -> Result<usize> {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    invoke(workshop, hand, number, PAUSE)?;
                    number += 1;
                    thread::sleep(Duration::from_millis(fastrand::u64(0..40)));
                }
                Ok(number)
            })
        };
        let hands: Vec<_> = (0..HANDS).map(hand).collect();
        let result = meanwhile();
        over.store(true, Ordering::Relaxed);
        let mut numbers = Vec::new();
        for hand in hands {
            let number = hand.join();
            numbers.push(number.map_err(|_| anyhow::anyhow!("a hand panicked"))??);
        }
        result.map(|()| numbers)
    })
}

/// The same work again, for an agent that is left in peace.
fn undisturbed(workshop: &Workshop, numbers: &[usize]) -> Result<Done> {
    workshop.clear()?;
    let mut agent = Agent::start(&SETUP)?;
    for (hand, number) in numbers.iter().enumerate() {
        for number in 0..*number {
            invoke(workshop, hand, number, Duration::from_millis(1))?;
        }
    }
    let all: usize = numbers.iter().sum();
    // What takes long is asked for when there is something in it.
    agent.until(|agent| {
        let status = agent.status()?;
        ensure!(status.slots_used == 0, "{} slots in use", status.slots_used);
        Ok(())
    })?;
    agent.until(|agent| {
        let done = done(&agent.snapshots(&["--all"])?)?;
        let runs: usize = done.values().flat_map(BTreeMap::values).sum();
        ensure!(runs == all, "{runs} of {all} runs");
        Ok(done)
    })
}

/// The process of an agent that may end at any moment.
fn agent(agent: &Agent, environment: &[(&str, &str)]) -> Result<Process> {
    let mut command = Command::new(harden::binary());
    command.args(["agent", "--config"]).arg(agent.config());
    command.envs(environment.iter().copied());
    command.env_remove("JOURNAL_STREAM").env("NO_COLOR", "1");
    Process::start(&mut command)
}

fn kill(mut process: Process) -> Result<()> {
    ensure!(is_alive(process.id()), "it ended:\n{}", process.output());
    process.signal(Signal::SIGKILL)?;
    process.wait()?;
    let said = process.output();
    // A write of more than a page may be cut off: its item is in the ring buffer still.
    let mut errors = said.lines().filter(|line| line.contains("ERROR"));
    ensure!(
        errors.all(|line| line.contains("in the middle of a record")),
        "{said}"
    );
    Ok(())
}

/// `HARDEN_TEST_SEED`, or another one each time.
fn seed() -> Result<()> {
    let seed = match env::var("HARDEN_TEST_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => fastrand::u64(..),
    };
    println!("HARDEN_TEST_SEED={seed}");
    fastrand::seed(seed);
    Ok(())
}

/// The one version that is pinned.
fn pins(agent: &Agent) -> Result<PathBuf> {
    let mut pins = fs::read_dir(agent.home().join("bpf/harden"))?;
    Ok(pins.next().context("something pinned")??.path())
}

/// The numbers that the kernel gave to the programs.
fn programs(agent: &Agent) -> Result<BTreeMap<PathBuf, u32>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(pins(agent)?.join("programs"))? {
        let path = entry?.path();
        programs.insert(path.clone(), ProgramInfo::from_pin(&path)?.id());
    }
    Ok(programs)
}

/// The slots that are free and those in use, once no agent runs.
fn slots(agent: &Agent) -> Result<(BTreeSet<u32>, BTreeSet<u32>)> {
    type Key = [u8; size_of::<SlotKey>()];
    let maps = pins(agent)?.join("maps");
    let map = |name: &str| -> Result<Map> {
        Ok(Map::from_map_data(MapData::from_pin(maps.join(name))?)?)
    };
    let used: HashMap<_, Key, u32> = HashMap::try_from(map("SLOT_OF")?)?;
    let used = used.iter().map(|entry| Ok(entry?.1 & SLOT_INDEX));
    let used = used.collect::<Result<_>>()?;
    // It can only be looked at by taking.
    let mut queue: Queue<_, u32> = Queue::try_from(map("FREE_SLOTS")?)?;
    let mut taken = Vec::new();
    while let Ok(slot) = queue.pop(0) {
        taken.push(slot);
    }
    let mut free = BTreeSet::new();
    for slot in taken {
        queue.push(slot, 0)?;
        ensure!(free.insert(slot & SLOT_INDEX), "{slot} is free twice");
    }
    Ok((free, used))
}

/// Kills `agent` again and again under load, as `meanwhile` does it, and compares.
fn survive(meanwhile: impl FnOnce(&Agent) -> Result<()>) -> Result<()> {
    seed()?;
    let workshop = Workshop::new()?;
    let mut survivor = Agent::start(&SETUP)?;
    let before = programs(&survivor)?;
    let baseline = survivor.status()?.slots_used;
    survivor.end(Signal::SIGKILL)?;
    let begun = Instant::now();
    let numbers = work_while(&workshop, || meanwhile(&survivor))?;
    println!(
        "{} invocations of {DEEDS} deeds in {:.1} s",
        numbers.iter().sum::<usize>(),
        begun.elapsed().as_secs_f32()
    );

    survivor.begin(&[])?;
    let status = survivor.status()?;
    assert_eq!(status.kernel_side, KernelSide::Adopted);
    assert_eq!(programs(&survivor)?, before, "something was loaded");
    // All units are gone, and so are their slots.
    survivor.until(|survivor| {
        let used = survivor.status()?.slots_used;
        ensure!(used == baseline, "{used} slots in use, not {baseline}");
        Ok(())
    })?;
    let found = done(&survivor.snapshots(&["--all"])?)?;
    survivor.end(Signal::SIGTERM)?;
    let (free, used) = slots(&survivor)?;
    assert!(free.is_disjoint(&used));
    assert_eq!((free.len() + used.len()) as u64, status.slots_total);
    drop(survivor);

    let expected = undisturbed(&workshop, &numbers)?;
    if let Some(difference) = difference(&expected, &found) {
        bail!(difference);
    }
    Ok(())
}

#[test]
fn a_kill_at_any_moment_loses_nothing() -> Result<()> {
    if !met("a_kill_at_any_moment_loses_nothing", &["sh"]) {
        return Ok(());
    }
    let kills: u32 = match env::var("HARDEN_TEST_KILLS") {
        Ok(kills) => kills.parse()?,
        Err(_) => 5,
    };
    survive(|survivor| {
        for _ in 0..kills {
            let process = agent(survivor, &[])?;
            thread::sleep(Duration::from_millis(fastrand::u64(0..2000)));
            kill(process)?;
            thread::sleep(Duration::from_millis(fastrand::u64(0..200)));
        }
        Ok(())
    })
}

#[test]
fn at_any_step_of_the_writer_nothing_is_lost() -> Result<()> {
    if !met("at_any_step_of_the_writer_nothing_is_lost", &["sh"]) {
        return Ok(());
    }
    survive(|survivor| {
        for crash_point in CRASH_POINTS {
            // The first time is while it begins, for most.
            for count in [1, 3] {
                let place = format!("{crash_point}:{count}");
                let mut process = agent(survivor, &[("HARDEN_CRASH_AT", &place)])?;
                let status = process
                    .wait()
                    .with_context(|| format!("{place} never came"))?;
                let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                ensure!(signal == Some(9), "{place}: {status}\n{}", process.output());
            }
        }
        Ok(())
    })
}

#[test]
fn no_slot_is_lost_over_many_kills() -> Result<()> {
    if !met("no_slot_is_lost_over_many_kills", &["sh"]) {
        return Ok(());
    }
    seed()?;
    let workshop = Workshop::new()?;
    let mut survivor = Agent::start(&SETUP)?;
    let total = survivor.status()?.slots_total;
    survivor.end(Signal::SIGKILL)?;
    for number in 0..scaled(25)? as usize {
        let process = agent(&survivor, &[])?;
        workshop.run("survivor-slots.service", number, 1, Duration::ZERO)?;
        // Most of these are while it frees slots, or just before or after.
        thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
        kill(process)?;
    }
    survivor.begin(&[])?;
    survivor.until(|survivor| {
        let used = survivor.status()?.slots_used;
        ensure!(used == 0, "{used} slots in use");
        Ok(())
    })?;
    survivor.end(Signal::SIGTERM)?;
    let (free, used) = slots(&survivor)?;
    assert_eq!((free.len() as u64, used.len()), (total, 0));
    Ok(())
}

/// What an agent leaves that is killed when it has just put a cgroup into the table that was removed since the
/// tree was read, or what a program of the kernel side that was skipped does.
#[test]
fn a_cgroup_that_is_gone_but_still_observed_keeps_no_slot() -> Result<()> {
    if !met(
        "a_cgroup_that_is_gone_but_still_observed_keeps_no_slot",
        &["sh"],
    ) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut survivor = Agent::start(&SETUP)?;
    let base = survivor.status()?;
    survivor.end(Signal::SIGKILL)?;
    let maps = pins(&survivor)?.join("maps");
    let observed = Map::from_map_data(MapData::from_pin(maps.join("CGROUPS"))?)?;
    let mut observed: HashMap<_, u64, Observed> = HashMap::try_from(observed)?;
    let unit = workshop.unit("survivor-gone.service")?;
    let id = fs::metadata(unit.path())?.ino();
    let run = observed
        .get(&id, 0)
        .context("it is observed from its birth")?;
    let mut child = workshop.begin(&unit, 0, 1, Duration::ZERO, Then::End)?;
    ensure!(child.wait()?.success());
    drop(unit);
    assert!(
        observed.get(&id, 0).is_err(),
        "the kernel side takes it out"
    );
    observed.insert(id, run, 0)?;
    assert!(!slots(&survivor)?.1.is_empty());

    survivor.begin(&[])?;
    survivor.until(|survivor| {
        let status = survivor.status()?;
        let (slots, cgroups) = (status.slots_used, status.cgroups_used);
        ensure!(slots == base.slots_used, "{slots} slots in use");
        ensure!(cgroups == base.cgroups_used, "{cgroups} cgroups observed");
        Ok(())
    })?;
    assert!(observed.get(&id, 0).is_err());
    let found = survivor.snapshot("survivor-gone.service")?;
    assert_eq!(found.runs.len(), 1);
    survivor.end(Signal::SIGTERM)
}

#[test]
fn what_is_no_units_keeps_no_slot_when_its_birth_is_all_that_is_known() -> Result<()> {
    if !met(
        "what_is_no_units_keeps_no_slot_when_its_birth_is_all_that_is_known",
        &["sh"],
    ) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut survivor = Agent::start(&SETUP)?;
    let base = survivor.status()?.slots_used;
    // A container's root, or what somebody made by hand: it lives on, and programs run in it.
    let plain = workshop.unit("plain")?;
    let mut inside = workshop.begin(&plain, 0, 1, Duration::ZERO, Then::Stay)?;
    let begun = Instant::now();
    while survivor.status()?.slots_used == base && begun.elapsed() < Duration::from_millis(500) {}
    // What it means to do about it, it does once a second.
    survivor.end(Signal::SIGKILL)?;
    survivor.begin(&[])?;
    survivor.until(|survivor| {
        let used = survivor.status()?.slots_used;
        ensure!(used == base, "{used} slots in use, not {base}");
        Ok(())
    })?;
    inside.kill()?;
    inside.wait()?;
    Ok(())
}

#[test]
fn another_agent_is_refused() -> Result<()> {
    if !met("another_agent_is_refused", &["sh"]) {
        return Ok(());
    }
    let mut first = Agent::start(&SETUP)?;
    let second = first.harden(&[
        "agent",
        "--config",
        first.config().to_str().context("UTF-8")?,
    ])?;
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let pid = first.status()?.pid;
    assert!(
        said.contains(&format!("another agent uses {}", first.state().display())),
        "{said}"
    );
    assert!(said.contains(&format!("(process {pid})")), "{said}");
    // Neither may one with a state directory of its own take the events of this one.
    let other = fs::read_to_string(first.config())?;
    let file = first.home().join("other.toml");
    fs::write(&file, other.replace("/state\"", "/other\""))?;
    let third = first.harden(&["agent", "--config", file.to_str().context("UTF-8")?])?;
    let said = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(
        !third.status.success() && said.contains("/bpf/harden"),
        "{said}"
    );
    // The first is none the worse for it.
    first.status()?;
    first.end(Signal::SIGKILL)?;
    first.begin(&[])
}

#[test]
fn an_upgrade_begins_afresh_and_keeps_what_was() -> Result<()> {
    if !met("an_upgrade_begins_afresh_and_keeps_what_was", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&SETUP)?;
    let runs = |agent: &mut Agent, number: usize| {
        agent.until(|agent| {
            let found = agent.snapshot("survivor-old.service")?.runs.len();
            ensure!(found == number, "{found} runs");
            Ok(())
        })
    };
    workshop.run("survivor-old.service", 0, 4, Duration::ZERO)?;
    runs(&mut agent, 1)?;
    // Something is in the journal alone.
    agent.end(Signal::SIGKILL)?;
    workshop.run("survivor-old.service", 4, 4, Duration::ZERO)?;
    agent.begin(&[])?;
    runs(&mut agent, 2)?;
    let before = programs(&agent)?;
    let old = done(&agent.snapshots(&["--all"])?)?;
    agent.end(Signal::SIGKILL)?;

    let config = fs::read_to_string(agent.config())?;
    let config = config.replace("[kernel]\n", "[kernel]\nslots = 512\n");
    fs::write(agent.config(), config)?;
    agent.begin(&[])?;
    let said = agent.log();
    assert!(said.contains("recording starts afresh"), "{said}");
    let status = agent.status()?;
    assert_eq!(status.kernel_side, KernelSide::Loaded);
    assert_eq!(status.slots_total, 512);
    assert!(programs(&agent)?.into_iter().all(|program| {
        let mut olds = before.values();
        olds.all(|old| *old != program.1)
    }));
    assert_eq!(done(&agent.snapshots(&["--all"])?)?, old);
    workshop.run("survivor-old.service", 8, 4, Duration::ZERO)?;
    runs(&mut agent, 3)
}

#[test]
fn a_journal_of_another_layout_is_kept_and_not_read() -> Result<()> {
    if !met("a_journal_of_another_layout_is_kept_and_not_read", &["sh"]) {
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let mut agent = Agent::start(&SETUP)?;
    workshop.run("survivor-foreign.service", 0, 4, Duration::ZERO)?;
    agent.until(|agent| agent.snapshot("survivor-foreign.service"))?;
    agent.end(Signal::SIGTERM)?;
    let mut journals = fs::read_dir(agent.state())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("journal.")
        });
    let journal = journals.next().context("a journal")?;
    assert_eq!(journals.next(), None);
    let mut bytes = fs::read(&journal)?;
    // Another number of the layout, behind the name and the version.
    let digit = b"harden journal 1 ".len();
    bytes[digit] = if bytes[digit] == b'0' { b'1' } else { b'0' };
    fs::write(&journal, &bytes)?;
    agent.begin(&[])?;
    let said = agent.log();
    assert!(
        said.contains("is no journal that this harden can read"),
        "{said}"
    );
    let kept = PathBuf::from(format!("{}.corrupt-1", journal.display()));
    // It is put aside once what is known is in the units' files, a moment after the agent is ready.
    let found = agent.until(|_| Ok(fs::read(&kept)?))?;
    assert_eq!(found, bytes);
    agent.snapshot("survivor-foreign.service")?;
    Ok(())
}
