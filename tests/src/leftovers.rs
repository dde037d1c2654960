//! What an interrupted run of the tests left behind: the next one would observe its units, and its kernel side would still
//! be attached.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process,
    sync::Once,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, umount2};

use crate::tree::cgroup_trees;

/// Names begin with these, and with the number of the process that made what they name. A `-` would make a slice one
/// within another.
const SLICES: &str = "hardendeeds";
const CONTAINERS: &str = "harden-test-container-";
const DIRECTORIES: &str = "harden-test-";

/// Where directories are left, unless they are beside something that a test needs.
const PARENTS: [&str; 3] = ["/run", "/var/tmp", "/tmp"];

/// The name of a slice of this process.
pub fn slice(number: u32) -> String {
    format!("{SLICES}{}x{number}.slice", process::id())
}

/// The name of a container of this process.
pub fn container(number: u32) -> String {
    format!("{CONTAINERS}{}-{number}", process::id())
}

/// How the names of this process's directories begin.
pub fn directories() -> String {
    format!("{DIRECTORIES}{}-", process::id())
}

/// Removes what processes left that are gone; once in a process.
pub fn remove() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = remove_all() {
            println!("something of an earlier run of the tests is left: {error:#}");
        }
    });
}

fn remove_all() -> Result<()> {
    for tree in cgroup_trees()? {
        for cgroup in [left(&tree, SLICES)?, left(&tree, CONTAINERS)?].concat() {
            println!("an earlier run of the tests left {}", cgroup.display());
            ensure!(
                remove_cgroup(&cgroup),
                "{} cannot be removed",
                cgroup.display()
            );
        }
    }
    for parent in PARENTS {
        for directory in left(Path::new(parent), DIRECTORIES)? {
            // An agent's pins are in a file system of its own.
            let _ = umount2(&directory.join("bpf"), MntFlags::MNT_DETACH);
            fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
        }
    }
    Ok(())
}

/// The directories in `parent` that begin with `prefix` and the number of a process that is gone.
fn left(parent: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if owner(&entry.file_name(), prefix).is_some_and(|pid| !is_running(pid)) {
            left.push(entry.path());
        }
    }
    Ok(left)
}

/// The process in such a name.
fn owner(name: &OsStr, prefix: &str) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Removes a cgroup with those below it, and kills what is in them. Did it work?
pub fn remove_cgroup(cgroup: &Path) -> bool {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // Since Linux 5.14, in version 2.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    // What was killed is in it until it has ended.
    for _ in 0..100 {
        if fs::remove_dir(cgroup).is_ok() || !cgroup.exists() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}
