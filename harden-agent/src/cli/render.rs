//! `harden render`: files from an observation alone, without root.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::profile::ProfileArgs;
use crate::{observation, output};

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A Firejail profile, NAME.profile
    Firejail,
}

/// `harden render`
#[derive(Debug, Args)]
pub struct Render {
    /// The observation, a JSON file
    pub observation: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Firejail)]
    pub format: Format,
    /// What for, and where to
    #[command(flatten)]
    pub profile: ProfileArgs,
}

impl Render {
    /// Reads, decides, writes, and prints where.
    ///
    /// # Errors
    /// The observation cannot be read, or the file not written.
    pub fn run(&self) -> anyhow::Result<()> {
        let observation = observation::read(&self.observation)?;
        let output = match self.format {
            Format::Firejail => self.profile.render(&observation).output,
        };
        let path = self.profile.out.join(&output.name);
        output::write(&self.profile.out, &[output], self.profile.force)?;
        println!("{}", path.display());
        Ok(())
    }
}
