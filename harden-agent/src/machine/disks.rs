//! The file systems of units: this machine's own, or that of a container whose systemd started the unit.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{
    collect::{Disk, unit::Unit},
    machine::cgroups,
    observation::{Observation, Text},
};

/// Those that were looked at, by the cgroup path of the manager; `None` where that is not to be seen.
#[derive(Default)]
pub struct Disks(BTreeMap<Text, Option<Disk>>);

impl Disks {
    /// Adds to each run what only the file system knows. The agent, in its sandbox, does not see it; a client that asks
    /// it does, on the same machine.
    pub fn look(&mut self, observation: &mut Observation) {
        let Ok(unit) = observation.name.to_string().parse::<Unit>() else {
            return;
        };
        let manager = unit.manager();
        let disk = self
            .0
            .entry(manager.clone())
            .or_insert_with(|| root_of(manager).and_then(|root| Disk::open(&root).ok()));
        let Some(disk) = disk else {
            return;
        };
        for run in observation.runs.values_mut() {
            run.symlinks.extend(disk.look(&mut run.executables));
            for executables in run.control.values_mut() {
                run.symlinks.extend(disk.look(executables));
            }
        }
    }
}

/// The root directory of a manager: that of its first process, which is in `init.scope`.
pub(super) fn root_of(manager: &Text) -> Option<PathBuf> {
    if manager.as_bytes().is_empty() {
        return Some("/".into());
    }
    let below = manager.as_bytes().strip_prefix(b"/")?;
    let cgroup = cgroups::mount()
        .ok()?
        .join(Path::new(std::ffi::OsStr::from_bytes(below)));
    let processes = fs::read_to_string(cgroup.join("init.scope/cgroup.procs")).ok()?;
    let first: u32 = processes.lines().next()?.parse().ok()?;
    Some(format!("/proc/{first}/root").into())
}
