//! A cgroup of its own for the command: what is in it is observed, and nothing is left in it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::machine::cgroups::own;

/// A directory in the cgroup (version 2) tree. Its processes are killed and it is removed when
/// this is dropped.
pub struct Cgroup {
    path: PathBuf,
    id: u64,
}

impl Cgroup {
    /// Makes one below the cgroup that this process is in, so that limits set there hold.
    ///
    /// # Errors
    /// There is no version 2 hierarchy, or no permission to make a directory in it.
    pub fn create() -> io::Result<Self> {
        let parent = own()?;
        let path = parent.join(format!("harden-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| at(&path, &error))?;
        // The id that the kernel side sees is the directory's inode number (kernfs).
        let id = fs::metadata(&path)?.ino();
        Ok(Self { path, id })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file to which a process writes `0` to move itself here.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn door(&self) -> io::Result<File> {
        let path = self.path.join("cgroup.procs");
        File::options()
            .write(true)
            .open(&path)
            .map_err(|error| at(&path, &error))
    }

    /// Whether any process is in it or below.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Sends `signal` to every process in it and below.
    pub fn signal(&self, signal: Signal) {
        for directory in tree(&self.path) {
            let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            for pid in processes
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter(|&pid| pid > 0)
            {
                // It may have ended since.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    /// Kills every process, as often as new ones appear, and waits until all are gone; gives up
    /// after two seconds, on processes that the kernel cannot kill.
    fn clear(&self) {
        for _ in 0..200 {
            if !self.is_populated() {
                return;
            }
            // cgroup.kill is of 5.14.
            if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
                self.signal(Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.clear();
        for directory in tree(&self.path) {
            // A directory that will not go is empty, and says whose it was.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The directory and all below it, the deepest first.
fn tree(path: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    let directories = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<_> = directories.flat_map(|entry| tree(&entry.path())).collect();
    all.push(path.to_owned());
    all
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
