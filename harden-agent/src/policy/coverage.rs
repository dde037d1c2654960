//! Over what the policy was made, and what the runs could not see.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::observation::{Observation, Text, Word};

/// The facts without which a facet says nothing, as an observation's `hooks` call them.
pub(super) const FACTS: [&str; 3] = ["syscalls", "capabilities", "files"];

/// How much the policy rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many runs.
    pub runs: usize,
    /// How many of them ended with another status than 0: they may have stopped half-way.
    pub failed: usize,
    /// The executables seen.
    pub executables: BTreeSet<Text>,
    /// The machines' architectures and kernels: `x86_64 6.1.0`.
    pub machines: BTreeSet<String>,
    /// What was lost, by kind, over all runs.
    pub losses: BTreeMap<Word, u64>,
    /// The facts that some run had no hook for, with the number of such runs.
    pub blind: BTreeMap<String, usize>,
}

impl Coverage {
    pub(super) fn of(observation: &Observation) -> Self {
        let runs = observation.runs.values();
        let mut losses: BTreeMap<Word, u64> = BTreeMap::new();
        for (kind, lost) in runs.clone().flat_map(|run| &run.losses) {
            let sum = losses.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*lost);
        }
        losses.retain(|_, lost| *lost > 0);
        let blind = FACTS
            .iter()
            .map(|fact| {
                let without = runs.clone().filter(|run| !run.hooks.contains_key(*fact));
                ((*fact).to_owned(), without.count())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            runs: observation.runs.len(),
            failed: runs.clone().filter(|run| run.status != 0).count(),
            executables: runs
                .clone()
                .flat_map(|run| run.executables.keys().cloned())
                .collect(),
            machines: runs
                .map(|run| format!("{} {}", run.host.architecture, run.host.kernel))
                .collect(),
            losses,
            blind,
        }
    }

    /// Why nothing follows from the absence of `fact`, if some run could not have seen it.
    pub(super) fn blind(&self, fact: &str) -> Option<String> {
        if self.runs == 0 {
            return Some("the observation holds no run".to_owned());
        }
        self.blind.get(fact).map(|count| {
            format!(
                "{count} of {} runs had no hook for {fact}: they could not be seen",
                self.runs
            )
        })
    }
}
