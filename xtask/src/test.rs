//! `cargo xtask test`: everything that has to hold before a change goes in, or one part of it.

mod licences;
mod list;
mod tally;
mod times;

use std::{
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

pub use self::{
    tally::Tally,
    times::{Times, last as last_times},
};
use crate::{
    build, package, process,
    setup::{self, Scope, Toolchain},
    suites::{self, Here},
    vm::{self, Runner},
    workspace::{self, Profile},
};

/// The name of what tests each function alone, among the suites.
const UNIT: &str = "unit";

/// The examples of the documentation, which are tested with them.
const EXAMPLES: &str = "examples";

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run this suite only, with what it prints: `unit`, or one of --list
    #[arg(value_name = "SUITE")]
    suite: Option<String>,
    /// Run only the tests of the suite whose names contain this
    #[arg(requires = "suite")]
    filter: Option<String>,
    /// Run the suite on this kernel, in a virtual machine: 5.10, 6.1, 6.12 or newest
    #[arg(long, requires = "suite")]
    kernel: Option<String>,
    /// The fraction of its work that the suite does on that kernel, and with it eight times the usual patience
    #[arg(long, value_name = "FRACTION", requires = "kernel")]
    scale: Option<f64>,
    /// List the suites: what they test, where they run, what they took and where the last output is
    #[arg(long, conflicts_with = "suite")]
    list: bool,
    /// Leave out the end-to-end suites, which need root
    #[arg(long, conflicts_with = "suite")]
    quick: bool,
}

/// `cargo xtask test`
pub fn main(args: &Args) -> Result<()> {
    if args.list {
        return list::print();
    }
    let times = Times::new();
    if let Some(suite) = &args.suite {
        return one(args, suite, &times);
    }
    forget_skipped()?;
    all(args.quick, &times)
}

/// One suite.
fn one(args: &Args, suite: &str, times: &Times) -> Result<()> {
    let filter = args.filter.as_deref().unwrap_or_default();
    if suite == UNIT {
        let toolchain = setup::provide(Scope::Build)?;
        build::kernel_programs(&toolchain)?;
        forget_skipped()?;
        let mut tally = Tally::default();
        let failed = unit(filter, &mut tally, true, times)?;
        ensure!(
            tally.ended() > 0,
            "no unit test has a name that contains `{filter}`"
        );
        return finish(times, tally, &failed).map(drop);
    }
    suites::known(suite)?;
    let in_guest = args.kernel.is_some() || !suites::is_here(suite);
    let job = in_guest
        .then(|| vm::job_of_suite(suite, args.kernel.as_deref()))
        .transpose()?;
    let toolchain = setup::provide(Scope::Tests)?;
    let harden = build::build(&toolchain, Profile::Dev)?;
    let here = Here::build(harden.clone())?;
    forget_skipped()?;
    let Some(job) = job else {
        let here = if suites::needs_package(suite) {
            here.with_package(package::for_tests()?)
        } else {
            here
        };
        let mut tally = Tally::default();
        let failed = run_here(&here, suite, filter, true, &mut tally, times);
        finish(times, tally, &failed)?;
        // Of a part no time is kept: the list is about whole suites.
        return if filter.is_empty() {
            times.save()
        } else {
            Ok(())
        };
    };
    vm::fetch_emulator()?;
    let settings = vm::Settings {
        filter: filter.to_owned(),
        scale: args.scale,
        show: true,
    };
    let outcome = Runner::new(here.program(), &harden, settings, times)?.run(&job);
    finish(times, outcome.tally, &outcome.failed).map(drop)
}

/// All of it.
fn all(quick: bool, times: &Times) -> Result<()> {
    let scope = if quick { Scope::Build } else { Scope::Tests };
    let toolchain = times.measure("set-up", || setup::provide(scope))?;
    times.measure("formatting", formatting)?;
    thread::scope(|scope| {
        // Downloads, and dpkg in one thread: the compiler has the other processors meanwhile.
        let fetched =
            (!quick).then(|| scope.spawn(|| times.measure("downloads and images", vm::fetch)));
        times.measure("build of the kernel programs", || {
            build::kernel_programs(&toolchain)
        })?;
        times.measure("build", build::everything)?;
        times.measure("lints", || lints(&toolchain))?;
        times.measure("documentation", documentation)?;
        let fetched = fetched.map(thread::ScopedJoinHandle::join);
        fetched.map_or(Ok(()), |result| {
            result.map_err(|_| anyhow!("fetching panicked"))?
        })
    })?;
    headline("unit tests");
    let mut tally = Tally::default();
    let mut failed = unit("", &mut tally, false, times)?;
    if quick {
        println!("the end-to-end suites are left out: --quick");
    } else {
        let suites = end_to_end(times)?;
        tally.add(suites.tally);
        failed.extend(suites.failed);
    }
    let skipped = finish(times, tally, &failed);
    times.save()?;
    skipped.map(drop)
}

/// The suites on this machine, and meanwhile those on other kernels.
fn end_to_end(times: &Times) -> Result<vm::Outcome> {
    headline("end-to-end suites");
    let harden = workspace::harden(Profile::Dev);
    let here = Here::build(harden.clone())?;
    let here = here.with_package(times.measure("package", package::for_tests)?);
    let runner = Runner::new(here.program(), &harden, vm::Settings::default(), times)?;
    let jobs = vm::jobs_of_tests();
    let waiting = Mutex::new(jobs.iter());
    thread::scope(|scope| {
        // A guest keeps a processor busy: as many as there is room for beside the suites.
        let guests = vm::at_once().saturating_sub(1).max(1);
        let guests: Vec<_> = (0..guests)
            .map(|_| scope.spawn(|| runner.work_off(&waiting)))
            .collect();
        let mut outcome = all_here(&here, times, || runner.work_off(&waiting))?;
        outcome.add(runner.work_off(&waiting));
        for guest in guests {
            outcome.add(
                guest
                    .join()
                    .map_err(|_| anyhow!("a guest's thread panicked"))?,
            );
        }
        Ok(outcome)
    })
}

/// The suites on this machine: most in pairs, as each waits half of its time, then alone those that have to be. Meanwhile
/// the one that is left over does something else.
fn all_here(
    here: &Here,
    times: &Times,
    meanwhile: impl FnOnce() -> vm::Outcome + Send,
) -> Result<vm::Outcome> {
    let names = suites::here()?;
    let (alone, beside): (Vec<_>, Vec<_>) = names.iter().partition(|name| suites::is_alone(name));
    let beside = Mutex::new(beside.into_iter());
    let alone = Mutex::new(alone.into_iter());
    let mut outcome = both(
        || work_off(here, &beside, times),
        || work_off(here, &beside, times),
    )?;
    outcome.add(both(|| work_off(here, &alone, times), meanwhile)?);
    Ok(outcome)
}

/// Two things at once.
fn both(
    one: impl FnOnce() -> vm::Outcome,
    other: impl FnOnce() -> vm::Outcome + Send,
) -> Result<vm::Outcome> {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let mut outcome = one();
        let other = other.join();
        outcome.add(other.map_err(|_| anyhow!("a thread of the tests panicked"))?);
        Ok(outcome)
    })
}

/// The next of what several threads share.
pub fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.next()
}

/// Runs the suites that wait, one after the other, until none does.
fn work_off<'a>(
    here: &Here,
    waiting: &Mutex<impl Iterator<Item = &'a String>>,
    times: &Times,
) -> vm::Outcome {
    let mut outcome = vm::Outcome::default();
    while let Some(suite) = next(waiting) {
        let failed = run_here(here, suite, "", false, &mut outcome.tally, times);
        outcome.failed.extend(failed);
    }
    outcome
}

/// One suite on this machine. Returns what failed: the next one is worth trying all the same.
fn run_here(
    here: &Here,
    suite: &str,
    filter: &str,
    show: bool,
    tally: &mut Tally,
    times: &Times,
) -> Vec<String> {
    let begin = Instant::now();
    let reported = here.run(suite, filter, show).and_then(|outcome| {
        times.add(suite, begin);
        tally.add(outcome.tally);
        report(suite, outcome.good, begin.elapsed())?;
        Ok(failures(suite, outcome.good))
    });
    reported.unwrap_or_else(|error| vec![format!("{suite}: {error:#}")])
}

fn failures(name: &str, good: bool) -> Vec<String> {
    let failed = (!good).then(|| name.to_owned());
    failed.into_iter().collect()
}

fn formatting() -> Result<()> {
    headline("formatting");
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    process::run(
        process::cargo()
            .current_dir(workspace::ebpf())
            .args(["fmt", "--check"]),
    )
}

fn lints(toolchain: &Toolchain) -> Result<()> {
    headline("lints");
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    process::run(process::cargo().args(clippy))?;
    licences::check()?;

    let Some(mut clippy) = toolchain.clippy()? else {
        let sysroot = toolchain.sysroot.display();
        println!("the kernel programs are not linted: the compiler in {sysroot} has no clippy");
        return Ok(());
    };
    process::run(clippy.args(["--release", "--locked", "--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    headline("documentation");
    let mut cargo = process::cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(cargo.args(["doc", "--workspace", "--no-deps"]))
}

/// The tests of each function alone, and the examples of the documentation. Returns what failed.
fn unit(filter: &str, tally: &mut Tally, show: bool, times: &Times) -> Result<Vec<String>> {
    // The suites are a test of the workspace too, and are not run here. To leave out their package would give others
    // other features, and have them built again.
    let mut targets = vec!["--lib".to_owned(), "--bins".to_owned()];
    for file in fs::read_dir(workspace::root().join("harden-agent/tests"))? {
        let path = file?.path();
        if let (Some(name), true) = (path.file_stem(), path.is_file()) {
            targets.push(format!("--test={}", name.display()));
        }
    }
    let mut failed = Vec::new();
    for (name, targets) in [
        (UNIT, targets.as_slice()),
        (EXAMPLES, &["--doc".to_owned()]),
    ] {
        let begin = Instant::now();
        let mut cargo = process::cargo();
        cargo.args(["test", "--workspace", "--no-fail-fast"]);
        cargo.args(targets).arg("--").arg(filter);
        cargo.env("HARDEN_SKIPPED", workspace::skipped());
        // A change is not to fail for a case that has nothing to do with it; `cargo test` looks for new ones.
        cargo.env("PROPTEST_RNG_SEED", "1");
        let good = suites::listen(&mut cargo, &suites::log(name), |line| {
            tally.read(line);
            if show {
                println!("{line}");
            }
        })?;
        times.add(name, begin);
        report(name, good, begin.elapsed())?;
        failed.extend(failures(name, good));
    }
    Ok(failed)
}

/// Says how a part went, and shows why if it failed.
pub fn report(name: &str, good: bool, took: Duration) -> Result<()> {
    let seconds = took.as_secs_f32();
    if good {
        println!("ok      {name} ({seconds:.1} s)");
        return Ok(());
    }
    let log = suites::log(name);
    let text = fs::read(&log).with_context(|| log.display().to_string())?;
    let text = String::from_utf8_lossy(&text);
    println!(
        "FAILED  {name} ({seconds:.1} s); all of its output: {}\n{}",
        log.display(),
        why(&text)
    );
    Ok(())
}

/// The part of a test program's output that says what failed, else its end.
fn why(text: &str) -> String {
    /// More than this is read in the log.
    const LINES: usize = 200;
    let from = text.find("\nfailures:\n").unwrap_or(0);
    let lines: Vec<&str> = text[from..].lines().collect();
    let skipped = if from == 0 {
        lines.len().saturating_sub(LINES)
    } else {
        0
    };
    let shown: Vec<&str> = lines.into_iter().skip(skipped).take(LINES).collect();
    shown.join("\n")
}

/// Ends a run: what failed or was skipped, where the time went, and the sum. Returns how many were skipped.
pub fn finish(times: &Times, mut tally: Tally, failed: &[String]) -> Result<usize> {
    tally.skip(&fs::read_to_string(workspace::skipped()).unwrap_or_default());
    headline("where the time went");
    println!("{times}\n");
    for line in tally.skips() {
        println!("SKIPPED {line}");
    }
    for line in failed {
        println!("FAILED {line}");
    }
    println!("logs of the suites: {}", workspace::test_logs().display());
    println!("{tally}");
    ensure!(failed.is_empty(), "tests failed: see above");
    tally.refuse_skips()?;
    Ok(tally.skipped())
}

/// Begins the list of tests that cannot run here.
pub fn forget_skipped() -> Result<()> {
    let skipped = workspace::skipped();
    if let Some(directory) = skipped.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&skipped, "").with_context(|| format!("could not write {}", skipped.display()))
}

fn headline(title: &str) {
    println!("\n== {title}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_shown_and_not_what_passed() {
        let text = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nno\n";
        assert_eq!(why(text), "\nfailures:\n\n---- b stdout ----\nno");
        assert_eq!(why("killed\n"), "killed");
    }

    #[test]
    fn a_long_log_is_not_shown_whole() {
        let shown = why(&"a line\n".repeat(1000));
        assert_eq!(shown.lines().count(), 200);
    }
}
