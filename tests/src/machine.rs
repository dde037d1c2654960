//! A real systemd: the one that this machine was started with, or one in a container.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{Container, as_patient, container, skip};

/// Held by the test that has the machine that all tests share: what one does to its units, a reload of systemd
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
    /// How long work is waited for that has to be done. Only a failure waits this long.
    pub const PATIENCE: Duration = Duration::from_secs(20);
    /// How long work is waited for that is not to be done, as something is missing: a client may hang. What
    /// nothing is missing for takes a fraction of this.
    pub const BRIEF: Duration = Duration::from_secs(2);

    /// This machine, if systemd is its first process, as in the Debian image of the virtual machines; else a
    /// container. `None` where neither can be had: then `test` counts as skipped, and has to return.
    ///
    /// # Errors
    /// The container does not come up.
    pub fn here(test: &str) -> Result<Option<Self>> {
        Ok(Self::several(test, 1)?.pop())
    }

    /// As [`here`](Self::here), for this many at once: so many containers, or the one machine. None counts as
    /// skipped.
    ///
    /// # Errors
    /// A container does not come up.
    ///
    /// # Panics
    /// A boot does.
    pub fn several(test: &str, count: usize) -> Result<Vec<Self>> {
        // As sd_booted(3).
        let is_booted = Path::new("/run/systemd/system").is_dir();
        let missing = if is_booted {
            (!nix::unistd::geteuid().is_root()).then(|| "it needs root".to_owned())
        } else {
            Container::missing()
        };
        if let Some(reason) = missing {
            skip(test, &reason);
            return Ok(Vec::new());
        }
        if is_booted {
            let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(vec![Self::new(None, Some(turn))]);
        }
        let boot = |_| thread::spawn(Container::boot);
        let boots: Vec<_> = (0..count).map(boot).collect();
        let containers = boots.into_iter().map(|boot| boot.join().expect("no panic"));
        let machines = containers.map(|container| Ok(Self::new(Some(container?), None)));
        machines.collect()
    }

    /// A container that can reboot: not this machine, on which the test itself runs. `None` counts as skipped.
    ///
    /// # Errors
    /// The container does not come up.
    pub fn that_reboots(test: &str) -> Result<Option<Self>> {
        if let Some(reason) = Container::missing() {
            skip(test, &reason);
            return Ok(None);
        }
        Ok(Some(Self::new(Some(Container::boot_again()?), None)))
    }

    /// Runs a command in which the machine reboots, and waits until it is up again.
    ///
    /// # Errors
    /// It does not reboot, or does not come up again.
    pub fn reboots_in(&mut self, argv: &[&str]) -> Result<()> {
        let output = self.try_run(argv)?;
        let container = self.container.as_mut();
        let container = container.context("this machine is not rebooted")?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        container.reboots().context(said)
    }

    fn new(container: Option<Container>, turn: Option<MutexGuard<'static, ()>>) -> Self {
        Self {
            container,
            _turn: turn,
            written: Mutex::default(),
        }
    }

    /// Works on cases that would disturb each other on one machine: on all machines at once, and on each one after
    /// the other. What has the same place in the list is on the same machine each time.
    ///
    /// # Errors
    /// What went wrong, with what the machine has logged, when all are done.
    ///
    /// # Panics
    /// The work does.
    pub fn share<'m, C: Sync, T: Send>(
        machines: &'m [Self],
        cases: &[C],
        work: impl Fn(&'m Self, &C) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let results: Vec<_> = cases.iter().map(|_| Mutex::new(None)).collect();
        let work_on = |machine: &'m Self, first: usize| {
            let places = cases.iter().zip(&results).skip(first);
            for (case, result) in places.step_by(machines.len()) {
                let done = work(machine, case);
                let done = done.map_err(|error| format!("{error:#}\n{}", machine.journal()));
                *result.lock().expect("no panic") = Some(done);
            }
        };
        thread::scope(|scope| {
            for (first, machine) in machines.iter().enumerate() {
                let work_on = &work_on;
                scope.spawn(move || work_on(machine, first));
            }
        });
        let results = results.into_iter();
        let results = results.filter_map(|result| result.into_inner().expect("no panic"));
        let (done, faults): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        let faults: Vec<_> = faults.into_iter().filter_map(Result::err).collect();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(done.into_iter().filter_map(Result::ok).collect())
    }

    /// The end of its log.
    fn journal(&self) -> String {
        let log = self.try_run(&["journalctl", "-n", "40", "--no-pager"]);
        log.map(|log| String::from_utf8_lossy(&log.stdout).into_owned())
            .unwrap_or_default()
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
        self.work_within(Self::PATIENCE, work)
    }

    /// As [`work`](Self::work), for no longer than this.
    ///
    /// # Errors
    /// It fails each time.
    pub fn work_within(&self, limit: Duration, work: &str) -> Result<()> {
        let again = "cd /; until (eval \"$1\"); do sleep 0.1; done";
        let limit = as_patient(limit).as_secs().to_string();
        let command = ["timeout", &limit, "sh", "-c", again, "sh", work];
        self.run(&command).map(drop)
    }

    /// Waits for as long as a daemon may take to die of what it was just told to do.
    pub fn settle(&self) {
        thread::sleep(as_patient(Duration::from_millis(300)));
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
