//! The users and groups of the machine, or of the container whose systemd started a unit.

use std::{collections::BTreeMap, fs, io::Read as _, os::unix::ffi::OsStrExt as _};

use nix::unistd::{Gid, Group, User};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::disks;
use crate::{
    collect::unit::Unit,
    observation::{Observation, Run, Text},
};

/// The names of the groups that the observation's files belong to or that their access control lists name, by number.
#[must_use]
pub fn groups(observation: &Observation) -> BTreeMap<u32, String> {
    let manager = manager(&observation.name);
    let table = manager.as_ref().map(|manager| table(manager, "etc/group"));
    let mut names = BTreeMap::new();
    for gid in observation.runs.values().flat_map(gids) {
        if names.contains_key(&gid) {
            continue;
        }
        let name = match &table {
            Some(table) => entry(table, gid).map(|fields| fields[0].to_owned()),
            None => Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name),
        };
        names.extend(name.map(|name| (gid, name)));
    }
    names
}

/// What a user has where a unit runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The home directory.
    pub home: Text,
    /// The login shell.
    pub shell: Text,
}

/// What `uid` has where the unit `subject` runs; `None` for a user that is not known there.
#[must_use]
pub fn login(subject: &Text, uid: u32) -> Option<Login> {
    if let Some(manager) = manager(subject) {
        let table = table(&manager, "etc/passwd");
        let fields = entry(&table, uid)?;
        // passwd(5): the sixth and the seventh field.
        return Some(Login {
            home: (*fields.get(5)?).into(),
            shell: (*fields.get(6)?).into(),
        });
    }
    let user = User::from_uid(uid.into()).ok().flatten()?;
    Some(Login {
        home: user.dir.as_os_str().as_bytes().into(),
        shell: user.shell.as_os_str().as_bytes().into(),
    })
}

/// Whether the recorded users of `subject` are those who started it: nobody asks another system's manager for a unit's
/// `User=`, and root is assumed.
#[must_use]
pub fn are_known(subject: &Text) -> bool {
    manager(subject).is_none()
}

/// The manager of a unit, if it is not this machine's own.
fn manager(subject: &Text) -> Option<Text> {
    let unit: Unit = subject.to_string().parse().ok()?;
    let manager = unit.manager();
    (!manager.as_bytes().is_empty()).then(|| manager.clone())
}

/// A file of the manager's system; nothing where that is not to be seen. A link in it does not lead out of it.
fn table(manager: &Text, file: &str) -> String {
    /// More is no such file.
    const LIMIT: u64 = 4 << 20;
    let read = || {
        let root = fs::File::open(disks::root_of(manager)?).ok()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat2(root, file, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
        let mut bytes = Vec::new();
        fs::File::from(file)
            .take(LIMIT)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The fields of the first line with this number, which is the third in both files (passwd(5), group(5)).
fn entry(table: &str, number: u32) -> Option<Vec<&str>> {
    let mut lines = table.lines().map(|line| line.split(':').collect());
    lines.find(|fields: &Vec<&str>| {
        let found = fields.get(2).and_then(|field| field.parse().ok());
        found == Some(number)
    })
}

fn gids(run: &Run) -> impl Iterator<Item = u32> {
    let control = run.control.values().flat_map(BTreeMap::values);
    let programs = run.executables.values().chain(control);
    let files = programs.flat_map(|program| program.files.values());
    let inodes = files.flat_map(|file| &file.inodes);
    inodes.flat_map(|inode| {
        let named = inode.acl.iter().flat_map(|acl| acl.groups.keys().copied());
        named.chain([inode.gid])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_number() {
        let table = "root:x:0:\nbroken\n:::\ndb:x:42:a,b\nagain:x:42:\n";
        assert_eq!(entry(table, 42).unwrap()[0], "db");
        assert_eq!(entry(table, 7), None);
        assert_eq!(entry("", 0), None);
    }

    #[test]
    fn this_machine_s_own_root_can_log_in_and_a_container_that_is_not_there_has_nobody() {
        assert!(login(&"d.service".into(), 0).is_some());
        assert_eq!(login(&"/none/such:d.service".into(), 0), None);
    }
}
