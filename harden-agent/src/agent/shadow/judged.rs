//! What was judged so far of the runs since a profile was frozen: of those that have ended, once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::look::{Found, Looked};
use crate::observation::Word;

/// What was judged. It is in memory alone, and judged again after a restart.
#[derive(Default)]
pub(super) struct Judged {
    /// Of runs that have ended.
    settled: Found,
    /// Those.
    runs: BTreeSet<Word>,
    /// Of the others, as it was at the last look.
    open: Found,
}

impl Judged {
    /// Whether the run has ended and was judged.
    pub(super) fn is_settled(&self, run: &Word) -> bool {
        self.runs.contains(run)
    }

    /// Takes in what was found in all runs that are not settled.
    pub(super) fn take(&mut self, looked: Looked, is_open: impl Fn(&Word) -> bool) {
        self.open = Found::default();
        for (run, found) in looked.runs {
            if is_open(&run) {
                self.open.add(found);
            } else {
                self.settled.add(found);
                self.runs.insert(run);
            }
        }
    }

    /// How many facts, and how many of them are not judged, by the reason.
    pub(super) fn counts(&self) -> (u64, BTreeMap<String, u64>) {
        let both = |one: &HashSet<u64>, other: &HashSet<u64>| one.union(other).count() as u64;
        let none = HashSet::new();
        let (settled, open) = (&self.settled.unjudged, &self.open.unjudged);
        let reasons: BTreeSet<&String> = settled.keys().chain(open.keys()).collect();
        let counts = reasons.into_iter().map(|reason| {
            let of = |found| Option::unwrap_or(found, &none);
            let count = both(of(settled.get(reason)), of(open.get(reason)));
            (reason.clone(), count)
        });
        let unjudged = counts.collect();
        (both(&self.settled.facts, &self.open.facts), unjudged)
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        self.facts.extend(other.facts);
        for (reason, facts) in other.unjudged {
            self.unjudged.entry(reason).or_default().extend(facts);
        }
    }
}
