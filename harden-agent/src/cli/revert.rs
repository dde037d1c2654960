//! `harden revert`: what `harden apply` has installed goes.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use super::{apply::needs_root, ask};
use crate::apply::{self, Reverted, Unit};

/// `harden revert`
#[derive(Debug, Args)]
pub struct Revert {
    /// The unit
    pub unit: OsString,
}

impl Revert {
    /// Takes it away, and says what. Returns the exit status.
    ///
    /// # Errors
    /// There is no such unit, or it cannot be taken away.
    pub fn run(&self) -> Result<u8> {
        needs_root("revert")?;
        let unit = Unit::find_installed(&self.unit)?;
        let said = match apply::revert(&unit)? {
            Reverted::Trial => "the trial is over, and it is as it was before",
            Reverted::Kept { restarted: true } => "removed, and restarted without it",
            Reverted::Kept { restarted: false } => "removed; it does not run",
            Reverted::Nothing => {
                ask::note(format_args!(
                    "harden: nothing is applied to {}",
                    unit.name()
                ));
                return Ok(1);
            }
        };
        ask::print(&format!("{}: {said}\n", unit.name()))?;
        Ok(0)
    }
}
