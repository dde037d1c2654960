//! The command line: one file a command.

pub mod doctor;
pub mod generate;
mod profile;
pub mod render;
pub mod run;
mod summary;

use clap::{Parser, Subcommand};

/// Confinement profiles for Linux daemons, from what the kernel saw them do.
#[derive(Debug, Parser)]
#[command(name = "harden", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command, record what it does, and write a profile under which it still works
    ///
    /// The exit status is the command's own, 128 + n if signal n ended it. 127: there is no such
    /// command; 126: it cannot be run; 125: harden failed, and says how.
    Run(run::Run),
    /// Write a profile from a recorded observation; needs no root
    Render(render::Render),
    /// Say what this machine lets harden do, and what to do about the rest
    ///
    /// The exit status is 0 if a command can be recorded here, and 1 if it cannot.
    Doctor(doctor::Doctor),
    /// Write man pages and shell completions into a directory
    #[command(hide = true)]
    Generate(generate::Generate),
}

impl Cli {
    /// Does what was asked. Returns the exit status.
    ///
    /// # Errors
    /// Whatever stopped the command, as text for the user.
    pub fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::Run(run) => run.run(),
            Command::Render(render) => render.run().map(|()| 0),
            Command::Doctor(doctor) => doctor.run(),
            Command::Generate(generate) => generate.run().map(|()| 0),
        }
    }

    /// The exit status for `error`. For `run` those of env(1), which stay clear of the command's
    /// own: 127 no such command, 126 it cannot be run, 125 anything of harden's. Otherwise 1.
    #[must_use]
    pub fn failure_status(&self, error: &anyhow::Error) -> u8 {
        match &self.command {
            Command::Run(_) => run::failure_status(error),
            Command::Render(_) | Command::Doctor(_) | Command::Generate(_) => 1,
        }
    }
}
