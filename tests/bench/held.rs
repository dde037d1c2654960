//! Puts a condition in force.

use std::{env, fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{Ebpf, EbpfLoader, programs::RawTracePoint};
use harden_tests::{Agent, Process, Setup, deeds::Unit, harden};

use crate::{condition::Condition, place::Place, workload::reason};

/// Enters a cgroup and begins a program, as systemd's child does.
const ENTER: &str = r#"echo 0 > "$0/cgroup.procs" && exec "$@""#;

/// Debian's bpftrace looks for tracepoints below the debugging file system, which is mounted for it alone where the
/// machine does not have it.
const BPFTRACE: &str = "[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug; \
                        exec bpftrace -e 'tracepoint:raw_syscalls:sys_enter { @[cgroup] = count(); }'";

/// What is in force until it is dropped.
pub enum Held<'a> {
    /// Nothing, or what is started with the workload.
    Prefix(&'a Place),
    Empty(#[expect(dead_code, reason = "held, not read")] Ebpf),
    Agent {
        #[expect(dead_code, reason = "held, not read")]
        agent: Box<Agent>,
        observed: Unit,
        excluded: Unit,
    },
    Bpftrace(#[expect(dead_code, reason = "held, not read")] Process),
}

impl<'a> Held<'a> {
    /// Puts a condition in force, and those that share it.
    pub fn enter(condition: Condition, place: &'a Place) -> Result<Self> {
        match condition {
            Condition::Empty => Ok(Self::Empty(empty_programs()?)),
            Condition::Observed | Condition::Excluded => {
                let agent = Agent::start(&Setup {
                    include: &["bench-*"],
                    exclude: &["bench-excluded.service"],
                    ..Setup::default()
                })?;
                Ok(Self::Agent {
                    agent: Box::new(agent),
                    observed: place.workshop.unit("bench-observed.service")?,
                    excluded: place.workshop.unit("bench-excluded.service")?,
                })
            }
            Condition::Bpftrace => Ok(Self::Bpftrace(bpftrace()?)),
            Condition::Bare
            | Condition::Run
            | Condition::Strace
            | Condition::PerfTrace
            | Condition::Shh => Ok(Self::Prefix(place)),
        }
    }

    /// What starts a workload under one of the conditions: the program and its arguments go behind it.
    pub fn command(&self, condition: Condition) -> Command {
        let unit = match self {
            Self::Agent { observed, .. } if condition == Condition::Observed => observed,
            Self::Agent { excluded, .. } => excluded,
            Self::Prefix(place) => return tool(condition, place),
            Self::Empty(_) | Self::Bpftrace(_) => return plain(),
        };
        enter(unit)
    }
}

/// Starts what follows in a unit.
pub fn enter(unit: &Unit) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", ENTER]).arg(unit.path());
    command
}

/// Starts what follows, under a tool or under none.
pub fn tool(condition: Condition, place: &Place) -> Command {
    let words: &[&str] = match condition {
        Condition::Strace => &["strace", "-c", "-f", "-o", "/dev/null"],
        Condition::PerfTrace => &["perf", "trace", "-s", "-o", "/dev/null", "--"],
        Condition::Shh => {
            let shh = env::var_os("HARDEN_SHH").unwrap_or_else(|| "shh".into());
            let mut command = Command::new(shh);
            command.args(["run", "--"]);
            return command;
        }
        Condition::Run => {
            let mut command = Command::new(harden::binary());
            command
                .args(["run", "--quiet", "--name", "bench", "--out"])
                .arg(place.recorded())
                .arg("--");
            return command;
        }
        _ => return plain(),
    };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// As the others, a command that becomes another.
fn plain() -> Command {
    Command::new("env")
}

/// The empty program of the kernel object, on both tracepoints of system calls.
fn empty_programs() -> Result<Ebpf> {
    let object = env::var_os("HARDEN_BENCH_OBJECT").context("HARDEN_BENCH_OBJECT is not set")?;
    let object = Path::new(&object);
    let object = fs::read(object).with_context(|| object.display().to_string())?;
    let mut ebpf = EbpfLoader::new().allow_unsupported_maps().load(&object)?;
    let program: &mut RawTracePoint = ebpf
        .program_mut("empty")
        .context("the object has no program 'empty'")?
        .try_into()?;
    program.load()?;
    program.attach("sys_enter")?;
    program.attach("sys_exit")?;
    Ok(ebpf)
}

fn bpftrace() -> Result<Process> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", BPFTRACE]);
    let mut process = Process::start(&mut command)?;
    let output = process.output_so_far();
    process
        .until(|| {
            let output = output();
            ensure!(
                output.contains("Attaching"),
                "{}",
                output.lines().next_back().unwrap_or("it says nothing")
            );
            Ok(())
        })
        .with_context(|| reason(&process.output()))?;
    // It says so before it does so.
    thread::sleep(Duration::from_millis(200));
    Ok(process)
}
