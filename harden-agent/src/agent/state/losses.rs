//! What could not be recorded, and whose it was.

use std::collections::{BTreeMap, VecDeque};

use super::super::journal::Record;
use crate::observation::Word;

/// What was lost that is in no slot's record, and when that was known.
#[derive(Default)]
pub(super) struct Unowned {
    /// All of it so far, by the times when it was counted. The oldest says what there was before.
    counts: VecDeque<(u64, BTreeMap<Word, u64>)>,
}

/// So many counts are kept, one a second while something is lost: a run that becomes known later takes the losses of
/// all of them.
const KEPT: usize = 64;

impl Unowned {
    /// Takes the count of `time`. Returns by how much it grew.
    pub fn count(&mut self, losses: BTreeMap<Word, u64>, time: u64) -> BTreeMap<Word, u64> {
        let none = BTreeMap::new();
        let last = self.counts.back().map_or(&none, |(_, losses)| losses);
        let more = increase(last, &losses);
        if !more.is_empty() {
            if self.counts.len() == KEPT {
                // Between the first two times, what is left out is taken to have been lost after the first.
                self.counts.remove(1);
            }
            self.counts.push_back((time, losses));
        }
        more
    }

    /// What was lost after `time`, and perhaps a little before.
    pub fn since(&self, time: u64) -> BTreeMap<Word, u64> {
        let none = BTreeMap::new();
        let mut counts = self.counts.iter().rev();
        let before = counts.find(|(counted, _)| *counted <= time);
        let last = self.counts.back().map_or(&none, |(_, losses)| losses);
        increase(before.map_or(&none, |(_, losses)| losses), last)
    }

    /// As records, beside `all` losses.
    pub fn records(&self, all: &BTreeMap<Word, u64>) -> Vec<Record> {
        let none = (0, BTreeMap::new());
        let counts = std::iter::once(&none).chain(&self.counts);
        let record = |(time, unowned): &(u64, BTreeMap<Word, u64>)| Record::Losses {
            all: all.clone(),
            unowned: unowned.clone(),
            time: *time,
        };
        counts.map(record).collect()
    }
}

/// By how much each kind grew; those that did not are left out.
pub(super) fn increase(
    before: &BTreeMap<Word, u64>,
    after: &BTreeMap<Word, u64>,
) -> BTreeMap<Word, u64> {
    let more = after.iter().map(|(kind, count)| {
        let before = before.get(kind).copied().unwrap_or(0);
        (kind.clone(), count.saturating_sub(before))
    });
    more.filter(|(_, count)| *count > 0).collect()
}

/// Adds `more` to `losses`.
pub(super) fn add(losses: &mut BTreeMap<Word, u64>, more: &BTreeMap<Word, u64>) {
    for (kind, count) in more {
        *losses.entry(kind.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(count: u64) -> BTreeMap<Word, u64> {
        BTreeMap::from([(Word::new("cgroup-ring-full").unwrap(), count)])
    }

    #[test]
    fn a_run_that_becomes_known_late_takes_what_was_lost_since_it_began() {
        let mut unowned = Unowned::default();
        assert_eq!(unowned.count(losses(3), 10), losses(3));
        assert_eq!(unowned.count(losses(3), 11), BTreeMap::new());
        assert_eq!(unowned.count(losses(5), 20), losses(2));
        assert_eq!(unowned.since(25), BTreeMap::new());
        assert_eq!(unowned.since(15), losses(2));
        // When the first three were lost is not known.
        assert_eq!(unowned.since(5), losses(5));
    }

    #[test]
    fn what_is_kept_has_an_end_and_no_loss_is_left_out() {
        let mut unowned = Unowned::default();
        for time in 1..=1000 {
            unowned.count(losses(time), time);
        }
        assert_eq!(unowned.counts.len(), KEPT);
        assert_eq!(unowned.since(990), losses(10));
        assert_eq!(unowned.since(0), losses(1000));
        // Rather too much than too little.
        assert_eq!(unowned.since(500), losses(999));
    }
}
