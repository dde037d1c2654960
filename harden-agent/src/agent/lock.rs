//! One agent for one directory: two would take each other's events, and write over each other's files.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    /// Somebody has it.
    #[error(
        "another agent uses {0}{1}: end it first, or name another directory in the configuration"
    )]
    Taken(PathBuf, String),
    /// The system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// A directory that no other agent has. It is given up with the process, whatever ends it.
pub(super) struct Lock {
    _directory: File,
}

impl Lock {
    /// Takes `directory`, which is made if it is missing. The lock is on the directory itself: no file of it
    /// stays behind, and a BPF file system has no files.
    ///
    /// # Errors
    /// Another agent has it, or it cannot be opened.
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io(directory.to_owned(), error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        Self::take_existing(directory)
    }

    /// The same for a directory that is there.
    ///
    /// # Errors
    /// Another agent has it, or it cannot be opened.
    pub(super) fn take_existing(directory: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io(directory.to_owned(), error);
        let opened = File::open(directory).map_err(failed)?;
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _directory: opened }),
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(&opened).map(|pid| format!(" (process {pid})"));
                Err(LockError::Taken(
                    directory.to_owned(),
                    holder.unwrap_or_default(),
                ))
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// The process that has the lock, as far as the kernel tells (`proc_locks(5)`).
fn holder(directory: &File) -> Option<u32> {
    let inode = rustix::fs::fstat(directory).ok()?.st_ino;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let ending = format!(":{inode}");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = words[..] else {
            return None;
        };
        file.ends_with(&ending).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_had_once() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        let lock = Lock::take(&directory).unwrap();
        let refused = Lock::take(&directory).err().unwrap().to_string();
        assert!(
            refused.contains(&format!("(process {})", std::process::id())),
            "{refused}"
        );
        drop(lock);
        Lock::take(&directory).unwrap();
    }

    #[test]
    fn what_is_no_directory_cannot_be_had() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Lock::take(file.path()), Err(LockError::Io(..))));
    }
}
