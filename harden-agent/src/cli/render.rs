//! `harden render`: files from an observation alone, without root.

use std::{mem::ManuallyDrop, path::PathBuf};

use clap::Args;

use super::profile::{self, ProfileArgs};
use crate::{observation, output};

/// `harden render`
#[derive(Debug, Args)]
pub struct Render {
    /// The observation (a JSON file)
    pub observation: PathBuf,
    /// What to write, and where
    #[command(flatten)]
    pub profile: ProfileArgs,
}

impl Render {
    /// Reads, decides, writes, and prints where.
    ///
    /// # Errors
    /// The observation cannot be read, or a file not written.
    pub fn run(&self) -> anyhow::Result<()> {
        // It lasts until the exit, which frees all memory at once: a million paths by themselves take half a second.
        let observation = ManuallyDrop::new(observation::read(&self.observation)?);
        let request = self.profile.request()?;
        let adapted = request.adapt(&observation)?;
        let outputs = profile::written(request.plan(&observation, &adapted).files());
        output::write(&self.profile.out, &outputs, self.profile.force)?;
        for output in &outputs {
            println!("{}", self.profile.out.join(&output.name).display());
        }
        Ok(())
    }
}
