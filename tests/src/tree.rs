//! The tree of cgroups.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Where the version 2 hierarchy is mounted.
///
/// # Errors
/// It is not.
pub fn cgroup_tree() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    mounts
        .find_map(|mut fields| {
            let at = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| at.into())
        })
        .context("no cgroup file system is mounted")
}
