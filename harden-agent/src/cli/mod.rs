//! The command line: one file a command.

pub mod render;

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
    /// Write a profile from a recorded observation; needs no root
    Render(render::Render),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever stopped the command, as text for the user.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            Command::Render(render) => render.run(),
        }
    }
}
