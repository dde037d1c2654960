//! What is written about one observation: a [`Plan`], in which each decision is made once, and the registry of
//! [`FORMATS`], which shows it.

mod formats;
mod judged;
mod plan;
mod request;
mod start;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub use self::{
    formats::{Content, FORMATS, Format},
    plan::{Files, Plan, Withheld},
    request::Request,
    start::Start,
};
use crate::{
    observation::{Observation, Text},
    output::file_stem,
    policy::{Adapted, Generalisation, Overrides, adapt},
    regular_file,
};

/// What is decided over: `observation` with what somebody has decided about it in a file of `directory`, and with
/// directories in the place of names as far as `paths` says.
///
/// # Errors
/// The overrides cannot be read.
pub fn adapted<'o>(
    observation: &'o Observation,
    paths: Generalisation,
    directory: &Path,
) -> Result<Adapted<'o>> {
    let overrides = overrides(directory, &observation.name)?;
    Ok(adapt(observation, paths, &overrides))
}

/// What somebody has decided about `subject`: nothing, where there is no file of it in the directory.
///
/// # Errors
/// The file cannot be read, or says what cannot be meant.
pub fn overrides(directory: &Path, subject: &Text) -> Result<Overrides> {
    let text = overrides_text(directory, subject)?.unwrap_or_default();
    Overrides::parse(&text)
        .with_context(|| overrides_file(directory, subject).display().to_string())
}

/// The text of that file, if there is one.
///
/// # Errors
/// The file cannot be read.
pub fn overrides_text(directory: &Path, subject: &Text) -> Result<Option<String>> {
    let file = overrides_file(directory, subject);
    match regular_file::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some).with_context(|| file.display().to_string()),
    }
}

/// Where somebody writes what is decided about `subject`.
#[must_use]
pub fn overrides_file(directory: &Path, subject: &Text) -> PathBuf {
    directory.join(format!("{}.toml", file_stem(subject)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_in_a_regular_file_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let subject = Text::from("d.service");
        let read = || overrides(directory.path(), &subject);
        assert_eq!(read().unwrap(), Overrides::default());
        let file = overrides_file(directory.path(), &subject);
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = format!("{:#}", read().unwrap_err());
        assert!(
            error.contains("d.service.toml: this is not a regular file"),
            "{error}"
        );
    }
}
