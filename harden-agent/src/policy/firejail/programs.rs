//! Which programs: `private-bin`, a directory with only those, in the place of all of Firejail's
//! bin directories.
//!
//! Firejail looks each name up in its directories in order, copies what it finds, and of a
//! symbolic link the file at its end as well, but not the links between (`duplicate` in
//! `src/firejail/fs_bin.c`): so every name on the way is listed.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Facet, Operation, Text};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::below;
use super::super::places::Place;
use super::line::{as_argument, as_element};
use super::target::{Launch, Target};

/// Decides on the programs.
pub(super) fn decide(basis: &Basis<'_>, target: &Target) -> Decision<Vec<Item>> {
    let mut reasons: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let mut items: BTreeMap<String, Evidence> = BTreeMap::new();
    // The files that a name means: two of them cannot share the one directory.
    let mut files: BTreeMap<String, BTreeSet<&[u8]>> = BTreeMap::new();
    // By what paths each name was used.
    let mut used: BTreeMap<String, BTreeSet<&[u8]>> = BTreeMap::new();
    for place in basis.places().iter() {
        for directory in Target::BIN_DIRECTORIES {
            if place.path == directory.as_bytes() {
                of_directory(place, &mut reasons);
            }
        }
        if !place.found() {
            continue;
        }
        for name in place.all_names() {
            let Some(element) = in_directories(name) else {
                continue;
            };
            if place.wrote() && place.path == name {
                reasons.push(format!("{} was written", Text::from(name)));
            }
            if element.contains(&b'/') {
                reasons.push(format!(
                    "{} lies in a directory of its own there, which Firejail does not copy",
                    Text::from(name)
                ));
                continue;
            }
            let Some(element) = as_element(element) else {
                reasons.push(format!(
                    "{} holds a character that the list cannot",
                    Text::from(name)
                ));
                continue;
            };
            if is_privileged(place) {
                reasons.push(format!(
                    "{} is setuid or setgid, which the copy would not be",
                    Text::from(name)
                ));
            }
            place.tell(items.entry(element.to_owned()).or_default());
            // readlink(2) of a name is about the link, not about another file of that name: the copy
            // has the link too.
            if place
                .uses
                .iter()
                .any(|one| one.operation != Operation::Readlink)
            {
                files
                    .entry(element.to_owned())
                    .or_default()
                    .insert(&place.path);
            }
            used.entry(element.to_owned()).or_default().insert(name);
        }
    }
    for (name, paths) in files.iter().filter(|(_, paths)| paths.len() > 1) {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| Text::from(path).to_string())
            .collect();
        // The same file under /bin and /usr/bin, where no link was recorded.
        if !same_after_merge(&paths) {
            reasons.push(format!("{name} means {}", paths.join(" and ")));
        }
    }
    let mut items: Vec<Item> = items
        .into_iter()
        .map(|(name, evidence)| {
            let paths = used.get(&name).into_iter().flatten().copied();
            Item::new(spell(&name, paths, target), evidence)
        })
        .collect();
    if let Launch::Shell(shell) = &target.launch {
        let name = in_directories(shell.as_bytes()).and_then(as_element);
        match name {
            Some(name) if items.iter().all(|item| item.value != name) => items.push(Item::noted(
                name,
                "the shell through which `firejail -- COMMAND` starts the command",
            )),
            _ => {}
        }
        items.sort_by(|one, other| one.value.cmp(&other.value));
    }
    if items.is_empty() && reasons.is_empty() {
        reasons
            .push("no program in these directories was used, and the list cannot be empty".into());
    }
    let length: usize = items.iter().map(|item| item.value.len() + 1).sum();
    if "private-bin ".len() + length > super::syscalls::LINE {
        reasons.push("the list would be longer than a line that Firejail reads".into());
    }
    Decision::given_unless(reasons, items)
}

/// How the list names the program: by its name, or, where Firejail would find another file of that
/// name first, by its path (which it takes as well: `valid_full_path_file`).
fn spell<'a>(name: &str, paths: impl Iterator<Item = &'a [u8]>, target: &Target) -> String {
    let there: BTreeSet<&str> = paths.filter_map(as_argument).collect();
    let first = Target::BIN_DIRECTORIES
        .iter()
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| {
            there.contains(path.as_str())
                || target
                    .programs
                    .as_ref()
                    .is_some_and(|programs| programs.contains(path))
        });
    match (first, there.first()) {
        (Some(first), Some(path)) if !there.contains(first.as_str()) => (*path).to_owned(),
        _ => name.to_owned(),
    }
}

/// What the use of a bin directory itself means.
fn of_directory(place: &Place<'_>, reasons: &mut Vec<String>) {
    let path = Text::from(&place.path);
    // To look a directory over is to want what is in it; to stat it is not.
    if place.did(Operation::Read) || place.did(Operation::Watch) {
        reasons.push(format!(
            "{path} was listed or watched: its content would differ"
        ));
    } else if place.wrote() {
        reasons.push(format!("{path} was changed"));
    }
}

/// The part of `path` below one of the directories.
fn in_directories(path: &[u8]) -> Option<&[u8]> {
    Target::BIN_DIRECTORIES
        .iter()
        .find_map(|directory| below(path, directory.as_bytes()))
}

/// Whether the file has rights of its own: Firejail copies to a mount without setuid.
fn is_privileged(place: &Place<'_>) -> bool {
    const S_ISUID_S_ISGID: u32 = 0o6000;
    place.did(Operation::Execute)
        && place
            .inodes
            .iter()
            .any(|inode| inode.mode & S_ISUID_S_ISGID != 0)
}

/// Whether all of `paths` are one on a system where /bin is /usr/bin.
fn same_after_merge(paths: &[String]) -> bool {
    let merged = |path: &str| path.strip_prefix("/usr").unwrap_or(path).to_owned();
    paths
        .windows(2)
        .all(|two| merged(&two[0]) == merged(&two[1]))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{Fixture, names};
    use super::*;

    fn decided(fixture: Fixture) -> Decision<Vec<Item>> {
        let observation = fixture.observation();
        let target = Target {
            launch: Launch::Direct,
            ..Target::default()
        };
        decide(&Basis::of(&observation), &target)
    }

    #[test]
    fn every_name_on_the_way_is_listed() {
        let fixture = Fixture::new()
            .link("/bin", "usr/bin")
            .link("/usr/bin/awk", "/etc/alternatives/awk")
            .link("/etc/alternatives/awk", "/usr/bin/mawk")
            .executable("/usr/bin/mawk")
            .invoked_as("/bin/awk");
        assert_eq!(names(&decided(fixture)), ["awk", "mawk"]);
    }

    #[test]
    fn scripts_and_files_looked_at_count_and_failed_lookups_do_not() {
        let fixture = Fixture::new()
            .executable("/usr/bin/python3.11")
            .invoked_as("/usr/local/bin/tool")
            .file("/usr/bin/env", Operation::Stat, "ok")
            .file("/usr/games/x", Operation::Stat, "ENOENT")
            .executable("/usr/lib/helper");
        assert_eq!(names(&decided(fixture)), ["env", "python3.11", "tool"]);
    }

    #[test]
    fn a_link_that_is_read_is_no_other_file() {
        // python3 looks at its own link to find its library.
        let fixture = Fixture::new()
            .link("/usr/bin/python3", "python3.11")
            .executable("/usr/bin/python3.11")
            .invoked_as("/usr/bin/python3")
            .file("/usr/bin/python3", Operation::Readlink, "ok");
        assert_eq!(names(&decided(fixture)), ["python3", "python3.11"]);
    }

    #[test]
    fn another_file_of_the_same_name_does_not_take_its_place() {
        let observation = Fixture::new().executable("/usr/bin/git").observation();
        let target = Target {
            launch: Launch::Direct,
            programs: Some(["/usr/local/bin/git".to_owned()].into()),
            ..Target::default()
        };
        let decided = decide(&Basis::of(&observation), &target);
        assert_eq!(names(&decided), ["/usr/bin/git"]);
    }

    #[test]
    fn a_program_from_elsewhere_leaves_the_shell_alone() {
        let observation = Fixture::new().executable("/opt/d/d").observation();
        let through_shell = decide(&Basis::of(&observation), &Target::default());
        assert_eq!(names(&through_shell), ["bash"]);
        let direct = decided(Fixture::new().executable("/opt/d/d"));
        assert!(direct.given().is_none());
    }

    #[test]
    fn what_the_copy_would_change_forbids_it() {
        let with = |path: &str, operation| {
            decided(
                Fixture::new()
                    .executable("/usr/bin/a")
                    .file(path, operation, "ok"),
            )
        };
        assert!(with("/usr/bin", Operation::Stat).given().is_some());
        assert!(with("/usr/bin", Operation::Read).given().is_none());
        assert!(with("/usr/bin/new", Operation::Create).given().is_none());
        assert!(with("/usr/bin/sub/x", Operation::Read).given().is_none());
        assert!(with("/usr/bin/[", Operation::Read).given().is_none());
        assert!(with("/usr/sbin/a", Operation::Read).given().is_none());
        assert!(with("/bin/a", Operation::Read).given().is_some());
    }
}
