//! `harden mark`: begin a named run.

use std::ffi::OsString;

use clap::Args;

use super::ask::{self, Ask};

/// `harden mark`
#[derive(Debug, Args)]
pub struct Mark {
    /// The name of the run: the test case
    pub name: OsString,
    /// In this unit alone [default: in every unit]
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<OsString>,
    /// Say it in JSON, as one object
    #[arg(long)]
    pub json: bool,
    /// Where to ask
    #[command(flatten)]
    pub ask: Ask,
}

impl Mark {
    /// Begins the run, and prints its identifier.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<()> {
        let name = ask::name(&self.name);
        let unit = self.unit.as_ref().map(ask::name);
        let marked = self
            .ask
            .agent(async |agent| agent.mark(&name, unit.as_ref()).await)?;
        let text = if self.json {
            serde_json::to_string(&marked)?
        } else {
            marked.id.to_string()
        };
        ask::print(&format!("{text}\n"))?;
        Ok(())
    }
}
