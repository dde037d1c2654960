//! What is to be written, and how far that has come.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::observation::Text;

/// How often it is tried to write what could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// Units that are being written, and what the journal has that their files lack.
pub(super) struct Saving {
    /// These, one after the other.
    queue: VecDeque<Text>,
    /// A journal was begun, and what the older ones have is being written: whether all of it was, so far. Then these go.
    folding: Option<bool>,
    /// The journal's bytes when it was begun: more is not in the files of units.
    folded: u64,
    compacted: Instant,
    /// So many records are in memory alone, at least.
    unwritten: u64,
    /// The journal lacks something that is nowhere else on disk.
    is_behind: bool,
    /// That is to be tried again at once.
    retry: bool,
}

impl Default for Saving {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            folding: None,
            folded: 0,
            compacted: Instant::now(),
            unwritten: 0,
            is_behind: false,
            retry: false,
        }
    }
}

impl Saving {
    /// Whether there is something to be written.
    pub(super) fn is_active(&self) -> bool {
        self.is_folding() || self.has_more()
    }

    /// Whether units wait to be written.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the older journals are still needed.
    pub(super) fn is_folding(&self) -> bool {
        self.folding.is_some()
    }

    /// Has a unit written, unless it will be.
    pub(super) fn add(&mut self, unit: Text) {
        if !self.queue.contains(&unit) {
            self.queue.push_back(unit);
        }
    }

    /// The unit is not written.
    pub(super) fn forget(&mut self, unit: &Text) {
        self.queue.retain(|waiting| waiting != unit);
    }

    /// A journal of so many bytes was begun: these units have something that is in the older ones alone.
    pub(super) fn fold(&mut self, dirty: Vec<Text>, size: u64) {
        self.folded = size;
        self.queue = dirty.into();
        self.folding = Some(true);
    }

    /// Whether a journal of so many bytes has nothing that is not in the files of units.
    pub(super) fn has_folded(&self, size: u64) -> bool {
        size == self.folded
    }

    /// The next units to be written, all of which are kept under the same key.
    pub(super) fn next(&mut self, key: impl Fn(&Text) -> Text) -> Option<Vec<Text>> {
        let unit = self.queue.pop_front()?;
        let shared = key(&unit);
        let mut units = vec![unit];
        if shared != units[0] {
            let queue = std::mem::take(&mut self.queue);
            let (alike, rest): (VecDeque<Text>, _) =
                queue.into_iter().partition(|other| key(other) == shared);
            units.extend(alike);
            self.queue = rest;
        }
        Some(units)
    }

    /// Whether what came next could be written.
    pub(super) fn was_written(&mut self, is_written: bool) {
        if let Some(is_whole) = &mut self.folding {
            *is_whole &= is_written;
        }
    }

    /// Nothing is left to be written. Says whether the older journals are needed no more.
    pub(super) fn end_folding(&mut self) -> bool {
        self.folding.take() == Some(true)
    }

    /// Files are being written.
    pub(super) fn compacts(&mut self) {
        self.compacted = Instant::now();
    }

    /// Whether that was so long ago.
    pub(super) fn is_due(&self, every: Duration) -> bool {
        self.compacted.elapsed() >= every
    }

    /// Whether it is time to try again what could not be written; then it counts as tried.
    pub(super) fn tries_again(&mut self) -> bool {
        let is_due = self.is_due(RETRY) || self.retry;
        if is_due {
            self.retry = false;
        }
        is_due
    }

    /// The journal lacks something.
    pub(super) fn falls_behind(&mut self) {
        // A file that is gone can be made again at once. A full disk will be full for a while.
        self.retry |= !self.is_behind;
        self.is_behind = true;
    }

    /// The journal lacks nothing any more.
    pub(super) fn caught_up(&mut self) {
        self.is_behind = false;
    }

    /// Whether the journal lacks something that is nowhere else on disk.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// So many records are in memory alone, at least.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// So many are now. Says whether that is news.
    pub(super) fn keeps_in_memory(&mut self, records: u64) -> bool {
        let before = std::mem::replace(&mut self.unwritten, records);
        before != records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_written_together_and_nothing_twice() {
        let mut saving = Saving::default();
        for unit in ["a@1.service", "b.service", "a@2.service", "b.service"] {
            saving.add(unit.into());
        }
        let key = |unit: &Text| match unit.as_bytes().first() {
            Some(b'a') => Text::from("a@.service"),
            _ => unit.clone(),
        };
        let together: Vec<Text> = vec!["a@1.service".into(), "a@2.service".into()];
        assert_eq!(saving.next(key), Some(together));
        assert_eq!(saving.next(key), Some(vec!["b.service".into()]));
        assert_eq!(saving.next(key), None);
        assert!(!saving.is_active());
    }

    #[test]
    fn older_journals_stay_if_a_unit_could_not_be_written() {
        let mut saving = Saving::default();
        saving.fold(vec!["a".into()], 10);
        assert!(saving.is_active() && saving.has_folded(10));
        saving.was_written(true);
        saving.was_written(false);
        assert!(!saving.end_folding());
        saving.fold(vec![], 10);
        assert!(saving.end_folding());
        assert!(!saving.is_active());
    }

    #[test]
    fn the_first_failure_is_tried_again_at_once_and_later_ones_are_not() {
        let mut saving = Saving::default();
        saving.falls_behind();
        assert!(saving.is_behind() && saving.tries_again());
        saving.falls_behind();
        assert!(!saving.tries_again());
        saving.caught_up();
        assert!(!saving.is_behind());
    }
}
