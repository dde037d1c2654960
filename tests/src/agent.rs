//! An agent of one's own: with a state directory, a socket and a BPF file system that no other one has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::{Status, UnitSummary},
    observation::{self, Observation},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};

use crate::{Process, Scratch, as_patient, harden, leftovers};

/// Two agents would each pay for the other's hooks.
static TURN: RwLock<()> = RwLock::new(());

/// One of them: alone, or beside others.
struct Turn {
    _alone: Option<RwLockWriteGuard<'static, ()>>,
    _beside: Option<RwLockReadGuard<'static, ()>>,
}

impl Turn {
    fn take(is_beside: bool) -> Self {
        let alone = || TURN.write().unwrap_or_else(PoisonError::into_inner);
        let beside = || TURN.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            _alone: (!is_beside).then(alone),
            _beside: is_beside.then(beside),
        }
    }
}

/// How an agent is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup<'a> {
    /// `[units] include`; empty: the default.
    pub include: &'a [&'a str],
    /// `[units] exclude`
    pub exclude: &'a [&'a str],
    /// Lines of `[state]` beside the directory.
    pub state: &'a str,
    /// Lines of `[runs]`.
    pub runs: &'a str,
    /// `[metrics] listen`, a unix socket.
    pub metrics: Option<&'a Path>,
    /// Lines of `[kernel]` beside the directory of pins.
    pub kernel: &'a str,
    /// What is to hold the state directory, where the test cares.
    pub parent: Option<&'a Path>,
    /// It may run beside other agents that may: nothing is measured, and all that is looked at are units of
    /// one's own.
    pub beside: bool,
}

/// A running agent; ended when dropped, and its kernel side with it.
pub struct Agent {
    process: Option<Process>,
    home: Scratch,
    state: PathBuf,
    // Before it is given up, everything is gone.
    _turn: Turn,
}

impl Agent {
    /// Starts one, and waits until it observes.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let turn = Turn::take(setup.beside);
        leftovers::remove();
        let home = Scratch::new(Path::new("/run"))?;
        let state = setup.parent.unwrap_or(home.path()).join("state");
        let pins = home.path().join("bpf");
        fs::create_dir(&pins)?;
        mount(
            Some("bpf"),
            &pins,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mount -t bpf")?;
        let mut agent = Self {
            process: None,
            home,
            state,
            _turn: turn,
        };
        fs::write(agent.config(), agent.toml(setup))?;
        agent.begin(&[])?;
        Ok(agent)
    }

    fn toml(&self, setup: &Setup<'_>) -> String {
        let list = |names: &[&str]| format!("{names:?}");
        let include = match setup.include {
            [] => String::new(),
            names => format!("include = {}\n", list(names)),
        };
        // A string of TOML, of paths that have nothing in them that would have to be escaped.
        let path = |path: &Path| format!("\"{}\"", path.display());
        let metrics = setup.metrics.map_or_else(String::new, |socket| {
            format!("[metrics]\nlisten = {}\n", path(socket))
        });
        format!(
            "[units]\n{include}exclude = {}\n[state]\ndirectory = {}\n{}\n[runs]\n{}\n[kernel]\npin = {}\n{}\n\
             [control]\nsocket = {}\n{metrics}",
            list(setup.exclude),
            path(&self.state),
            setup.state,
            setup.runs,
            path(&self.home.path().join("bpf/harden")),
            setup.kernel,
            path(&self.socket()),
        )
    }

    /// Starts the process, with more in its environment.
    ///
    /// # Errors
    /// It does not start.
    pub fn begin(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(harden::binary());
        command.args(["agent", "--config"]).arg(self.config());
        command.envs(environment.iter().copied());
        // Where the suites run as a service, that is not where the test looks.
        command.env_remove("JOURNAL_STREAM").env("NO_COLOR", "1");
        let mut process = Process::start(&mut command)?.patience(Duration::from_mins(1));
        let output = process.output_so_far();
        let began = process.until(|| {
            let said = output();
            ensure!(
                said.contains("observing "),
                "the agent does not start:\n{said}"
            );
            Ok(())
        });
        self.process = Some(process);
        began
    }

    /// Ends the process by a signal; what is in the kernel stays.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal(signal)?;
        process.wait().with_context(|| process.output()).map(drop)
    }

    /// What the present process has said.
    #[must_use]
    pub fn log(&self) -> String {
        self.process
            .as_ref()
            .map(Process::output)
            .unwrap_or_default()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.path().join("harden.toml")
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A directory that goes with it.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// A command that asks it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(harden::binary());
        command
            .args(arguments)
            .env("HARDEN_SOCKET", self.socket())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that asks it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn harden(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// What such a command prints, which has to succeed.
    ///
    /// # Errors
    /// It failed.
    pub fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = self.harden(arguments)?;
        ensure!(
            output.status.success(),
            "harden {arguments:?}: {}\n{}\nthe agent:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `harden units --json`
    ///
    /// # Errors
    /// It failed.
    pub fn units(&self) -> Result<Vec<UnitSummary>> {
        Ok(serde_json::from_str(&self.say(&["units", "--json"])?)?)
    }

    /// `harden status --json`
    ///
    /// # Errors
    /// It failed.
    pub fn status(&self) -> Result<Status> {
        let output = self.harden(&["status", "--json"])?;
        // That something is wrong, which the answer tells.
        let answers = output.status.success() || output.status.code() == Some(6);
        ensure!(answers, "{output:?}\nthe agent:\n{}", self.log());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// `harden snapshot` of one unit, `--format observation`.
    ///
    /// # Errors
    /// It failed.
    pub fn snapshot(&self, unit: &str) -> Result<Observation> {
        let mut all = self.snapshots(&[unit])?;
        ensure!(all.len() == 1, "{unit}: {} files", all.len());
        Ok(all.remove(0))
    }

    /// `harden snapshot` of these, or with `--all` of all.
    ///
    /// # Errors
    /// It failed.
    pub fn snapshots(&self, units: &[&str]) -> Result<Vec<Observation>> {
        let out = Scratch::new(Path::new("/run"))?;
        let directory = out.path().to_str().context("a path in UTF-8")?;
        let arguments = ["snapshot", "--format", "observation", "--out", directory];
        self.say(&[&arguments[..], units].concat())?;
        let mut all = Vec::new();
        for entry in fs::read_dir(out.path())? {
            all.push(observation::read(&entry?.path())?);
        }
        Ok(all)
    }

    /// Tries until `attempt` succeeds; fails with its last error when time is up, or the agent has ended.
    ///
    /// # Errors
    /// As said.
    pub fn until<T>(&mut self, mut attempt: impl FnMut(&Self) -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + as_patient(Duration::from_secs(20));
        loop {
            match attempt(self) {
                Ok(value) => return Ok(value),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!("the agent said:\n{}", self.log())));
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.take();
        let unload = ["agent", "--unload", "--config"];
        let _ = self.command(&unload).arg(self.config()).output();
        let _ = umount2(&self.home.path().join("bpf"), MntFlags::MNT_DETACH);
    }
}
