//! An observation's file: JSON, read as something that anybody may have written.
//!
//! A bad file costs one error that says what, where and what to do; never a hang or a panic. Its
//! size is judged before its content, so what is too large costs no memory. What is read costs
//! about twice its size; a file made for that purpose, of nothing but tiny maps, 70 times.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use harden_common::Argument;
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::layout::Layout;
use super::model::{Abi, Observation, SCHEMA};
use super::schema_1;
use super::text::{Text, Word, is_hidden};

/// The largest file that is written or read, in bytes: 1 GiB, two million files and more.
pub const SIZE_LIMIT: u64 = 1 << 30;

/// Why a file could not be read as an observation. The text is complete, with the way out; no
/// variant has a `source` that a caller would have to add.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused to open or read the file.
    #[error("cannot read {path}: {error}{}", way_out(error))]
    Io {
        /// The file.
        path: Text,
        /// What the system said.
        error: io::Error,
    },
    /// A directory, FIFO, socket or device.
    #[error(
        "{path} is not a regular file: name the JSON file of an observation; what comes from a pipe \
         has to be put into a file first"
    )]
    NotAFile {
        /// The file.
        path: Text,
    },
    /// Larger than the limit.
    #[error(
        "{path} is larger than {} MiB, the most that is read: if it is an observation, keep its \
         runs in several files",
        limit >> 20
    )]
    TooLarge {
        /// The file.
        path: Text,
        /// What would have been read.
        limit: u64,
    },
    /// The content is no observation.
    #[error("{path}{error}")]
    Format {
        /// The file.
        path: Text,
        /// What is wrong with it.
        error: FormatError,
    },
}

/// Why bytes are no observation. The text continues a file's name.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Valid JSON, but of something else.
    #[error(": no observation, it has no \"schema\": name a file that harden recorded")]
    NoSchema,
    /// Written by another version of harden.
    #[error(
        ": written by {} harden (schema {found}, this one reads {} to {SCHEMA}): {}",
        if *found > u64::from(SCHEMA) { "a newer" } else { "an older" },
        schema_1::SCHEMA,
        if *found > u64::from(SCHEMA) { "update harden" } else { "record again" }
    )]
    Schema {
        /// The file's schema.
        found: u64,
    },
    /// The JSON ends before it is complete.
    #[error(
        ":{line}:{column}: the file ends here, it is incomplete: copy it again, or record again"
    )]
    Truncated {
        /// Line, from 1.
        line: usize,
        /// Column, in bytes.
        column: usize,
    },
    /// Not JSON, or not the shape of an observation.
    #[error(":{line}:{column}: {message}: correct it, or record again")]
    Content {
        /// Line, from 1.
        line: usize,
        /// Column, in bytes.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

/// Reads the observation at `path`.
///
/// # Errors
/// [`ReadError`]; it waits for nothing, whatever `path` is.
pub fn read(path: &Path) -> Result<Observation, ReadError> {
    read_up_to(SIZE_LIMIT, path)
}

/// As [`read`], but of `limit` bytes at most.
///
/// # Errors
/// As [`read`].
pub fn read_up_to(limit: u64, path: &Path) -> Result<Observation, ReadError> {
    let name = || Text::from(path.as_os_str().as_bytes());
    let io = |error: io::Error| ReadError::Io {
        path: name(),
        error,
    };

    // Without O_NONBLOCK, opening a FIFO that nobody writes waits for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io(error.into()))?);
    let status = rustix::fs::fstat(&file).map_err(|error| io(error.into()))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotAFile { path: name() });
    }
    let size = u64::try_from(status.st_size).unwrap_or(0);
    let json = read_at_most(limit, &file, size)
        .map_err(io)?
        .ok_or_else(|| ReadError::TooLarge {
            path: name(),
            limit,
        })?;
    from_json(&json).map_err(|error| ReadError::Format {
        path: name(),
        error,
    })
}

/// Parses an observation: the schema first, then all the rest. One of an earlier schema becomes one of
/// this [`SCHEMA`].
///
/// # Errors
/// [`FormatError`] if the bytes are no observation of this [`SCHEMA`] or an earlier one.
pub fn from_json(json: &[u8]) -> Result<Observation, FormatError> {
    #[derive(Deserialize)]
    #[serde(expecting = "an observation")]
    struct Head {
        schema: Option<u64>,
    }

    let head: Head = serde_json::from_slice(json).map_err(|error| format_error(&error))?;
    let Some(found) = head.schema else {
        return Err(FormatError::NoSchema);
    };
    // 2 is this one without a field that may be left out.
    let parsed = if (2..=u64::from(SCHEMA)).contains(&found) {
        serde_json::from_slice(json)
    } else if found == u64::from(schema_1::SCHEMA) {
        serde_json::from_slice(json).map(schema_1::Observation::migrate)
    } else {
        return Err(FormatError::Schema { found });
    };
    let mut observation: Observation = parsed.map_err(|error| format_error(&error))?;
    observation.schema = SCHEMA;
    if found < X32_ANSWERED_SINCE {
        have_x32_answered(&mut observation);
    }
    observation.settle();
    Ok(observation)
}

/// The first schema whose runs say whether x32 calls were answered.
const X32_ANSWERED_SINCE: u64 = 6;

/// Earlier files do not say whether the kernel had x32: what is not known must not be taken for absent.
fn have_x32_answered(observation: &mut Observation) {
    let Ok(answered) = Word::new(Argument::X32Answered.name()) else {
        return;
    };
    let programs = observation.runs.values_mut().flat_map(|run| {
        let others = run.control.values_mut().flat_map(|one| one.values_mut());
        run.executables.values_mut().chain(others)
    });
    for facts in programs.filter(|facts| facts.syscalls.contains_key(&Abi::X32)) {
        facts.arguments.entry(answered.clone()).or_default();
    }
}

/// The bytes of an observation's file, in an order that depends on the content alone, so that the
/// same observation is the same bytes.
///
/// # Errors
/// It is larger than [`SIZE_LIMIT`]: nobody could read it again.
pub fn to_json(observation: &Observation) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    write_json(observation, &mut json)?;
    Ok(json)
}

/// Writes the same bytes, some at a time.
///
/// # Errors
/// As [`to_json`], or `out` has them.
pub fn write_json(observation: &Observation, out: impl Write) -> io::Result<()> {
    const BUFFER: usize = 1 << 18;
    // The serializer writes a word at a time: the limit is asked once for many of them.
    let limited = Limited {
        out,
        left: SIZE_LIMIT,
    };
    let mut out = BufWriter::with_capacity(BUFFER, limited);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Layout::default());
    observation.serialize(&mut serializer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Hands on as many bytes as can be read again.
struct Limited<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len() as u64;
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "the observation takes more than the {} MiB that are read: record the work in parts, each under a name of its own",
                    SIZE_LIMIT >> 20
                ),
            )
        })?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The bytes that a part of an observation takes in its file, about: it is laid out as if it stood alone.
pub(super) fn size(part: &impl Serialize) -> u64 {
    let mut counted = Counted(0);
    let mut serializer = serde_json::Serializer::with_formatter(&mut counted, Layout::default());
    // It is all counted, or it could not be written either.
    match part.serialize(&mut serializer) {
        Ok(()) => counted.0 + 1,
        Err(_) => u64::MAX,
    }
}

/// Takes everything and keeps how much it was.
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All bytes of `file`, `None` if there are more than `limit`. The size that the file system
/// names is a reason to refuse, never one to trust: /proc names 0 for what has no end.
fn read_at_most(limit: u64, file: impl Read, size: u64) -> io::Result<Option<Vec<u8>>> {
    if size > limit {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(0))?;
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn format_error(error: &serde_json::Error) -> FormatError {
    let (line, column) = (error.line(), error.column());
    if error.classify() == Category::Eof {
        return FormatError::Truncated { line, column };
    }
    let message = error.to_string();
    let message = message
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&message);
    FormatError::Content {
        line,
        column,
        message: quotable(message),
    }
}

/// The message of a parser quotes the file: keep it to one short line that cannot steer a
/// terminal.
fn quotable(message: &str) -> String {
    const LIMIT: usize = 300;
    let mut line = String::new();
    for (count, character) in message.chars().enumerate() {
        if count == LIMIT {
            line.push('…');
            break;
        }
        if is_hidden(character) {
            let _ = write!(line, "{}", character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    line
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ": check the name",
        io::ErrorKind::PermissionDenied => ": run as its owner, or with sudo",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
