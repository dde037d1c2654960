//! Lines of a unit that do not mean what they seem to mean (systemd.exec(5), tried with systemd 252).

use std::{collections::BTreeSet, str::FromStr as _};

use super::super::{
    groups::SYSTEMD,
    list::call,
    source::SourceLine,
    trap::{Trap, some},
};

/// Directories that every machine with systemd has.
pub(super) const ALWAYS: [&str; 10] = [
    "/", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr", "/var", "/var/tmp",
];

/// All of them, in the order of the lines. `known` are the calls that the installed systemd knows, where it was asked.
#[must_use]
pub fn traps(lines: &[SourceLine], known: Option<&BTreeSet<String>>) -> Vec<Trap> {
    let mut traps = Vec::new();
    for line in lines {
        let Some((name, value)) = line.text.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let words = || value.trim_start_matches('~').split_whitespace();
        match name {
            "SystemCallFilter" => {
                let unknown: Vec<&str> = words()
                    .map(call)
                    .filter(|one| !is_call(one, known))
                    .collect();
                let why = format!(
                    "systemd ignores names that it does not know: {}",
                    some(&unknown)
                );
                traps.extend((!unknown.is_empty()).then(|| Trap::new(line, why)));
            }
            "CapabilityBoundingSet" | "AmbientCapabilities" => {
                let unknown: Vec<&str> = words()
                    .filter(|one| caps::Capability::from_str(&one.to_ascii_uppercase()).is_err())
                    .collect();
                let why = format!(
                    "systemd ignores names that it does not know: {}",
                    some(&unknown)
                );
                traps.extend((!unknown.is_empty()).then(|| Trap::new(line, why)));
            }
            "ReadWritePaths" | "ReadOnlyPaths" | "InaccessiblePaths" => {
                let firm: Vec<&str> = words()
                    .filter(|path| path.starts_with('/') && !ALWAYS.contains(path))
                    .collect();
                let why = format!(
                    "the unit does not start where {} is missing; -/PATH is passed over there",
                    some(&firm)
                );
                traps.extend((!firm.is_empty()).then(|| Trap::new(line, why)));
            }
            _ => {}
        }
    }
    traps
}

fn is_call(name: &str, known: Option<&BTreeSet<String>>) -> bool {
    if name.starts_with('@') {
        return SYSTEMD.get(name).is_some();
    }
    let is_number = name.parse::<u32>().is_ok();
    let all = SYSTEMD.get("@known");
    let in_252 = all.is_some_and(|all| all.contains(name));
    is_number || in_252 || known.is_some_and(|known| known.contains(name))
}
