//! Over what the policy was made, and what the runs could not see.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::observation::{Observation, Run, Text, Word};

/// The facts without which a facet says nothing, as an observation's `hooks` call them.
pub(super) const FACTS: [&str; 3] = ["syscalls", "capabilities", "files"];

/// How much the policy rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many runs.
    pub runs: usize,
    /// How many of them failed: they may have stopped half-way.
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
                let without = runs.clone().filter(|run| !is_seen(run, fact));
                ((*fact).to_owned(), without.count())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            runs: observation.runs.len(),
            failed: runs.clone().filter(|run| failed(run.status)).count(),
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

/// Whether some hook supplied `fact`: one that could not be had is `none (REASON)`.
fn is_seen(run: &Run, fact: &str) -> bool {
    run.hooks
        .get(fact)
        .is_some_and(|hook| !hook.starts_with("none"))
}

/// Whether `status` tells of a failure. A daemon that is asked to end, at a terminal or by
/// whoever recorded it, ends by SIGINT or SIGTERM: that is no failure.
fn failed(status: i32) -> bool {
    const SIGINT: i32 = 128 + 2;
    const SIGTERM: i32 = 128 + 15;
    !matches!(status, 0 | SIGINT | SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_hook_that_could_not_be_had_sees_nothing() {
        let mut fixture = Fixture::new();
        let hooks = &mut fixture.run().hooks;
        hooks.insert("files".to_owned(), "none (refused)".to_owned());
        let coverage = Coverage::of(&fixture.observation());
        assert!(coverage.blind("files").is_some());
        assert!(coverage.blind("syscalls").is_none());
    }

    #[test]
    fn a_daemon_that_was_asked_to_end_has_not_failed() {
        for (status, failed) in [(0, 0), (143, 0), (130, 0), (1, 1), (139, 1)] {
            let mut fixture = Fixture::new();
            fixture.run().status = status;
            assert_eq!(
                Coverage::of(&fixture.observation()).failed,
                failed,
                "{status}"
            );
        }
    }

    #[test]
    fn losses_add_up_and_zeroes_are_none() {
        let mut fixture = Fixture::new();
        let kind = |name| Word::new(name).unwrap();
        fixture.run().losses.insert(kind("ring-full"), 2);
        fixture.run().losses.insert(kind("other"), 0);
        let mut fixture = fixture.next_run();
        fixture.run().losses.insert(kind("ring-full"), u64::MAX);
        let coverage = Coverage::of(&fixture.observation());
        assert_eq!(coverage.losses, [(kind("ring-full"), u64::MAX)].into());
    }
}
