//! What the agent has taken from the kernel, on disk before the kernel gives it up.
//!
//! A journal is a directory of files `journal.N`. Each begins with the tables that were live when it
//! was begun, so that with the units' files it is whole by itself; after them come records as they
//! arrive. A record is appended by one write(2): a kill of the agent leaves whole records, or a
//! torn one at the very end. Files are read as something that anybody may have written.
//!
//! What the records mean is not known here.

mod error;
mod read;
mod record;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{crash_point::crash_point, quarantine::move_aside};

pub use error::JournalError;
pub use read::{Fault, FaultKind, Replay};
pub use record::{Owner, RECORD_LIMIT, Record};

/// What every file begins with, before the number of the items' layout: the format's version. A change of any
/// record's encoding is another.
const FORMAT: &str = "harden journal 1";
/// Bytes before a record: its length, its checksum.
const FRAME: usize = 8;
/// Bytes of memory that are kept for the next record; items of the ring buffer take less.
const BUFFER: usize = 1 << 16;

/// The files of a directory, and the newest of them, which is being written.
pub struct Journal {
    directory: PathBuf,
    head: Vec<u8>,
    /// The files that are complete, by number, in order.
    older: Vec<u64>,
    current: Option<Current>,
    /// Those of the older ones that could not be read to their ends.
    corrupt: BTreeSet<u64>,
    /// Reused, so that nothing is allocated for each record.
    buffer: Vec<u8>,
}

struct Current {
    number: u64,
    file: File,
    /// Bytes of whole records.
    good: u64,
    /// The file ends in the middle of a record and could not be cut back.
    is_torn: bool,
}

impl Journal {
    /// Finds the files of `directory`, which is made if it is missing. What a killed agent left half
    /// done is removed. Items of the ring buffer can be read by who has the same `layout` of them. Nothing can be appended before [`Journal::rotate`]: the end of an earlier
    /// life's file may be torn.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(directory: &Path, layout: u64) -> Result<Self, JournalError> {
        let mut this = Self {
            directory: directory.to_owned(),
            head: head(layout),
            older: Vec::new(),
            current: None,
            corrupt: BTreeSet::new(),
            buffer: Vec::new(),
        };
        make(directory).map_err(|error| failed(directory, error))?;
        let temporary = directory.join(TEMPORARY);
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&temporary, error));
            }
            _ => {}
        }
        this.older = numbers(directory).map_err(|error| failed(directory, error))?;
        Ok(this)
    }

    /// Hands out all records of all files, the oldest first. What cannot be read of a file is
    /// skipped to its end, and told of.
    ///
    /// # Errors
    /// A file cannot be opened or read, for a reason outside it.
    pub fn replay(&mut self, mut each: impl FnMut(Record)) -> Result<Replay, JournalError> {
        let mut replay = Replay::default();
        let current = self.current.iter().map(|current| current.number);
        for number in self.older.iter().copied().chain(current) {
            let path = self.path(number);
            // A link would lead to another's file, and a FIFO would be waited for.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::empty())
                .map_err(|error| failed(&path, error))?;
            let known = replay.faults.len();
            replay
                .file(&self.head, &path, File::from(file), &mut each)
                .map_err(|error| failed(&path, error))?;
            let faults = &replay.faults[known..];
            if faults.iter().any(|fault| fault.kind != FaultKind::Torn) {
                self.corrupt.insert(number);
            }
        }
        Ok(replay)
    }

    /// Appends a record.
    ///
    /// # Errors
    /// As [`Journal::append_item`].
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = frame(&mut buffer, |payload| record.encode(payload))
            .map_err(|error| failed(&self.directory, error))
            .and_then(|()| self.write(&buffer));
        // A command line may be large; a week is long.
        buffer.shrink_to(BUFFER);
        self.buffer = buffer;
        result
    }

    /// Appends an item of the ring buffer, as [`Record::Item`]. Nothing is allocated.
    ///
    /// # Errors
    /// No file was begun, it cannot be written, or the record is larger than [`RECORD_LIMIT`]. Then
    /// the record is not in the journal, and what was there before is whole.
    pub fn append_item(&mut self, item: &[u8]) -> Result<(), JournalError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = frame(&mut buffer, |payload| {
            record::encode_item(item, payload);
            Ok(())
        })
        .map_err(|error| failed(&self.directory, error))
        .and_then(|()| self.write(&buffer));
        self.buffer = buffer;
        result
    }

    /// Begins the next file with `tables`, and appends there from then on. The file has its name only
    /// once the tables are on the disk: a crash leaves either the old files or one more.
    ///
    /// # Errors
    /// It cannot be written. Then everything is as it was, and what could be appended to still can.
    pub fn rotate(&mut self, tables: impl Iterator<Item = Record>) -> Result<(), JournalError> {
        crash_point("rotate-begin");
        make(&self.directory).map_err(|error| failed(&self.directory, error))?;
        // Somebody may have put files there, from a backup for instance.
        let found = numbers(&self.directory).map_err(|error| failed(&self.directory, error))?;
        let current = self.current.iter().map(|current| current.number);
        let newest = current.chain(found).max();
        let number = newest.map_or(Some(0), |newest| newest.checked_add(1));
        let number = number.ok_or(JournalError::NoNumber)?;
        let path = self.path(number);
        let current = self.begin(number, tables).map_err(|error| {
            // Already gone, or the error that led here is the one to tell.
            let _ = std::fs::remove_file(self.directory.join(TEMPORARY));
            failed(&path, error)
        })?;
        self.older
            .extend(self.current.replace(current).map(|old| old.number));
        Ok(())
    }

    fn begin(&mut self, number: u64, tables: impl Iterator<Item = Record>) -> io::Result<Current> {
        let temporary = self.directory.join(TEMPORARY);
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let file = rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?;
        crash_point("rotate-created");
        let mut writer = BufWriter::with_capacity(1 << 16, File::from(file));
        let mut good = self.head.len() as u64;
        writer.write_all(&self.head)?;
        for record in tables {
            frame(&mut self.buffer, |payload| record.encode(payload))?;
            writer.write_all(&self.buffer)?;
            good += self.buffer.len() as u64;
        }
        self.buffer.shrink_to(BUFFER);
        let file = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        crash_point("rotate-written");
        file.sync_all()?;
        crash_point("rotate-synced");
        let path = self.path(number);
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            &temporary,
            rustix::fs::CWD,
            &path,
            RenameFlags::NOREPLACE,
        ) {
            // The file system does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(&temporary, &path)?,
            result => result?,
        }
        crash_point("rotate-renamed");
        Ok(Current {
            number,
            file,
            good,
            is_torn: false,
        })
    }

    /// Removes all files but the newest, for when all that they tell is in the units' files. One that could not
    /// be read to its end is kept under another name.
    ///
    /// # Errors
    /// One cannot be removed; it will be by the next call.
    pub fn drop_older(&mut self) -> Result<(), JournalError> {
        if self.current.is_none() {
            return Err(JournalError::NotBegun);
        }
        crash_point("drop-begin");
        // The newest file's name must be on the disk before the others' are not.
        let directory = File::open(&self.directory);
        match directory.and_then(|directory| Ok(rustix::fs::fsync(&directory)?)) {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                return Err(failed(&self.directory, error));
            }
            _ => {}
        }
        while let Some(number) = self.older.first().copied() {
            let path = self.path(number);
            let gone = if self.corrupt.contains(&number) {
                move_aside(&path).map(drop)
            } else {
                std::fs::remove_file(&path)
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&path, error));
                }
                _ => {}
            }
            self.older.remove(0);
            self.corrupt.remove(&number);
            crash_point("drop-one");
        }
        crash_point("drop-end");
        Ok(())
    }

    /// How many bytes the file that is being written holds.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.good)
    }

    /// Whether what is appended will be found again: the file still has its name. A removed file
    /// takes writes as any other does, so this has to be asked now and then; the answer to an error
    /// is [`Journal::rotate`].
    ///
    /// # Errors
    /// It does not, or no file was begun.
    pub fn check(&self) -> Result<(), JournalError> {
        let current = self.current.as_ref().ok_or(JournalError::NotBegun)?;
        let path = self.path(current.number);
        let own = rustix::fs::fstat(&current.file).map_err(|error| failed(&path, error))?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(rustix::fs::CWD, &path, flags) {
            Ok(named) if (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) => Ok(()),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Err(JournalError::Gone {
                path: error::text(&path),
            }),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// One write(2), and back to the last whole record if it was not taken in full.
    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let current = self.current.as_mut().ok_or(JournalError::NotBegun)?;
        if current.is_torn {
            current.cut();
        }
        let result = if current.is_torn {
            Err(io::Error::other("its end is torn and cannot be cut off"))
        } else {
            crash_point("append-begin");
            current.write(bytes)
        };
        let number = current.number;
        crash_point("append-end");
        result.map_err(|error| failed(&self.path(number), error))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{PREFIX}{number}"))
    }
}

impl Current {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // One call takes it all, or there is no room; then a second one says so.
        let result = self.file.write_all(bytes);
        if result.is_ok() {
            self.good += bytes.len() as u64;
        } else {
            // What follows a torn record could never be read.
            self.cut();
        }
        result
    }

    /// Cuts the file back to its last whole record.
    fn cut(&mut self) {
        self.is_torn = self.file.set_len(self.good).is_err();
    }
}

fn head(layout: u64) -> Vec<u8> {
    format!("{FORMAT} {layout:016x}\n").into_bytes()
}

fn failed(path: &Path, error: impl Into<io::Error>) -> JournalError {
    JournalError::Io {
        path: error::text(path),
        error: error.into(),
    }
}

const PREFIX: &str = "journal.";
/// The file that is about to be the next.
const TEMPORARY: &str = ".journal.tmp";

/// The number in a file's name, as [`Journal::path`] writes it.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The numbers of a directory's files, in order.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn make(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Puts a record that `encode` appends, with its length and checksum, in place of what `buffer` holds.
fn frame(
    buffer: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    buffer.clear();
    buffer.extend_from_slice(&[0; FRAME]);
    encode(buffer)?;
    let (head, payload) = buffer.split_at_mut(FRAME);
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length <= RECORD_LIMIT)
        .ok_or_else(|| {
            let message = format!("a record takes more than {} MiB", RECORD_LIMIT >> 20);
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?
        .to_le_bytes();
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&checksum(length, payload).to_le_bytes());
    Ok(())
}

/// Over the length too: else a hole full of zeros would be a row of good records.
fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
