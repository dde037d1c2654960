//! What was added to a unit's file since that was last written whole: an observation a line.
//!
//! To write the file again takes as long as the unit has facts; to append takes as long as there are new ones. A
//! line is appended by one write(2) and is on the disk before anybody relies on it. Whoever kills the agent leaves
//! whole lines, or a torn one at the very end, which the journal still has.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat};

use crate::{
    agent::step::step,
    observation::{self, Observation, Text},
};

/// As the units' files.
const MODE: Mode = Mode::from_raw_mode(0o640);

/// What a file of additions holds.
#[derive(Default)]
pub(super) struct Added {
    /// Its observations, the first first.
    pub observations: Vec<Observation>,
    /// The bytes of their lines.
    pub lines: Vec<u8>,
    /// Why the rest cannot be used.
    pub fault: Option<String>,
}

/// Appends a line to the file at `path`, of which `size` bytes are known; it is made if there are none. Returns its
/// size then.
///
/// # Errors
/// It cannot be written, or it is not what was left there. Then nothing was added.
pub(super) fn append(path: &Path, size: u64, line: &[u8]) -> io::Result<u64> {
    step("add-begin");
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = match size {
        0 => flags | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC,
        _ => flags | OFlags::CLOEXEC,
    };
    let mut file = File::from(rustix::fs::open(path, flags, MODE)?);
    let status = fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile
        || u64::try_from(status.st_size) != Ok(size)
    {
        return Err(io::Error::other("it was changed by somebody else"));
    }
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // Cut back, or the next line would go on in the middle of this one. If that fails, the size is another.
        let _ = file.set_len(size);
        if size == 0 {
            let _ = std::fs::remove_file(path);
        }
        return Err(error);
    }
    step("add-written");
    if size == 0
        && let Some(directory) = path.parent()
    {
        File::open(directory)?.sync_all()?;
    }
    step("add-end");
    Ok(size + line.len() as u64)
}

/// Reads the file at `path`, of at most `limit` bytes, as that of `unit`. `None` if there is none.
///
/// # Errors
/// It may be good but cannot be read now.
pub(super) fn read(path: &Path, limit: u64, unit: &Text) -> io::Result<Option<Added>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        // What NOFOLLOW says of a link; a socket.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(Some(foreign())),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(Some(foreign()));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Ok(Some(Added {
            fault: Some(format!("it is larger than {} MiB", limit >> 20)),
            ..Added::default()
        }));
    }
    Ok(Some(parse(&bytes, unit)))
}

fn foreign() -> Added {
    Added {
        fault: Some("it is no regular file".to_owned()),
        ..Added::default()
    }
}

/// The lines up to the first that is none. A torn one at the end is no fault.
fn parse(bytes: &[u8], unit: &Text) -> Added {
    let mut added = Added::default();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if !line.ends_with(b"\n") {
            break;
        }
        match observation::from_json(line) {
            Ok(observation) if observation.name == *unit => {
                added.observations.push(observation);
                added.lines.extend(line);
            }
            Ok(observation) => {
                let name = observation.name;
                added.fault = Some(format!("line {number} is of another unit, {name}"));
                break;
            }
            Err(error) => {
                added.fault = Some(format!("line {number}: {error}"));
                break;
            }
        }
    }
    added
}

/// Cuts off a torn line at the end of the file at `path`. Returns its size then.
///
/// # Errors
/// It cannot be read or cut.
pub(super) fn mend(path: &Path) -> io::Result<u64> {
    const STEP: usize = 1 << 16;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let size = file.metadata()?.len();
    let mut end = size;
    let mut buffer = vec![0; STEP];
    while end > 0 {
        let start = end.saturating_sub(STEP as u64);
        let part = &mut buffer[..usize::try_from(end - start).unwrap_or(STEP)];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    if end != size {
        file.set_len(end)?;
    }
    Ok(end)
}
