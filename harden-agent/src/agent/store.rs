//! The units' observations on disk: `units/STEM.json`, one a unit, and `units/STEM.added`, what came since that was
//! written whole.
//!
//! A file is replaced whole or not at all, and never through a link. What cannot be used is moved
//! aside under a name of its own and logged, so that it is neither lost nor in the way.

mod added;
mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{
    crash_point::crash_point,
    quarantine::{self, move_aside},
};
use crate::observation::{self, Join as _, Observation, ReadError, Text};
use crate::output::{self, Content, Ours, Output, WriteError, file_stem};

pub use error::{Notice, StoreError};

/// The largest file that is read, in bytes. Less than what the other commands read, as the agent goes on
/// for weeks in a memory of its own. What it writes is smaller.
pub const UNIT_LIMIT: u64 = 256 << 20;

const EXTENSION: &str = ".json";
const ADDED: &str = ".added";

/// The largest file of additions that is read: what is added is a part of what a unit may have.
const ADDED_LIMIT: u64 = UNIT_LIMIT / 4;

/// So much may have been added in any case before a file is written whole again.
const LITTLE: u64 = 64 << 10;

/// The directory of the units' files.
pub struct Store {
    /// `units` in the state directory.
    directory: PathBuf,
    /// The most bytes that a unit may take.
    max_per_unit: u64,
    /// What each unit takes, by stem.
    sizes: BTreeMap<String, Sizes>,
    /// Stems of which every line that was added is known to be good.
    checked: BTreeSet<String>,
    /// Stems of files that could not be read for a reason outside them.
    unread: BTreeSet<String>,
    notices: Vec<Notice>,
}

/// What a unit's files were like: inode, size and time of the last change of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version([Option<(u64, u64, i64, i64)>; 2]);

/// The bytes of a unit's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    whole: u64,
    added: u64,
}

impl Sizes {
    fn all(self) -> u64 {
        self.whole + self.added
    }
}

impl Store {
    /// Opens the units' directory in the state directory `state`. What is missing is made, what a
    /// killed agent left half done is removed. A unit may take `max_per_unit` bytes.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(state: &Path, max_per_unit: u64) -> Result<Self, StoreError> {
        let mut this = Self {
            directory: state.join("units"),
            max_per_unit,
            sizes: BTreeMap::new(),
            checked: BTreeSet::new(),
            unread: BTreeSet::new(),
            notices: Vec::new(),
        };
        this.make()?;
        for name in this.names()? {
            let path = this.directory.join(&name);
            if output::is_temporary(&name) {
                fs::remove_file(&path).map_err(|error| StoreError::io(&path, error))?;
            } else if let Some(stem) = name.strip_suffix(EXTENSION) {
                this.measure(stem);
            } else if let Some(stem) = name.strip_suffix(ADDED) {
                // A line that is torn was not relied on: the journal has it.
                let _ = added::mend(&path);
                this.measure(stem);
            }
        }
        Ok(this)
    }

    /// The most bytes of a unit's file when it is written whole: there has to be room for what is added to it.
    #[must_use]
    pub fn whole_limit(&self) -> u64 {
        self.max_per_unit - self.added_limit()
    }

    /// The most bytes that are added to it then.
    fn added_limit(&self) -> u64 {
        self.max_per_unit / 4
    }

    /// The bytes of all units.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sizes.values().map(|sizes| sizes.all()).sum()
    }

    /// The unit that takes the most bytes, and how many, of those whose files say whose they are. All are measured again
    /// first: somebody may have removed some.
    pub fn largest(&mut self) -> Option<(Text, u64)> {
        for stem in self.stems() {
            self.measure(&stem);
        }
        let mut sizes: Vec<_> = self.sizes.iter().collect();
        sizes.sort_by_key(|(stem, sizes)| (std::cmp::Reverse(sizes.all()), *stem));
        let mut named = sizes.into_iter();
        named.find_map(|(stem, sizes)| Some((self.unit(stem)?, sizes.all())))
    }

    /// The units of which something was added since their files were written whole.
    #[must_use]
    pub fn added_to(&self) -> Vec<Text> {
        let added = self.sizes.iter().filter(|(_, sizes)| sizes.added > 0);
        added.filter_map(|(stem, _)| self.unit(stem)).collect()
    }

    /// What changes whenever somebody changes a file of `unit`.
    #[must_use]
    pub fn version(&self, unit: &Text) -> Version {
        let stem = file_stem(unit);
        Version([self.path(&stem), self.added_path(&stem)].map(|path| {
            let status = fs::symlink_metadata(path).ok()?;
            Some((
                status.ino(),
                status.len(),
                status.mtime(),
                status.mtime_nsec(),
            ))
        }))
    }

    /// The unit whose files have this stem, if one of them says so.
    fn unit(&self, stem: &str) -> Option<Text> {
        let whole = name_in(&self.path(stem)).ok().flatten();
        let unit = whole.or_else(|| added::name_in(&self.added_path(stem), ADDED_LIMIT))?;
        (file_stem(&unit) == stem).then_some(unit)
    }

    fn stems(&self) -> Vec<String> {
        self.sizes.keys().cloned().collect()
    }

    /// Takes note of how large the files are.
    fn measure(&mut self, stem: &str) {
        let size = |path: PathBuf| fs::symlink_metadata(path).map_or(0, |status| status.len());
        let sizes = Sizes {
            whole: size(self.path(stem)),
            added: size(self.added_path(stem)),
        };
        match sizes.all() {
            0 => self.sizes.remove(stem),
            _ => self.sizes.insert(stem.to_owned(), sizes),
        };
    }

    /// What happened beside what was asked for, since this was last asked: for the log.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The units that have a file. A file that does not say whose it is, or lies about it, is
    /// moved aside if possible.
    pub fn units(&mut self) -> Vec<Text> {
        let mut stems: BTreeSet<String> = self.stems().into_iter().collect();
        for name in self.names().unwrap_or_default() {
            stems.extend(name.strip_suffix(EXTENSION).map(str::to_owned));
        }
        let mut units = Vec::new();
        for stem in stems {
            self.measure(&stem);
            let path = self.path(&stem);
            if let Some(unit) = self.unit(&stem) {
                units.push(unit);
            } else if fs::symlink_metadata(&path).is_ok()
                && let Err(error) = self.move_aside(&path, "it does not say whose it is".to_owned())
            {
                // The others are no worse for it.
                self.notices.push(Notice::Unusable {
                    reason: error.to_string(),
                });
            }
        }
        units.sort();
        units
    }

    /// What is known of `unit`, `None` if it has no file. One that is corrupt, too large, of a newer
    /// harden or of another unit is moved aside, and nothing is known.
    ///
    /// # Errors
    /// The file may be good but cannot be read now, or it cannot be moved. Nothing can be saved for the
    /// unit until it was loaded.
    pub fn load(&mut self, unit: &Text) -> Result<Option<Observation>, StoreError> {
        let stem = file_stem(unit);
        // Unless it ends well. Else the file would be replaced by one that lacks what it holds.
        self.unread.insert(stem.clone());
        let mut loaded = self.load_whole(unit, &stem)?;
        for added in self.load_added(unit, &stem)? {
            match &mut loaded {
                Some(known) => known.join(added),
                None => loaded = Some(added),
            }
        }
        self.unread.remove(&stem);
        self.measure(&stem);
        Ok(loaded)
    }

    fn load_whole(&mut self, unit: &Text, stem: &str) -> Result<Option<Observation>, StoreError> {
        let path = self.path(stem);
        Ok(match fs::symlink_metadata(&path) {
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
        })
    }

    /// Of a file with lines that cannot be used, the others are kept.
    fn load_added(&mut self, unit: &Text, stem: &str) -> Result<Vec<Observation>, StoreError> {
        let path = self.added_path(stem);
        let error = |error| StoreError::io(&path, error);
        let read = added::read(&path, ADDED_LIMIT, unit).map_err(error)?;
        let added = read.unwrap_or_default();
        match added.fault {
            Some(fault) if added.lines.is_empty() => self.move_aside(&path, fault)?,
            Some(reason) => {
                let aside = quarantine::free(&path).map_err(error)?;
                added::replace(&path, &aside, &added.lines).map_err(error)?;
                self.notices.push(Notice::MovedAside {
                    path: error::text(&path),
                    to: error::text(&aside),
                    reason,
                });
            }
            None => {}
        }
        self.checked.insert(stem.to_owned());
        Ok(added.observations)
    }

    /// Adds what `new` says to what is on disk of its unit, in a time that depends on `new` alone. Says whether it did:
    /// if not, the file is due to be written whole, by [`Self::load`] and [`Self::save`].
    ///
    /// # Errors
    /// It cannot be written, or the unit's file is there and could not be read. What was there before is still there.
    pub fn add(&mut self, new: &Observation) -> Result<bool, StoreError> {
        let stem = file_stem(&new.name);
        let (whole, path) = (self.path(&stem), self.added_path(&stem));
        self.check_read(&stem)?;
        let known = self.sizes.get(&stem).copied().unwrap_or_default();
        self.measure(&stem);
        let sizes = self.sizes.get(&stem).copied().unwrap_or_default();
        let is_checked = sizes.added == 0 || self.checked.contains(&stem);
        if sizes.whole == 0 || sizes != known || !is_checked || !is_file(&whole) {
            return Ok(false);
        }
        let mut line =
            serde_json::to_vec(new).map_err(|error| StoreError::io(&path, error.into()))?;
        line.push(b'\n');
        let added = sizes.added + line.len() as u64;
        if added > sizes.whole.max(LITTLE).min(self.added_limit()) {
            return Ok(false);
        }
        // Where it fails, another size than is known has the file read before anything is added again.
        let is_added = added::append(&path, sizes.added, &line)
            .map_err(|error| StoreError::io(&path, error))?;
        self.measure(&stem);
        self.checked.insert(stem);
        Ok(is_added)
    }

    fn check_read(&self, stem: &str) -> Result<(), StoreError> {
        if self.unread.contains(stem) {
            return Err(StoreError::Unread {
                path: error::text(&self.path(stem)),
            });
        }
        Ok(())
    }

    /// Replaces the files of the observation's unit by one that has all of it. What has its name and was not written by
    /// harden is moved aside; a directory that is gone is made again.
    ///
    /// # Errors
    /// It cannot be written, or the unit's file is there and was not loaded. What was there before is still there.
    pub fn save(&mut self, observation: &Observation) -> Result<(), StoreError> {
        crash_point("save-begin");
        let stem = file_stem(&observation.name);
        let path = self.path(&stem);
        self.check_read(&stem)?;
        let outputs = [Output {
            name: format!("{stem}{EXTENSION}"),
            content: Content::Observation(observation),
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
        crash_point("save-staged");
        staged.commit()?;
        crash_point("save-whole");
        // If it stays, it is joined once more to what has it already, which changes nothing.
        let added = remove(&self.added_path(&stem));
        self.measure(&stem);
        added?;
        crash_point("save-end");
        Ok(())
    }

    /// Removes the files of `unit`, and those of it that were moved aside, if possible. One that is not there is no error.
    ///
    /// # Errors
    /// A file that is in use cannot be removed.
    pub fn forget(&mut self, unit: &Text) -> Result<(), StoreError> {
        let stem = file_stem(unit);
        let paths = [self.path(&stem), self.added_path(&stem)];
        for path in &paths {
            remove(path)?;
        }
        self.unread.remove(&stem);
        self.measure(&stem);
        for aside in paths
            .iter()
            .flat_map(|path| quarantine::of(path).unwrap_or_default())
        {
            // It may be a directory that an administrator made. Harden never reads it again.
            if let Err(error) = remove(&aside) {
                let reason = error.to_string();
                self.notices.push(Notice::Unusable { reason });
            }
        }
        Ok(())
    }

    /// Whether a file of `unit` was moved aside.
    #[must_use]
    pub fn has_aside(&self, unit: &Text) -> bool {
        let stem = file_stem(unit);
        let paths = [self.path(&stem), self.added_path(&stem)];
        let has_aside = |path: &PathBuf| quarantine::of(path).is_ok_and(|files| !files.is_empty());
        paths.iter().any(has_aside)
    }

    /// The files that were moved aside and are there still, those of the journal among them.
    #[must_use]
    pub fn set_aside(&self) -> Vec<Text> {
        let state = self.directory.parent().unwrap_or(&self.directory);
        let directories = [state, &self.directory].into_iter();
        let found =
            directories.flat_map(|directory| quarantine::all(directory).unwrap_or_default());
        found.map(|path| error::text(&path)).collect()
    }

    fn path(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}{EXTENSION}"))
    }

    fn added_path(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}{ADDED}"))
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

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|status| status.is_file())
}

/// One that is not there is no error.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
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
