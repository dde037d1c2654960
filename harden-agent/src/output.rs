//! Generated files, written so that nothing is lost and nobody is fooled: each appears whole or
//! not at all, no symbolic link is followed, and nothing is replaced that harden did not write.
//!
//! Every call is relative to one open directory, so somebody who can rename a directory on the path
//! cannot move the files elsewhere. This module decides no content.

mod error;
mod name;
mod ours;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::observation::{self, Observation};

pub use error::WriteError;
pub use name::file_stem;
pub use ours::{JSON_MARKER, MARKER_PREFIX, Ours};

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Who called: owner and group read them, as a profile tells an intruder where the gaps are.
    Caller,
    /// The system: root's, and everybody reads them. Firejail reads a profile as the user who starts it, and systemd's
    /// tools read drop-ins as anybody.
    System,
    /// As the file that is replaced: its owner, group and mode. Without one, the system's.
    Kept,
}

impl Access {
    fn mode(self, replaced: Option<&Stat>) -> Mode {
        Mode::from_raw_mode(match (self, replaced) {
            (Self::Kept, Some(replaced)) => replaced.st_mode & 0o777,
            (Self::Caller, _) => 0o640,
            (Self::System | Self::Kept, _) => 0o644,
        })
    }

    /// Who becomes the owner instead of the one who writes.
    fn owner(self, replaced: Option<&Stat>) -> Option<(Uid, Gid)> {
        match self {
            Self::Caller => sudo_caller(),
            Self::System => None,
            Self::Kept => {
                replaced.map(|old| (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid)))
            }
        }
    }
}

/// Who called `sudo harden`: the files are theirs, or they could not read what they asked for. The
/// variables are sudo's own (sudo(8)); they mean nothing to a process that is not root.
fn sudo_caller() -> Option<(Uid, Gid)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (user, group) = (number("SUDO_UID")?, number("SUDO_GID")?);
    // The kernel takes (uid_t) -1 for "leave it"; rustix refuses it by a panic.
    (user != u32::MAX && group != u32::MAX).then(|| (Uid::from_raw(user), Gid::from_raw(group)))
}

/// One file to write.
#[derive(Clone, Debug)]
pub struct Output<'o> {
    /// A single component; see [`file_stem`] for one made from a unit's name.
    pub name: String,
    /// What it will hold.
    pub content: Content<'o>,
    /// How an earlier version of it is told from somebody's own file.
    pub ours: Ours,
}

/// What a file will hold.
#[derive(Clone, Debug)]
pub enum Content<'o> {
    /// These bytes.
    Bytes(Vec<u8>),
    /// An observation as JSON: of a million files that is more than what it is made of, so it is made as it is written.
    Observation(&'o Observation),
}

impl Content<'_> {
    fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes),
            Self::Observation(observation) => observation::write_json(observation, out),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// An observation is too large to be read again.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Observation(observation) => Ok(observation::to_json(observation)?),
        }
    }
}

/// Writes `outputs` into `directory`: all of them are checked and on the disk before the first
/// gets its name. `force` replaces files that harden did not write; never symbolic links or what
/// is no regular file.
///
/// # Errors
/// As [`stage`] and [`Staged::commit`].
pub fn write(directory: &Path, outputs: &[Output<'_>], force: bool) -> Result<(), WriteError> {
    stage(directory, outputs, force)?.commit()
}

/// Checks `outputs` and stores them in `directory` under temporary names. A command that writes
/// into several directories stages them all, then commits them all.
///
/// # Errors
/// [`WriteError`] for the first file that cannot or may not be written; then no name has changed
/// and no temporary file is left.
pub fn stage(directory: &Path, outputs: &[Output<'_>], force: bool) -> Result<Staged, WriteError> {
    stage_for(Access::Caller, directory, outputs, force)
}

/// As [`stage`], for whom the files are.
///
/// # Errors
/// As there.
pub fn stage_for(
    access: Access,
    directory: &Path,
    outputs: &[Output<'_>],
    force: bool,
) -> Result<Staged, WriteError> {
    let directory = Rc::new(Directory::open(directory)?);
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for output in outputs {
        if !is_component(&output.name) {
            return Err(WriteError::Name {
                name: output.name.as_str().into(),
            });
        }
        if !names.insert(&output.name) {
            return Err(directory.error(&output.name, |path| WriteError::Twice { path }));
        }
        checked.push((output, directory.check(output, force)?));
    }
    let files = checked
        .into_iter()
        .map(|(output, replaced)| Temporary::write(&directory, output, replaced, access))
        .collect::<Result<_, _>>()?;
    Ok(Staged { directory, files })
}

/// Files that are complete on the disk and lack only their names. Dropped, they are gone.
#[derive(Debug)]
pub struct Staged {
    directory: Rc<Directory>,
    files: Vec<Temporary>,
}

impl Staged {
    /// Gives each file its name, in the order given.
    ///
    /// # Errors
    /// [`WriteError`] for the first that is refused; those before it have their names.
    pub fn commit(self) -> Result<(), WriteError> {
        for file in self.files {
            file.commit()?;
        }
        self.directory.sync()
    }
}

#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
    /// The number of the next temporary name: hundreds of files at once should not each try those
    /// of all the others.
    next: Cell<u32>,
}

impl Directory {
    fn open(path: &Path) -> Result<Self, WriteError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Self {
                descriptor,
                path: path.to_owned(),
                next: Cell::new(0),
            }),
            Err(error) => Err(WriteError::Directory {
                path: error::text(path),
                error: error.into(),
            }),
        }
    }

    /// The file that `output` replaces, if any; an error if it must not.
    fn check(&self, output: &Output<'_>, force: bool) -> Result<Option<Stat>, WriteError> {
        let name = output.name.as_str();
        let status = match rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.io(name, error)),
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => {
                return Err(self.error(name, |path| WriteError::Symlink { path }));
            }
            _ => return Err(self.error(name, |path| WriteError::NotAFile { path })),
        }
        if force
            || self
                .is_ours(name, output.ours)
                .map_err(|e| self.io(name, e))?
        {
            return Ok(Some(status));
        }
        Err(self.error(name, |path| WriteError::Foreign { path }))
    }

    fn is_ours(&self, name: &str, ours: Ours) -> io::Result<bool> {
        // The name may have become a link or a FIFO since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(self, name, flags, Mode::empty())?);
        Ok(file.metadata()?.is_file() && ours.recognises(file)?)
    }

    fn sync(&self) -> Result<(), WriteError> {
        match rustix::fs::fsync(self) {
            // Some network and FUSE file systems cannot sync a directory.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(self.io("", error)),
        }
    }

    fn io(&self, name: &str, error: impl Into<io::Error>) -> WriteError {
        let error = error.into();
        self.error(name, |path| WriteError::Io { path, error })
    }

    fn error(
        &self,
        name: &str,
        error: impl FnOnce(crate::observation::Text) -> WriteError,
    ) -> WriteError {
        error(error::text(&self.path.join(name)))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A file under a name that nobody looks for, removed when dropped.
#[derive(Debug)]
struct Temporary {
    directory: Rc<Directory>,
    /// The temporary name, `None` once it has its own.
    alias: Option<String>,
    name: String,
    replaces: bool,
}

impl Temporary {
    fn write(
        directory: &Rc<Directory>,
        output: &Output<'_>,
        replaced: Option<Stat>,
        access: Access,
    ) -> Result<Self, WriteError> {
        let io = |error: io::Error| directory.io(&output.name, error);
        let (alias, file) = create(directory).map_err(io)?;
        let this = Self {
            directory: Rc::clone(directory),
            alias: Some(alias),
            name: output.name.clone(),
            replaces: replaced.is_some(),
        };
        let replaced = replaced.as_ref();
        if let Some((user, group)) = access.owner(replaced) {
            rustix::fs::fchown(&file, Some(user), Some(group)).map_err(|error| io(error.into()))?;
        }
        // fchmod, because the umask has its say in what open is asked for.
        rustix::fs::fchmod(&file, access.mode(replaced)).map_err(|error| io(error.into()))?;
        output.content.write_to(&file).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(this)
    }

    fn commit(mut self) -> Result<(), WriteError> {
        let Some(alias) = &self.alias else {
            return Ok(());
        };
        self.rename(alias)
            .map_err(|error| self.directory.io(&self.name, error))?;
        self.alias = None;
        Ok(())
    }

    fn rename(&self, alias: &str) -> rustix::io::Result<()> {
        let (at, name) = (&self.directory, self.name.as_str());
        if !self.replaces {
            // What has come into being since the check is not overwritten.
            match rustix::fs::renameat_with(at, alias, at, name, RenameFlags::NOREPLACE) {
                // The file system does not know the flag: the check has to do.
                Err(Errno::INVAL | Errno::NOSYS) => {}
                result => return result,
            }
        }
        rustix::fs::renameat(at, alias, at, name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(alias) = self.alias.take() {
            // Nothing is left to do about a failure: the error that led here is the one to tell.
            let _ = rustix::fs::unlinkat(&self.directory, alias, AtFlags::empty());
        }
    }
}

/// A new file in `directory`. A name that can be guessed does no harm: an existing file or link of
/// that name is neither opened nor followed.
fn create(directory: &Directory) -> io::Result<(String, File)> {
    const ATTEMPTS: u32 = 1000;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..ATTEMPTS {
        let number = directory.next.get();
        directory.next.set(number.wrapping_add(1));
        let name = format!("{TEMPORARY}{}-{number}.tmp", std::process::id());
        match rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => return Ok((name, File::from(descriptor))),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// How the name of a file begins that has no name yet.
const TEMPORARY: &str = ".harden-";

/// Whether `name` is of a file that was never finished, if nobody is writing one.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "tmp")
}

fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests;
