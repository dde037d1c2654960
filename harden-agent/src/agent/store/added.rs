//! What was added to a unit's file since that was last written whole: an observation a line.
//!
//! To write the file again takes as long as the unit has facts; to append takes as long as there are new ones. A
//! line is appended by one write(2) and is on the disk before anything relies on it. A kill of the agent leaves
//! whole lines, or a torn one at the very end, which the journal still has.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat},
    io::Errno,
};

use crate::{
    agent::crash_point::crash_point,
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

/// Appends a line to the file at `path`, of which `size` bytes are known; it is made if there are none. Says whether it
/// did: not if what is there is not what was left there.
///
/// # Errors
/// It cannot be written. Then nothing was added.
pub(super) fn append(path: &Path, size: u64, line: &[u8]) -> io::Result<bool> {
    crash_point("add-begin");
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = match size {
        0 => flags | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC,
        _ => flags | OFlags::CLOEXEC,
    };
    let mut file = match rustix::fs::open(path, flags, MODE) {
        Ok(file) => File::from(file),
        Err(Errno::EXIST | Errno::ISDIR | Errno::LOOP | Errno::NXIO | Errno::NOENT) => {
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    crash_point("add-made");
    if !is_ours(&file)? || file.metadata()?.len() != size {
        return Ok(false);
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
    crash_point("add-written");
    if size == 0
        && let Some(directory) = path.parent()
    {
        File::open(directory)?.sync_all()?;
    }
    crash_point("add-end");
    Ok(true)
}

/// Whether it is a regular file with one name: what is written to it is in no other file.
fn is_ours(file: &File) -> io::Result<bool> {
    let status = fstat(file)?;
    let is_regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    Ok(is_regular && status.st_nlink == 1)
}

/// Reads the file at `path`, of at most `limit` bytes, as that of `unit`. `None` if there is none.
///
/// # Errors
/// It may be good but cannot be read now.
pub(super) fn read(path: &Path, limit: u64, unit: &Text) -> io::Result<Option<Added>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        // What NOFOLLOW says of a link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(Some(foreign())),
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

/// The lines that can be used, whatever lies between them. A torn one at the end is no fault.
fn parse(bytes: &[u8], unit: &Text) -> Added {
    let mut added = Added::default();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        if !line.ends_with(b"\n") {
            break;
        }
        let fault = match observation::from_json(line) {
            Ok(observation) if observation.name == *unit => {
                added.observations.push(observation);
                added.lines.extend(line);
                continue;
            }
            Ok(observation) => format!("line {number} is of another unit, {}", observation.name),
            Err(error) => format!("line {number}: {error}"),
        };
        added.fault.get_or_insert(fault);
    }
    added
}

/// The unit that the first line of the file at `path` is of, if it can be told.
pub(super) fn name_in(path: &Path, limit: u64) -> Option<Text> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut line = Vec::new();
    BufReader::new(file.take(limit))
        .read_until(b'\n', &mut line)
        .ok()?;
    Some(observation::from_json(&line).ok()?.name)
}

/// Replaces the file at `path` by one with these lines; what is there is kept at `aside`, which is no name yet.
///
/// # Errors
/// It cannot be written. Then the file is as it was.
pub(super) fn replace(path: &Path, aside: &Path, lines: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let temporary = directory.join(format!(".harden-{}-added.tmp", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&temporary, flags, MODE)?);
    let written = file.write_all(lines).and_then(|()| file.sync_all());
    // By a second name, as between two renames there would be none.
    let replaced = written
        .and_then(|()| std::fs::hard_link(path, aside))
        .and_then(|()| std::fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced?;
    File::open(directory)?.sync_all()
}

/// Cuts off a torn line at the end of the file at `path`, and removes one that has no other.
///
/// # Errors
/// It cannot be read or cut.
pub(super) fn mend(path: &Path) -> io::Result<()> {
    const STEP: usize = 1 << 16;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !is_ours(&file)? {
        return Ok(());
    }
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
    match end {
        0 => std::fs::remove_file(path),
        _ if end != size => file.set_len(end),
        _ => Ok(()),
    }
}
