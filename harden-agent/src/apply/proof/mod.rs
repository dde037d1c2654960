//! The proof record: what `harden apply` tried before it kept a unit's files, on which system, and which files that rests
//! on. Once one of them has changed, the proof is stale: the same test may fail now.

mod digest;
mod gather;
mod stale;
mod store;
mod unit_files;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Backend;
use crate::observation::Text;

pub(super) use gather::{Tried, gather};
pub use stale::{Change, How};
pub use store::{Standing, standing};
pub(super) use store::{clear, discard, is_staged, keep, stage};

/// What was tried, and what that rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// [`Proof::SCHEMA`].
    pub schema: u32,
    /// The unit.
    pub unit: Text,
    /// What confines it.
    pub backend: Backend,
    /// When it was tried.
    pub proved: Timestamp,
    /// Where.
    pub system: System,
    /// The SHA-256 digest of the observation's file.
    pub observation: String,
    /// The commands that succeeded, for a shell. None: it is known only that the unit stays up.
    pub tests: Vec<String>,
    /// What was seen in force.
    pub in_force: String,
    /// The files that confine the unit, with the SHA-256 digest of what is below the first line of each.
    pub installed: BTreeMap<Text, String>,
    /// The unit's own files, its other drop-ins, and what else systemd and Firejail read for it, with their SHA-256
    /// digests; `absent` for one that is not there.
    pub unit_files: BTreeMap<Text, String>,
    /// The programs and scripts that the unit ran, and the libraries that they had mapped, with their SHA-256 digests.
    pub programs: BTreeMap<Text, String>,
    /// Links in the unit's commands, and where they lead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<Text, Text>,
    /// Programs and libraries that are not looked after, because they are not at that place on this system's disks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_followed: BTreeSet<Text>,
}

impl Proof {
    /// Of the records that this harden writes and reads.
    pub const SCHEMA: u32 = 1;
}

/// A system on which something was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The version of harden.
    pub harden: String,
    /// The kernel's release.
    pub kernel: Text,
    /// The version of systemd, as it prints it.
    pub systemd: Option<String>,
    /// That of Firejail, if it confines the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firejail: Option<String>,
}

/// A record, as the first line of an installed file names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its file.
    pub file: PathBuf,
    /// The SHA-256 digest of the file.
    pub sha256: String,
}
