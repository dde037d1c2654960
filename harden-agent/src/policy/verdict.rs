//! One word for how far an observation is: whether a profile that rests on it would hold.

use super::{
    basis::Basis,
    completeness::{Completeness, ENOUGH, Estimate},
    warnings::{self, is_lost},
};
use crate::observation::Observation;

/// How far an observation is. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Events of it were lost.
    Lossy,
    /// It has fewer than five tests.
    FewTests,
    /// Another such test would still show new facts.
    Growing,
    /// None of these.
    Ready,
}

/// From so many tests on, a figure means something: where five tests show nothing new, the next one does so with a
/// chance below one half, at 95 % confidence (1 - 0.05^(1/5) = 0.45).
const TESTS: usize = 5;

impl Verdict {
    /// The verdict, and how many tests it rests on.
    #[must_use]
    pub fn of(observation: &Observation) -> (Self, usize) {
        let basis = Basis::of(observation);
        let coverage = basis.coverage();
        let tests = coverage.completeness.calls.tests;
        let verdict = if coverage.losses.keys().any(|kind| is_lost(kind.as_str())) {
            Self::Lossy
        } else if tests < TESTS {
            Self::FewTests
        } else if is_growing(&coverage.completeness) || warnings::mixed(observation).is_some() {
            Self::Growing
        } else {
            Self::Ready
        };
        (verdict, tests)
    }
}

fn is_growing(completeness: &Completeness) -> bool {
    let Completeness {
        calls,
        capabilities,
        families,
    } = completeness;
    let kinds = [calls, capabilities, families];
    let mut shares = kinds.into_iter().filter_map(Estimate::percent);
    shares.any(|share| share < ENOUGH)
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Fixture, *};
    use crate::observation::Word;

    fn tests(calls: &[&[&str]]) -> Observation {
        let mut fixture = Fixture::new();
        for (number, calls) in calls.iter().enumerate() {
            if number > 0 {
                fixture = fixture.next_run();
            }
            fixture = fixture.executable("/bin/d").syscalls(calls);
        }
        fixture.observation()
    }

    #[test]
    fn what_another_test_would_not_change_is_ready() {
        let same: &[&str] = &["read", "write"];
        assert_eq!(Verdict::of(&tests(&[same; 5])), (Verdict::Ready, 5));
        assert_eq!(Verdict::of(&tests(&[same; 4])), (Verdict::FewTests, 4));
        let others: [&[&str]; 5] = [&["read"], &["write"], &["close"], &["openat"], &["fsync"]];
        assert_eq!(Verdict::of(&tests(&others)), (Verdict::Growing, 5));
    }

    #[test]
    fn one_lost_event_outweighs_all_tests() {
        let read: &[&str] = &["read"];
        let mut observation = tests(&[read; 5]);
        let lose = |observation: &mut Observation, kind| {
            for run in observation.runs.values_mut() {
                run.losses.insert(Word::new(kind).unwrap(), 1);
            }
        };
        // Counted for the whole machine: it need not have been of this unit.
        lose(&mut observation, "skipped-sched_process_exec");
        assert_eq!(Verdict::of(&observation).0, Verdict::Ready);
        lose(&mut observation, "path-ring-full");
        assert_eq!(Verdict::of(&observation).0, Verdict::Lossy);
    }

    #[test]
    fn what_did_nothing_is_no_test() {
        let nothing = Fixture::new().observation();
        assert_eq!(Verdict::of(&nothing), (Verdict::FewTests, 0));
    }
}
