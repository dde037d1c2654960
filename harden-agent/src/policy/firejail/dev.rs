//! Whether /dev can be Firejail's own small one: `private-dev`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::observation::{Facet, Operation, Text};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::below;
use super::super::places::{Place, changes_entry};

/// What Firejail makes whatever the machine has (`fs_private_dev` in `src/firejail/fs_dev.c`).
/// `log` is the host's socket, where there is one.
pub(in super::super) const NODES: [&[u8]; 14] = [
    b"fd", b"full", b"log", b"null", b"ptmx", b"pts", b"random", b"shm", b"stderr", b"stdin",
    b"stdout", b"tty", b"urandom", b"zero",
];

/// A private /dev, and what it has to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrivateDev {
    /// The devices used.
    pub used: Vec<Item>,
    /// The evidence if the host's /dev/shm has to stay: what is there may be shared with others.
    pub keep_shm: Option<Evidence>,
}

/// Decides on /dev.
pub(super) fn decide(basis: &Basis<'_>) -> Decision<PrivateDev> {
    let mut reasons: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let places = basis.places();
    let opens_terminals = places
        .iter()
        .any(|place| place.did(Operation::Read) && is_ptmx(&place.path));
    let mut used: BTreeMap<&str, Evidence> = BTreeMap::new();
    let mut shm: Option<Evidence> = None;
    for place in places.iter().filter(|place| place.found()) {
        let looked_over = place.did(Operation::Read) || place.did(Operation::Watch);
        if *place.path == *b"/dev" && (place.wrote() || looked_over) {
            reasons.push("/dev was listed or changed".to_owned());
        }
        // What a link in /dev leads to is used through the link as well.
        for name in place.all_names() {
            let Some(name) = below(name, b"/dev") else {
                continue;
            };
            if name == b"shm" || name.starts_with(b"shm/") {
                let looked_over = place.did(Operation::Read) || place.did(Operation::Watch);
                if name != b"shm" || place.wrote() || looked_over {
                    place.tell(shm.get_or_insert_default());
                }
                continue;
            }
            if let Some(reason) = against(place, name, opens_terminals) {
                reasons.push(format!("{} {reason}", Text::from(&place.path)));
            } else if let Ok(node) = std::str::from_utf8(name) {
                place.tell(used.entry(node).or_default());
            }
        }
    }
    let used = used.into_iter();
    let used = used
        .map(|(node, evidence)| Item::new(node, evidence))
        .collect();
    Decision::given_unless(
        reasons,
        PrivateDev {
            used,
            keep_shm: shm,
        },
    )
}

/// What the private /dev could not bear of a use of /dev/`name`.
fn against(place: &Place<'_>, name: &[u8], opens_terminals: bool) -> Option<&'static str> {
    let terminal = name.strip_prefix(b"pts/");
    let descriptor = name.starts_with(b"fd/");
    if !NODES.contains(&name) && terminal.is_none() && !descriptor {
        return Some("is not among the devices that Firejail makes");
    }
    if terminal.is_some_and(|terminal| terminal != b"ptmx") && !opens_terminals {
        return Some("is a terminal that was there before, and the terminals would be new ones");
    }
    // `> /dev/null` opens with O_CREAT and creates nothing.
    let changes = |operation| {
        changes_entry(operation) && operation != Operation::Create
            || matches!(
                operation,
                Operation::Chmod | Operation::Chown | Operation::Mount
            )
    };
    if place.done().any(changes) && terminal.is_none() {
        return Some("was made, changed or removed");
    }
    None
}

fn is_ptmx(path: &[u8]) -> bool {
    path == b"/dev/ptmx" || path == b"/dev/pts/ptmx"
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;
    use crate::observation::AddressOperation;

    fn decided(fixture: Fixture) -> Decision<PrivateDev> {
        let observation = fixture.observation();
        decide(&Basis::of(&observation))
    }

    fn with(path: &str, operation: Operation) -> Decision<PrivateDev> {
        decided(Fixture::new().executable("/a").file(path, operation, "ok"))
    }

    #[test]
    fn firejails_own_devices_are_enough() {
        assert!(with("/dev/null", Operation::Create).given().is_some());
        assert!(with("/dev/urandom", Operation::Read).given().is_some());
        assert!(with("/dev", Operation::Stat).given().is_some());
        let missing = Fixture::new()
            .executable("/a")
            .file("/dev/kvm", Operation::Read, "ENOENT");
        assert!(decided(missing).given().is_some());
    }

    #[test]
    fn others_are_not() {
        for (path, operation) in [
            ("/dev/kmsg", Operation::Write),
            ("/dev", Operation::Read),
            ("/dev", Operation::Watch),
            ("/dev/sda", Operation::Stat),
            ("/dev/new", Operation::Mknod),
            ("/dev/null", Operation::Chmod),
            ("/dev/pts/3", Operation::Stat),
        ] {
            assert!(with(path, operation).given().is_none(), "{path}");
        }
    }

    #[test]
    fn terminals_of_its_own_are_fine() {
        let fixture = Fixture::new()
            .executable("/a")
            .file("/dev/ptmx", Operation::Read, "ok")
            .file("/dev/pts/3", Operation::Write, "ok");
        assert!(decided(fixture).given().is_some());
    }

    #[test]
    fn shared_memory_stays_the_hosts() {
        let private = with("/dev/shm/x", Operation::Create);
        assert!(private.given().unwrap().keep_shm.is_some());
        let private = with("/dev/shm", Operation::Watch);
        assert!(private.given().unwrap().keep_shm.is_some());
        let private = with("/dev/shm", Operation::Stat);
        assert!(private.given().unwrap().keep_shm.is_none());
    }

    #[test]
    fn the_log_socket_is_kept_but_not_made() {
        let log = |operation| {
            decided(
                Fixture::new()
                    .executable("/a")
                    .address(operation, "unix /dev/log"),
            )
        };
        assert!(log(AddressOperation::Connect).given().is_some());
        assert!(log(AddressOperation::Bind).given().is_none());
    }
}
