//! Which socket families.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Observation, Word};

use super::evidence::Evidence;

/// The families asked for, and whether every socket of the family was refused: it was done without.
pub(super) type Families<'a> = BTreeMap<&'a Word, (Evidence, bool)>;

/// The families in all runs.
pub(super) fn families(observation: &Observation) -> Families<'_> {
    let mut families: BTreeMap<&Word, Evidence> = BTreeMap::new();
    let mut refused: BTreeSet<&Word> = BTreeSet::new();
    let mut made: BTreeSet<&Word> = BTreeSet::new();
    for (id, run) in observation.tests() {
        for (path, executable) in &run.executables {
            for (family, seen) in &executable.families {
                families.entry(family).or_default().add(id, path, seen);
            }
            for (socket, outcomes) in &executable.sockets {
                for (outcome, seen) in outcomes {
                    families
                        .entry(&socket.family)
                        .or_default()
                        .add(id, path, seen);
                    if outcome.is_ok() {
                        made.insert(&socket.family);
                    } else {
                        refused.insert(&socket.family);
                    }
                }
            }
        }
    }
    let without = |family| refused.contains(family) && !made.contains(family);
    families
        .into_iter()
        .map(|(family, evidence)| (family, (evidence, without(family))))
        .collect()
}
