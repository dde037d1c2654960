//! The cgroup tree of this machine: where it is mounted, and where this process is in it.

use std::{fs, io, path::PathBuf};

/// Where the version 2 tree is mounted.
///
/// # Errors
/// It is not.
pub(crate) fn mount() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .and_then(|fields| fields.get(1).map(PathBuf::from))
        .ok_or_else(|| {
            io::Error::other("no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
        })
}

/// This process's own cgroup directory.
///
/// # Errors
/// There is no version 2 tree.
pub(crate) fn own() -> io::Result<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let own = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    Ok(mount()?.join(own.trim_start_matches('/')))
}
