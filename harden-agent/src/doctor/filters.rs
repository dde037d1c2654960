//! Whether a unit runs under a filter already: then it cannot be learnt from completely, as a call
//! that seccomp denies never reaches the hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{ask, check::Check, mounts::Mount, safe};
use crate::collect::unit;
use crate::machine::proc;
use crate::observation::Text;

/// Properties of a unit that set a filter or take privileges (systemd.exec(5)).
const PROPERTIES: [&str; 8] = [
    "ControlGroup",
    "LoadState",
    "MainPID",
    "SystemCallFilter",
    "SystemCallArchitectures",
    "RestrictAddressFamilies",
    "NoNewPrivileges",
    "CapabilityBoundingSet",
];

/// A unit, a cgroup or a process, and what confines it.
#[derive(Debug, Serialize)]
pub(super) struct Unit {
    /// As it was asked for.
    name: Text,
    /// Why nothing could be found out.
    error: Option<String>,
    /// Its cgroup, from the root of version 2.
    cgroup: Option<Text>,
    /// What systemd says of it; empty where it cannot be asked.
    properties: BTreeMap<String, Text>,
    processes: Vec<Process>,
}

/// A process.
#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    name: Text,
    #[serde(flatten)]
    status: proc::Status,
    /// The bounding set, by names; absent if it is full.
    bounding_set: Option<Vec<String>>,
    /// Whether Firejail is above it, or is it.
    under_firejail: bool,
}

/// Looks at what `name` names.
pub(super) fn examine(name: &str, mounts: &[Mount]) -> Unit {
    let mut unit = Unit {
        name: name.into(),
        error: None,
        cgroup: None,
        properties: BTreeMap::new(),
        processes: Vec::new(),
    };
    match processes(name, mounts, &mut unit) {
        Ok(pids) => unit.processes = pids.into_iter().filter_map(process).collect(),
        Err(error) => unit.error = Some(error),
    }
    unit
}

fn processes(name: &str, mounts: &[Mount], unit: &mut Unit) -> Result<BTreeSet<u32>, String> {
    if let Ok(pid) = name.parse() {
        proc::status(name).ok_or("there is no such process")?;
        unit.cgroup = proc::cgroup(pid);
        return Ok(descendants(pid));
    }
    let root = mounts
        .iter()
        .find(|mount| mount.file_system == "cgroup2")
        .map(|mount| mount.point.clone())
        .ok_or("no cgroup version 2 is mounted")?;
    let is_cgroup = |path| root.join(path).is_dir();
    if let Ok(named) = name.parse::<unit::Unit>()
        && !name.strip_prefix('/').is_some_and(is_cgroup)
        && (!named.is_of_system() || named.is_kind())
    {
        return of_manager(&named, &root, unit);
    }
    if let Some(path) = name.strip_prefix('/') {
        unit.cgroup = Some(name.into());
        return in_directory(&root.join(path));
    }
    unit.properties = show(name);
    let told = unit
        .properties
        .get("ControlGroup")
        .filter(|path| !path.as_bytes().is_empty());
    let directory = match told {
        Some(path) => Some(root.join(path.as_path().strip_prefix("/").unwrap_or(path.as_path()))),
        None => the_one(&root, name)?,
    };
    let loaded = unit
        .properties
        .get("LoadState")
        .is_some_and(|state| state.as_bytes() == b"loaded");
    let Some(directory) = directory else {
        return if loaded {
            Ok(BTreeSet::new())
        } else {
            Err("there is no such unit, running or not".to_owned())
        };
    };
    unit.cgroup = Some(below(&root, &directory));
    in_directory(&directory)
}

/// A directory in the tree of cgroups, from the root of the tree.
fn below(root: &Path, directory: &Path) -> Text {
    let below = directory.strip_prefix(root).unwrap_or(directory);
    Path::new("/")
        .join(below)
        .as_os_str()
        .as_encoded_bytes()
        .into()
}

/// The processes of a unit that another systemd than this machine's has started, or of what many units are kept under:
/// as `harden units` prints both.
fn of_manager(named: &unit::Unit, root: &Path, unit: &mut Unit) -> Result<BTreeSet<u32>, String> {
    if named.is_kind() {
        return Err(
            "it is what many units are kept under when they have ended; name one that is running"
                .to_owned(),
        );
    }
    let manager = root.join(
        named
            .manager()
            .as_path()
            .strip_prefix("/")
            .unwrap_or(Path::new("")),
    );
    let mut found = Vec::new();
    find(&manager, &|name| name == named.name(), 0, &mut found);
    let Some(directory) = found.into_iter().next() else {
        return Err("there is no such unit running".to_owned());
    };
    unit.cgroup = Some(below(root, &directory));
    in_directory(&directory)
}

/// The directory of the unit in the tree of cgroups, whose ending may be left out.
fn the_one(root: &Path, name: &str) -> Result<Option<PathBuf>, String> {
    let mut found = Vec::new();
    let is_meant = |own: &OsStr| own == name || own.to_str().is_some_and(|own| is_short(name, own));
    find(root, &is_meant, 0, &mut found);
    if found.len() > 1 {
        let paths: Vec<String> = found
            .iter()
            .map(|path| below(root, path).to_string())
            .collect();
        return Err(format!(
            "several have that name; name one of {}",
            paths.join(", ")
        ));
    }
    Ok(found.pop())
}

/// What `systemctl show` answers; nothing where it cannot be asked, or `name` is an option.
fn show(name: &str) -> BTreeMap<String, Text> {
    let property = format!("--property={}", PROPERTIES.join(","));
    ask::ask("systemctl", &["show", &property, "--", name])
        .map(|answer| properties(&answer.output))
        .unwrap_or_default()
}

fn properties(text: &str) -> BTreeMap<String, Text> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| PROPERTIES.contains(key))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

/// Whether `short` is the name of a unit without its ending.
fn is_short(short: &str, unit: &str) -> bool {
    let stem = unit.rsplit_once('.').map(|(stem, _)| stem);
    stem == Some(short) && unit::Unit::of_system(unit).is_some()
}

/// The directories in the tree of cgroups that have such a name; the tree is no deeper than this.
fn find(directory: &Path, is_meant: &dyn Fn(&OsStr) -> bool, depth: u32, found: &mut Vec<PathBuf>) {
    const DEEPEST: u32 = 32;
    if depth > DEEPEST {
        return;
    }
    for below in directories(directory) {
        if below.file_name().is_some_and(is_meant) {
            found.push(below);
        } else {
            find(&below, is_meant, depth + 1, found);
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The processes in a cgroup and below.
fn in_directory(path: &Path) -> Result<BTreeSet<u32>, String> {
    let text =
        fs::read_to_string(path.join("cgroup.procs")).map_err(|error| safe(error.to_string()))?;
    let mut pids: BTreeSet<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for below in directories(path) {
        // One that went meanwhile has none.
        pids.extend(in_directory(&below).unwrap_or_default());
    }
    Ok(pids)
}

/// A process and all below it.
fn descendants(root: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = proc::all()
        .into_iter()
        .filter_map(|pid| Some((pid, proc::status(&pid.to_string())?.parent)))
        .collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let known = found.len();
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| found.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == known {
            return found;
        }
    }
}

fn process(pid: u32) -> Option<Process> {
    let status = proc::status(&pid.to_string())?;
    let full = proc::status("1").map_or(u64::MAX, |first| first.bounding);
    Some(Process {
        pid,
        name: Text::from(&status.name),
        bounding_set: (status.bounding & full != full)
            .then(|| proc::capability_names(status.bounding)),
        under_firejail: under_firejail(pid),
        status,
    })
}

fn under_firejail(pid: u32) -> bool {
    let mut pid = pid;
    // A process that ends meanwhile has a new parent; no tree is deeper than this.
    for _ in 0..64 {
        if proc::executable(pid)
            .is_some_and(|path| path.file_name().is_some_and(|name| name == "firejail"))
        {
            return true;
        }
        match proc::status(&pid.to_string()) {
            Some(status) if status.parent > 0 => pid = status.parent,
            _ => return false,
        }
    }
    false
}

impl Unit {
    /// Whether it can be learnt from.
    pub(super) fn check(&self) -> Check {
        let name = format!("unit {}", self.name);
        if let Some(error) = &self.error {
            return Check::warning(&name, error)
                .advice("systemctl list-units names those there are; a process number or /a/cgroup will do as well");
        }
        let found = self.findings();
        if found.is_empty() {
            return Check::ok(
                &name,
                format!("{} processes, none under a filter", self.processes.len()),
            );
        }
        Check::warning(&name, found.join("; ")).advice(
            "what is denied there never reaches harden, so it cannot be learnt from completely: record it without its filter",
        )
    }

    fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let all = self.processes.len();
        let mut count = |is: &dyn Fn(&Process) -> bool, what: &str| {
            let those: Vec<&Process> = self
                .processes
                .iter()
                .filter(|process| is(process))
                .collect();
            if let Some(first) = those.first() {
                found.push(format!(
                    "{} of {all} processes {what} (process {}, {})",
                    those.len(),
                    first.pid,
                    first.name
                ));
            }
        };
        count(
            &|process| process.status.seccomp > 0,
            "run under a seccomp filter",
        );
        count(
            &|process| process.status.no_new_privileges,
            "run with no new privileges",
        );
        count(
            &|process| process.bounding_set.is_some(),
            "lack capabilities in their bounding set",
        );
        count(&|process| process.under_firejail, "run under Firejail");
        let set = [
            "SystemCallFilter",
            "SystemCallArchitectures",
            "RestrictAddressFamilies",
        ];
        for key in set {
            let value = self.properties.get(key).map(Text::as_bytes);
            // `~` denies what follows: nothing. systemctl says so where none is set.
            if value.is_some_and(|value| !matches!(value, b"" | b"~")) {
                found.push(format!("the unit has {key}="));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_no_others() {
        let found = properties("SystemCallFilter=~mount\nNoNewPrivileges=no\nFoo=bar\nx\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found["SystemCallFilter"].to_string(), "~mount");
    }

    #[test]
    fn no_name_is_trusted() {
        for name in [
            "0",
            "99999999999",
            "../..",
            "/../../etc",
            "--help",
            "",
            "\u{1b}[2J",
        ] {
            let line = examine(name, &[]).check().line();
            assert!(!line.contains('\u{1b}'), "{line}");
        }
    }

    #[test]
    fn a_process_finds_itself() {
        let own = examine(&std::process::id().to_string(), &[]);
        assert_eq!(own.processes[0].pid, std::process::id());
    }
}
