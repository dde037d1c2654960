//! `protocol`. Firejail filters the first argument of socket(2), nothing else.

use std::collections::BTreeMap;

use crate::observation::{Abi, Facet};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Item};
use super::syscalls::X32;

/// The families that Firejail can tell apart (`protocol` table in `src/fseccomp/protocol.c`).
const EXPRESSIBLE: [&str; 6] = ["unix", "inet", "inet6", "netlink", "packet", "bluetooth"];

/// Decides on socket families: the `protocol` list.
pub(super) fn decide(basis: &Basis<'_>) -> Decision<Vec<Item>> {
    if let Some(reason) = basis.coverage().blind(Facet::Syscalls) {
        return Decision::withheld(reason);
    }
    if basis.asked().has(Abi::X32) {
        return Decision::withheld(X32);
    }
    let families = basis.families();
    if families.is_empty() {
        return Decision::withheld(
            "no socket was made, and Firejail has no empty list; where the calls are a whitelist, \
             socket is not on it",
        );
    }
    let mut reasons = Vec::new();
    let mut items = BTreeMap::new();
    for (family, (evidence, without)) in families {
        match EXPRESSIBLE
            .iter()
            .position(|known| *known == family.as_str())
        {
            Some(at) => {
                items.insert(at, Item::new(EXPRESSIBLE[at], evidence.clone()));
            }
            None if *without => {}
            None => reasons.push(format!(
                "sockets of the family {family} were made, which Firejail cannot put on its list"
            )),
        }
    }
    if items.is_empty() && reasons.is_empty() {
        reasons.push("every socket asked for was refused, and Firejail has no empty list".into());
    }
    Decision::given_unless(reasons, items.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;

    fn decided(families: &[&str]) -> Decision<Vec<Item>> {
        let mut fixture = Fixture::new().executable("/a");
        for family in families {
            fixture = fixture.family(family);
        }
        let observation = fixture.observation();
        decide(&Basis::of(&observation))
    }

    #[test]
    fn the_families_asked_for_in_firejails_order() {
        let decided = decided(&["netlink", "inet6", "unix"]);
        let values: Vec<_> = decided
            .given()
            .unwrap()
            .iter()
            .map(|item| item.value.as_str())
            .collect();
        assert_eq!(values, ["unix", "inet6", "netlink"]);
    }

    #[test]
    fn a_family_that_firejail_cannot_name_forbids_the_line() {
        assert_eq!(decided(&["inet", "alg"]).reasons().len(), 1);
    }

    #[test]
    fn no_socket_needs_no_line() {
        assert!(decided(&[]).given().is_none());
    }

    #[test]
    fn a_refused_family_was_done_without() {
        let observation = Fixture::new()
            .executable("/a")
            .family("inet")
            .socket("alg seqpacket 0", "EAFNOSUPPORT")
            .observation();
        let decided = decide(&Basis::of(&observation));
        assert_eq!(decided.given().unwrap().len(), 1);
    }
}
