//! `harden render`: files from an observation alone, without root.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::observation;
use crate::output::{self, Ours, Output};
use crate::policy::{Launch, Policy, Version};
use crate::render::firejail;
use crate::target;

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A Firejail profile, NAME.profile
    Firejail,
}

/// How the program will be started under Firejail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// `firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash
    Shell,
    /// `firejail --profile=FILE PROGRAM`: no shell is needed or allowed
    Direct,
}

impl From<Start> for Launch {
    fn from(start: Start) -> Self {
        match start {
            Start::Shell => Self::Shell("/bin/bash".to_owned()),
            Start::Direct => Self::Direct,
        }
    }
}

/// `harden render`
#[derive(Debug, Args)]
pub struct Render {
    /// The observation, a JSON file
    pub observation: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Firejail)]
    pub format: Format,
    /// The directory to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Write for this Firejail instead of the installed one
    #[arg(long, value_name = "VERSION")]
    pub firejail_version: Option<Version>,
    /// How the program will be started
    #[arg(long, value_enum, default_value_t = Start::Shell)]
    pub start: Start,
    /// Rules and warnings only, without the evidence
    #[arg(long)]
    pub bare: bool,
    /// Replace a file of that name that harden did not write
    #[arg(long)]
    pub force: bool,
}

impl Render {
    /// Reads, decides, writes, and prints where.
    ///
    /// # Errors
    /// The observation cannot be read, or the file not written.
    pub fn run(&self) -> anyhow::Result<()> {
        let observation = observation::read(&self.observation)?;
        let asked = target::firejail::ask(self.firejail_version, self.start.into());
        for warning in &asked.warnings {
            eprintln!("warning: {warning}");
        }
        let policy = Policy::decide(&observation, asked.target);
        let output = match self.format {
            Format::Firejail => Output {
                name: firejail::file_name(&policy),
                content: firejail::profile(&policy, firejail::Options { bare: self.bare })
                    .into_bytes(),
                ours: Ours::Marker,
            },
        };
        let path = self.out.join(&output.name);
        output::write(&self.out, &[output], self.force)?;
        println!("{}", path.display());
        Ok(())
    }
}
