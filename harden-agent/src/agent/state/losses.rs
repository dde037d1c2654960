//! What could not be recorded, and whose it was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{super::journal::Record, State};
use crate::observation::{Text, Word};

/// What was lost that is in no slot's record, of all runs or of a payer's, and when that was known.
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
    pub(super) fn count(&mut self, losses: BTreeMap<Word, u64>, time: u64) -> BTreeMap<Word, u64> {
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
    pub(super) fn since(&self, time: u64) -> BTreeMap<Word, u64> {
        let none = BTreeMap::new();
        let mut counts = self.counts.iter().rev();
        let before = counts.find(|(counted, _)| *counted <= time);
        let last = self.counts.back().map_or(&none, |(_, losses)| losses);
        increase(before.map_or(&none, |(_, losses)| losses), last)
    }

    /// All counts that are kept, each as a `record` of its time.
    fn records(&self, record: impl Fn(BTreeMap<Word, u64>, u64) -> Record) -> Vec<Record> {
        let counts = self.counts.iter();
        counts
            .map(|(time, losses)| record(losses.clone(), *time))
            .collect()
    }
}

impl State {
    /// What was lost and is in no slot's record may have been of any run that is open.
    pub(super) fn lost(&mut self, losses: BTreeMap<Word, u64>, time: u64) {
        let more = self.unowned.count(losses, time);
        self.mark_runs(&more, |_| true);
    }

    /// What a payer's units have lost may have been of any of their runs.
    pub(super) fn lost_by(&mut self, payer: u64, losses: BTreeMap<Word, u64>, time: u64) {
        let more = self.payers.entry(payer).or_default().count(losses, time);
        let below: BTreeSet<u64> = self.below(payer).collect();
        self.mark_runs(&more, |unit_cgroup| below.contains(&unit_cgroup));
    }

    /// Adds `more` to the open runs that are in these units' own cgroups.
    fn mark_runs(&mut self, more: &BTreeMap<Word, u64>, is_meant: impl Fn(u64) -> bool) {
        if more.is_empty() {
            return;
        }
        for unit in self.units.values_mut() {
            for run in unit
                .open
                .values_mut()
                .filter(|run| is_meant(run.unit_cgroup))
            {
                add(&mut run.losses, more);
                unit.dirty = true;
            }
        }
    }

    /// What was lost after `time` of all runs, and of those that `unit_cgroup`'s payer pays for.
    pub(super) fn lost_since(&self, time: u64, unit_cgroup: u64) -> BTreeMap<Word, u64> {
        let mut losses = self.unowned.since(time);
        let payers = self.payers.iter();
        for (_, lost) in payers.filter(|(payer, _)| self.is_below(unit_cgroup, **payer)) {
            add(&mut losses, &lost.since(time));
        }
        losses
    }

    /// What was lost of a slot was of its run.
    pub(super) fn lost_in(&mut self, slot: u32, losses: BTreeMap<Word, u64>) {
        let Some(attribution) = self.slots.get_mut(&slot) else {
            return;
        };
        let more = increase(&attribution.losses, &losses);
        attribution.losses = losses;
        let Some(unit) = self.units.get_mut(&attribution.unit) else {
            return;
        };
        if let Some(run) = unit.open.get_mut(&attribution.run) {
            add(&mut run.losses, &more);
            unit.dirty = true;
        }
    }

    /// What was lost of `slot`, as far as its run knows.
    #[must_use]
    pub(crate) fn lost_of(&self, slot: u32) -> Option<&BTreeMap<Word, u64>> {
        Some(&self.slots.get(&slot)?.losses)
    }

    /// What a payer's units have lost, as far as their runs know.
    #[must_use]
    pub(crate) fn lost_of_payer(&self, payer: u64) -> Option<&BTreeMap<Word, u64>> {
        let (_, losses) = self.payers.get(&payer)?.counts.back()?;
        Some(losses)
    }

    /// Only these payers have lost something and are there.
    pub(crate) fn retain_payers(&mut self, is_there: impl Fn(u64) -> bool) {
        self.payers.retain(|payer, _| is_there(*payer));
    }

    /// The units that have lost something of `kind`, by slots that are still theirs or by what their payer lost.
    #[must_use]
    pub(crate) fn losers(&self, kind: &Word) -> Vec<Text> {
        let homes = self.slots.values();
        let of_slots = homes.filter(|attribution| attribution.losses.contains_key(kind));
        let of_slots = of_slots.map(|attribution| &attribution.unit);
        let payers = self.payers.keys().copied();
        let payers = payers.filter(|payer| {
            let lost = self.lost_of_payer(*payer);
            lost.is_some_and(|losses| losses.contains_key(kind))
        });
        let of_payers = payers.flat_map(|payer| self.below(payer));
        let of_payers = of_payers.filter_map(|cgroup| self.unit_of(cgroup));
        let losers: BTreeSet<&Text> = of_slots.chain(of_payers).collect();
        losers.into_iter().cloned().collect()
    }

    /// All losses that are in no slot's record, as records.
    pub(super) fn loss_records(&self) -> Vec<Record> {
        let all = |unowned, time| Record::Losses {
            all: self.losses.clone(),
            unowned,
            time,
        };
        let mut records = vec![all(BTreeMap::new(), 0)];
        records.extend(self.unowned.records(all));
        for (payer, lost) in &self.payers {
            records.extend(lost.records(|losses, time| Record::LostOf {
                payer: *payer,
                losses,
                time,
            }));
        }
        records
    }
}

/// By how much each kind grew; those that did not are left out.
fn increase(before: &BTreeMap<Word, u64>, after: &BTreeMap<Word, u64>) -> BTreeMap<Word, u64> {
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
