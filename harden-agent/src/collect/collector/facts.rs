//! Adds to what an executable did.

use harden_common::{
    CAPABILITIES, CAPABILITY_CHECKS, Counts, ERRNO_UNKNOWN, FACT_CAPABILITY, FAILED, GRANTED, check,
};
use std::collections::BTreeMap;

use super::super::names::{self, Fact};
use crate::observation::{Executable, Join, Seen};

pub(super) fn add_facts(facts: &mut Executable, numbers: impl Iterator<Item = u32>) {
    for fact in numbers.filter_map(names::fact) {
        insert(facts, fact, Seen::default());
    }
}

/// A hook that stands before the outcome says nothing more where another hook has seen it.
pub(super) fn forget_tries(facts: &mut Executable) {
    let tried = names::outcome(ERRNO_UNKNOWN);
    for file in facts.files.values_mut() {
        file.operations
            .retain(|all, operation, outcome| *outcome != tried || all.of(operation).count() == 1);
    }
}

/// Joins `other` into `facts`, but adds the counts.
pub(super) fn add(facts: &mut Executable, mut other: Executable) {
    let sum = |own: Option<&Seen>, seen: &mut Seen| {
        let added = |own: Option<u64>, other: Option<u64>| {
            own.zip(other).map(|(own, other)| own + other).or(other)
        };
        let count = added(own.and_then(Seen::count), seen.count());
        let errors = added(own.and_then(Seen::errors), seen.errors());
        seen.set_counts(count, errors);
    };
    for (abi, calls) in &mut other.syscalls {
        for (call, seen) in calls {
            sum(
                facts.syscalls.get(abi).and_then(|calls| calls.get(call)),
                seen,
            );
        }
    }
    for (name, checks) in &mut other.capabilities {
        for (check, seen) in checks {
            let own = facts.capabilities.get(name);
            sum(own.and_then(|checks| checks.get(check)), seen);
        }
    }
    for (name, seen) in &mut other.invoked_as {
        sum(facts.invoked_as.get(name), seen);
    }
    facts.join(other);
}

pub(super) fn count(facts: &mut Executable, counts: &Counts) {
    let (calls, granted) = counts.split_at(GRANTED);
    for (number, &count) in (0..CAPABILITIES)
        .zip(granted)
        .filter(|(_, count)| **count > 0)
    {
        let fact = FACT_CAPABILITY + number * CAPABILITY_CHECKS + check::GRANTED;
        if let Some(fact) = names::fact(fact) {
            let seen = Seen::default().counted(Some(count), None);
            insert(facts, fact, seen);
        }
    }
    let (made, failed) = calls.split_at(FAILED);
    let both = made.iter().zip(failed);
    for (number, (&count, &errors)) in (0..).zip(both).filter(|(_, (count, _))| **count > 0) {
        if let Some(fact) = names::fact(number) {
            // One that was entered before the slot was there may have come back to it.
            let errors = (errors > 0).then_some(errors.min(count));
            let seen = Seen::default().counted(Some(count), errors);
            insert(facts, fact, seen);
        }
    }
}

pub(super) fn insert(facts: &mut Executable, fact: Fact, seen: Seen) {
    match fact {
        Fact::Syscall(abi, name) => join(facts.syscalls.entry(abi).or_default(), name, seen),
        Fact::Capability(name, check) => {
            join(facts.capabilities.entry(name).or_default(), check, seen);
        }
        Fact::Family(name) => join(&mut facts.families, name, seen),
        Fact::SocketType(name) => join(&mut facts.socket_types, name, seen),
        Fact::Argument(name) => join(&mut facts.arguments, name, seen),
    }
}

pub(super) fn join<K: Ord>(map: &mut BTreeMap<K, Seen>, key: K, seen: Seen) {
    map.entry(key).or_default().join(seen);
}
