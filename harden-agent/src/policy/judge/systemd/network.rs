//! Addresses under a drop-in. The filters are on packets: what is bound to an address that they refuse can be bound, and
//! is never reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::observation::Text;

use super::{
    super::{
        judgement::{Judgement, Unjudged, against, all, by},
        line::{Line, Rules},
        recorded::Case,
    },
    Yes,
};

pub(super) struct Network<'r> {
    private: Option<&'r Line>,
    denied: Vec<(Range, &'r Line)>,
    allowed: Vec<(Range, &'r Line)>,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Range {
    Any,
    Of(Vec<(IpAddr, u32)>),
}

impl Range {
    /// A word of `IPAddressAllow=` (systemd.resource-control(5)).
    pub(super) fn of(word: &str) -> Option<Self> {
        let four = |address: [u8; 4], bits| (IpAddr::from(address), bits);
        let six = |first, bits| {
            (
                IpAddr::from(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)),
                bits,
            )
        };
        Some(match word {
            "any" => Self::Any,
            "localhost" => Self::Of(vec![
                four([127, 0, 0, 0], 8),
                (Ipv6Addr::LOCALHOST.into(), 128),
            ]),
            "link-local" => Self::Of(vec![four([169, 254, 0, 0], 16), six(0xfe80, 64)]),
            "multicast" => Self::Of(vec![four([224, 0, 0, 0], 4), six(0xff00, 8)]),
            _ => {
                let (address, bits) = match word.split_once('/') {
                    Some((address, bits)) => (address, Some(bits.parse().ok()?)),
                    None => (word, None),
                };
                let address: IpAddr = address.parse().ok()?;
                let all = if address.is_ipv4() { 32 } else { 128 };
                let bits = bits.unwrap_or(all);
                (bits <= all).then(|| Self::Of(vec![(address, bits)]))?
            }
        })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Of(ranges) => ranges.iter().any(|(first, bits)| match (first, address) {
                (IpAddr::V4(first), IpAddr::V4(address)) => {
                    let (first, address) = (first.to_bits(), address.to_bits());
                    (first ^ address).leading_zeros() >= *bits
                }
                (IpAddr::V6(first), IpAddr::V6(address)) => {
                    let (first, address) = (first.to_bits(), address.to_bits());
                    (first ^ address).leading_zeros() >= *bits
                }
                _ => false,
            }),
        }
    }
}

impl<'r> Network<'r> {
    pub(super) fn new(rules: &'r Rules, yes: &Yes<'r>) -> Self {
        let ranges = |directive| {
            let elements = rules.elements(directive);
            elements.filter_map(|(word, line)| Some((Range::of(word)?, line)))
        };
        Self {
            private: yes.get("PrivateNetwork"),
            denied: ranges("IPAddressDeny").collect(),
            allowed: ranges("IPAddressAllow").collect(),
        }
    }

    /// Of a socket that is no file.
    pub(super) fn judge(&self, address: &Text, case: &Case<'_, '_>) -> Judgement<'r> {
        let text = address.to_string();
        let family = text.split(' ').next().unwrap_or_default();
        if case.is_handed_over(family) {
            // It stays in the namespace and under the filters of who made it.
            return Judgement::Unjudged(Unjudged::NotKnown(
                "the socket was made by another process",
            ));
        }
        if !matches!(family, "inet" | "inet6") {
            // Those of other families are of no network, or of the namespace's own.
            let is_abstract = address.as_bytes().starts_with(b"unix @");
            return all(self.private.filter(|_| is_abstract).map(against));
        }
        if let Some(line) = self.private {
            return all([against(line)]);
        }
        let host = host(&text);
        let within = |ranges: &[(Range, &'r Line)]| {
            let mut ranges = ranges.iter();
            let line = match host {
                Some(host) => ranges.find(|(range, _)| range.holds(host)),
                // Of an address that represents many, only what holds all is known to hold it.
                None => ranges.find(|(range, _)| *range == Range::Any),
            };
            line.map(|(_, line)| *line)
        };
        match (within(&self.allowed), within(&self.denied)) {
            (Some(line), Some(_)) => all([by(line)]),
            (None, Some(line)) => all([against(line)]),
            (_, None) => Judgement::FREE,
        }
    }
}

/// The host in `inet 192.0.2.1:80` or `inet6 [::1]:*`; an address of IPv4 in one of IPv6 is that.
fn host(text: &str) -> Option<IpAddr> {
    let (_, rest) = text.split_once(' ')?;
    let with_port = match rest.strip_suffix(":*") {
        Some(host) => format!("{host}:0"),
        None => rest.to_owned(),
    };
    let address: SocketAddr = with_port.parse().ok()?;
    let host = address.ip().to_canonical();
    let is_any = host == Ipv4Addr::UNSPECIFIED || host == Ipv6Addr::UNSPECIFIED;
    (!is_any).then_some(host)
}
