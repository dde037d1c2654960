//! Directories in the place of files whose names will be others the next time.
//!
//! Cautiously: a directory replaces files only where it belongs to the program, so it lies below those that
//! programs share. Files that were run stay what they are, and so do those that were looked for in vain.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::observation::{Executable, File, Join as _, Observation, Operation, Text};
use crate::plural::plural;
use crate::policy::paths::{is_within, parent};
use crate::policy::shared::{is_shared, many_owners, own_directory};

/// How far paths go beyond those that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generalisation {
    /// Never.
    Exact,
    /// If a name contains a number, an identifier, a version or something similar.
    #[default]
    Normal,
    /// In all of the program's own directories below /etc, /srv, /usr/share, /var and similar ones.
    Broad,
}

impl Generalisation {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normal => "normal",
            Self::Broad => "broad",
        }
    }
}

/// What is the kernel's, whose names have a meaning, and what is people's.
const FOREIGN: [&[u8]; 6] = [b"/dev", b"/home", b"/proc", b"/root", b"/run/user", b"/sys"];

/// So many of those are named.
const SHOWN: usize = 5;

/// Directories that are listed for names in them, of which there were too many to be kept.
pub(super) fn folded(observation: &Observation) -> Vec<String> {
    let runs = observation.runs.values();
    let files = runs
        .flat_map(|run| run.executables.values())
        .flat_map(|facts| &facts.files);
    let mut folded: BTreeMap<&Text, u64> = BTreeMap::new();
    for (path, file) in files.filter(|(_, file)| file.names > 0) {
        let names = folded.entry(path).or_default();
        *names = file.names.max(*names);
    }
    let more = folded.len().saturating_sub(SHOWN);
    let remarks = folded.into_iter().take(SHOWN).map(|(path, names)| {
        let names = plural(names, "name");
        format!("Paths: {path} is in the place of {names} in it, for which there was no room")
    });
    let more = (more > 0).then(|| format!("Paths: so are {more} more directories"));
    remarks.chain(more).collect()
}

/// Which directories replace files.
#[derive(Clone, Copy)]
pub(super) struct Rule<'r> {
    pub level: Generalisation,
    /// Those that somebody asks for.
    pub asked: &'r [Text],
    /// What somebody denies: a directory with any of it in it would allow it.
    pub denied: &'r [Text],
}

impl Rule<'_> {
    /// The directory that is to replace `path`, and why.
    fn directory<'p>(&self, path: &'p [u8]) -> Option<(&'p [u8], &'static str)> {
        let found = directory(path, self.level, self.asked)?;
        let mut denied = self.denied.iter();
        (!denied.any(|one| is_within(one.as_bytes(), found.0))).then_some(found)
    }
}

/// Whether [`generalise`] may change anything.
pub(super) fn is_changed(observation: &Observation, rule: Rule<'_>) -> bool {
    let programs = observation.runs.values().flat_map(|run| {
        let others = run.control.values().flat_map(|one| one.values());
        run.executables.values().chain(others)
    });
    let mut files = programs.flat_map(|facts| &facts.files);
    files.any(|(path, file)| is_movable(file) && rule.directory(path.as_bytes()).is_some())
}

/// Puts directories in the place of files. Returns what replaces what.
pub(super) fn generalise(observation: &mut Observation, rule: Rule<'_>) -> Vec<String> {
    let mut told: BTreeMap<(Text, &'static str), BTreeSet<Text>> = BTreeMap::new();
    for executable in super::executables(observation) {
        let mut moved: BTreeMap<Text, File> = BTreeMap::new();
        let mut kept = crossing(executable, rule);
        if rule.level != Generalisation::Broad && rule.asked.is_empty() {
            kept.extend(read_in_etc(executable));
        }
        let paths: Vec<Text> = executable.files.keys().cloned().collect();
        for path in paths.into_iter().filter(|path| !kept.contains(path)) {
            let Some((directory, why)) = rule.directory(path.as_bytes()) else {
                continue;
            };
            if let Some(file) = movable(executable, &path) {
                let directory = Text::from(directory);
                told.entry((directory.clone(), why))
                    .or_default()
                    .insert(path);
                moved.entry(directory).or_default().join(file);
            }
        }
        executable.files.join(moved);
    }
    told.into_iter()
        .map(|((directory, why), files)| {
            let example = files.first().map(ToString::to_string).unwrap_or_default();
            format!(
                "Paths: {directory} replaces {} of its files, as {example}: {why}",
                files.len()
            )
        })
        .collect()
}

/// The directory that is to replace `path`, and why.
fn directory<'a>(
    path: &'a [u8],
    level: Generalisation,
    asked: &[Text],
) -> Option<(&'a [u8], &'static str)> {
    let mut owners = asked
        .iter()
        .filter(|one| is_within(path, one.as_bytes()) && path.len() > one.as_bytes().len());
    if let Some(directory) = owners.next() {
        return Some((&path[..directory.as_bytes().len()], "an override"));
    }
    if level == Generalisation::Exact || FOREIGN.iter().any(|top| is_within(path, top)) {
        return None;
    }
    if level == Generalisation::Broad {
        return broad(path);
    }
    // From the top: what lies below a name that changes changes with it.
    let ends = path
        .iter()
        .enumerate()
        .skip(1)
        .filter(|(_, byte)| **byte == b'/');
    let ends = ends.map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (here, above) = (&path[..end], parent(&path[..end]));
        let name = here.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if let (Some(why), false) = (variable(name), is_shared(above)) {
            return Some((above, why));
        }
    }
    None
}

fn broad(path: &[u8]) -> Option<(&[u8], &'static str)> {
    if let Some(top) = many_owners(path) {
        return Some((top, "it has one for each user"));
    }
    let own = own_directory(path);
    let at = own.map_or(path, parent);
    // In a home, and in a library's directory, it is anybody's.
    let is_owned = [
        "/etc",
        "/opt",
        "/run",
        "/srv",
        "/usr/share",
        "/usr/local/share",
    ]
    .iter()
    .any(|top| top.as_bytes() == at)
        || is_within(at, b"/var");
    own.filter(|_| is_owned)
        .map(|own| (own, "the program's own"))
}

/// What of a name will be another the next time, if anything.
fn variable(name: &[u8]) -> Option<&'static str> {
    let name = std::str::from_utf8(name).ok()?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits(name) {
        return Some("a number");
    }
    // As queues and caches spread their files over.
    if name.len() <= 2
        && hex(name)
        && (name.len() == 1 || name.bytes().any(|byte| byte.is_ascii_digit()))
    {
        return Some("a hashed directory");
    }
    let base = [".gz", ".xz", ".bz2", ".zst"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    if base.rsplit_once(['.', '-']).is_some_and(|(stem, end)| {
        // `.1` as of logrotate, `-20260101` with its dateext.
        digits(end)
            && (end.len() == 8
                || (stem.rsplit('.').next() == Some("log") || base != name) && end.len() < 4)
    }) {
        return Some("a rotated log");
    }
    let pieces: Vec<&str> = name.split('-').collect();
    if pieces.windows(5).any(|five| {
        five.iter().zip([8, 4, 4, 4, 12]).all(|(piece, length)| {
            let piece = piece.split('.').next().unwrap_or_default();
            piece.len() == length && hex(piece)
        })
    }) {
        return Some("a UUID");
    }
    let mut words = name.split(|byte: char| !byte.is_ascii_alphanumeric());
    if words
        .any(|word| word.len() >= 16 && hex(word) && word.bytes().any(|byte| byte.is_ascii_digit()))
    {
        return Some("a hash");
    }
    if name.rsplit('.').next() == Some("tmp")
        || name.ends_with('~')
        || name.starts_with(".tmp")
        || is_made_up(name)
    {
        return Some("a temporary name");
    }
    name.split(['-', '_', '+'])
        .any(is_version)
        .then_some("a version")
}

/// Six characters as mkstemp(3) makes them up, of three kinds, so that no word is taken for it.
fn is_made_up(name: &str) -> bool {
    let end = name.rsplit(['.', '-', '_']).next().unwrap_or_default();
    let any = |kind: fn(&u8) -> bool| end.as_bytes().iter().any(kind);
    end.len() == 6
        && end.len() < name.len()
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_lowercase)
        && any(u8::is_ascii_uppercase)
        && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `5.36.0`, `1.2`
fn is_version(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    (2..=4).contains(&parts.len())
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What was moved or linked from one directory to another: as those two must stay on one mount, it has to be seen that it
/// was. Within one, nothing depends on it.
fn crossing(executable: &Executable, rule: Rule<'_>) -> BTreeSet<Text> {
    let pairs = [
        (Operation::RenameFrom, Operation::RenameTo),
        (Operation::LinkFrom, Operation::LinkTo),
    ];
    let mut kept = BTreeSet::new();
    for (from, to) in pairs {
        let those = |operation| {
            let files = executable.files.iter();
            files.filter(move |(_, file)| file.operations.has(operation))
        };
        let directories = |operation| -> BTreeSet<&[u8]> {
            those(operation)
                .map(|(path, _)| {
                    let path = path.as_bytes();
                    let found = rule.directory(path);
                    found.map_or_else(|| parent(path), |found| found.0)
                })
                .collect()
        };
        if directories(from) != directories(to) {
            kept.extend(those(from).chain(those(to)).map(|(path, _)| path.clone()));
        }
    }
    kept
}

/// What was only read below /etc. A rule for that names what lies in /etc itself, and has to know which files others
/// replace.
fn read_in_etc(executable: &Executable) -> impl Iterator<Item = Text> {
    let files = executable.files.iter();
    let read = files.filter(|(path, file)| {
        let mut operations = file.operations.operations();
        is_within(path.as_bytes(), b"/etc") && !operations.any(Operation::writes)
    });
    read.map(|(path, _)| path.clone())
}

/// Takes the file out, as what its directory is then used for: read, or changed. One that was run, looked for in
/// vain, or reached by another name stays.
fn movable(executable: &mut Executable, path: &Text) -> Option<File> {
    if !is_movable(executable.files.get(path)?) {
        return None;
    }
    Some(executable.files.remove(path)?.as_directory())
}

fn is_movable(file: &File) -> bool {
    let mut outcomes = file.operations.outcomes();
    let is_there = outcomes.any(|outcome| !outcome.is_absence());
    let stays = file.operations.has(Operation::Execute) || !file.asked_as.is_empty();
    is_there && !stays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::Fixture;

    const NORMAL: Rule<'static> = Rule {
        level: Generalisation::Normal,
        asked: &[],
        denied: &[],
    };

    #[test]
    fn a_directory_with_something_denied_in_it_replaces_nothing() {
        let found = |path: &'static str, denied: &str| {
            let rule = Rule {
                denied: &[denied.into()],
                ..NORMAL
            };
            rule.directory(path.as_bytes()).is_some()
        };
        assert!(found("/var/lib/d/1234", "/var/lib/e"));
        assert!(!found("/var/lib/d/1234", "/var/lib/d/keys"));
        assert!(!found("/var/lib/d/1234", "/var/lib/d"));
    }

    #[test]
    fn what_stands_for_files_is_a_directory() {
        let fixture = Fixture::new().executable("/bin/d");
        let fixture = fixture.file_of("/var/lib/d/15/base", Operation::Write, 0o100_600, 0);
        let mut observation = fixture.observation();
        generalise(&mut observation, NORMAL);
        let places = crate::policy::places::places(&observation);
        let place = places.iter().find(|place| *place.path == *b"/var/lib/d");
        assert!(place.is_some_and(|place| place.is_directory() && place.wrote()));
    }

    #[test]
    fn what_is_read_in_etc_keeps_its_name() {
        let of = |operation| {
            let fixture = Fixture::new().executable("/bin/d");
            let fixture = fixture.file("/etc/d/keys/1234", operation, "ok");
            let mut observation = fixture.observation();
            generalise(&mut observation, NORMAL);
            let places = crate::policy::places::places(&observation);
            places
                .iter()
                .any(|place| *place.path == *b"/etc/d/keys/1234")
        };
        assert!(of(Operation::Read));
        assert!(!of(Operation::Create));
    }

    #[test]
    fn what_was_moved_to_another_directory_keeps_its_name() {
        let moved = |from: &str, to: &str| {
            let fixture = Fixture::new().executable("/bin/d");
            let fixture = fixture.file(from, Operation::RenameFrom, "ok");
            let mut observation = fixture.file(to, Operation::RenameTo, "ok").observation();
            generalise(&mut observation, NORMAL);
            let places = crate::policy::places::places(&observation);
            crate::policy::renames::crossings(&places).len()
        };
        assert_eq!(moved("/var/lib/d/in/0000000001", "/srv/d/a"), 1);
        assert_eq!(moved("/var/lib/d/temp-17", "/var/lib/d/dump-18"), 0);
    }

    fn of(path: &str, level: Generalisation) -> Option<String> {
        let found = directory(path.as_bytes(), level, &[]);
        found.map(|(directory, _)| String::from_utf8(directory.to_vec()).unwrap())
    }

    #[test]
    fn names_that_change_give_their_directory_where_it_is_the_program_s() {
        for (path, directory) in [
            ("/var/lib/d/1234", "/var/lib/d"),
            ("/var/lib/d/1234/state", "/var/lib/d"),
            (
                "/var/lib/d/6e6cd2f5-27e0-41c4-a7a4-7ee1f9c55a02.db",
                "/var/lib/d",
            ),
            (
                "/var/lib/d/objects/da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "/var/lib/d/objects",
            ),
            ("/var/lib/d/state.xY3aBc", "/var/lib/d"),
            ("/var/lib/d/state.tmp", "/var/lib/d"),
            ("/usr/share/d/1.22.1/page", "/usr/share/d"),
            ("/var/log/d/access.log.1", "/var/log/d"),
            ("/var/log/d/access.log-20260101.gz", "/var/log/d"),
        ] {
            assert_eq!(
                of(path, Generalisation::Normal).as_deref(),
                Some(directory),
                "{path}"
            );
            assert_eq!(of(path, Generalisation::Exact), None);
        }
    }

    #[test]
    fn nothing_that_is_shared_stands_for_anything() {
        for path in [
            "/var/lib/1234",
            "/tmp/x.aB3dEf",
            "/run/user/1000",
            "/proc/1234/stat",
            "/usr/lib/python3.11/os.py",
            "/usr/share/zoneinfo/UTC",
            "/etc/d/conf",
            "/var/log/syslog",
            "/home/a/1234",
        ] {
            assert_eq!(of(path, Generalisation::Normal), None, "{path}");
        }
    }

    #[test]
    fn broad_is_all_that_is_the_program_s_own() {
        for (path, directory) in [
            ("/var/lib/d/a/b", Some("/var/lib/d")),
            ("/etc/d/conf", Some("/etc/d")),
            ("/etc/d.conf", None),
            ("/var/mail/joe", Some("/var/mail")),
            ("/usr/lib/d/x.so", None),
            ("/home/joe/x", None),
            ("/srv/www/x/y", Some("/srv/www")),
            ("/proc/1/stat", None),
        ] {
            assert_eq!(
                of(path, Generalisation::Broad).as_deref(),
                directory,
                "{path}"
            );
        }
    }

    #[test]
    fn the_directory_is_read_or_changed_as_its_files_were() {
        let mut observation = Fixture::new()
            .executable("/usr/sbin/d")
            .file("/var/lib/d/1", Operation::Read, "ok")
            .file("/var/lib/d/2", Operation::Unlink, "ok")
            .file("/var/lib/d/3", Operation::Read, "ENOENT")
            .file("/var/lib/d/4", Operation::Execute, "ok")
            .observation();
        let remarks = generalise(&mut observation, NORMAL);
        assert_eq!(
            remarks,
            ["Paths: /var/lib/d replaces 2 of its files, as /var/lib/d/1: a number"]
        );
        let run = observation.runs.values().next().unwrap();
        let files = &run.executables.values().next().unwrap().files;
        let paths: Vec<String> = files.keys().map(ToString::to_string).collect();
        assert_eq!(paths, ["/var/lib/d", "/var/lib/d/3", "/var/lib/d/4"]);
        let operations: Vec<_> = files
            .values()
            .next()
            .unwrap()
            .operations
            .operations()
            .collect();
        assert_eq!(operations, [Operation::Read, Operation::Write]);
    }

    #[test]
    fn what_an_override_asks_for_is_done_whatever_the_level() {
        let asked = [Text::from("/srv/data")];
        let found = directory(b"/srv/data/x/y", Generalisation::Exact, &asked);
        assert_eq!(found.unwrap().0, b"/srv/data");
        assert_eq!(directory(b"/srv/data", Generalisation::Exact, &asked), None);
        assert_eq!(
            directory(b"/srv/database", Generalisation::Exact, &asked),
            None
        );
    }
}
