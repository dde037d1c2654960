//! The calls that were made, whatever the convention.

use std::collections::BTreeMap;

use crate::observation::{Observation, Word};

use super::evidence::Evidence;

/// Every call by name. The readers of lists take a name for every convention that has it, and skip the others.
pub(super) fn calls(observation: &Observation) -> BTreeMap<&Word, Evidence> {
    let mut calls: BTreeMap<&Word, Evidence> = BTreeMap::new();
    for (test, run) in observation.tests() {
        for (path, executable) in &run.executables {
            for (name, seen) in executable.syscalls.values().flatten() {
                calls.entry(name).or_default().add(test, path, seen);
            }
        }
    }
    calls
}

/// Whether it is the number of a call for which no table had a name: `syscall-470`, `syscall_470`.
pub(super) fn is_nameless(call: &str) -> bool {
    call.starts_with("syscall-") || call.starts_with("syscall_")
}
