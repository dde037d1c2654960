//! A unit that floods the agent with names, and its neighbours: theirs is whole, or marked with what they lost
//! themselves, and the agent stays small.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use harden_agent::observation::{Observation, Text};
use harden_tests::{
    Agent, Scratch, Setup, as_patient,
    deeds::{Then, Unit, Workshop},
    met, observed,
    usage::{processor, status},
};

/// Asks for as many names as it can, each of them new, until it is ended.
const FLOOD: &str = "
import os, itertools
for number in itertools.count():
    try: os.stat(f'/var/tmp/harden-flood-{number}')
    except OSError: pass
";

/// Starts programs, makes pipes and opens files of which each is another, as fast as it can.
const FORKS: &str = "
import os, itertools
for number in itertools.count():
    os.close(os.pipe()[0])
    for file in range(100):
        try: os.open(f'/var/tmp/harden-flood-{number}-{file}', os.O_RDONLY)
        except OSError: pass
    child = os.fork()
    if child == 0:
        os.closerange(3, 1 << 16)
        os.execv('/bin/true', ['true'])
    os.waitpid(child, 0)
    os.closerange(3, 1 << 16)
";

/// Runs programs of which each is another file, every second one in another of many cgroups below its own, and has each
/// ask for names of its own. The arguments are its cgroup and a directory.
const COPIES: &str = "
import os, sys, itertools, shutil
cgroup, files = sys.argv[1:]
null = os.open('/dev/null', os.O_RDWR)
for number in itertools.count():
    program = f'{files}/{number}'
    shutil.copy('/bin/cat', program)
    place = cgroup
    if number % 2:
        place = f'{cgroup}/child-{number % 200}'
        os.makedirs(place, exist_ok=True)
    child = os.fork()
    if child == 0:
        with open(f'{place}/cgroup.procs', 'w') as door: door.write('0')
        os.dup2(null, 2)
        os.execv(program, ['cat'] + [f'/flood-{number}-{name}' for name in range(200)])
    os.waitpid(child, 0)
    os.unlink(program)
";

/// What all of them may send at once, and a second.
const AT_ONCE: u64 = 2000;
const PER_SECOND: u64 = 100;

/// What a neighbour does.
const DEEDS: usize = 10;
/// Neighbours that live as long as the flood.
const LONG: usize = 10;
/// The most memory that the agent may take, in KiB.
const MEMORY: u64 = 150 << 10;

/// How long a question may take meanwhile. Alone on two processors it is a fifth of that.
const ANSWER: Duration = Duration::from_secs(1);

/// How long things take.
struct Times {
    flood: Duration,
    /// Within so long after it the agent rests,
    rest: Duration,
    /// which is to take no more than this share of a processor.
    load: f64,
}

/// Some seconds, or what `HARDEN_FLOOD_SECONDS` says.
fn times() -> Result<Times> {
    Ok(match env::var("HARDEN_FLOOD_SECONDS") {
        Ok(seconds) => Times {
            flood: Duration::from_secs(seconds.parse()?),
            rest: Duration::from_secs(30),
            load: 0.01,
        },
        Err(_) => Times {
            flood: Duration::from_secs(6),
            rest: Duration::from_secs(20),
            load: 0.02,
        },
    })
}

/// Ends with its unit.
struct Flood {
    child: Child,
    unit: Unit,
    _files: Scratch,
}

impl Flood {
    fn begin(workshop: &Workshop, name: &str, script: &str) -> Result<Self> {
        let unit = workshop.unit(name)?;
        let files = Scratch::new(Path::new("/dev/shm"))?;
        let child = Command::new("/bin/sh")
            .args(["-c", r#"echo 0 > "$0/cgroup.procs" && exec "$@""#])
            .arg(unit.path())
            .args(["/usr/bin/python3", "-S", "-E", "-c", script])
            .args([unit.path(), files.path()])
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            unit,
            _files: files,
        })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let below = fs::read_dir(self.unit.path()).into_iter().flatten();
        for entry in below.flatten() {
            // Files cannot be removed there, and the last program may take a moment to end.
            let deadline = Instant::now() + as_patient(Duration::from_secs(1));
            while entry.path().is_dir()
                && fs::remove_dir(entry.path()).is_err()
                && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The agent comes to rest within the time that it has.
fn rests(pid: u32, times: &Times) -> Result<()> {
    const MEASURED: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + as_patient(times.rest);
    loop {
        let before = processor(pid)?;
        thread::sleep(MEASURED);
        let load = (processor(pid)? - before) / MEASURED.as_secs_f64();
        if load <= times.load {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{load} of a processor");
    }
}

/// The numbers of the deeds that `observation` has.
fn deeds(observation: &Observation, workshop: &Workshop) -> BTreeSet<usize> {
    let directory = workshop.files();
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let files = programs.flat_map(|facts| facts.files.keys());
    let names = files.filter_map(|path| {
        let name = path.as_path().strip_prefix(&directory).ok()?;
        name.to_str()?.parse().ok()
    });
    names.collect()
}

/// What became of a neighbour that did the deeds from `first` on.
fn is_marked_or_whole(
    observation: &Observation,
    workshop: &Workshop,
    first: usize,
) -> Result<bool> {
    let lost = observation
        .runs
        .values()
        .any(|run| !observed::losses(run).is_empty());
    let found = deeds(observation, workshop);
    let is_whole = (first..first + DEEDS).all(|number| found.contains(&number));
    ensure!(
        is_whole || lost,
        "{} lost deeds in silence: {found:?} of {first} and those after it",
        observation.name
    );
    Ok(is_whole && !lost)
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
fn a_flood_of_other_programs_and_cgroups_takes_nothing_from_its_neighbours() -> Result<()> {
    if !met(
        "a_flood_of_other_programs_and_cgroups_takes_nothing_from_its_neighbours",
        &["sh", "python3", "cat"],
    ) {
        return Ok(());
    }
    let kernel = format!("slots = 512\npaths_at_once = {AT_ONCE}\npaths_per_second = {PER_SECOND}");
    let flooded = beside(COPIES, &kernel)?;
    let lost = flooded.losses();
    // Each program is a slot, and more of them ran than the flood has slots.
    assert!(lost.contains_key("slots-exhausted"), "{lost:?}");
    assert!(lost.contains_key("over-share"), "{lost:?}");
    // One share for all of them, however many there are.
    let names = flooded.names("/flood-");
    let share = AT_ONCE + PER_SECOND * (flooded.lasted.as_secs() + 1);
    println!(
        "the flood sent {names} of its names in {:?}; its share is {share}",
        flooded.lasted
    );
    assert!(names > 0 && names <= share, "{names} of {share}");
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
    let times = times()?;
    let (calm_memory, calm) = (status(pid, "VmRSS:")?, processor(pid)?);
    let mut long = Vec::new();
    let flood = Flood::begin(&workshop, "neighbour-flood.service", script)?;
    let begun = Instant::now();
    let mut next = 0;
    for number in 0..LONG {
        let unit = workshop.unit(&format!("neighbour-long-{number}.service"))?;
        let child = workshop.begin(&unit, next, DEEDS, Duration::from_millis(300), Then::End)?;
        long.push((child, unit, next));
        next += DEEDS;
    }
    let mut short = Vec::new();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < times.flood {
        let name = format!("neighbour-short-{}.service", short.len());
        workshop.run(&name, next, DEEDS, Duration::ZERO)?;
        short.push((name, next));
        next += DEEDS;
        if short.len() % 20 == 0 {
            let asked = Instant::now();
            agent.status()?;
            slowest = slowest.max(asked.elapsed());
        }
    }
    let taken = processor(pid)? - calm;
    let mut neighbours = Vec::new();
    for (number, (mut child, unit, first)) in long.into_iter().enumerate() {
        ensure!(child.wait()?.success());
        drop(unit);
        neighbours.push((format!("neighbour-long-{number}.service"), first));
    }
    drop(flood);
    let lasted = begun.elapsed();
    let most = status(pid, "VmHWM:")?;
    println!(
        "{} short units beside a flood of {:?}; the agent: {calm_memory} KiB before, {most} KiB at most, {taken:.1} s of a processor; \
         the slowest status took {slowest:?}",
        short.len(),
        begun.elapsed(),
    );
    let all = short.len() + neighbours.len() + 1;
    agent.until(|agent| {
        let (known, status) = (agent.units()?.len(), agent.status()?);
        ensure!(known == all, "{known} of {all} units");
        ensure!(status.slots_used == 0, "{} slots in use", status.slots_used);
        Ok(())
    })?;
    rests(pid, &times)?;
    assert!(slowest < as_patient(ANSWER), "{slowest:?}");
    let mut whole = 0;
    neighbours.extend(short);
    for (name, first) in &neighbours {
        let observation = agent.snapshot(name)?;
        whole += usize::from(is_marked_or_whole(&observation, &workshop, *first)?);
    }
    println!("{whole} of {} neighbours are whole", neighbours.len());
    assert_eq!(whole, neighbours.len());
    assert!(most < MEMORY, "{most} KiB");
    let flooded = Flooded {
        observation: agent.snapshot("neighbour-flood.service")?,
        lasted,
    };
    println!("the flood lost {:?}", flooded.losses());
    Ok(flooded)
}
