//! Calls that can happen although the program did not ask for them in any run: the kernel makes them, or the C
//! library does when it ends, waits, or needs memory. Each is given only where its cause was seen.
//!
//! None of them reaches anything that the program does not have already; that is why they may be given at all.

#[cfg(test)]
mod never;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use crate::observation::{Abi, Text};

use super::equivalents::Compatibility;
use table::RULES;

/// What makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The kernel, in the program's name.
    Kernel,
    /// The vDSO, where it cannot answer itself.
    Vdso,
    /// The end of the program, a good or a bad one.
    Exit,
    /// Something is busy, full, empty or not there yet.
    Contention,
    /// What was asked for is not to be had here, and is done otherwise.
    Fallback,
    /// More memory is needed, or less.
    Memory,
    /// There is more data, or less.
    Data,
}

impl Kind {
    /// A word for the notes and `docs/calls.md`.
    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Vdso => "vDSO",
            Self::Exit => "exit",
            Self::Contention => "contention",
            Self::Fallback => "fallback",
            Self::Memory => "memory",
            Self::Data => "data",
        }
    }
}

/// What has to be seen before a call is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// One call of each of these lists; none: it holds always.
    calls: &'static [&'static [&'static str]],
    /// And this one was not.
    without: Option<&'static str>,
    /// The same in words.
    what: &'static str,
}

impl Cause {
    fn holds(&self, seen: &BTreeSet<&str>) -> bool {
        let mut lists = self.calls.iter();
        lists.all(|calls| calls.iter().any(|call| seen.contains(call)))
            && self.without.is_none_or(|call| !seen.contains(call))
    }
}

/// Calls that can happen, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    kind: Kind,
    calls: &'static [&'static str],
    cause: Cause,
    reason: &'static str,
    /// Where that is written.
    source: &'static str,
}

/// The calls that can happen beside those `seen`, each with the reason: as far as one of the conventions has them.
pub(super) fn unasked(
    seen: &BTreeSet<&str>,
    conventions: &BTreeSet<(&Text, Abi)>,
    compatibility: Compatibility,
) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    // Nothing was seen: there is nothing to add to.
    if compatibility == Compatibility::Exact || seen.is_empty() {
        return found;
    }
    for rule in RULES.iter().filter(|rule| rule.cause.holds(seen)) {
        let calls = rule.calls.iter().filter(|call| !seen.contains(**call));
        for call in calls.filter(|call| is_had(call, conventions)) {
            found.entry(*call).or_insert_with(|| {
                format!(
                    "not seen; {}: {}; added for {} ({})",
                    rule.kind.name(),
                    rule.reason,
                    rule.cause.what,
                    rule.source
                )
            });
        }
    }
    found
}

/// Whether one of the conventions has a call of this name.
fn is_had(call: &str, conventions: &BTreeSet<(&Text, Abi)>) -> bool {
    conventions
        .iter()
        .any(|(architecture, abi)| match (architecture.as_bytes(), abi) {
            (b"x86_64", Abi::Native | Abi::X32) => syscalls::x86_64::Sysno::from_str(call).is_ok(),
            (b"x86_64", Abi::Ia32) => syscalls::x86::Sysno::from_str(call).is_ok(),
            (b"aarch64", Abi::Native) => syscalls::aarch64::Sysno::from_str(call).is_ok(),
            _ => false,
        })
}

#[cfg(test)]
mod tests;
