//! Directives about the network.
//!
//! A recording tells which sockets were made, and where those that systemd or another process hands over lead, no
//! fact says: a private network namespace leaves them as they are.

use std::collections::BTreeSet;
use std::net::{SocketAddrV4, SocketAddrV6};

use crate::observation::{Facet, Observation, Run, Text};

use super::super::basis::Basis;
use super::super::coverage::is_seen;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::is_within;
use super::super::places::Place;
use super::Directive;
use super::kernel::Usage;

/// The directives, in the order of the manual pages.
pub(super) fn decide(basis: &Basis<'_>, usage: &Usage<'_>) -> Vec<Directive> {
    let observation = basis.observation();
    let mut blind: Vec<String> = [Facet::Syscalls, Facet::Files]
        .into_iter()
        .filter_map(|fact| basis.coverage().blind(fact))
        .collect();
    if usage.called("io_uring_setup") || usage.called("io_uring_enter") {
        blind.push("io_uring was used, and of its sockets nothing is seen".to_owned());
    }
    // Those that were refused were done without.
    let made: Vec<&str> = basis
        .families()
        .iter()
        .filter(|(_, (_, without))| !without)
        .map(|(family, _)| family.as_str())
        .collect();
    if !made.is_empty() {
        blind.extend(unseen(observation));
    }
    let private = private(observation, basis.places(), &made, blind.clone());
    let mut directives = vec![private];
    directives.extend(addresses(observation, &made, blind));
    directives
}

/// `PrivateNetwork`: a namespace with nothing but a loopback device that is down. Unix sockets with a path are not of
/// the namespace, abstract ones are (unix(7)).
fn private(
    observation: &Observation,
    places: &[Place<'_>],
    made: &[&str],
    mut reasons: Vec<String>,
) -> Directive {
    let others = made.iter().filter(|family| **family != "unix");
    reasons.extend(others.map(|family| format!("{family} sockets were made")));
    let mut abstracts = texts(observation)
        .into_iter()
        .filter(|text| text.as_bytes().starts_with(b"unix @"));
    reasons.extend(
        abstracts
            .next()
            .map(|name| format!("the socket {name} is abstract")),
    );
    let devices = places.iter().filter(|place| {
        let path = &*place.path;
        let of_process = is_within(path, b"/proc") && contains(path, b"/net/");
        place.found() && (is_within(path, b"/sys/class/net") || of_process)
    });
    reasons.extend(devices.map(|place| format!("{} was used", Text::from(&place.path))));
    Directive::yes("PrivateNetwork", reasons)
}

/// `IPAddressDeny` and, where all went over the loopback device, `IPAddressAllow`.
fn addresses(observation: &Observation, made: &[&str], mut reasons: Vec<String>) -> Vec<Directive> {
    let is_inet = |family: &&str| matches!(*family, "inet" | "inet6");
    if !made.iter().any(is_inet) {
        return vec![Directive::word("IPAddressDeny", "any", reasons)];
    }
    let mut local = false;
    for text in texts(observation) {
        match is_loopback(text) {
            Some(true) => local = true,
            Some(false) => reasons.push(format!("{text} is not this machine's own alone")),
            None => {}
        }
    }
    if !local {
        // Bound to none, or only asked for what there is: packets go wherever.
        reasons.push("inet sockets were used".to_owned());
    }
    let items = vec![Item::new("localhost", Evidence::default())];
    vec![
        Directive::word("IPAddressDeny", "any", reasons.clone()),
        Directive::list("IPAddressAllow", Decision::given_unless(reasons, items)),
    ]
}

/// Whether an address of the internet families is one of the loopback device; `None` for other families.
pub(in super::super) fn is_loopback(address: &Text) -> Option<bool> {
    // Of an address that represents many, the port is left out: any will do here.
    let text = address.to_string();
    let text = match text.strip_suffix(":*") {
        Some(host) => format!("{host}:0"),
        None => text,
    };
    if let Some(rest) = text.strip_prefix("inet ") {
        let parsed = rest.parse::<SocketAddrV4>();
        return Some(parsed.is_ok_and(|address| address.ip().is_loopback()));
    }
    let rest = text.strip_prefix("inet6 ")?;
    let parsed = rest.parse::<SocketAddrV6>();
    Some(parsed.is_ok_and(|address| address.ip().to_canonical().is_loopback()))
}

/// Every address that was bound, connected to or sent to, in order.
fn texts(observation: &Observation) -> BTreeSet<&Text> {
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let addresses = programs.flat_map(|facts| facts.addresses.values());
    addresses.flat_map(|all| all.keys()).collect()
}

/// Why nothing follows from the addresses, if some run could not see them.
fn unseen(observation: &Observation) -> Option<String> {
    let mut runs = observation.runs.values();
    let blind = |run: &&Run| !is_seen(run, Facet::Addresses);
    runs.find(blind)
        .map(|_| "a run had no hook for addresses".to_owned())
}

fn contains(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::super::super::{Commands, DecisionOptions};
    use super::super::DropIn;
    use crate::observation::{AddressOperation, Operation};

    fn daemon() -> Fixture {
        let mut fixture = Fixture::new().executable("/usr/sbin/d").syscalls(&["read"]);
        let hooks = &mut fixture.run().hooks;
        hooks.insert("addresses".to_owned(), "raw_tp".to_owned());
        fixture
    }

    /// Of `PrivateNetwork`, `IPAddressDeny` and `IPAddressAllow`, which are given.
    fn given(fixture: Fixture) -> [bool; 3] {
        let drop_in = DropIn::decide(
            &Commands::of(fixture.observation()).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        ["PrivateNetwork", "IPAddressDeny", "IPAddressAllow"]
            .map(|name| drop_in.given(name).is_some())
    }

    fn bound(family: &str, address: &str) -> [bool; 3] {
        let fixture = daemon().family(family);
        given(fixture.address(AddressOperation::Bind, address))
    }

    #[test]
    fn sockets_with_a_path_need_no_network_and_abstract_ones_do() {
        assert_eq!(given(daemon()), [true, true, false]);
        assert_eq!(bound("unix", "unix /run/d.sock"), [true, true, false]);
        assert_eq!(bound("unix", "unix @d"), [false, true, false]);
        assert_eq!(given(daemon().family("netlink")), [false, true, false]);
        for path in ["/sys/class/net/eth0", "/proc/self/net/dev"] {
            let fixture = daemon().file(path, Operation::Read, "ok");
            assert_eq!(given(fixture), [false, true, false], "{path}");
        }
    }

    #[test]
    fn what_stays_on_the_machine_is_kept_there() {
        for (family, address, local) in [
            ("inet", "inet 127.0.0.1:80", true),
            ("inet6", "inet6 [::1]:80", true),
            ("inet6", "inet6 [::ffff:127.0.0.1]:80", true),
            ("inet", "inet 0.0.0.0:80", false),
            ("inet6", "inet6 [::]:80", false),
            ("inet", "inet 10.0.0.1:80", false),
            ("inet", "inet nonsense", false),
            ("inet", "inet 127.0.0.1:*", true),
            ("inet6", "inet6 [::1]:*", true),
            ("inet", "inet *:*", false),
            ("inet6", "inet6 [fe80::1]:*", false),
        ] {
            assert_eq!(bound(family, address), [false, local, local], "{address}");
        }
        // Bound to nothing that is known.
        assert_eq!(given(daemon().family("inet")), [false, false, false]);
        let two = daemon().family("inet");
        let two = two.address(AddressOperation::Connect, "inet 127.0.0.1:80");
        let two = two.address(AddressOperation::Connect, "inet 192.0.2.1:80");
        assert_eq!(given(two), [false, false, false]);
    }

    #[test]
    fn what_could_not_be_seen_forbids_it() {
        assert_eq!(
            given(daemon().syscalls(&["io_uring_setup"])),
            [false, false, false]
        );
        let mut blind = daemon().family("unix");
        blind.run().hooks.remove("addresses");
        assert_eq!(given(blind), [false, false, false]);
    }
}
