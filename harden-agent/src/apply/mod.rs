//! `harden apply`: installs what was decided about a unit, looks whether it is in force, and puts the unit back where it
//! is not.
//!
//! Until a trial is over, all of it lies below /run, so a reboot forgets it. Before the first file is there, systemd has
//! a timer that puts the unit back, whatever becomes of harden. What is installed says so itself, in its first line
//! ([`Applied`]): a proof record
//! ([`proof`]) says what it rests on.

mod applied;
mod attempt;
mod control;
mod files;
mod guard;
mod holder;
mod interruption;
mod list;
mod look;
mod payload;
mod place;
pub mod proof;
mod revert;
mod session;
mod trial;
mod unit;

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

pub use applied::{Applied, digest};
pub use attempt::is_free;
pub use files::Files;
pub use list::{Installed, State, installed};
pub use revert::{Reverted, revert};
pub use session::{Ended, Session};
pub(crate) use trial::step as trial_step;
pub use trial::{NotPutBack, Outcome, STEPS, TRIAL_STEPS, Trial, confirm};
pub use unit::Unit;

/// What confines the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "lowercase")]
#[zlink(rename_all = "lowercase")]
pub enum Backend {
    /// systemd alone, by a drop-in.
    #[default]
    Systemd,
    /// Firejail, by a profile, and a drop-in that starts the unit under it.
    Firejail,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Systemd, Self::Firejail];

    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Firejail => "firejail",
        }
    }

    /// The formats of its files, the drop-in last.
    #[must_use]
    pub const fn formats(self) -> &'static [&'static str] {
        match self {
            Self::Systemd => &["systemd"],
            Self::Firejail => &["firejail", "service"],
        }
    }

    /// The name of its drop-in.
    const fn drop_in(self) -> &'static str {
        match self {
            Self::Systemd => "50-harden.conf",
            Self::Firejail => "60-harden-firejail.conf",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
