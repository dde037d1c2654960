//! How complete the set of system calls is, by how many of them were seen in one test alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::observation::{Observation, RunKind, Word};

/// An estimate, which holds for tests like those that were run, and for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// How many tests: runs and marked cases, never windows.
    pub tests: usize,
    /// How many calls were seen.
    pub calls: usize,
    /// How many of them in one test alone.
    pub once: usize,
    /// How many in two.
    pub twice: usize,
    /// In how many tests each was seen, summed.
    pub sightings: usize,
}

impl Completeness {
    pub(super) fn of(observation: &Observation) -> Self {
        let mut tests: BTreeSet<&Word> = BTreeSet::new();
        let mut calls: BTreeMap<_, BTreeSet<&Word>> = BTreeMap::new();
        let runs = observation.tests();
        for (test, run) in runs.filter(|(_, run)| run.kind != RunKind::Override) {
            tests.insert(test.id);
            for executable in run.executables.values() {
                for (abi, names) in &executable.syscalls {
                    for name in names.keys() {
                        calls.entry((abi, name)).or_default().insert(test.id);
                    }
                }
            }
        }
        let seen_in = |number| calls.values().filter(|tests| tests.len() == number).count();
        Self {
            tests: tests.len(),
            calls: calls.len(),
            once: seen_in(1),
            twice: seen_in(2),
            sightings: calls.values().map(BTreeSet::len).sum(),
        }
    }

    /// The share, from 0 to 1, of the calls made by one more such test that are in the set: the sample coverage
    /// of incidence data (Chao et al. 2014, Ecological Monographs 84, equation 4b). `None` from one
    /// test, which says nothing of the next.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are some hundred calls, and the result is an estimate"
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

    /// How many calls that are not in the set one more such test would make, rounded up.
    #[must_use]
    pub fn to_come(&self) -> usize {
        // The expected number is the share of the new among the sightings of a test (Good 1953).
        self.once.div_ceil(self.tests.max(1))
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

/// `98 % of the calls of another such test, by 3 of 41 seen in one of 12 tests alone`
impl fmt::Display for Completeness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent() {
            None => out.write_str("unknown, as one test says nothing of the next"),
            Some(percent) => write!(
                out,
                "{percent} % of the calls of another such test, by {} of {} seen in one of {} tests alone",
                self.once, self.calls, self.tests
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn of(tests: &[&[&str]]) -> Completeness {
        let mut fixture = Fixture::new();
        for (at, calls) in tests.iter().enumerate() {
            if at > 0 {
                fixture = fixture.next_run();
            }
            fixture = fixture.executable("/bin/d").syscalls(calls);
        }
        Completeness::of(&fixture.observation())
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
        assert_eq!(Completeness::of(&fixture.observation()).tests, 1);
    }
}
