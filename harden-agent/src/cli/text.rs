//! Reading the text of a profile, which may come from a hostile place.

use std::{io::Read, path::Path};

use anyhow::{Context as _, bail, ensure};

use crate::regular_file::{self, LARGEST};

/// The text of a regular file. Bytes that are not UTF-8 become replacement characters.
///
/// # Errors
/// It is no regular file, it cannot be read, or it is too large.
pub(super) fn file(path: &Path) -> anyhow::Result<String> {
    let bytes = regular_file::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
