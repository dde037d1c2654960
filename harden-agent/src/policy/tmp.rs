//! Whether the directories for temporary files can be empty ones of the program's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Facet, Operation, Text, Word};

use super::basis::Basis;
use super::evidence::Decision;
use super::paths::{below, entry_towards, is_within, parent};
use super::places::{arguments, changes_entry};
use super::reasons::Reasons;

/// Decides on one directory for temporary files.
pub(super) fn decide(directory: &[u8], basis: &Basis<'_>) -> Decision<()> {
    let mut reasons: Reasons = basis.coverage().blind(Facet::Files).into_iter().collect();
    let places = basis.places();
    // An empty directory hides what the command line names, whether it was used in this run or not.
    for run in basis.observation().runs.values() {
        for argument in arguments(run).filter(|argument| is_within(argument, directory)) {
            reasons.push(format!("the command line names {}", Text::from(argument)));
        }
    }
    for crossing in basis.crossings() {
        let inside = |path: &Vec<u8>| is_within(path, directory);
        if crossing.directories.iter().any(inside) && !crossing.directories.iter().all(inside) {
            reasons.push("files were moved or linked between it and another directory");
        }
    }
    let mut made: BTreeMap<&Word, BTreeSet<&[u8]>> = BTreeMap::new();
    let mut removed: BTreeMap<&Word, BTreeSet<&[u8]>> = BTreeMap::new();
    let touching = places.touching(&[directory]);
    for place in touching.clone() {
        for operation in place.done() {
            match operation {
                Operation::Unlink | Operation::Rmdir | Operation::RenameFrom => {
                    removed.entry(place.run.id).or_default().insert(&place.path);
                }
                operation if changes_entry(operation) => {
                    made.entry(place.run.id).or_default().insert(&place.path);
                }
                _ => {}
            }
        }
    }
    let empty = BTreeSet::new();
    for place in touching.filter(|place| place.found()) {
        let path = Text::from(&place.path);
        let made = made.get(place.run.id).unwrap_or(&empty);
        let removed = removed.get(place.run.id).unwrap_or(&empty);
        // A directory that was there before is not there any more, nor is what was made in it.
        let is_of = |made: &BTreeSet<&[u8]>| {
            let entry = entry_towards(&place.path, directory);
            entry.is_some_and(|entry| made.contains(entry))
        };
        if place.path == directory {
            if place.did(Operation::Read) || place.did(Operation::Watch) {
                reasons.push(format!("{path} was listed or watched"));
            } else if place.wrote() {
                reasons.push(format!("{path} itself was changed"));
            }
        } else if place.did(Operation::Bind) || place.did(Operation::Connect) {
            reasons.push(format!("{path} is a socket, which is for others too"));
        } else if below(&place.path, directory).is_none() {
            reasons.push(format!(
                "{path} was reached by a link in {}",
                Text::from(directory)
            ));
        } else if !is_of(made) {
            reasons.push(format!("{path} was there before"));
        } else if place.made() && !is_within_any(&place.path, removed) {
            reasons.push(format!("{path} was left behind, perhaps for others"));
        }
    }
    Decision::given_unless(reasons, ())
}

/// Whether `path` or a directory above it is one of `paths`.
fn is_within_any(path: &[u8], paths: &BTreeSet<&[u8]>) -> bool {
    let mut path = path;
    while path != b"/" {
        if paths.contains(path) {
            return true;
        }
        let above = parent(path);
        if above.len() >= path.len() {
            return false;
        }
        path = above;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::AddressOperation;

    fn given(fixture: Fixture) -> bool {
        let observation = fixture.observation();
        let decided = decide(b"/tmp", &Basis::of(&observation));
        decided.given().is_some()
    }

    fn fixture() -> Fixture {
        Fixture::new().executable("/usr/bin/a")
    }

    #[test]
    fn files_made_and_removed_are_private() {
        assert!(given(fixture()));
        assert!(given(
            fixture()
                .file("/tmp", Operation::Stat, "ok")
                .file("/tmp/d", Operation::Mkdir, "ok")
                .file("/tmp/d", Operation::Rmdir, "ok")
                .file("/tmp/d/f", Operation::Create, "ok")
                .file("/tmp/d/f", Operation::Read, "ok")
                .file("/tmp/x", Operation::Stat, "ENOENT")
        ));
    }

    #[test]
    fn what_others_may_share_is_not() {
        for (path, operation) in [
            ("/tmp/x", Operation::Read),
            ("/tmp/x", Operation::Create),
            ("/tmp", Operation::Read),
            ("/tmp/x", Operation::Unlink),
            // Its directory was there before.
            ("/tmp/d/x", Operation::Create),
        ] {
            assert!(!given(fixture().file(path, operation, "ok")), "{path}");
        }
        assert!(!given(
            fixture().address(AddressOperation::Bind, "unix /tmp/s")
        ));
        assert!(!given(fixture().command(&["/usr/bin/a", "/tmp/conf"])));
        assert!(!given(Fixture::new().executable("/tmp/a")));
    }

    #[test]
    fn what_is_made_in_a_directory_that_was_there_before_needs_that() {
        assert!(!given(
            fixture().file("/tmp/d/f", Operation::Create, "ok").file(
                "/tmp/d/f",
                Operation::Unlink,
                "ok"
            )
        ));
    }

    #[test]
    fn what_another_run_made_was_there_before() {
        assert!(!given(
            fixture()
                .file("/tmp/x", Operation::Create, "ok")
                .file("/tmp/x", Operation::Unlink, "ok")
                .next_run()
                .executable("/usr/bin/a")
                .file("/tmp/x", Operation::Read, "ok")
        ));
    }
}
