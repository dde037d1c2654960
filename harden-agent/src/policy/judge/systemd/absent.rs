//! Paths without which the unit does not start, and which no run showed to be there.

use std::collections::BTreeSet;

use super::super::{
    super::paths::{is_within, up},
    line::{Rules, Unread},
    recorded::Recorded,
    source::Position,
    surroundings::Surroundings,
};
use super::{
    read::OF_PATHS,
    traps::ALWAYS,
    words::{self, is_firm},
};

/// Each as a line that is not judged.
#[must_use]
pub fn absent(rules: &Rules, recorded: &Recorded<'_>, around: &Surroundings) -> Vec<Unread> {
    let firm = OF_PATHS
        .iter()
        .flat_map(|directive| rules.elements(directive));
    let firm = firm.filter(|(word, _)| is_firm(word));
    let mut firm = firm
        .filter(|(word, _)| words::path(word).is_some_and(|path| !ALWAYS.contains(&path)))
        .peekable();
    if firm.peek().is_none() {
        return Vec::new();
    }
    let there = there(recorded);
    let missing = firm.filter(|(word, _)| {
        let path = words::path(word).unwrap_or_default().as_bytes();
        let real = around.real(path);
        !there.contains(path) && !there.contains(&real) && !is_made(rules, &real)
    });
    missing
        .map(|(_, line)| Unread {
            position: rules.position(line).cloned().unwrap_or_else(|| Position {
                file: "unit".into(),
                number: 0,
            }),
            line: line.to_string(),
            reason: "the unit does not start where it is missing, and no run showed it to be there",
            is_fatal: false,
        })
        .collect()
}

/// What was found, and all directories above.
fn there(recorded: &Recorded<'_>) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for place in recorded.cases().filter_map(|case| case.place()) {
        if !place.found() || place.made() {
            continue;
        }
        for name in place.all_names() {
            all.extend(up(name).map(<[u8]>::to_vec));
        }
    }
    all
}

/// Made before the unit starts: its own directories.
fn is_made(rules: &Rules, path: &[u8]) -> bool {
    let kinds = super::super::super::systemd::KINDS.iter();
    kinds
        .flat_map(|(top, directive, _)| rules.elements(directive).map(move |(name, _)| (top, name)))
        .any(|(top, name)| {
            let name = name.split(':').next().unwrap_or_default();
            is_within(&[top, &b"/"[..], name.as_bytes()].concat(), path)
        })
}
