//! What observing costs: nanoseconds for one getppid(2), the cheapest call there is, under nothing,
//! under an empty program, and under harden for a task that it observes and one that it does not;
//! and, in the same run, what the tools cost that people use instead.
//!
//! `cargo xtask bench` runs it, as root. Medians of interleaved repetitions, so that a machine that
//! is slower for a while is so for all.

use std::{
    env, fs,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use aya::{Ebpf, EbpfLoader, programs::RawTracePoint};
use harden_agent::{
    probe::{Probe, Purpose, Sizes},
    run::Cgroup,
};

/// Calls in one measurement.
const CALLS: u32 = 1_000_000;
/// Calls in one measurement under a tracer that stops the task twice for each.
const TRACED_CALLS: u32 = 20_000;
const REPETITIONS: usize = 15;

fn main() -> Result<()> {
    // The worker is this program too: a process of its own, in a cgroup of its own.
    match env::args().nth(1).as_deref() {
        Some("--worker") => worker(),
        Some("--once") => {
            println!("{}", measure(TRACED_CALLS));
            Ok(())
        }
        _ => compare(),
    }
}

/// Nanoseconds for one call.
fn measure(calls: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(nix::unistd::getppid());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

/// Answers each line on standard input with a measurement.
fn worker() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", measure(CALLS));
    }
    Ok(())
}

struct Worker(Child, BufReader<std::process::ChildStdout>);

impl Worker {
    fn start(cgroup: &Cgroup) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        write!(cgroup.door()?, "{}", child.id())?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self(child, answers))
    }

    fn measure(&mut self) -> Result<f64> {
        writeln!(self.0.stdin.as_mut().context("no standard input")?, "go")?;
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

/// What is in force while the worker calls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Nothing,
    Empty,
    EmptyTwice,
    Unobserved,
    Observed,
    ObservedAndCounted,
}

const CONDITIONS: [(Condition, &str); 6] = [
    (Condition::Nothing, "nothing attached"),
    (Condition::Empty, "an empty program on sys_enter"),
    (
        Condition::EmptyTwice,
        "an empty program on sys_enter and sys_exit",
    ),
    (Condition::Unobserved, "harden, task not observed"),
    (Condition::Observed, "harden, task observed"),
    (
        Condition::ObservedAndCounted,
        "harden, task observed and calls counted",
    ),
];

/// Whatever has to stay alive while the worker calls.
enum Attached {
    Nothing,
    Empty(#[allow(dead_code, reason = "held, not read")] Ebpf),
    Harden(#[allow(dead_code, reason = "held, not read")] Box<Probe>),
}

fn attach(condition: Condition, cgroup: &Cgroup) -> Result<Attached> {
    match condition {
        Condition::Nothing => Ok(Attached::Nothing),
        Condition::Empty | Condition::EmptyTwice => {
            let object = Path::new(env!("OUT_DIR")).join("harden.bpf.o");
            let mut ebpf = EbpfLoader::new()
                .allow_unsupported_maps()
                .load(&fs::read(object)?)?;
            let program: &mut RawTracePoint = ebpf
                .program_mut("empty")
                .context("the object has no program 'empty'")?
                .try_into()?;
            program.load()?;
            program.attach("sys_enter")?;
            if condition == Condition::EmptyTwice {
                program.attach("sys_exit")?;
            }
            Ok(Attached::Empty(ebpf))
        }
        _ => {
            let counted_slots = if condition == Condition::ObservedAndCounted {
                256
            } else {
                0
            };
            let sizes = Sizes {
                counted_slots,
                ..Sizes::default()
            };
            let mut probe = Probe::load(&sizes, &[], Purpose::Command)?;
            if condition != Condition::Unobserved {
                probe.observe(cgroup.id(), 1)?;
            }
            Ok(Attached::Harden(Box::new(probe)))
        }
    }
}

fn compare() -> Result<()> {
    let cgroup = Cgroup::create()?;
    let mut worker = Worker::start(&cgroup)?;
    worker.measure()?;
    let mut figures = vec![Vec::new(); CONDITIONS.len()];
    for _ in 0..REPETITIONS {
        for ((condition, _), figures) in CONDITIONS.iter().zip(&mut figures) {
            let attached = attach(*condition, &cgroup)?;
            figures.push(worker.measure()?);
            drop(attached);
        }
    }
    println!("ns per getppid(2), medians of {REPETITIONS} interleaved runs of {CALLS} calls");
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    let base = medians[0];
    for ((_, name), figure) in CONDITIONS.iter().zip(&medians) {
        println!("{name:<44} {figure:>9.1} {:>8.2}x", figure / base);
    }
    for (name, command) in [
        (
            "strace -c -f",
            ["strace", "-c", "-f", "-o", "/dev/null"].as_slice(),
        ),
        (
            "strace -c -f --seccomp-bpf -e trace=getppid",
            &[
                "strace",
                "-c",
                "-f",
                "--seccomp-bpf",
                "-e",
                "trace=getppid",
                "-o",
                "/dev/null",
            ],
        ),
        ("perf trace -s", &["perf", "trace", "-s", "-o", "/dev/null"]),
    ] {
        match peer(command) {
            Ok(figure) => println!("{name:<44} {figure:>9.1} {:>8.2}x", figure / base),
            Err(error) => println!("{name:<44} not measured: {error:#}"),
        }
    }
    Ok(())
}

/// The same loop, run by another tool.
fn peer(command: &[&str]) -> Result<f64> {
    let mut figures = Vec::new();
    for _ in 0..3 {
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(env::current_exe()?)
            .arg("--once")
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("{} cannot be run", command[0]))?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{}",
            message.lines().next().unwrap_or("it failed")
        );
        figures.push(String::from_utf8(output.stdout)?.trim().parse()?);
    }
    Ok(median(figures))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
