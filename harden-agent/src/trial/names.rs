//! All words that a list can have, as systemd writes them.

use crate::collect::FAMILIES;

/// Calls, the newest first: a program that gets ENOSYS for one goes on to an older one, so of two that replace each
/// other the newer one is what it asked for.
pub(super) fn calls() -> Vec<String> {
    // By number: `Sysno::iter` leaves the last one out.
    let all = (0..4096).rev().filter_map(syscalls::x86_64::Sysno::new);
    all.map(|call| call.name().to_owned()).collect()
}

/// Capabilities, by number.
pub(super) fn capabilities() -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

/// Socket families.
pub(super) fn families() -> Vec<String> {
    // AF_UNSPEC is none that a socket has.
    let names = FAMILIES.iter().skip(1);
    names
        .map(|name| format!("AF_{}", name.to_ascii_uppercase()))
        .collect()
}
