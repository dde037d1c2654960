//! A program in the background, of which nothing stays behind.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long anything may take to come about. Only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a program may take to tidy up when it is no longer wanted.
const TIDYING: Duration = Duration::from_secs(5);
/// How long its output may take to arrive once it has ended.
const DRAINING: Duration = Duration::from_secs(1);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(10);

/// `patience`, times what `HARDEN_TEST_PATIENCE` says: an emulated machine is many times as slow.
#[must_use]
pub fn as_patient(patience: Duration) -> Duration {
    let times = env::var("HARDEN_TEST_PATIENCE").ok();
    patience * times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Whether all takes many times as long here.
#[must_use]
pub fn is_emulated() -> bool {
    as_patient(Duration::from_secs(1)) > Duration::from_secs(1)
}

/// A running program, killed with all its descendants when dropped.
pub struct Process {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    patience: Duration,
}

impl Process {
    /// Starts `command` with nothing to read. What it prints is kept, standard output and error
    /// in one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        // A pipe and not a file: a program that asks what its output is would be recorded as a
        // user of that file.
        let (mut reader, writer) = std::io::pipe()?;
        // Where the checkout lies, and what cargo says of it, is no part of what a program needs.
        command
            .current_dir("/")
            .env("PWD", "/")
            .env_remove("LD_LIBRARY_PATH");
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = command
            .spawn()
            .with_context(|| format!("could not start {command:?}"))?;
        // The command holds the writing ends, and the reader would wait for them for ever.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let output = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&output);
        let output_reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self {
            child,
            output,
            reader: output_reader,
            patience: PATIENCE,
        })
    }

    /// Waits no longer than `patience` for anything.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What it printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        text(&self.output)
    }

    /// As [`Self::output`], for a caller that waits for it meanwhile.
    pub fn output_so_far(&self) -> impl Fn() -> String + use<> {
        let output = Arc::clone(&self.output);
        move || text(&output)
    }

    /// Tries until `attempt` succeeds; fails with its last error when time is up, and at once when
    /// the program has ended.
    ///
    /// # Errors
    /// As said.
    pub fn until<T>(&mut self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + as_patient(self.patience);
        loop {
            // Asked before the attempt: what the program did last still counts.
            let ended = self.child.try_wait()?;
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if let Some(status) = ended {
                        return Err(error.context(format!("the program has ended: {status}")));
                    }
                    if Instant::now() > deadline {
                        return Err(error);
                    }
                }
            }
            thread::sleep(POLL);
        }
    }

    /// The process identifier.
    #[must_use]
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.id(), signal)?)
    }

    /// The descendants whose command line begins with `title`, wherever in the tree: a daemon sits
    /// below the sandbox, or below the recorder, which have its name among their arguments. In no
    /// particular order.
    #[must_use]
    pub fn descendants(&self, title: &str) -> Vec<Pid> {
        let mut found = descendants(self.id());
        found.retain(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                String::from_utf8_lossy(&line)
                    .replace('\0', " ")
                    .starts_with(title)
            })
        });
        found
    }

    /// Waits for the end, and for what was printed before it.
    ///
    /// # Errors
    /// It does not come.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + as_patient(self.patience);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.drain();
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        bail!("it does not end")
    }

    /// Waits until its output is read; not for long, as a descendant may hold the pipe open.
    fn drain(&self) {
        let deadline = Instant::now() + as_patient(DRAINING);
        while !self.reader.is_finished() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A sandbox has a process that is the first of its PID namespace: with that one killed, the
        // kernel ends all of it, processes born meanwhile too. The rest goes one by one.
        let below = descendants(self.id());
        let _ = self.signal(Signal::SIGTERM);
        for pid in &below {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // Firejail and harden tidy up after what they ran, if they are let.
        self.patience = TIDYING;
        let _ = self.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Killed is not dead yet, and until then it may write into a directory about to be removed.
        let deadline = Instant::now() + as_patient(self.patience);
        while below.iter().any(|pid| is_alive(*pid)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }
}

fn text(output: &Mutex<Vec<u8>>) -> String {
    let output = output.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&output).into_owned()
}

/// All processes below `root`.
fn descendants(root: Pid) -> Vec<Pid> {
    let parents: BTreeMap<Pid, Pid> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((Pid::from_raw(pid), parent(pid)?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| **parent == above)
                .map(|(child, _)| *child),
        );
    }
    found.split_off(1)
}

fn parent(pid: i32) -> Option<Pid> {
    let parent = field(Pid::from_raw(pid), "PPid:")?;
    parent.parse().ok().map(Pid::from_raw)
}

/// Not gone, and no zombie that waits to be noticed.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    field(pid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

fn field(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_behind() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & echo started; sleep 1000"]);
        let mut process = Process::start(&mut command).unwrap();
        let sleeping = |process: &Process| process.descendants("sleep 1000");
        for _ in 0..1000 {
            if sleeping(&process).len() == 2 {
                break;
            }
            thread::sleep(POLL);
        }
        let sleeps = sleeping(&process);
        assert_eq!(sleeps.len(), 2);
        let said = process.output_so_far();
        let whole = process.until(|| {
            (said() == "started\n")
                .then_some(())
                .context("what it prints")
        });
        assert!(whole.is_ok());
        drop(process);
        assert!(!sleeps.into_iter().any(is_alive));
    }

    #[test]
    fn the_end_of_the_program_ends_the_waiting() {
        let mut process = Process::start(&mut Command::new("/bin/false")).unwrap();
        let error = process.until(|| -> Result<()> { bail!("not ready") });
        assert!(format!("{:#}", error.unwrap_err()).contains("has ended"));
        assert!(!process.wait().unwrap().success());
    }
}
