//! Runs that somebody marked: what happened in which is known exactly.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    collect::unit,
    observation::{Abi, Observation, Run, RunKind},
};
use harden_tests::{Agent, Machine, Scratch, Setup, as_patient, cgroup_tree, met};

/// Each test has units of its own.
const BESIDE: Setup<'_> = Setup {
    include: &[],
    exclude: &[],
    state: "",
    kernel: "",
    runs: "",
    metrics: None,
    parent: None,
    beside: true,
};

/// For each line of numbers, does the deed of each, and says so.
const WORKER: &str = "
import os, sys
calls = [lambda: os.getpgid(0), lambda: os.getsid(0), lambda: os.getpriority(0, 0), lambda: os.sched_getaffinity(0),
         lambda: os.times(), lambda: os.umask(0o22), lambda: os.getgroups(), lambda: os.getresuid(),
         lambda: os.getresgid(), lambda: os.sched_yield()]
print('ready', flush=True)
for line in iter(sys.stdin.readline, ''):
    for number in map(int, line.split()):
        os.close(os.open(f'{sys.argv[1]}/deed-{number:02}', os.O_RDONLY))
        calls[number % len(calls)]()
    print('done', flush=True)
";

/// The calls of the deeds, by number.
const CALLS: [&str; 10] = [
    "getpgid",
    "getsid",
    "getpriority",
    "sched_getaffinity",
    "times",
    "umask",
    "getgroups",
    "getresuid",
    "getresgid",
    "sched_yield",
];
const DEEDS: usize = 30;
const CASES: usize = 50;

/// A cgroup with a unit's name, and a worker in it. systemd makes its units' cgroups no other way.
struct Unit {
    cgroup: PathBuf,
    worker: Option<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Unit {
    fn start(name: &str, files: &Path) -> Result<Self> {
        let cgroup = cgroup_tree()?.join("hardentest.slice").join(name);
        fs::create_dir_all(&cgroup)?;
        let mut unit = Self {
            cgroup,
            worker: None,
        };
        unit.begin(files)?;
        Ok(unit)
    }

    fn begin(&mut self, files: &Path) -> Result<()> {
        let door = fs::File::options()
            .write(true)
            .open(self.cgroup.join("cgroup.procs"))?;
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", WORKER]).arg(files);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: one write(2) to a descriptor that was opened before; nothing is allocated.
        unsafe { command.pre_exec(move || (&door).write_all(b"0")) };
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("a pipe")?;
        let mut output = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line == "ready\n", "{line:?}");
        self.worker = Some((child, input, output));
        Ok(())
    }

    /// Does the deeds with these numbers.
    fn work(&mut self, deeds: &BTreeSet<usize>) -> Result<()> {
        let (_, input, output) = self.worker.as_mut().context("a worker")?;
        let words: Vec<_> = deeds.iter().map(ToString::to_string).collect();
        writeln!(input, "{}", words.join(" "))?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line == "done\n", "{line:?}");
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((mut child, input, _)) = self.worker.take() {
            drop(input);
            child.wait()?;
        }
        // The kernel may still be taking the worker out.
        let mut tries = 0;
        while let Err(error) = fs::remove_dir(&self.cgroup) {
            tries += 1;
            ensure!(tries < 500, "{}: {error}", self.cgroup.display());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some((child, ..)) = &mut self.worker {
            let _ = child.kill();
        }
        let _ = self.end();
        // Another unit may be in it.
        let _ = self.cgroup.parent().map(fs::remove_dir);
    }
}

/// Files for the deeds.
fn files() -> Result<Scratch> {
    let files = Scratch::new(Path::new("/run"))?;
    for number in 0..DEEDS {
        fs::write(files.path().join(format!("deed-{number:02}")), "")?;
    }
    Ok(files)
}

/// Which deeds `case` does: each a different set, and none as the one before.
fn subset(case: usize) -> BTreeSet<usize> {
    let step = 1 + case % 7;
    (0..=case % 5)
        .map(|turn| (case * 3 + turn * step) % DEEDS)
        .collect()
}

/// The deeds whose files were opened in `run`, and the calls of deeds that were made.
fn deeds(run: &Run, files: &Path) -> (BTreeSet<usize>, BTreeSet<&'static str>) {
    let mut opened = BTreeSet::new();
    let mut called = BTreeSet::new();
    for facts in run.executables.values() {
        for path in facts
            .files
            .keys()
            .map(harden_agent::observation::Text::as_path)
        {
            if let Ok(name) = path.strip_prefix(files)
                && let Some(number) = name.to_str().and_then(|name| name.strip_prefix("deed-"))
            {
                opened.extend(number.parse::<usize>());
            }
        }
        let native = facts.syscalls.get(&Abi::Native);
        let names = native.into_iter().flat_map(|calls| calls.keys());
        called
            .extend(names.filter_map(|name| CALLS.into_iter().find(|call| *call == name.as_str())));
    }
    (opened, called)
}

fn calls(deeds: &BTreeSet<usize>) -> BTreeSet<&'static str> {
    deeds
        .iter()
        .map(|number| CALLS[number % CALLS.len()])
        .collect()
}

/// The run that was marked so.
fn marked<'a>(observation: &'a Observation, label: &str) -> Result<&'a Run> {
    let mut runs = observation.runs.values();
    runs.find(|run| {
        run.kind == RunKind::Mark && run.label.as_ref().is_some_and(|own| *own == label.into())
    })
    .with_context(|| format!("no run {label}"))
}

#[test]
fn each_of_fifty_cases_has_its_own_deeds_and_no_other() -> Result<()> {
    if !met(
        "each_of_fifty_cases_has_its_own_deeds_and_no_other",
        &["python3"],
    ) {
        return Ok(());
    }
    let files = files()?;
    let agent = Agent::start(&BESIDE)?;
    let mut unit = Unit::start("marked.service", files.path())?;
    // Another does all deeds all the time, and is in no case.
    let mut other = Unit::start("beside.service", files.path())?;
    let all: BTreeSet<usize> = (0..DEEDS).collect();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let noise = scope.spawn(|| -> Result<()> {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                other.work(&all)?;
            }
            Ok(())
        });
        let cases = (0..CASES).try_for_each(|case| {
            agent.say(&["mark", &format!("case-{case}"), "--unit", "marked.service"])?;
            unit.work(&subset(case))
        });
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let noise = noise.join();
        cases?;
        noise.map_err(|_| anyhow::anyhow!("the other unit's thread panicked"))?
    })?;
    agent.say(&["mark", "--end", "--unit", "marked.service"])?;
    // What comes after the last case is in none.
    unit.work(&all)?;

    let observation = agent.snapshot("marked.service")?;
    for case in 0..CASES {
        let run = marked(&observation, &format!("case-{case}"))?;
        let (opened, called) = deeds(run, files.path());
        ensure!(
            opened == subset(case),
            "case {case}: {opened:?}, not {:?}",
            subset(case)
        );
        ensure!(
            called == calls(&subset(case)),
            "case {case}: {called:?} of {:?}",
            subset(case)
        );
    }
    let others = observation.runs.values();
    let mut others = others.filter(|run| run.kind != RunKind::Mark);
    let invocation = others.next().context("the invocation")?;
    ensure!(others.next().is_none(), "one invocation");
    ensure!(deeds(invocation, files.path()).0 == all);

    let beside = agent.snapshot("beside.service")?;
    ensure!(
        beside
            .runs
            .values()
            .all(|run| run.kind == RunKind::Invocation)
    );
    ensure!(beside.runs.values().all(|run| run.losses.is_empty()));
    Ok(())
}

#[test]
fn a_case_goes_on_in_the_next_invocation_and_in_units_that_are_born_in_it() -> Result<()> {
    if !met(
        "a_case_goes_on_in_the_next_invocation_and_in_units_that_are_born_in_it",
        &["python3"],
    ) {
        return Ok(());
    }
    let files = files()?;
    let agent = Agent::start(&BESIDE)?;
    let set = |numbers: &[usize]| numbers.iter().copied().collect::<BTreeSet<usize>>();

    let mut unit = Unit::start("again.service", files.path())?;
    unit.work(&set(&[0]))?;
    agent.say(&["mark", "restart", "--unit", "again.service"])?;
    unit.work(&set(&[1]))?;
    unit.end()?;
    drop(unit);
    let mut unit = Unit::start("again.service", files.path())?;
    unit.work(&set(&[2]))?;
    agent.say(&["mark", "--end", "--unit", "again.service"])?;
    unit.work(&set(&[3]))?;

    agent.say(&["mark", "everywhere"])?;
    unit.work(&set(&[4]))?;
    let mut born = Unit::start("born.service", files.path())?;
    born.work(&set(&[5]))?;
    agent.say(&["mark", "--end"])?;
    born.work(&set(&[6]))?;

    let observation = agent.snapshot("again.service")?;
    let of = |label| Ok::<_, anyhow::Error>(deeds(marked(&observation, label)?, files.path()).0);
    ensure!(of("restart")? == set(&[1, 2]), "{:?}", of("restart")?);
    ensure!(of("everywhere")? == set(&[4]), "{:?}", of("everywhere")?);
    let invocations = observation.runs.values();
    let invocations = invocations.filter(|run| run.kind == RunKind::Invocation);
    let mut unmarked: Vec<_> = invocations.map(|run| deeds(run, files.path()).0).collect();
    unmarked.sort();
    ensure!(unmarked == [set(&[0]), set(&[3])], "{unmarked:?}");

    let observation = agent.snapshot("born.service")?;
    let of = deeds(marked(&observation, "everywhere")?, files.path()).0;
    ensure!(of == set(&[5]), "{of:?}");
    Ok(())
}

#[test]
fn the_clock_cuts_windows_that_are_no_tests() -> Result<()> {
    if !met("the_clock_cuts_windows_that_are_no_tests", &["python3"]) {
        return Ok(());
    }
    let files = files()?;
    let window = as_patient(Duration::from_secs(1));
    let agent = Agent::start(&Setup {
        runs: &format!("window = \"{}s\"", window.as_secs()),
        ..BESIDE
    })?;
    let mut unit = Unit::start("long.service", files.path())?;
    unit.work(&[0].into())?;
    // Four windows long; it may be that each is cut a second late.
    for number in 1..8 {
        thread::sleep(window * 4 / 7);
        unit.work(&[number].into())?;
    }
    let observation = agent.snapshot("long.service")?;
    let of = |kind| {
        let runs = observation
            .runs
            .values()
            .filter(move |run| run.kind == kind);
        runs.map(|run| deeds(run, files.path()).0)
            .collect::<Vec<_>>()
    };
    let (first, windows) = (of(RunKind::Invocation), of(RunKind::Window));
    ensure!(first.len() == 1, "{first:?}");
    ensure!((2..=4).contains(&windows.len()), "{windows:?}");
    let all: BTreeSet<usize> = first.iter().chain(&windows).flatten().copied().collect();
    ensure!(all == (0..8).collect(), "{all:?}");
    let parts: usize = first.iter().chain(&windows).map(BTreeSet::len).sum();
    ensure!(parts == 8, "each deed in one run: {first:?} {windows:?}");
    Ok(())
}

/// What the rig does to redis, a test case each.
const RIG: [(&str, &[&str]); 20] = [
    ("ping", &["ping"]),
    ("set", &["set", "a", "1"]),
    ("get", &["get", "a"]),
    ("incr", &["incr", "a"]),
    ("append", &["append", "a", "x"]),
    ("del", &["del", "a"]),
    ("lpush", &["lpush", "l", "1", "2", "3"]),
    ("lrange", &["lrange", "l", "0", "-1"]),
    ("sadd", &["sadd", "s", "m"]),
    ("zadd", &["zadd", "z", "1", "m"]),
    ("hset", &["hset", "h", "f", "v"]),
    ("expire", &["expire", "h", "100"]),
    ("info", &["info"]),
    ("config", &["config", "get", "dir"]),
    ("dbsize", &["dbsize"]),
    ("eval", &["eval", "return 1", "0"]),
    ("publish", &["publish", "c", "m"]),
    ("save", &["save"]),
    ("bgsave", &["bgsave"]),
    ("flushall", &["flushall"]),
];

#[test]
fn a_rig_marks_its_cases_and_takes_a_profile_that_names_them() -> Result<()> {
    let name = "a_rig_marks_its_cases_and_takes_a_profile_that_names_them";
    let Some(machine) = Machine::here(name)? else {
        return Ok(());
    };
    let agent = Agent::start(&BESIDE)?;
    let cgroup = machine.cgroup().join("system.slice/redis-server.service");
    let unit = unit::unit(cgroup.as_os_str().as_bytes()).context("a unit")?;
    let unit = unit.to_string();
    agent.say(&["mark", "start"])?;
    machine.run(&["systemctl", "start", "redis-server"])?;
    for (case, command) in RIG {
        agent.say(&["mark", case, "--unit", &unit])?;
        machine.run(&[&["redis-cli"], command].concat())?;
    }
    agent.say(&["mark", "stop"])?;
    machine.run(&["systemctl", "stop", "redis-server"])?;
    agent.say(&["mark", "--end"])?;

    let observation = agent.snapshot(&unit)?;
    for (case, _) in RIG {
        let run = marked(&observation, case)?;
        ensure!(!run.executables.is_empty(), "{case}");
    }
    // Only the cases that save write the dump.
    let dumps = |case: &str| -> Result<bool> {
        let run = marked(&observation, case)?;
        let mut files = run
            .executables
            .values()
            .flat_map(|facts| facts.files.keys());
        Ok(files.any(|path| path.to_string().ends_with("/dump.rdb")))
    };
    ensure!(dumps("save")? && dumps("bgsave")?);
    ensure!(!dumps("get")? && !dumps("info")?);

    let out = Scratch::new(Path::new("/run"))?;
    let directory = out.path().to_str().context("a path in UTF-8")?;
    agent.say(&["snapshot", &unit, "--out", directory])?;
    let profile = fs::read_dir(out.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "profile"))
        .context("a profile")?;
    let text = fs::read_to_string(profile)?;
    ensure!(text.contains("seccomp.keep "), "{text}");
    // A call that one case alone made names it.
    ensure!(
        text.lines()
            .any(|line| line.starts_with('#') && line.contains("(start)")),
        "{text}"
    );
    Ok(())
}
