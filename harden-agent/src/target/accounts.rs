//! The groups of this machine.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group};

use crate::observation::Observation;

/// The names of the groups that the observation's files belong to, by number.
#[must_use]
pub fn groups(observation: &Observation) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    for inode in programs
        .flat_map(|one| one.files.values())
        .flat_map(|file| &file.inodes)
    {
        if names.contains_key(&inode.gid) {
            continue;
        }
        if let Ok(Some(group)) = Group::from_gid(Gid::from_raw(inode.gid)) {
            names.insert(inode.gid, group.name);
        }
    }
    names
}
