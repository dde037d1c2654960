//! Reading the text of a profile, which may come from a hostile place.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// Much more than a profile has, and not enough to fill the memory.
const LARGEST: u64 = 4 << 20;

/// The text of a regular file. Bytes that are not UTF-8 become replacement characters.
///
/// # Errors
/// It is no regular file, it cannot be read, or it is too large.
pub(super) fn file(path: &Path) -> anyhow::Result<String> {
    // Without O_NONBLOCK, opening a FIFO that has no writer waits.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    ensure!(kind == FileType::RegularFile, "this is not a regular file");
    read(File::from(file))
}

/// The text of standard input.
///
/// # Errors
/// It cannot be read, it is too large, or there is nothing.
pub(super) fn standard_input() -> anyhow::Result<String> {
    let text = read(std::io::stdin())?;
    if text.trim().is_empty() {
        bail!("there is no profile in it");
    }
    Ok(text)
}

fn read(from: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut some = from.take(LARGEST + 1);
    some.read_to_end(&mut bytes).context("cannot be read")?;
    ensure!(
        bytes.len() as u64 <= LARGEST,
        "larger than {} MiB, and no profile is",
        LARGEST >> 20
    );
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
