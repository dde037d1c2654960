//! Many addresses become the part that they have in common: a server of datagrams sends to each client at another port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::join::Join as _;
use super::model::{Executable, Outcome};
use super::seen::Seen;
use super::text::Text;

/// So many addresses of one operation are kept, and so many objects of one capability.
pub(super) const ADDRESSES: usize = 1000;

type Addresses = BTreeMap<Text, BTreeMap<Outcome, Seen>>;

impl Executable {
    /// Has at most `kept` addresses of each operation, as far as they have something in common: first without their ports,
    /// then without all that tells hosts apart, or with the directory of a socket's path. What a capability was granted
    /// for is the directory, where that is too much.
    pub(super) fn fold_addresses(&mut self, kept: usize) {
        for addresses in self.addresses.values_mut() {
            for part in [without_port, without_host] {
                if addresses.len() > kept {
                    fold(addresses, part);
                }
            }
        }
        for objects in self.capability_objects.values_mut() {
            if objects.len() > kept {
                let all = std::mem::take(objects);
                let folded = all
                    .into_iter()
                    .map(|(object, seen)| (in_directory(&object), seen));
                for (object, seen) in folded {
                    objects.join([(object, seen)].into());
                }
            }
        }
    }
}

fn fold(addresses: &mut Addresses, part: fn(&Text) -> Text) {
    for (address, outcomes) in std::mem::take(addresses) {
        addresses.join([(part(&address), outcomes)].into());
    }
}

/// `inet 10.0.0.1:*`
fn without_port(address: &Text) -> Text {
    match internet(address) {
        Some((family, IpAddr::V4(host))) => format!("{family} {host}:*").into(),
        Some((family, IpAddr::V6(host))) => format!("{family} [{host}]:*").into(),
        None => address.clone(),
    }
}

/// `inet *:*`, but the loopback device's stay apart; `unix /run` and `unix @*`; of other families the family.
fn without_host(address: &Text) -> Text {
    match internet(address) {
        Some((family, IpAddr::V4(host))) if host.is_loopback() => {
            format!("{family} 127.0.0.1:*").into()
        }
        Some((_, host)) if host.to_canonical().is_loopback() => without_port(address),
        Some((family, _)) => format!("{family} *:*").into(),
        None if address.as_bytes().ends_with(b" *:*") => address.clone(),
        None if address.as_bytes().starts_with(b"unix @") => Text::from("unix @*"),
        None if address.as_bytes().starts_with(b"unix /") => in_directory(address),
        None => {
            let text = address.as_bytes();
            let end = text.iter().position(|byte| *byte == b' ');
            let family = end.map_or(text, |end| &text[..end]);
            Text::from([family, b" *"].concat())
        }
    }
}

/// The family and the host of an address of the internet, also of one without its port.
fn internet(address: &Text) -> Option<(&'static str, IpAddr)> {
    let text = std::str::from_utf8(address.as_bytes()).ok()?;
    let (family, rest) = text.split_once(' ')?;
    let family = ["inet", "inet6"]
        .into_iter()
        .find(|known| *known == family)?;
    let host = match rest.strip_suffix(":*") {
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()?,
        None => rest.parse::<SocketAddr>().ok()?.ip(),
    };
    Some((family, host))
}

/// `chown /srv/a/b` as `chown /srv/a`. What ends in no path stays.
fn in_directory(object: &Text) -> Text {
    let text = object.as_bytes();
    let Some(start) = text.windows(2).position(|pair| pair == b" /") else {
        return object.clone();
    };
    let last = text
        .iter()
        .rposition(|byte| *byte == b'/')
        .unwrap_or(start + 1);
    Text::from(&text[..last.max(start + 2)])
}

#[cfg(test)]
mod tests {
    use super::super::model::AddressOperation;
    use super::super::text::Word;
    use super::*;

    fn folded(addresses: impl IntoIterator<Item = String>, kept: usize) -> Vec<String> {
        let outcome = || Outcome(Word::new("ok").unwrap());
        let mut executable = Executable::default();
        let known = executable
            .addresses
            .entry(AddressOperation::Send)
            .or_default();
        for address in addresses {
            known.insert(address.into(), [(outcome(), Seen::default())].into());
        }
        executable.fold_addresses(kept);
        let known = &executable.addresses[&AddressOperation::Send];
        known.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn ports_go_before_hosts() {
        let clients = |hosts: u8| {
            let hosts = (1..=hosts).flat_map(|host| {
                [
                    format!("inet 10.0.0.{host}"),
                    format!("inet6 [fe80::{host}]"),
                ]
            });
            hosts.flat_map(|host| (1..100).map(move |port| format!("{host}:{port}")))
        };
        assert_eq!(folded(clients(2), 1000).len(), 2 * 2 * 99);
        assert_eq!(
            folded(clients(2), 100),
            [
                "inet 10.0.0.1:*",
                "inet 10.0.0.2:*",
                "inet6 [fe80::1]:*",
                "inet6 [fe80::2]:*"
            ]
        );
        assert_eq!(folded(clients(200), 100), ["inet *:*", "inet6 *:*"]);
        // Once more changes nothing.
        assert_eq!(
            folded(folded(clients(200), 100), 1),
            ["inet *:*", "inet6 *:*"]
        );
    }

    #[test]
    fn what_stays_on_this_machine_is_told_apart() {
        let local = (1..200).flat_map(|port| {
            let hosts = [
                "inet 127.0.0.1",
                "inet 127.9.9.9",
                "inet6 [::1]",
                "inet 192.0.2.7",
            ];
            hosts.map(|host| format!("{host}:{port}"))
        });
        assert_eq!(
            folded(local, 3),
            ["inet *:*", "inet 127.0.0.1:*", "inet6 [::1]:*"]
        );
    }

    #[test]
    fn other_families_have_something_in_common_too() {
        let names = (0..9).flat_map(|number| {
            [
                format!("unix @a{number}"),
                format!("unix /run/d/{number}"),
                format!("unix /{number}"),
                format!("netlink groups {number:#x}"),
                format!("vsock {number}"),
            ]
        });
        assert_eq!(
            folded(names, 8),
            ["netlink *", "unix /", "unix /run/d", "unix @*", "vsock *"]
        );
    }

    #[test]
    fn what_a_capability_was_for_becomes_the_directory() {
        let mut executable = Executable::default();
        let objects = executable
            .capability_objects
            .entry(Word::new("chown").unwrap())
            .or_default();
        for number in 0..2000 {
            objects.insert(format!("chown /srv/{number}").into(), Seen::default());
        }
        executable.fold_addresses(ADDRESSES);
        let objects = &executable.capability_objects[&Word::new("chown").unwrap()];
        assert_eq!(
            objects.keys().collect::<Vec<_>>(),
            [&Text::from("chown /srv")]
        );
    }
}
