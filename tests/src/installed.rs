//! The agent as the package installs it, in a virtual machine whose disk is forgotten.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::{Status, UnitSummary},
    observation::{self, Observation},
};
use nix::unistd::Pid;

use crate::{Scratch, as_patient};

/// There is one of it in the system.
static TURN: Mutex<()> = Mutex::new(());

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// The unit.
const SERVICE: &str = "harden.service";

/// The installed agent, for one test at a time.
pub struct Installed {
    _turn: MutexGuard<'static, ()>,
}

impl Installed {
    /// As it is now.
    ///
    /// # Errors
    /// This is no machine to install anything on.
    pub fn as_it_is() -> Result<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            Path::new("/harden/run").exists() && Path::new("/run/systemd/system").is_dir(),
            "this test installs and removes a package: `cargo xtask test service`"
        );
        Ok(Self { _turn: turn })
    }

    /// Installed, started, and with the configuration of the package.
    ///
    /// # Errors
    /// It cannot be installed.
    pub fn fresh() -> Result<Self> {
        let installed = Self::as_it_is()?;
        // Of a test that failed.
        let _ = fs::remove_dir_all("/run/systemd/system/harden.service.d");
        let is_there = Path::new("/usr/bin/harden").exists();
        if !is_there || Path::new(CHANGED).exists() {
            installed.install()?;
        }
        installed.run(&["systemctl", "daemon-reload"])?;
        let _ = installed.run(&["systemctl", "reset-failed", SERVICE]);
        installed.run(&["systemctl", "start", SERVICE])?;
        Ok(installed)
    }

    /// Installs the package, or installs it again.
    ///
    /// # Errors
    /// dpkg fails.
    pub fn install(&self) -> Result<()> {
        if let Some(kept) = fs::read(CHANGED).ok().filter(|_| conffile().exists()) {
            fs::write(conffile(), kept)?;
        }
        let _ = fs::remove_file(CHANGED);
        let package = env::var("HARDEN_PACKAGE").context("HARDEN_PACKAGE names the package")?;
        self.run(&["dpkg", "-i", &package]).map(drop)
    }

    /// Changes the configuration until the next test: what stands in it as `from` becomes `to`.
    ///
    /// # Errors
    /// It has no `from`, or cannot be written.
    pub fn configure(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(conffile())?;
        ensure!(text.contains(from), "no {from} in the configuration");
        if !Path::new(CHANGED).exists() {
            fs::write(CHANGED, &text)?;
        }
        Ok(fs::write(conffile(), text.replace(from, to))?)
    }

    /// Changes the unit, as `systemctl edit` does, until the next test.
    ///
    /// # Errors
    /// It cannot be written, or systemd does not read it.
    pub fn edit(&self, lines: &str) -> Result<()> {
        let directory = Path::new("/run/systemd/system/harden.service.d");
        fs::create_dir_all(directory)?;
        fs::write(directory.join("test.conf"), format!("[Service]\n{lines}\n"))?;
        self.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    /// Runs a command to its end. How it ended is for the caller to see.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn try_run(&self, argv: &[&str]) -> Result<Output> {
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null());
        command.output().with_context(|| format!("{argv:?}"))
    }

    /// Runs a command that has to succeed, and gives back what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let output = self.try_run(argv)?;
        ensure!(
            output.status.success(),
            "{argv:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Runs a command in a transient unit of its own, to its end.
    ///
    /// # Errors
    /// It failed.
    pub fn run_unit(&self, unit: &str, argv: &[&str]) -> Result<()> {
        let mut all = vec!["systemd-run", "--quiet", "--wait", "--unit", unit, "--"];
        all.extend(argv);
        self.run(&all).map(drop)
    }

    /// One property of a unit, as `systemctl show` has it.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.run(&["systemctl", "show", "--value", "--property", name, unit])
    }

    /// The main process.
    ///
    /// # Errors
    /// There is none.
    pub fn main(&self) -> Result<Pid> {
        let pid: i32 = self.property(SERVICE, "MainPID")?.parse()?;
        ensure!(pid > 0, "the agent does not run\n{}", self.journal()?);
        Ok(Pid::from_raw(pid))
    }

    /// What `harden status` says.
    ///
    /// # Errors
    /// The agent does not answer, or something is wrong with it.
    pub fn status(&self) -> Result<Status> {
        let text = self
            .run(&["harden", "status", "--json"])
            .with_context(|| self.journal().unwrap_or_default())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What `harden units` says.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn units(&self) -> Result<Vec<UnitSummary>> {
        let text = self.run(&["harden", "units", "--json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What `harden snapshot` writes of a unit.
    ///
    /// # Errors
    /// The agent does not know it.
    pub fn snapshot(&self, unit: &str) -> Result<Observation> {
        let out = Scratch::new(Path::new("/run"))?;
        let directory = out.path().to_string_lossy().into_owned();
        let text = self.run(&[
            "harden",
            "snapshot",
            "--format",
            "observation",
            "--json",
            "--out",
            &directory,
            unit,
        ])?;
        let said: serde_json::Value = serde_json::from_str(&text)?;
        let file = said["files"][0].as_str().context(text)?;
        Ok(observation::read(Path::new(file))?)
    }

    /// What the agent has said.
    ///
    /// # Errors
    /// There is no journal.
    pub fn journal(&self) -> Result<String> {
        self.run(&["journalctl", "--no-pager", "-b", "-u", SERVICE, "-o", "cat"])
    }

    /// Tries until `attempt` succeeds.
    ///
    /// # Errors
    /// Its last error, when time is up; with what the agent has said.
    pub fn until<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + as_patient(PATIENCE);
        loop {
            match attempt() {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
                result => return result.with_context(|| self.journal().unwrap_or_default()),
            }
        }
    }
}

/// What the package's configuration was, while it is another.
const CHANGED: &str = "/harden/harden.toml";

fn conffile() -> PathBuf {
    "/etc/harden/harden.toml".into()
}
