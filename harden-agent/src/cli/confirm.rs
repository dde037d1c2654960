//! `harden confirm`: what is on trial stays.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use super::{apply::needs_root, ask};
use crate::apply::{self, Unit};

/// `harden confirm`
#[derive(Debug, Args)]
pub struct Confirm {
    /// The unit
    pub unit: OsString,
}

impl Confirm {
    /// Keeps it, and says so. Returns the exit status.
    ///
    /// # Errors
    /// There is no such unit, or it cannot be kept.
    pub fn run(&self) -> Result<u8> {
        needs_root("confirm")?;
        let unit = Unit::find(&self.unit)?;
        if apply::confirm(&unit)? {
            ask::print(&format!("{}: kept\n", unit.name()))?;
            return Ok(0);
        }
        ask::note(format_args!(
            "harden: nothing of {} waits to be confirmed; it may have been put back already",
            unit.name()
        ));
        Ok(1)
    }
}
