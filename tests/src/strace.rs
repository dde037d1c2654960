//! What strace(1) says a command did: the reference that a recording is held against.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use harden_agent::observation::Abi;

use crate::Process;

/// How often each call was made, by ABI and name.
pub type Calls = BTreeMap<(Abi, String), Times>;

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Entered.
    pub made: u64,
    /// Come back with an errno.
    pub failed: u64,
}

/// Runs `command` under `strace -f`, and says what each program called.
///
/// # Errors
/// strace fails or complains.
///
/// # Panics
/// The log has a line that this reader does not know.
pub fn trace<S: AsRef<OsStr>>(command: &[S]) -> Result<BTreeMap<PathBuf, Calls>> {
    let log = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    strace
        .args([
            "--follow-forks",
            "--quiet=attach,personality",
            "--string-limit=4096",
            "--output",
        ])
        .arg(log.path())
        .arg("--")
        .args(command);
    let mut process = Process::start(&mut strace)?;
    process.wait()?;
    let said = process.output();
    ensure!(!said.contains("strace: "), "strace complains: {said}");
    let log = fs::read(log.path())?;
    Ok(Log::default().read(&String::from_utf8_lossy(&log)))
}

/// The log so far.
#[derive(Default)]
struct Log {
    /// By process or thread: its program.
    programs: BTreeMap<u32, PathBuf>,
    /// By process or thread: the file that a call of execve in progress was given.
    executing: BTreeMap<u32, PathBuf>,
    /// By process or thread: the one that execve'd in it, where that was another thread.
    superseded: BTreeMap<u32, u32>,
    calls: BTreeMap<PathBuf, Calls>,
}

impl Log {
    fn read(mut self, log: &str) -> BTreeMap<PathBuf, Calls> {
        let children = children(log);
        for line in log.lines() {
            let (pid, event) = split(line);
            if !self.programs.contains_key(&pid)
                && let Some(parent) = children.get(&pid)
                && let Some(program) = self.programs.get(parent)
            {
                // The child's first line may come before its parent's call has returned: until then
                // the parent cannot have become another program.
                self.programs.insert(pid, program.clone());
            }
            self.event(pid, event, &children);
        }
        self.calls
    }

    fn event(&mut self, pid: u32, event: &str, children: &BTreeMap<u32, u32>) {
        if let Some(by) = event.strip_prefix("+++ superseded by execve in pid ") {
            let by = by.trim_end_matches(" +++").parse().expect("a pid");
            self.superseded.insert(pid, by);
            return;
        }
        if event.starts_with("+++") || event.starts_with("---") {
            return;
        }
        if let Some(resumed) = event.strip_prefix("<... ") {
            let name = resumed.split(' ').next().expect("a name");
            self.returned(pid, name, resumed, children);
            return;
        }
        let (name, arguments) = event.split_once('(').expect("a call");
        if let Some(program) = self.programs.get(&pid) {
            self.times(&program.clone(), name).made += 1;
        }
        if name == "execve" {
            let file = arguments
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next())
                .expect("a path in quotes");
            self.executing.insert(pid, PathBuf::from(file));
        }
        if !event.ends_with("<unfinished ...>") {
            self.returned(pid, name, event, children);
        }
    }

    fn times(&mut self, program: &Path, name: &str) -> &mut Times {
        let abi = match fs::read(program).ok().as_deref() {
            // EI_CLASS of an ELF file: 1 is 32-bit.
            Some([0x7f, b'E', b'L', b'F', 1, ..]) => Abi::Ia32,
            _ => Abi::Native,
        };
        let calls = self.calls.entry(program.to_owned()).or_default();
        calls.entry((abi, name.to_owned())).or_default()
    }

    fn returned(&mut self, pid: u32, name: &str, line: &str, children: &BTreeMap<u32, u32>) {
        let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
        let is_failure = result.starts_with("-1 E") || result.starts_with("? E");
        if let Some(program) = self.programs.get(&pid).filter(|_| is_failure) {
            self.times(&program.clone(), name).failed += 1;
        }
        if name == "execve" && result == "0" {
            let by = self.superseded.remove(&pid).unwrap_or(pid);
            let file = self.executing.remove(&by).expect("execve was entered");
            let program = file.canonicalize().expect("a program that is there");
            self.programs.insert(pid, program);
        }
        if makes_a_task(name)
            && let Ok(child) = result.split(' ').next().unwrap_or("").parse()
            && children.contains_key(&child)
            && let Some(program) = self.programs.get(&pid).cloned()
        {
            self.programs.entry(child).or_insert(program);
        }
    }
}

/// Child → parent, from the results of the calls that make tasks.
fn children(log: &str) -> BTreeMap<u32, u32> {
    let made = log.lines().filter_map(|line| {
        let (pid, event) = split(line);
        let name = event.trim_start_matches("<... ");
        let name = name.split(['(', ' ']).next()?;
        let (_, result) = event.rsplit_once(" = ")?;
        let child = result.split(' ').next()?.parse().ok()?;
        makes_a_task(name).then_some((child, pid))
    });
    made.collect()
}

fn makes_a_task(call: &str) -> bool {
    matches!(call, "clone" | "clone3" | "fork" | "vfork")
}

fn split(line: &str) -> (u32, &str) {
    let (pid, event) = line.split_once(' ').expect("a pid begins each line");
    (pid.parse().expect("a pid"), event.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_counts_for_the_program_that_made_it() {
        let log = "\
1 execve(\"/bin/sh\", [\"sh\"], 0x0 /* 1 vars */) = 0
1 brk(NULL)                         = 0x1
1 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>
2 getpid( <unfinished ...>
1 <... clone resumed>)              = 2
2 <... getpid resumed>)             = 2
2 execve(\"/bin/no\", [\"no\"], 0x0) = -1 ENOENT (No such file or directory)
2 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 3
3 execve(\"/bin/true\", [\"true\"], 0x0 <unfinished ...>
2 +++ superseded by execve in pid 3 +++
2 <... execve resumed>)             = 0
2 exit_group(0)                     = ?
2 +++ exited with 0 +++
1 --- SIGCHLD {si_signo=SIGCHLD} ---
1 exit_group(0)                     = ?
";
        let traced = Log::default().read(log);
        let calls = |program: &str| {
            let path = PathBuf::from(program).canonicalize().unwrap();
            let calls = &traced[&path];
            let calls = calls.iter().map(|((_, name), times)| match times.failed {
                0 => format!("{name} {}", times.made),
                failed => format!("{name} {} failed {failed}", times.made),
            });
            calls.collect::<Vec<_>>()
        };
        assert_eq!(traced.len(), 2);
        assert_eq!(
            calls("/bin/sh"),
            [
                "brk 1",
                "clone 1",
                "clone3 1",
                "execve 2 failed 1",
                "exit_group 1",
                "getpid 1"
            ]
        );
        assert_eq!(calls("/bin/true"), ["exit_group 1"]);
    }
}
