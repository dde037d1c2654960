//! A recording in the kernel outlives the process that began it, and the next goes on with it.
//!
//! The process that is killed is this program again: see [`an_agent`].

mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Map, MapData, Queue};
use harden_agent::probe::{Origin, Probe, ProbeError, Purpose, Sizes, grace_period, unload};
use harden_common::{SLOT_INDEX, kind};
use harden_tests::{Process, Scratch, as_patient, met, scaled};
use syscalls::Sysno;

use self::stage::{Cgroup, Events, Pins, Slot, inode, slots};

/// Small enough that several are loaded side by side on a small machine.
const SIZES: Sizes = Sizes {
    slots: 64,
    cgroups: 64,
    cgroup_paths: 64,
    once: 4096,
    ring: 1 << 20,
    counted_slots: 0,
    tasks: 4096,
    share: None,
};
const RUN: u64 = 7;

/// Where an agent pins, and what it does besides; set for the process that is killed.
const DIRECTORY: &str = "HARDEN_TEST_PINS";
const OBSERVED: &str = "HARDEN_TEST_CGROUP";
const RETIRES: &str = "HARDEN_TEST_RETIRES";

/// The process that others of these tests start and kill: it pins a recording and takes its events, and
/// prints the paths of the scratch directories that it finds among them.
#[test]
fn an_agent() -> Result<()> {
    let Some(dir) = env::var_os(DIRECTORY) else {
        return Ok(());
    };
    let (mut probe, _) = Probe::pinned(Path::new(&dir), &SIZES, &[], Purpose::AGENT)?;
    if let Ok(cgroup) = env::var(OBSERVED) {
        probe.observe(cgroup.parse()?, RUN)?;
    }
    let mut ring = probe.take_events()?;
    println!("ready");
    loop {
        if env::var_os(RETIRES).is_some() {
            let retired = probe.retire()?;
            if !retired.is_empty() {
                println!("retired {retired:?}");
            }
        }
        let mut known = String::new();
        while let Some(item) = ring.next() {
            known.push_str(&String::from_utf8_lossy(&item));
        }
        for name in known
            .split(['\0', '/'])
            .filter(|name| name.contains("seen-"))
        {
            println!("{name}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// [`an_agent`], and what it has printed so far.
fn agent(pins: &Pins, settings: &[(&str, &str)]) -> Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", "pinning::an_agent", "--nocapture"])
        .env(DIRECTORY, pins.dir())
        .envs(settings.iter().copied());
    Ok(Process::start(&mut command)?.patience(Duration::from_mins(1)))
}

fn printed(agent: &mut Process, text: &str) -> Result<()> {
    let output = agent.output();
    ensure!(output.contains(text), "there is no {text} in {output}");
    Ok(())
}

fn until_printed(agent: &mut Process, text: &str) -> Result<()> {
    let deadline = Instant::now() + as_patient(Duration::from_mins(1));
    while printed(agent, text).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    printed(agent, text)
}

fn kill(mut agent: Process) -> Result<()> {
    agent.signal(nix::sys::signal::Signal::SIGKILL)?;
    let _ = agent.wait();
    Ok(())
}

#[test]
fn killed_it_goes_on_and_the_next_one_takes_over() -> Result<()> {
    if !met(
        "killed_it_goes_on_and_the_next_one_takes_over",
        &["sh", "cat", "head"],
    ) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("killed")?);
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    let file = |name: &str| -> Result<String> {
        let path = tree.path().join(name);
        fs::write(&path, "")?;
        Ok(path.to_str().context("UTF-8")?.to_owned())
    };
    let (before, after) = (file("seen-before")?, file("seen-after")?);
    let id = cgroup.id()?;

    let mut first = agent(&pins, &[(OBSERVED, &id.to_string())])?;
    until_printed(&mut first, "ready")?;
    cgroup.run(&["/bin/cat", &before])?;
    until_printed(&mut first, "seen-before")?;
    // Where two hooks report an open, it may have the first event alone. It looks again every ten milliseconds.
    thread::sleep(as_patient(Duration::from_millis(100)));
    let programs = pins.programs()?;
    kill(first)?;

    // Nobody is there.
    cgroup.run(&["/bin/cat", &before, &after])?;
    let short = cgroup.child("short")?;
    let short_id = short.id()?;
    short.run(&["/usr/bin/head", &after])?;
    drop(short);

    let (mut second, origin) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    assert_eq!(origin, Origin::Adopted);
    assert_eq!(pins.programs()?, programs);
    assert_eq!(second.hooks()["syscalls"], "tp_btf:sys_enter");
    assert!(second.hooks().contains_key("attribution"));
    assert_eq!(second.losses()?.all, BTreeMap::new());
    assert_eq!(second.observed()?, BTreeMap::from([(id, RUN)]));

    let mut ring = second.take_events()?;
    let events = Events::take(&mut ring);
    // An opened path comes once for each slot, and what the first agent took does not come again: the
    // second `cat` is another command, and so another slot.
    // Where a security hook reports opens, the exit of the call does so too, with the outcome.
    let is_exit_alone = second.hooks()["files"] == "tp_btf:sys_exit";
    let times = if is_exit_alone { 1 } else { 2 };
    assert_eq!(events.opened("seen-after").len(), 2 * times);
    assert_eq!(events.opened("seen-before").len(), times);
    assert!(events.has(kind::CGROUP_BORN, "/short"));
    assert!(events.has(kind::CGROUP_GONE, "/short"));

    // What lived and died unattended has its name and its facts.
    let path = second.cgroup_path(short_id)?.context("its path")?;
    assert!(path.path.ends_with(b"/short"), "{path:?}");
    assert_eq!(path.parent, id);
    assert!(path.born > 0);
    assert_eq!(second.cgroup_paths()?.get(&short_id), Some(&path));
    let heads = slots(&second, short_id)?;
    assert!(
        heads
            .iter()
            .any(|slot| slot.made(Sysno::execve) || slot.made(Sysno::openat))
    );
    let cats = slots(&second, id)?;
    assert_eq!(cats.len(), 2, "{cats:?}");
    assert!(cats.iter().all(|slot| slot.run == RUN));

    // The new one goes on where the first had stopped, and stops itself without an end to it.
    cgroup.run(&["/bin/cat", &file("seen-last")?])?;
    assert!(Events::take(&mut ring).has(kind::PATH, "seen-last"));
    drop((ring, second));
    let (mut third, origin) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    assert_eq!(origin, Origin::Adopted);
    assert!(Events::take(&mut third.take_events()?).0.is_empty());
    third.forget_cgroup(short_id)?;
    third.forget_cgroup(short_id)?;
    assert_eq!(third.cgroup_path(short_id)?, None);

    assert!(unload(&pins.dir())?);
    assert_eq!(pins.names()?, [""; 0]);
    assert!(!unload(&pins.dir())?);
    Ok(())
}

#[test]
fn killed_while_it_loads_nothing_half_done_is_adopted() -> Result<()> {
    if !met(
        "killed_while_it_loads_nothing_half_done_is_adopted",
        &["sh", "cat"],
    ) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("loading")?);
    for step in 0..6 {
        let agent = agent(&pins, &[])?;
        thread::sleep(as_patient(Duration::from_millis(40)) * step);
        kill(agent)?;
        // Either all is there under its name, or nothing is.
        for name in pins.names().unwrap_or_default() {
            if !name.starts_with("partial-") {
                assert!(pins.dir().join(name).join("links/sys_enter").exists());
            }
        }
    }
    let left = pins.dir().join("partial-0123456789abcdef");
    fs::create_dir_all(left.join("maps"))?;
    let (mut probe, _) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    pins.version()?;
    probe.observe(cgroup.id()?, RUN)?;
    cgroup.run(&["/bin/cat", "/dev/null"])?;
    assert_eq!(slots(&probe, cgroup.id()?)?.len(), 1);
    Ok(())
}

#[test]
fn another_size_or_a_missing_pin_is_a_new_beginning() -> Result<()> {
    if !met("another_size_or_a_missing_pin_is_a_new_beginning", &["sh"]) {
        return Ok(());
    }
    let pins = Pins::mount()?;
    let load = |sizes: &Sizes| -> Result<Origin> {
        Ok(Probe::pinned(&pins.dir(), sizes, &[], Purpose::AGENT)?.1)
    };
    let version = || -> Result<String> {
        let version = pins.version()?;
        Ok(version
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned())
    };
    let afresh = Origin::Loaded {
        replaced: Vec::new(),
    };
    assert_eq!(load(&SIZES)?, afresh);
    assert_eq!(load(&SIZES)?, Origin::Adopted);
    let (first, programs) = (version()?, pins.programs()?);

    let larger = Sizes { slots: 65, ..SIZES };
    let Origin::Loaded { replaced } = load(&larger)? else {
        bail!("another size was adopted");
    };
    assert_eq!(replaced, [first]);
    assert_ne!(pins.programs()?, programs);

    // The right version, and not all of it.
    let second = version()?;
    fs::remove_file(pins.version()?.join("links/sys_enter"))?;
    let Origin::Loaded { replaced } = load(&larger)? else {
        bail!("a recording of which a part is missing was adopted");
    };
    assert_eq!(replaced.len(), 1);
    assert!(replaced[0].starts_with(&second) && replaced[0].contains("sys_enter"));

    // A map that is another than it should be: the hash of the cgroups where the slots were.
    let maps = pins.version()?.join("maps");
    fs::remove_file(maps.join("SLOTS"))?;
    Map::from_map_data(MapData::from_pin(maps.join("CGROUPS"))?)?.pin(maps.join("SLOTS"))?;
    let Origin::Loaded { replaced } = load(&larger)? else {
        bail!("a map of another kind was adopted");
    };
    assert!(replaced[0].contains("SLOTS"), "{replaced:?}");
    assert_eq!(load(&larger)?, Origin::Adopted);
    Ok(())
}

#[test]
fn where_nothing_can_be_pinned_it_says_so() -> Result<()> {
    if !met("where_nothing_can_be_pinned_it_says_so", &[]) {
        return Ok(());
    }
    let scratch = Scratch::new(Path::new("/run"))?;
    let refused = Probe::pinned(scratch.path(), &SIZES, &[], Purpose::AGENT);
    assert!(matches!(refused, Err(ProbeError::NotBpffs(_))));
    assert!(!unload(&scratch.path().join("nowhere"))?);
    Ok(())
}

#[test]
fn slots_that_were_being_freed_are_not_lost() -> Result<()> {
    if !met("slots_that_were_being_freed_are_not_lost", &["sh", "cat"]) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("freed")?);
    let id = cgroup.id()?;
    let settings = [(OBSERVED, &*id.to_string()), (RETIRES, "1")];
    let mut first = agent(&pins, &settings)?;
    until_printed(&mut first, "ready")?;
    let short = cgroup.child("short")?;
    let short_id = short.id()?;
    short.run(&["/bin/cat", "/dev/null"])?;
    drop(short);
    // It has taken the key away, and then it is no more.
    until_printed(&mut first, "retired [")?;
    kill(first)?;

    // Another ended when it had taken a number out of the queue.
    let queue = pins.version()?.join("maps/FREE_SLOTS");
    let mut queue: Queue<_, u32> = Queue::try_from(Map::from_map_data(MapData::from_pin(queue)?)?)?;
    let missing = queue.pop(0)?;

    let (mut second, origin) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    assert_eq!(origin, Origin::Adopted);
    let retired = second.retire()?;
    grace_period()?;
    let retired = retired
        .into_iter()
        .map(|slot| Slot::read(&second, slot))
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(retired.len(), 1, "{retired:?}");
    assert_eq!(retired[0].cgroup, short_id);
    assert!(retired[0].made(Sysno::read));
    second.free(&[retired[0].number])?;
    assert_eq!(second.retire()?, [0; 0]);

    let (third, _) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    let mut free = BTreeSet::new();
    while let Ok(slot) = queue.pop(0) {
        assert!(free.insert(slot & SLOT_INDEX), "{slot} is free twice");
    }
    assert!(free.contains(&(missing & SLOT_INDEX)));
    assert_eq!(free.len() + third.slots()?.len(), SIZES.slots as usize);
    Ok(())
}

/// A shell in a cgroup that does what it is told, line by line, and says when it is done.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(cgroup: &Cgroup) -> Result<Self> {
        let mut child = cgroup
            .command(&["/bin/sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("a pipe")?;
        let output = child.stdout.take().context("a pipe")?;
        let mut shell = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        shell.act(":")?;
        Ok(shell)
    }

    fn act(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}; echo done")?;
        let mut done = String::new();
        self.output.read_line(&mut done)?;
        ensure!(done == "done\n", "{line}: {done}");
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}

#[test]
fn facts_are_told_apart_by_run() -> Result<()> {
    if !met("facts_are_told_apart_by_run", &["sh"]) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("runs")?);
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    let root = tree.path().to_str().context("UTF-8")?;
    let (mut probe, _) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    let mut ring = probe.take_events()?;
    let id = cgroup.id()?;
    probe.observe(id, 1)?;
    let mut shell = Shell::start(&cgroup)?;
    shell.act(&format!(
        ": > {root}/in-both; umask 077; : > {root}/in-first"
    ))?;
    // It waits for its next line meanwhile: that call belongs to the run in which it began.
    probe.set_runs(&[(id, 2)])?;
    assert_eq!(probe.observed()?, BTreeMap::from([(id, 2)]));
    shell.act(&format!(": > {root}/in-both; cd /; : > {root}/in-second"))?;
    // Only what it is told now says that it waited for it, and made that call in the second run.
    shell.act(":")?;

    let of = |slots: &[Slot], run: u64| -> Result<u32> {
        let mut slots = slots.iter().filter(|slot| slot.run == run);
        Ok(slots.next().context("its slot")?.number)
    };
    let both = slots(&probe, id)?;
    assert_eq!(both.len(), 2, "{both:?}");
    let (first, second) = (of(&both, 1)?, of(&both, 2)?);
    for slot in &both {
        assert_eq!(slot.inode, inode("/bin/sh")?);
        assert_eq!(slot.made(Sysno::umask), slot.run == 1, "{slot:?}");
        assert_eq!(slot.made(Sysno::chdir), slot.run == 2, "{slot:?}");
        assert!(slot.made(Sysno::read) && slot.made(Sysno::openat));
    }
    let events = Events::take(&mut ring);
    let opened =
        |name: &str| -> BTreeSet<u32> { events.slots(kind::PATH, name).into_iter().collect() };
    assert_eq!(opened("in-first"), BTreeSet::from([first]));
    assert_eq!(opened("in-second"), BTreeSet::from([second]));
    assert_eq!(opened("in-both"), BTreeSet::from([first, second]));

    // The slot of the run that is over is kept for calls that come back, and then handed out.
    assert_eq!(probe.retire()?, [0; 0]);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(probe.retire()?, [first]);
    grace_period()?;
    assert!(Slot::read(&probe, first)?.made(Sysno::umask));
    probe.free(&[first])?;
    shell.act("umask 022")?;
    let left = slots(&probe, id)?;
    assert_eq!(of(&left, 2)?, second);
    assert_eq!(left.len(), 1);
    assert!(left[0].made(Sysno::umask));

    // A cgroup that is observed no more gives its slots back, and gets none.
    probe.unobserve(&[id, 1])?;
    assert_eq!(probe.observed()?, BTreeMap::new());
    assert_eq!(probe.retire()?, [second]);
    grace_period()?;
    probe.free(&[second])?;
    shell.act(&format!(": > {root}/unseen"))?;
    assert_eq!(probe.slots()?, [0; 0]);
    shell.end()?;
    assert!(!Events::take(&mut ring).has(kind::PATH, "unseen"));
    assert_eq!(probe.losses()?.all, BTreeMap::new());
    Ok(())
}

#[test]
fn commands_of_one_cgroup_are_told_apart() -> Result<()> {
    if !met("commands_of_one_cgroup_are_told_apart", &["sh", "cat"]) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("commands")?);
    let (mut probe, _) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    let id = cgroup.id()?;
    probe.observe(id, RUN)?;
    let first = cgroup.run(&["/bin/cat", "/dev/null"])?;
    let second = cgroup.run(&["/bin/cat", "/dev/null"])?;
    // What a command begins belongs to it, and so does what it becomes.
    let third = cgroup.run(&[
        "/bin/sh",
        "-c",
        "/bin/cat /dev/null; exec /bin/cat /dev/null",
    ])?;
    let below = cgroup.child("below")?;
    let fourth = below.run(&["/bin/cat", "/dev/null"])?;

    let (cat, sh) = (inode("/bin/cat")?, inode("/bin/sh")?);
    let found = |id: u64| -> Result<BTreeSet<(u64, u32)>> {
        let slots = slots(&probe, id)?.into_iter();
        Ok(slots.map(|slot| (slot.inode, slot.command)).collect())
    };
    let expected = [(cat, first), (cat, second), (cat, third), (sh, third)];
    assert_eq!(found(id)?, BTreeSet::from(expected));
    assert_eq!(found(below.id()?)?, BTreeSet::from([(cat, fourth)]));
    Ok(())
}

#[test]
fn a_program_is_told_of_once_by_each_name() -> Result<()> {
    if !met("a_program_is_told_of_once_by_each_name", &["sh", "cat"]) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("execs")?);
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    let link = tree.path().join("other-name");
    std::os::unix::fs::symlink("/bin/cat", &link)?;
    let link = link.to_str().context("UTF-8")?;
    let (mut probe, _) = Probe::pinned(&pins.dir(), &SIZES, &[], Purpose::AGENT)?;
    let mut ring = probe.take_events()?;
    probe.observe(cgroup.id()?, RUN)?;
    let execs = scaled(50)?;
    let script = format!(
        "i=0; while [ $i -lt {execs} ]; do /bin/cat /dev/null; {link} /dev/null; i=$((i+1)); done"
    );
    cgroup.run(&["/bin/sh", "-c", &script])?;
    let events = Events::take(&mut ring);
    let begun = |name: &str| events.slots(kind::EXEC, name).len();
    assert_eq!((begun("/bin/cat"), begun("other-name")), (1, 1));
    // In the next run all is new.
    probe.set_runs(&[(cgroup.id()?, RUN + 1)])?;
    cgroup.run(&["/bin/cat", "/dev/null"])?;
    assert_eq!(
        Events::take(&mut ring).slots(kind::EXEC, "/bin/cat").len(),
        1
    );
    Ok(())
}

#[test]
fn names_that_cannot_be_kept_are_counted() -> Result<()> {
    if !met("names_that_cannot_be_kept_are_counted", &["sh"]) {
        return Ok(());
    }
    let (pins, cgroup) = (Pins::mount()?, Cgroup::create("names")?);
    let sizes = Sizes {
        cgroup_paths: 2,
        ..SIZES
    };
    let (mut probe, _) = Probe::pinned(&pins.dir(), &sizes, &[], Purpose::AGENT)?;
    let lost = |probe: &Probe| -> Result<u64> {
        Ok(probe
            .losses()?
            .all
            .get("cgroup-names-full")
            .copied()
            .unwrap_or(0))
    };
    let id = cgroup.id()?;
    probe.observe(id, RUN)?;
    probe.name_cgroup(id, 1, b"/given")?;
    let one = cgroup.child("one")?;
    // Its own name is the better one.
    probe.name_cgroup(one.id()?, 1, b"/another")?;
    let kept = |probe: &Probe, id: u64| -> Result<Option<Vec<u8>>> {
        Ok(probe.cgroup_path(id)?.map(|path| path.path))
    };
    assert_eq!(kept(&probe, id)?.as_deref(), Some(&b"/given"[..]));
    assert!(
        kept(&probe, one.id()?)?
            .context("a name")?
            .ends_with(b"/one")
    );
    assert_eq!(lost(&probe)?, 0);
    let two = cgroup.child("two")?;
    assert_eq!(lost(&probe)?, 1);
    assert_eq!(kept(&probe, two.id()?)?, None);
    // It is observed all the same.
    assert_eq!(probe.observed()?.get(&two.id()?), Some(&RUN));

    probe.forget_cgroup(one.id()?)?;
    let mut deep = vec![cgroup.child(&"d".repeat(250))?];
    assert_eq!(
        kept(&probe, deep[0].id()?)?.map(|path| path.len() > 250),
        Some(true)
    );
    probe.forget_cgroup(deep[0].id()?)?;
    for _ in 0..3 {
        let deepest = deep.last().context("one")?;
        deep.push(deepest.child(&"d".repeat(250))?);
        let id = deep.last().context("one")?.id()?;
        if kept(&probe, id)?.is_some() {
            probe.forget_cgroup(id)?;
        }
    }
    let deepest = deep.last().context("one")?.id()?;
    assert_eq!(kept(&probe, deepest)?, None);
    assert_eq!(lost(&probe)?, 2);
    assert!(probe.name_cgroup(deepest, 1, &[b'd'; 1025]).is_err());
    // From below upward.
    while let Some(cgroup) = deep.pop() {
        drop(cgroup);
    }
    Ok(())
}
