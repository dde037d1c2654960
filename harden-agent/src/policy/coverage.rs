//! Over what the policy was made, and what the runs could not see.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::calls::{Asked, losses};
use super::completeness::Completeness;
use super::elsewhere;
use super::evidence::Evidence;
use super::processes::hides_signals;
use super::refused;
use crate::observation::{ControlCommand, Facet, Observation, Run, RunKind, Text, Word};

/// The facts without which a facet says nothing.
const FACTS: [Facet; 3] = [Facet::Syscalls, Facet::Capabilities, Facet::Files];

/// How much the policy rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many runs, each a test of its own: invocations, marked test cases, commands.
    pub runs: usize,
    /// How many windows of long-lived invocations, which are no tests.
    pub windows: usize,
    /// How many of either failed: they may have stopped half-way.
    pub failed: usize,
    /// The executables seen.
    pub executables: BTreeSet<Text>,
    /// The machines' architectures and kernels: `x86_64 6.1.0`.
    pub machines: BTreeSet<String>,
    /// How complete the sets of each kind of fact are.
    pub completeness: Completeness,
    /// Calls that the kernel does not have: they were answered, and asked for nothing.
    pub unanswered: BTreeMap<String, Evidence>,
    /// What was lost, by kind, over all runs.
    pub losses: BTreeMap<Word, u64>,
    /// The facts that some run or window had no hook for, with the number of such ones.
    pub blind: BTreeMap<Facet, usize>,
    /// What confined it already, and in how many runs and windows; `None`: nothing did.
    pub filtered: Option<(BTreeSet<Word>, usize)>,
    /// How many runs and windows used `io_uring` where the hook for files does not see what is opened through it.
    pub rings: usize,
    /// The programs that ran in another root: what they did with files says nothing of this machine's.
    pub other_roots: BTreeSet<Text>,
    /// The unit's other commands that were seen.
    pub control: BTreeSet<ControlCommand>,
}

impl Coverage {
    pub(super) fn of(observation: &Observation, asked: &Asked<'_>) -> Self {
        let runs = observation.runs.values();
        let runs = runs.filter(|run| run.kind != RunKind::Override);
        let mut lost: BTreeMap<Word, u64> = BTreeMap::new();
        for (kind, count) in runs.clone().flat_map(losses) {
            let sum = lost.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        lost.retain(|_, count| *count > 0);
        let hidden = count(runs.clone().filter(|run| hides_signals(run)));
        let blind = FACTS
            .iter()
            .map(|fact| {
                let without = runs.clone().filter(|run| !is_seen(run, *fact));
                (*fact, count(without))
            })
            // Whom signals go to: where no call sends any, there is nothing to see.
            .chain([(Facet::Signals, hidden)])
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            runs: count(runs.clone().filter(|run| run.kind.is_test())),
            windows: count(runs.clone().filter(|run| run.kind == RunKind::Window)),
            failed: runs
                .clone()
                .filter(|run| run.status.is_some_and(failed))
                .count(),
            executables: runs
                .clone()
                .flat_map(|run| run.executables.keys().cloned())
                .collect(),
            control: runs
                .clone()
                .flat_map(|run| run.control.keys().copied())
                .collect(),
            machines: runs
                .map(|run| format!("{} {}", run.host.architecture, run.host.kernel))
                .collect(),
            completeness: Completeness::of(observation, asked),
            unanswered: asked.nothing(),
            filtered: filtered(observation),
            losses: lost,
            other_roots: elsewhere::programs(observation)
                .into_iter()
                .cloned()
                .collect(),
            blind,
            rings: count(
                observation
                    .runs
                    .values()
                    .filter(|run| run.kind != RunKind::Override && hides_files(run)),
            ),
        }
    }

    /// Why nothing follows from the absence of `fact`, if some run could not have seen it.
    pub(super) fn blind(&self, fact: Facet) -> Option<String> {
        if self.is_empty() {
            return Some("the observation holds no run".to_owned());
        }
        if fact == Facet::Files && self.rings > 0 {
            return Some(format!(
                "{} of {} used io_uring, and what it did with files was not seen",
                self.rings,
                self.all()
            ));
        }
        if let Some(count) = self.blind.get(&fact) {
            return Some(format!(
                "{count} of {} had no hook for {fact}: they could not be seen",
                self.all()
            ));
        }
        let there = self.other_roots.first().filter(|_| fact == Facet::Files)?;
        Some(format!(
            "{there} ran in another root: its paths are not this machine's, and what of this machine was behind them is \
             not known"
        ))
    }

    /// Whether there is nothing at all to go by.
    pub(super) fn is_empty(&self) -> bool {
        self.runs + self.windows == 0
    }

    /// `3 runs`, `27 runs and windows`.
    pub(super) fn all(&self) -> String {
        match self.windows {
            0 => format!("{} runs", self.runs),
            windows => format!("{} runs and windows", self.runs + windows),
        }
    }
}

/// The filters that were there already. `seccomp` is any: it says nothing where the unit's own are known.
fn filtered(observation: &Observation) -> Option<(BTreeSet<Word>, usize)> {
    let runs = observation.runs.values();
    let under = runs.filter(|run| !run.filters.is_empty());
    let mut names: BTreeSet<Word> = under.clone().flat_map(|run| run.filters.clone()).collect();
    if names.len() > 1 {
        names.retain(|name| name.as_str() != "seccomp");
    }
    (!names.is_empty()).then(|| (names, count(under)))
}

/// How many runs `runs` are, counting those that others replace.
fn count<'a>(runs: impl Iterator<Item = &'a Run>) -> usize {
    runs.map(|run| 1 + run.stands_for.len()).sum()
}

/// Whether some hook supplied `fact`: one that could not be had is `none (REASON)`.
pub(super) fn is_seen(run: &Run, fact: Facet) -> bool {
    run.hook(fact).is_some_and(|hook| !hook.starts_with("none"))
}

/// Whether work was submitted to `io_uring` that the hook for files does not see: it is no call.
pub(super) fn hides_files(run: &Run) -> bool {
    uses_ring(run) && run.sees_files_at_exit()
}

/// A ring may also come from another program: then it is entered, and not set up.
pub(super) fn uses_ring(run: &Run) -> bool {
    let mut executables = run.executables.values();
    executables.any(|facts| {
        let calls = refused::calls(run, facts);
        calls.contains("io_uring_setup") || calls.contains("io_uring_enter")
    })
}

/// Whether `status` means a failure. A daemon that is asked to end, at a terminal or by
/// the person who recorded it, ends by SIGINT or SIGTERM: that is no failure.
fn failed(status: i32) -> bool {
    const SIGINT: i32 = 128 + 2;
    const SIGTERM: i32 = 128 + 15;
    !matches!(status, 0 | SIGINT | SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, fixture::Fixture};
    use super::*;

    #[test]
    fn a_hook_that_could_not_be_had_sees_nothing() {
        let mut fixture = Fixture::new();
        let hooks = &mut fixture.run().hooks;
        hooks.insert("files".to_owned(), "none (refused)".to_owned());
        let observation = fixture.observation();
        let basis = Basis::of(&observation);
        let coverage = basis.coverage();
        assert!(coverage.blind(Facet::Files).is_some());
        assert!(coverage.blind(Facet::Syscalls).is_none());
    }

    #[test]
    fn a_daemon_that_was_asked_to_end_has_not_failed() {
        for (status, failed) in [(0, 0), (143, 0), (130, 0), (1, 1), (139, 1)] {
            let mut fixture = Fixture::new();
            fixture.run().status = Some(status);
            assert_eq!(
                Basis::of(&fixture.observation()).coverage().failed,
                failed,
                "{status}"
            );
        }
    }

    #[test]
    fn windows_are_no_runs_and_folded_runs_are_several() {
        let mut fixture = Fixture::new().next_run();
        fixture.run().kind = RunKind::Invocation;
        fixture.run().stands_for = ["x", "y"].map(|id| Word::new(id).unwrap()).into();
        let mut fixture = fixture.next_run();
        fixture.run().kind = RunKind::Mark;
        let mut fixture = fixture.next_run();
        fixture.run().kind = RunKind::Window;
        fixture.run().stands_for = [Word::new("z").unwrap()].into();
        fixture.run().hooks.clear();
        let observation = fixture.observation();
        let basis = Basis::of(&observation);
        let coverage = basis.coverage();
        assert_eq!((coverage.runs, coverage.windows), (5, 2));
        let blind = coverage.blind(Facet::Files).unwrap();
        assert!(blind.starts_with("2 of 7 runs and windows"), "{blind}");
    }

    #[test]
    fn a_window_alone_is_something_to_go_by() {
        let mut fixture = Fixture::new();
        fixture.run().kind = RunKind::Window;
        let observation = fixture.observation();
        let basis = Basis::of(&observation);
        let coverage = basis.coverage();
        assert_eq!(coverage.runs, 0);
        assert_eq!(coverage.blind(Facet::Files), None);
    }

    #[test]
    fn losses_add_up_and_zeroes_are_none() {
        let mut fixture = Fixture::new();
        let kind = |name| Word::new(name).unwrap();
        fixture.run().losses.insert(kind("ring-full"), 2);
        fixture.run().losses.insert(kind("other"), 0);
        let mut fixture = fixture.next_run();
        fixture.run().losses.insert(kind("ring-full"), u64::MAX);
        let observation = fixture.observation();
        let basis = Basis::of(&observation);
        let coverage = basis.coverage();
        assert_eq!(coverage.losses, [(kind("ring-full"), u64::MAX)].into());
    }
}
