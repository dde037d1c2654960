//! How complete the sets of facts are, a figure for each kind: by how many of them were seen in one test alone.
//!
//! Calls, capabilities and socket families are small sets that the next test draws from, too. Paths and addresses are
//! not: another document or client is another name. For them there is no figure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::calls::Asked;
use crate::observation::{CapabilityCheck, Executable, Observation, Run, RunKind, Word};

/// Below this share, in per cent, more than one fact of twenty of the next test is not in the set.
pub(super) const ENOUGH: u8 = 95;

/// The figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// Of calls.
    pub calls: Estimate,
    /// Of capabilities granted.
    pub capabilities: Estimate,
    /// Of socket families.
    pub families: Estimate,
}

/// An estimate, which holds for tests like those that were run, and for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// How many tests: runs and marked cases in which something was done, never windows.
    pub tests: usize,
    /// How many facts were seen.
    pub seen: usize,
    /// How many of them in one test alone.
    pub once: usize,
    /// How many in two.
    pub twice: usize,
    /// In how many tests each was seen, summed.
    pub sightings: usize,
}

impl Completeness {
    pub(super) fn of(observation: &Observation, asked: &Asked<'_>) -> Self {
        let call = |program: &Executable| {
            let calls = program.syscalls.iter();
            let calls =
                calls.flat_map(|(abi, names)| names.keys().map(|name| (*abi, name.clone())));
            calls
                .filter(|(abi, name)| asked.made.contains_key(&(*abi, name)))
                .collect::<Vec<_>>()
        };
        let capability = |program: &Executable| {
            let granted = program.capabilities.iter();
            let granted =
                granted.filter(|(_, checks)| checks.contains_key(&CapabilityCheck::Granted));
            granted.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let family = |program: &Executable| program.families.keys().cloned().collect::<Vec<_>>();
        Self {
            calls: Estimate::of(observation, call),
            capabilities: Estimate::of(observation, capability),
            families: Estimate::of(observation, family),
        }
    }

    /// A line for each kind that there is a figure for, and what there is none for.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        const REST: &str = "no figure: what was not done is not in here";
        if self.calls.tests < 2 {
            return vec![format!(
                "How complete it is: not known, as one test says nothing of the next; {REST}"
            )];
        }
        let kinds = [
            ("calls", self.calls),
            ("capabilities", self.capabilities),
            ("socket families", self.families),
        ];
        let mut lines = Vec::new();
        let mut without = Vec::new();
        for (kind, estimate) in kinds {
            match estimate.percent() {
                Some(percent) => lines.push(format!(
                    "Of {kind}: {percent} % of those of another such test, by {} of {} seen in one of {} tests alone",
                    estimate.once, estimate.seen, estimate.tests
                )),
                None => without.push(kind),
            }
        }
        without.extend(["paths", "addresses", "arguments"]);
        lines.push(format!("Of {}: {REST}", without.join(", ")));
        lines
    }
}

/// Calls by which a program waits. One that makes no others in a run has done nothing in it.
const WAITS: [&str; 16] = [
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "futex",
    "io_getevents",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "restart_syscall",
    "rt_sigtimedwait",
    "select",
    "wait4",
    "waitid",
];

/// Whether anything was done in the run: one in which the program only waited shows nothing of the next.
fn is_active(run: &Run) -> bool {
    let acts = |program: &Executable| {
        let mut calls = program.syscalls.values().flat_map(BTreeMap::keys);
        calls.any(|call| !WAITS.contains(&call.as_str()))
            || !program.capabilities.is_empty()
            || !program.families.is_empty()
            || !program.files.is_empty()
    };
    run.kind != RunKind::Override && run.executables.values().any(acts)
}

impl Estimate {
    fn of<T: Ord>(observation: &Observation, facts: impl Fn(&Executable) -> Vec<T>) -> Self {
        let mut tests: BTreeSet<&Word> = BTreeSet::new();
        let mut seen: BTreeMap<T, BTreeSet<&Word>> = BTreeMap::new();
        let runs = observation.tests();
        for (test, run) in runs.filter(|(_, run)| is_active(run)) {
            tests.insert(test.id);
            for fact in run.executables.values().flat_map(&facts) {
                seen.entry(fact).or_default().insert(test.id);
            }
        }
        let seen_in = |number| seen.values().filter(|tests| tests.len() == number).count();
        Self {
            tests: tests.len(),
            seen: seen.len(),
            once: seen_in(1),
            twice: seen_in(2),
            sightings: seen.values().map(BTreeSet::len).sum(),
        }
    }

    /// The share, from 0 to 1, of the facts of one more such test that are in the set: the sample coverage
    /// of incidence data (Chao et al. 2014, Ecological Monographs 84, equation 4b). `None` from one
    /// test, which says nothing of the next.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are some hundred facts, and the result is an estimate"
    )]
    pub fn coverage(&self) -> Option<f64> {
        if self.tests < 2 || self.sightings == 0 {
            return None;
        }
        let (tests, once, twice) = (self.tests as f64, self.once as f64, self.twice as f64);
        let unseen = if self.twice > 0 {
            (tests - 1.0) * once / ((tests - 1.0) * once + 2.0 * twice)
        } else {
            let pairs = (tests - 1.0) * (once - 1.0).max(0.0);
            pairs / (pairs + 2.0)
        };
        Some(1.0 - once / self.sightings as f64 * unseen)
    }

    /// How many facts that are not in the set one more such test would show, rounded up: what [`Self::coverage`] leaves of
    /// the facts of a test.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "there are some hundred facts, and a share is between 0 and 1"
    )]
    pub fn to_come(&self) -> usize {
        let of_a_test = self.sightings as f64 / self.tests.max(1) as f64;
        let new = 1.0 - self.coverage().unwrap_or(1.0);
        (new * of_a_test).ceil() as usize
    }

    /// [`Self::coverage`] in whole per cent, rounded down: only what has nothing left to find is 100.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is between 0 and 1"
    )]
    pub fn percent(&self) -> Option<u8> {
        self.coverage().map(|share| (share * 100.0) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn all(observation: &Observation) -> Completeness {
        Completeness::of(observation, &Asked::of(observation))
    }

    fn of(tests: &[&[&str]]) -> Estimate {
        let mut fixture = Fixture::new();
        for (at, calls) in tests.iter().enumerate() {
            if at > 0 {
                fixture = fixture.next_run();
            }
            fixture = fixture.executable("/bin/d").syscalls(calls);
        }
        all(&fixture.observation()).calls
    }

    #[test]
    fn one_test_says_nothing() {
        assert_eq!(of(&[&["read", "write"]]).percent(), None);
        assert_eq!(of(&[&[], &[]]).percent(), None);
    }

    #[test]
    fn the_same_again_and_again_is_all_there_is() {
        assert_eq!(of(&[&["read"], &["read"], &["read"]]).percent(), Some(100));
    }

    #[test]
    fn the_more_was_seen_once_the_less_is_known() {
        // Worked by hand: U = 9, Q1 = 2, Q2 = 2, T = 3: 1 - 2/9 * 4 / (4 + 4) = 0.888…
        let some = of(&[
            &["read", "write", "close"],
            &["read", "write", "openat", "close"],
            &["read", "futex"],
        ]);
        assert_eq!((some.once, some.twice, some.sightings), (2, 2, 9));
        assert_eq!(some.percent(), Some(88));
        // Nothing in two tests: U = 6, Q1 = 3, T = 3: 1 - 3/6 * 4 / (4 + 2) = 0.666…
        let fewer = of(&[&["read", "write"], &["read", "openat"], &["read", "futex"]]);
        assert_eq!(fewer.percent(), Some(66));
    }

    #[test]
    fn windows_are_no_tests() {
        let mut fixture = Fixture::new().executable("/bin/d").syscalls(&["read"]);
        fixture.run().kind = RunKind::Invocation;
        fixture.run().invocation = Some(Word::new("a").unwrap());
        let mut fixture = fixture.next_run().executable("/bin/d").syscalls(&["write"]);
        fixture.run().kind = RunKind::Window;
        fixture.run().invocation = Some(Word::new("a").unwrap());
        assert_eq!(all(&fixture.observation()).calls.tests, 1);
    }

    #[test]
    fn a_run_in_which_nothing_was_done_is_no_test() {
        let some = of(&[&["read"], &["read"]]);
        let mut observation = Fixture::new()
            .executable("/bin/d")
            .syscalls(&["read"])
            .next_run()
            .executable("/bin/d")
            .syscalls(&["read"])
            .next_run()
            .observation();
        assert_eq!(observation.runs.len(), 3);
        assert_eq!(all(&observation).calls, some);
        // A daemon that nobody asks anything only waits.
        let waits = of(&[&["read"], &["read"], &["epoll_wait", "futex"]]);
        assert_eq!(waits.tests, 2);
        for run in observation
            .runs
            .values_mut()
            .filter(|run| run.executables.is_empty())
        {
            run.executables
                .insert("/bin/d".into(), Executable::default());
        }
        assert_eq!(all(&observation).calls, some);
    }

    #[test]
    fn each_kind_has_its_own_figure_and_paths_have_none() {
        let two = |second: &str| {
            let first = Fixture::new()
                .executable("/bin/d")
                .syscalls(&["read"])
                .capability("chown", CapabilityCheck::Granted)
                .next_run();
            let second = first
                .executable("/bin/d")
                .syscalls(&["read"])
                .capability(second, CapabilityCheck::Granted);
            all(&second.observation())
        };
        let same = two("chown").shown();
        assert!(
            same[0].starts_with("Of calls: 100 % of those of"),
            "{same:?}"
        );
        assert!(same[1].starts_with("Of capabilities: 100 % "), "{same:?}");
        assert_eq!(
            same[2],
            "Of socket families, paths, addresses, arguments: no figure: what was not done is not in here"
        );
        assert_eq!(two("setuid").calls.percent(), Some(100));
        assert!(two("setuid").capabilities.percent() < Some(80));
    }

    #[test]
    fn a_call_that_no_kernel_has_is_none() {
        let first = Fixture::new().executable("/bin/d").syscalls(&["read"]);
        let second = first
            .next_run()
            .executable("/bin/d")
            .syscalls(&["read", "syscall-1000"]);
        assert_eq!(all(&second.observation()).calls.percent(), Some(100));
    }
}
