//! The units' observations on disk: `units/STEM.json`, one a unit.
//!
//! A file is replaced whole or not at all, and never through a link. What cannot be used is moved
//! aside under a name of its own and told of, so that it is neither lost nor in the way.

mod error;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{
    aside::{self, move_aside},
    step::step,
};
use crate::observation::{self, Observation, ReadError, Text};
use crate::output::{self, Ours, Output, WriteError, file_stem};

pub use error::{Notice, StoreError};

/// The largest file of a unit, in bytes. Less than what the other commands read, as the agent goes on
/// for weeks in a memory of its own.
pub const UNIT_LIMIT: u64 = 256 << 20;

const EXTENSION: &str = ".json";

/// The directory of the units' files.
pub struct Store {
    /// `units` in the state directory.
    directory: PathBuf,
    /// Stems of files that could not be read for a reason outside them.
    unread: BTreeSet<String>,
    notices: Vec<Notice>,
}

impl Store {
    /// Opens the units' directory in the state directory `state`. What is missing is made, what a
    /// killed agent left half done is removed.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let this = Self {
            directory: state.join("units"),
            unread: BTreeSet::new(),
            notices: Vec::new(),
        };
        this.make()?;
        for name in this.names()? {
            if output::is_temporary(&name) {
                let path = this.directory.join(name);
                fs::remove_file(&path).map_err(|error| StoreError::io(&path, error))?;
            }
        }
        Ok(this)
    }

    /// What happened beside what was asked for, since this was last asked: for the log.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The units that have a file. A file that does not say whose it is, or lies about it, is moved
    /// aside.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not be moved.
    pub fn units(&mut self) -> Result<Vec<Text>, StoreError> {
        let mut units = Vec::new();
        for name in self.names()? {
            let Some(stem) = name.strip_suffix(EXTENSION) else {
                continue;
            };
            let path = self.directory.join(&name);
            match name_in(&path) {
                Ok(Some(unit)) if file_stem(&unit) == stem => units.push(unit),
                Ok(_) => self.move_aside(&path, "it does not say whose it is".to_owned())?,
                Err(error) => return Err(StoreError::io(&path, error)),
            }
        }
        units.sort();
        Ok(units)
    }

    /// What is known of `unit`, `None` if it has no file. One that is corrupt, too large, of a newer
    /// harden or of another unit is moved aside, and nothing is known.
    ///
    /// # Errors
    /// The file may be good but cannot be read now, or it cannot be moved. Nothing can be saved for the
    /// unit until it was loaded.
    pub fn load(&mut self, unit: &Text) -> Result<Option<Observation>, StoreError> {
        let stem = file_stem(unit);
        let path = self.path(&stem);
        // Unless it ends well. Else the file would be replaced by one that lacks what it holds.
        self.unread.insert(stem.clone());
        let loaded = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io(&path, error)),
            Ok(status) if status.is_symlink() => {
                self.move_aside(&path, "it is a symbolic link".to_owned())?;
                None
            }
            Ok(_) => match observation::read_up_to(UNIT_LIMIT, &path) {
                Ok(observation) if observation.name == *unit => Some(observation),
                Ok(observation) => {
                    let reason = format!("it is of another unit, {}", observation.name);
                    self.move_aside(&path, reason)?;
                    None
                }
                Err(ReadError::Io { error, .. }) => return Err(StoreError::io(&path, error)),
                Err(error) => {
                    self.move_aside(&path, error.to_string())?;
                    None
                }
            },
        };
        self.unread.remove(&stem);
        Ok(loaded)
    }

    /// Replaces the file of the observation's unit. What has its name and was not written by harden is
    /// moved aside; a directory that is gone is made again.
    ///
    /// # Errors
    /// It cannot be written, it would be larger than [`UNIT_LIMIT`], or the unit's file is there and
    /// was not loaded. What was there before is still there.
    pub fn save(&mut self, observation: &Observation) -> Result<(), StoreError> {
        step("save-begin");
        let stem = file_stem(&observation.name);
        let path = self.path(&stem);
        if self.unread.contains(&stem) {
            return Err(StoreError::Unread {
                path: error::text(&path),
            });
        }
        let content = observation::to_json(observation)
            .map_err(|error| StoreError::io(&path, error.into()))?;
        if content.len() as u64 > UNIT_LIMIT {
            return Err(StoreError::TooLarge {
                path: error::text(&path),
                size: content.len() as u64,
            });
        }
        let outputs = [Output {
            name: format!("{stem}{EXTENSION}"),
            content,
            ours: Ours::Observation,
        }];
        let staged = match output::stage(&self.directory, &outputs, false) {
            Err(WriteError::Directory { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                self.make()?;
                self.notices.push(Notice::MadeAgain {
                    path: error::text(&self.directory),
                });
                output::stage(&self.directory, &outputs, false)
            }
            Err(
                error @ (WriteError::Symlink { .. }
                | WriteError::NotAFile { .. }
                | WriteError::Foreign { .. }),
            ) => {
                self.move_aside(&path, error.to_string())?;
                output::stage(&self.directory, &outputs, false)
            }
            staged => staged,
        }?;
        step("save-staged");
        staged.commit()?;
        step("save-end");
        Ok(())
    }

    /// Removes the file of `unit`, and those of it that were moved aside. One that is not there is no error.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn forget(&mut self, unit: &Text) -> Result<(), StoreError> {
        let stem = file_stem(unit);
        let path = self.path(&stem);
        let mut gone = aside::of(&path).map_err(|error| StoreError::io(&path, error))?;
        gone.push(path);
        for path in gone {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&path, error));
                }
                _ => {}
            }
        }
        self.unread.remove(&stem);
        Ok(())
    }

    /// Whether a file of `unit` was moved aside.
    #[must_use]
    pub fn has_aside(&self, unit: &Text) -> bool {
        let path = self.path(&file_stem(unit));
        aside::of(&path).is_ok_and(|files| !files.is_empty())
    }

    /// The files that were moved aside and are there still, those of the journal among them.
    #[must_use]
    pub fn set_aside(&self) -> Vec<Text> {
        let state = self.directory.parent().unwrap_or(&self.directory);
        let directories = [state, &self.directory].into_iter();
        let found = directories.flat_map(|directory| aside::all(directory).unwrap_or_default());
        found.map(|path| error::text(&path)).collect()
    }

    fn path(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}{EXTENSION}"))
    }

    fn make(&self) -> Result<(), StoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| StoreError::io(&self.directory, error))
    }

    /// The names in the directory, as far as harden gives such ones.
    fn names(&self) -> Result<Vec<String>, StoreError> {
        let error = |error| StoreError::io(&self.directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(error)? {
            names.extend(entry.map_err(error)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn move_aside(&mut self, path: &Path, reason: String) -> Result<(), StoreError> {
        let aside = move_aside(path).map_err(|error| StoreError::io(path, error))?;
        self.notices.push(Notice::MovedAside {
            path: error::text(path),
            to: error::text(&aside),
            reason,
        });
        Ok(())
    }
}

/// The name in the observation at `path`, from its first lines alone: a file may be large, and there
/// may be many.
fn name_in(path: &Path) -> io::Result<Option<Text>> {
    // A path of 4,095 bytes takes five times that when each byte is escaped.
    const BEGINNING: u64 = 32 << 10;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // What NOFOLLOW says of a link; a socket.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut beginning = Vec::new();
    file.take(BEGINNING).read_to_end(&mut beginning)?;
    let lines = beginning.split(|byte| *byte == b'\n');
    Ok(lines
        .take(4)
        .filter_map(|line| line.trim_ascii().strip_prefix(b"\"name\": "))
        .filter_map(|line| line.strip_suffix(b","))
        .find_map(|name| serde_json::from_slice(name).ok()))
}

#[cfg(test)]
mod tests;
