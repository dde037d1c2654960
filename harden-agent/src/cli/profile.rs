//! What the commands that write a profile have in common.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    observation::Observation,
    output::{Ours, Output},
    policy::{Launch, Policy, Version},
    render::firejail,
    target,
};

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

/// What a profile is written for, and where to.
#[derive(Debug, Args)]
pub struct ProfileArgs {
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
    /// Replace files of the same names that harden did not write
    #[arg(long)]
    pub force: bool,
}

/// A profile, not written yet.
pub struct Profile {
    /// What was decided.
    pub policy: Policy,
    /// The file.
    pub output: Output,
}

impl ProfileArgs {
    /// Decides and renders. Warnings about the target go to standard error.
    pub fn render(&self, observation: &Observation) -> Profile {
        let asked = target::firejail::ask(self.firejail_version, self.start.into());
        for warning in &asked.warnings {
            eprintln!("warning: {warning}");
        }
        let policy = Policy::decide(observation, asked.target);
        let output = Output {
            name: firejail::file_name(&policy),
            content: firejail::profile(&policy, firejail::Options { bare: self.bare }).into_bytes(),
            ours: Ours::Marker,
        };
        Profile { policy, output }
    }
}
