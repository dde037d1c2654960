//! A real systemd: the one that this machine was started with, or one in a container.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::{Container, container, skip};

/// Held by whoever has the machine that all tests share: what one does to its units, a reload of systemd
/// among that, is not to be in another's way.
static TURN: Mutex<()> = Mutex::new(());

/// A system with a systemd.
pub struct Machine {
    container: Option<Container>,
    _turn: Option<MutexGuard<'static, ()>>,
    // On this machine: files to be removed.
    written: Mutex<Vec<PathBuf>>,
}

impl Machine {
    /// This machine, if systemd is its first process, as in the Debian image of the virtual machines; else a
    /// container. `None` where neither can be had: then `test` counts as skipped, and has to return.
    ///
    /// # Errors
    /// The container does not come up.
    pub fn here(test: &str) -> Result<Option<Self>> {
        // As sd_booted(3).
        let container = if Path::new("/run/systemd/system").is_dir() {
            if !nix::unistd::geteuid().is_root() {
                skip(test, "it needs root");
                return Ok(None);
            }
            None
        } else if let Some(reason) = Container::missing() {
            skip(test, &reason);
            return Ok(None);
        } else {
            Some(Container::boot()?)
        };
        let is_shared = container.is_none();
        Ok(Some(Self {
            _turn: is_shared.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner)),
            container,
            written: Mutex::default(),
        }))
    }

    /// The container, if it is one.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.container
            .as_ref()
            .map_or_else(|| PathBuf::from("/"), Container::root)
    }

    /// The path of its root cgroup in the version 2 tree of this machine: empty for the machine itself.
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        self.container
            .as_ref()
            .map_or_else(PathBuf::new, Container::cgroup)
    }

    /// What an agent outside calls a unit of it.
    #[must_use]
    pub fn key(&self, unit: &str) -> String {
        match self.cgroup().to_str() {
            None | Some("") => unit.to_owned(),
            Some(root) => format!("{root}:{unit}"),
        }
    }

    /// Runs a command to its end. How it ended is for the caller to see.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn try_run(&self, argv: &[&str]) -> Result<Output> {
        if let Some(container) = &self.container {
            return container.run(argv);
        }
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null());
        command.output().with_context(|| format!("{argv:?}"))
    }

    /// Runs a command that has to succeed, and gives back what it printed, without the last line break.
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
        let text = String::from_utf8(output.stdout)?;
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// One property of a unit, as `systemctl show` has it.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.run(&[
            "systemctl",
            "show",
            "--value",
            "--property",
            name,
            "--",
            unit,
        ])
    }

    /// Has a shell do some work, again where it fails: a daemon may have said that it is up before it takes
    /// requests.
    ///
    /// # Errors
    /// It fails each time.
    pub fn work(&self, work: &str) -> Result<()> {
        let again = "cd /; for turn in 1 2 3 4 5 6 7 8 9 10; do (eval \"$1\") && exit; sleep 0.2; done; false";
        let command = ["timeout", "20", "sh", "-c", again, "sh", work];
        self.run(&command).map(drop)
    }

    /// Writes a file, which is gone with this.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        if self.container.is_none() {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.push(path.into());
        }
        container::write(&self.root(), path, content.as_bytes())
    }

    /// Writes the file of a unit.
    ///
    /// # Errors
    /// It cannot be written, or systemd does not read it.
    pub fn unit(&self, name: &str, content: &str) -> Result<()> {
        self.write(&format!("/run/systemd/system/{name}"), content)?;
        self.run(&["systemctl", "daemon-reload"]).map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let written = self.written.get_mut().map(std::mem::take);
        for file in written.unwrap_or_default() {
            if let Some(unit) = file.file_name() {
                let _ = Command::new("systemctl").arg("stop").arg(unit).output();
            }
            let _ = fs::remove_file(file);
        }
        if self.container.is_none() {
            let _ = Command::new("systemctl").arg("daemon-reload").output();
        }
    }
}
