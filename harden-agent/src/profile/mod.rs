//! What is written about one observation: a [`Plan`], in which each decision is made once, and the registry of
//! [`FORMATS`], which shows it.

mod formats;
mod judged;
mod plan;
mod request;
mod start;

use std::{fs, io::ErrorKind, path::Path};

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
    let file = directory.join(format!("{}.toml", file_stem(subject)));
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Overrides::default());
        }
        text => text.with_context(|| file.display().to_string())?,
    };
    Overrides::parse(&text).with_context(|| file.display().to_string())
}
