//! Which of /etc: `private-etc`, copies of those top-level names that were used.
//!
//! Firejail copies at the start, following links, and skips what is not there
//! (`src/firejail/fs_etc.c`): so nothing may be written, watched or listed, no link read, and nothing
//! be read again later: by a reload, or at a SIGHUP, which daemon(7) gives that meaning.
//! From 0.9.74 on it adds a `@default` group of its own; what it adds breaks nothing.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{ControlCommand, Facet, Host, Observation, Operation, Text};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::{below, components};
use super::super::places::Place;
use super::super::shells::is_shell;
use super::line::as_element;

/// Firejail's limit (`ETC_MAX` in `src/include/etc_groups.h`).
const LIMIT: usize = 256;

const ETC: &[u8] = b"/etc";

/// Decides on /etc.
pub(super) fn decide(basis: &Basis<'_>) -> Decision<Vec<Item>> {
    let mut reasons: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    reasons.extend(reads_again(basis.observation()));
    let places = basis.places();
    let replaced = replaced(places);
    let mut items: BTreeMap<String, Evidence> = BTreeMap::new();
    for place in places.touching(&[ETC]).filter(|place| place.found()) {
        if let Some(what) = against(place) {
            reasons.push(format!("{} was {what}", Text::from(&place.path)));
        }
        if replaced.contains(&*place.path) {
            reasons.push(format!(
                "{} was replaced while it was recorded, or between the runs, and the copy stays as it was at the start",
                Text::from(&place.path)
            ));
        }
        // The program that copies refuses what is not root's, and nothing starts (`check` in src/fcopy/main.c).
        let stranger = place.inodes.iter().find(|inode| inode.uid != 0);
        if let (Some(inode), Some(_)) = (stranger, below(&place.path, ETC)) {
            reasons.push(format!(
                "{} belongs to the user {}, and Firejail copies only what is root's",
                Text::from(&place.path),
                inode.uid
            ));
        }
        for name in place.all_names() {
            let Some(top) = below(name, ETC).and_then(|name| components(name).next()) else {
                continue;
            };
            match as_element(top) {
                Some(element) => place.tell(items.entry(element.to_owned()).or_default()),
                None => reasons.push(format!(
                    "{} holds a character that the list cannot",
                    Text::from(name)
                )),
            }
        }
    }
    if items.len() > LIMIT {
        reasons.push(format!(
            "{} names were used, Firejail takes {LIMIT}",
            items.len()
        ));
    }
    if items.is_empty() && reasons.is_empty() {
        // An empty list is an error, and the loader's cache is harmless and always looked for.
        return Decision::Given(vec![Item::noted(
            "ld.so.cache",
            "nothing in /etc was used, and the list cannot be empty",
        )]);
    }
    let items: Vec<Item> = items
        .into_iter()
        .map(|(name, evidence)| Item::new(name, evidence))
        .collect();
    let length: usize = items.iter().map(|item| item.value.len() + 1).sum();
    if "private-etc ".len() + length > super::syscalls::LINE {
        reasons.push("the list would be longer than a line that Firejail reads".into());
    }
    Decision::given_unless(reasons, items)
}

/// Why the program will look at its files again, if it will.
fn reads_again(observation: &Observation) -> Option<String> {
    let runs = observation.runs.values();
    let copy = "and the copy stays as it was at the start";
    if runs
        .clone()
        .any(|run| run.control.contains_key(&ControlCommand::Reload))
    {
        return Some(format!("the unit has a reload, {copy}"));
    }
    let programs = runs.flat_map(|run| &run.executables);
    let handles = programs
        .filter(|(path, facts)| {
            // Shells have a handler to leave their children in order, not to read anything again.
            !is_shell(path) && facts.said().any(|one| one == Argument::HandlesHangup)
        })
        .map(|(path, _)| path)
        .min();
    handles.map(|path| format!("{path} handles SIGHUP, {copy}"))
}

/// The files that were others at another time on one machine: somebody renames a new one to the name.
fn replaced<'p>(places: &'p [Place<'_>]) -> BTreeSet<&'p [u8]> {
    const S_IFMT: u32 = 0o170_000;
    const S_IFREG: u32 = 0o100_000;
    #[derive(Default)]
    struct Files {
        numbers: BTreeSet<(u64, u64, u32)>,
        are_many: bool,
    }
    let mut found: BTreeMap<(&[u8], &Host), Files> = BTreeMap::new();
    for place in places
        .iter()
        .filter(|place| below(&place.path, ETC).is_some())
    {
        let inodes = place.inodes.iter();
        let known = found.entry((&place.path, place.host)).or_default();
        for inode in inodes.filter(|inode| inode.mode & S_IFMT == S_IFREG) {
            known.are_many |= inode.is_one_of_many();
            let number = (inode.device, inode.number, inode.generation);
            known.numbers.insert(number);
        }
    }
    let several = found
        .into_iter()
        .filter(|(_, files)| files.are_many || files.numbers.len() > 1);
    several.map(|((path, _), _)| path).collect()
}

/// What was done that a copy cannot bear.
fn against(place: &Place<'_>) -> Option<&'static str> {
    let own = below(&place.path, ETC);
    if own.is_none() && place.path != ETC {
        return None;
    }
    if place.wrote() {
        Some("written, and the copy is thrown away")
    } else if place.did(Operation::Watch) {
        Some("watched, and the copy never changes")
    } else if own.is_none() && place.did(Operation::Read) {
        Some("listed, and the copy holds less")
    } else if place.did(Operation::Readlink) && own.is_some_and(|own| !own.contains(&b'/')) {
        Some("read as a link, and the copy is no link")
    } else if place.did(Operation::Mount) || place.did(Operation::Unmount) {
        Some("mounted or unmounted")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{Fixture, names};
    use super::*;

    fn decided(fixture: Fixture) -> Decision<Vec<Item>> {
        let observation = fixture.observation();
        decide(&Basis::of(&observation))
    }

    #[test]
    fn top_level_names_resolved_and_asked_for() {
        let fixture = Fixture::new()
            .link("/usr/bin/awk", "/etc/alternatives/awk")
            .link("/etc/alternatives/awk", "/usr/bin/mawk")
            .executable("/usr/bin/mawk")
            .invoked_as("/usr/bin/awk")
            .file("/etc/ssl/certs/a.pem", Operation::Read, "ok")
            .file("/etc/shadow", Operation::Read, "EACCES")
            .file("/etc/ld.so.preload", Operation::Access, "ENOENT")
            .file_asked(
                "/usr/share/zoneinfo/UTC",
                Some("/etc/localtime"),
                Operation::Read,
                "ok",
            );
        assert_eq!(
            names(&decided(fixture)),
            ["alternatives", "localtime", "shadow", "ssl"]
        );
    }

    #[test]
    fn what_a_copy_cannot_bear_forbids_it() {
        let with = |path: &str, operation| {
            decided(Fixture::new().executable("/a").file(path, operation, "ok"))
        };
        assert!(with("/etc/x", Operation::Read).given().is_some());
        assert!(with("/etc", Operation::Stat).given().is_some());
        assert!(with("/etc", Operation::Read).given().is_none());
        assert!(with("/etc/x", Operation::Write).given().is_none());
        assert!(with("/etc/x/y", Operation::RenameTo).given().is_none());
        assert!(with("/etc/x", Operation::Watch).given().is_none());
        assert!(
            with("/etc/localtime", Operation::Readlink)
                .given()
                .is_none()
        );
        assert!(with("/etc/a b", Operation::Read).given().is_none());
        assert!(with("/etc/a\nb", Operation::Read).given().is_none());
    }

    #[test]
    fn what_is_read_again_is_not_copied() {
        let read = |program: &str| {
            Fixture::new()
                .executable(program)
                .file("/etc/d/cert.pem", Operation::Read, "ok")
        };
        let handles = |program: &str| decided(read(program).argument(Argument::HandlesHangup));
        assert_eq!(names(&decided(read("/bin/d"))), ["d"]);
        assert!(handles("/bin/d").given().is_none());
        assert_eq!(names(&handles("/bin/dash")), ["d"]);
        let mut observation = read("/bin/d").observation();
        for run in observation.runs.values_mut() {
            let programs = run.executables.clone();
            run.control.insert(ControlCommand::Reload, programs);
        }
        let kept = decide(&Basis::of(&observation));
        assert!(kept.given().is_none());
    }

    #[test]
    fn what_is_not_root_s_is_not_copied() {
        let mut observation = Fixture::new()
            .executable("/a")
            .file_of("/etc/postgresql/conf", Operation::Read, 0o100_640, 0)
            .observation();
        let kept = |observation: &crate::observation::Observation| decide(&Basis::of(observation));
        assert_eq!(names(&kept(&observation)), ["postgresql"]);
        let runs = observation.runs.values_mut();
        let programs = runs.flat_map(|run| run.executables.values_mut());
        for file in programs.flat_map(|one| one.files.values_mut()) {
            let inodes = std::mem::take(&mut file.inodes).into_iter();
            let owned = inodes.map(|inode| crate::observation::Inode { uid: 104, ..inode });
            file.inodes = owned.collect();
        }
        assert!(kept(&observation).given().is_none());
    }

    #[test]
    fn nothing_used_still_makes_a_list() {
        let decided = decided(Fixture::new().executable("/a"));
        assert_eq!(names(&decided), ["ld.so.cache"]);
    }

    #[test]
    fn at_most_256_names() {
        let mut fixture = Fixture::new().executable("/a");
        for at in 0..=LIMIT {
            fixture = fixture.file(format!("/etc/f{at}"), Operation::Read, "ok");
        }
        assert!(decided(fixture).given().is_none());
    }
}
