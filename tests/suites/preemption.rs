//! Tasks that interrupt each other in the middle of the kernel programs: what is recorded is whole, and
//! what could not be is counted.
//!
//! For a kernel with `preempt=full`, which stops a program wherever it is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Abi, Executable, Run, Text};
use harden_tests::{Scratch, harden, met, programs, scaled};

const FILES: u32 = 200_000;
/// Files of a recording: an observation of so many long paths still fits into a small machine's memory.
const AT_ONCE: usize = 20_000;
/// Room for all of a recording: real-time tasks may keep `harden` from the processor.
const RING: &str = "134217728";
const TASKS_PER_CPU: usize = 16;
const LEVELS: usize = 20;

/// One recording at a time has the machine.
static ALONE: Mutex<()> = Mutex::new(());

/// How many recordings, and of how many files each.
fn extent() -> Result<(usize, usize)> {
    let all = scaled(FILES)? as usize;
    let recordings = all.div_ceil(AT_ONCE).max(1);
    Ok((recordings, all / recordings))
}

/// What `preempted.c` makes.
struct Made {
    directories: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

fn filling(task: usize, number: usize) -> String {
    let letters = "abcdefghijklmnopqrstuvwxyz";
    letters[task % 26..=task % 26].repeat(10 + (task * 7 + number * 3) % 17)
}

fn made(tasks: usize, count: usize, directory: &Path) -> Made {
    let (mut directories, mut files) = (BTreeSet::new(), BTreeSet::new());
    for task in 0..tasks {
        let mut path = directory.to_owned();
        for level in 0..LEVELS {
            path.push(format!("t{task:03}-l{level:02}-{}", filling(task, level)));
            directories.insert(path.clone());
        }
        for number in 0..count {
            files.insert(path.join(format!("t{task:03}-f{number:06}-{}", filling(task, number))));
        }
    }
    Made { directories, files }
}

fn lost(run: &Run, kind: &str) -> u64 {
    let mut losses = run.losses.iter();
    losses
        .find(|(name, _)| name.as_str() == kind)
        .map_or(0, |(_, count)| *count)
}

/// One recording, with what should be in it.
struct Stressed {
    recorded: harden::Recorded,
    made: Made,
    directory: Scratch,
}

impl Stressed {
    fn record(files: usize, options: &[&str]) -> Result<Self> {
        let bin = Scratch::new(Path::new("/run"))?;
        let program = programs::install("preempted", &bin)?;
        let directory = Scratch::new(Path::new("/dev/shm"))?;
        let tasks = TASKS_PER_CPU * thread::available_parallelism()?.get();
        let count = files / tasks;
        let command = [
            program.display().to_string(),
            tasks.to_string(),
            count.to_string(),
            directory.path().display().to_string(),
        ];
        let options = [&["--ring", RING][..], options].concat();
        let recorded = harden::record("preempted", &options, &command)?;
        ensure!(recorded.status == 0, "{}", recorded.output);
        let run = recorded.observation.runs.values().next().context("a run")?;
        println!("{} files, lost: {:?}", tasks * count, run.losses);
        Ok(Self {
            made: made(tasks, count, directory.path()),
            recorded,
            directory,
        })
    }

    fn run(&self) -> Result<&Run> {
        let mut runs = self.recorded.observation.runs.values();
        runs.next().context("a run")
    }

    fn facts(&self) -> Result<&Executable> {
        let mut programs = self.run()?.executables.iter();
        let found = programs.find(|(path, _)| path.to_string().ends_with("/preempted"));
        Ok(found.context("the program")?.1)
    }

    /// The files that are not in the observation. No path that is there is one that nobody used: mixed
    /// of two, or cut.
    fn missing(&self) -> Result<Vec<&PathBuf>> {
        let observed: BTreeSet<&Path> = self.facts()?.files.keys().map(Text::as_path).collect();
        for &path in &observed {
            let is_known = if path.starts_with(self.directory.path()) {
                self.made.files.contains(path) || self.made.directories.contains(path)
            } else {
                path == Path::new("/etc/ld.so.preload") || path.exists()
            };
            ensure!(is_known, "nobody used {}", path.display());
        }
        let files = self.made.files.iter();
        Ok(files
            .filter(|file| !observed.contains(file.as_path()))
            .collect())
    }
}

#[test]
fn the_chosen_tiers_miss_nothing() -> Result<()> {
    if !met("the_chosen_tiers_miss_nothing", &[]) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (recordings, files) = extent()?;
    for _ in 0..recordings {
        let stressed = Stressed::record(files, &[])?;
        let missing = stressed.missing()?;
        ensure!(
            missing.is_empty(),
            "{} of {}, such as {}",
            missing.len(),
            stressed.made.files.len(),
            missing[0].display()
        );
        let run = stressed.run()?;
        let other: Vec<_> = run
            .losses
            .keys()
            .filter(|kind| !kind.as_str().starts_with("skipped-"))
            .collect();
        ensure!(other.is_empty(), "{:?}", run.losses);

        let facts = stressed.facts()?;
        for directory in &stressed.made.directories {
            let found = facts.files.keys().any(|path| path.as_path() == directory);
            ensure!(found, "{}", directory.display());
        }
        let calls = &facts.syscalls[&Abi::Native];
        for name in [
            "mkdir",
            "openat",
            "close",
            "sched_setscheduler",
            "clock_nanosleep",
            "wait4",
            "exit_group",
        ] {
            ensure!(calls.keys().any(|call| call.as_str() == name), "no {name}");
        }
        // Each call is counted, but for those that both programs on the entry were skipped for.
        let mkdir = calls.iter().find(|(call, _)| call.as_str() == "mkdir");
        let mkdirs = mkdir.and_then(|(_, seen)| seen.count()).unwrap_or(0);
        let skipped = lost(run, "skipped-sys_enter");
        let all = stressed.made.directories.len() as u64;
        ensure!(
            mkdirs <= all && mkdirs + skipped >= all,
            "{mkdirs} of {all}, {skipped} skipped"
        );
    }
    Ok(())
}

#[test]
fn what_a_tier_misses_is_counted() -> Result<()> {
    if !met("what_a_tier_misses_is_counted", &[]) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = [
        "--tier",
        "files=fexit:security_file_open",
        "--tier",
        "path-operations=lsm:path_*",
        "--tier",
        "lookups=none",
    ];
    let stressed = Stressed::record(extent()?.1, &options)?;
    let missing = stressed.missing()?;
    let run = stressed.run()?;
    let counted = lost(run, "skipped-security_file_open")
        + lost(run, "scratch-busy")
        + lost(run, "path-ring-full");
    println!("{} files missing", missing.len());
    ensure!(
        missing.len() as u64 <= counted,
        "{} missing, {:?}",
        missing.len(),
        run.losses
    );
    Ok(())
}
