//! Units without a systemd: cgroups with units' names, in which numbered deeds are done. systemd makes its
//! units' cgroups no other way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Scratch, as_patient, cgroup_tree, leftovers, programs::install};

/// Enters a cgroup and begins a program, as systemd's child does.
const ENTER: &str = r#"echo 0 > "$0/cgroup.procs" && exec "$@""#;

/// How many there were in this process.
static WORKSHOPS: AtomicU32 = AtomicU32::new(0);

/// Where the deeds are done.
pub struct Workshop {
    slice: PathBuf,
    program: PathBuf,
    // Has the program too.
    files: Scratch,
}

/// What a program goes on with once its deeds are done.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Nothing.
    End,
    /// It waits for its end.
    Stay,
    /// It calls as fast as it can, and prints how often at its end.
    Spin,
}

impl Workshop {
    /// Makes one.
    ///
    /// # Errors
    /// There is no version 2 tree, or the program was not built.
    pub fn new() -> Result<Self> {
        let number = WORKSHOPS.fetch_add(1, Ordering::Relaxed);
        leftovers::remove();
        let slice = cgroup_tree()?.join(leftovers::slice(number));
        fs::create_dir_all(&slice)?;
        let files = Scratch::new(Path::new("/var/tmp"))?;
        let program = install("deeds", &files)?;
        let this = Self {
            slice,
            program,
            files,
        };
        this.clear()?;
        Ok(this)
    }

    /// Where the deeds leave their files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.files.path().join("files")
    }

    /// Undoes all deeds.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn clear(&self) -> Result<()> {
        let files = self.files();
        if files.exists() {
            fs::remove_dir_all(&files)?;
        }
        Ok(fs::create_dir(&files)?)
    }

    /// Makes the cgroup of a unit.
    ///
    /// # Errors
    /// It is there already.
    pub fn unit(&self, name: &str) -> Result<Unit> {
        let cgroup = self.slice.join(name);
        fs::create_dir(&cgroup).with_context(|| name.to_owned())?;
        Ok(Unit { cgroup })
    }

    /// Starts the deeds from number `first` on in `unit`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(
        &self,
        unit: &Unit,
        first: usize,
        count: usize,
        pause: Duration,
        then: Then,
    ) -> Result<Child> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", ENTER])
            .args([&unit.cgroup, &self.program]);
        shell.arg(self.files()).args([
            first.to_string(),
            count.to_string(),
            pause.as_millis().to_string(),
        ]);
        shell.arg(match then {
            Then::End => "end",
            Then::Stay => "stay",
            Then::Spin => "spin",
        });
        shell
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(match then {
                Then::Spin => Stdio::piped(),
                Then::End | Then::Stay => Stdio::null(),
            });
        Ok(shell.spawn()?)
    }

    /// A unit that does these deeds and is gone.
    ///
    /// # Errors
    /// A deed failed.
    pub fn run(&self, name: &str, first: usize, count: usize, pause: Duration) -> Result<()> {
        let unit = self.unit(name)?;
        let mut child = self.begin(&unit, first, count, pause, Then::End)?;
        let status = child.wait()?;
        ensure!(status.success(), "{name}: {status}");
        drop(unit);
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.slice);
    }
}

/// The cgroup of a unit; removed when dropped, and everything in it killed.
pub struct Unit {
    cgroup: PathBuf,
}

impl Unit {
    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.cgroup
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let deadline = Instant::now() + as_patient(Duration::from_secs(5));
        // A process that has just ended may still be in it.
        while fs::remove_dir(&self.cgroup).is_err() && Instant::now() < deadline {
            let inside = fs::read_to_string(self.cgroup.join("cgroup.procs"));
            for pid in inside.unwrap_or_default().lines() {
                if let Ok(pid) = pid.parse() {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Units and what runs in them: ended when dropped.
#[derive(Default)]
pub struct Running(pub Vec<(Child, Unit)>);

impl Drop for Running {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
        }
        for (child, _) in &mut self.0 {
            let _ = child.wait();
        }
    }
}
