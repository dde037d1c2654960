//! The tree of cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

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

/// The hierarchies that systemd uses, the version 2 one first.
///
/// # Errors
/// There is none.
pub fn cgroup_trees() -> Result<Vec<PathBuf>> {
    let top = Path::new("/sys/fs/cgroup");
    let hybrid = ["unified", "systemd"].map(|tree| top.join(tree));
    let trees = if top.join("cgroup.procs").exists() {
        vec![top.to_owned()]
    } else {
        hybrid.into_iter().filter(|tree| tree.is_dir()).collect()
    };
    ensure!(!trees.is_empty(), "there is no cgroup tree of version 2");
    Ok(trees)
}
