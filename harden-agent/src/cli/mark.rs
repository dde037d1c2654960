//! `harden mark`: begin a named run, or end it.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use clap::Args;

use super::ask::{self, Ask};
use crate::observation::Text;

/// `harden mark`
#[derive(Debug, Args)]
pub struct Mark {
    /// The name of the run, such as a test case
    #[arg(required_unless_present = "end")]
    pub name: Option<OsString>,
    /// End the named run instead: later calls count for the unit's invocation again
    #[arg(long, conflicts_with = "name")]
    pub end: bool,
    /// Mark only this unit; a name, not a pattern [default: every unit]
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<OsString>,
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Mark {
    /// Begins or ends the run, and prints the identifier of the one that begins.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<()> {
        let name = self.name.as_ref().map(|name| Text::from(name.as_bytes()));
        let unit = self.unit.as_deref().map(ask::name);
        let marked = self.ask.agent(async |agent| match &name {
            Some(name) => agent.mark(name, unit.as_ref()).await,
            None => agent.unmark(unit.as_ref()).await,
        })?;
        let text = if self.json {
            serde_json::to_string(&marked)?
        } else {
            marked.id.to_string()
        };
        ask::print(&format!("{text}\n"))?;
        Ok(())
    }
}
