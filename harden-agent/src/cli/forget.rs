//! `harden forget`: drop what was recorded of units.

use std::{ffi::OsString, fmt::Write as _};

use clap::Args;

use super::ask::{self, Ask};
use crate::observation::Text;

/// `harden forget`
#[derive(Debug, Args)]
pub struct Forget {
    /// The units, as `harden units` lists them, or name patterns with * ? [ ]
    #[arg(required = true, value_name = "UNIT|PATTERN")]
    pub units: Vec<OsString>,
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Forget {
    /// Has the agent forget, and prints what.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<()> {
        let units: Vec<Text> = self.units.iter().map(|unit| ask::name(unit)).collect();
        let forgotten = self.ask.agent(async |agent| agent.forget(&units).await)?;
        let mut text = String::new();
        if self.json {
            writeln!(text, "{}", serde_json::to_string(&forgotten)?)?;
        } else {
            for unit in &forgotten.units {
                writeln!(text, "forgot {unit}")?;
            }
            for unit in &forgotten.open {
                writeln!(text, "{unit} is running: its run goes on from zero")?;
            }
        }
        ask::print(&text)?;
        Ok(())
    }
}
