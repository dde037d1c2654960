//! When slots and cgroups are looked for of which nothing can come any more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Slots are looked for earlier when so many cgroups went: one for this many slots.
const BATCH: u32 = 8;
/// How long the slots of a run that is over are kept for calls in progress, and a little longer.
const SETTLED: Duration = Duration::from_millis(1100);
/// How often all is gone through without a cause: the event that reports one may have been lost.
const SWEEP: Duration = Duration::from_mins(1);

/// The timers of retirement, and what they wait for.
pub(super) struct Retirement {
    /// How many cgroups went since slots were last looked for.
    gone: u32,
    /// When slots are looked for again.
    due: Instant,
    /// When those of runs that are over can be freed.
    settled: Instant,
    /// When the tables were last gone through.
    swept: Instant,
    /// Runs may have ended since that was last looked at.
    pub is_unsettled: bool,
    /// Cgroups that are gone and of which no slot can come to light any more.
    pub without_slots: BTreeSet<u64>,
}

impl Default for Retirement {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            gone: 0,
            due: now,
            settled: now,
            swept: now,
            is_unsettled: true,
            without_slots: BTreeSet::new(),
        }
    }
}

impl Retirement {
    /// A cgroup went.
    pub(super) fn count_gone(&mut self) {
        self.gone += 1;
    }

    /// Whether so many went that slots, of which there are this many, are to be freed earlier than they would be.
    pub(super) fn has_many_gone(&self, slots: u32) -> bool {
        self.gone > slots / BATCH
    }

    /// There is a cause to look at once.
    pub(super) fn at_once(&mut self) {
        self.due = Instant::now();
    }

    /// Another run began: slots of the one before can be freed once calls that were in progress have come back.
    pub(super) fn later(&mut self) {
        self.settled = Instant::now() + SETTLED;
        self.due = self.due.min(self.settled);
    }

    /// Whether there is a cause to look.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Slots are being looked for now.
    pub(super) fn begins(&mut self) {
        self.gone = 0;
        let now = Instant::now();
        self.due = if self.settled > now {
            self.settled
        } else {
            now + SWEEP
        };
    }

    /// Whether the tables are to be gone through.
    pub(super) fn is_sweep_due(&self) -> bool {
        self.swept.elapsed() >= SWEEP
    }

    /// They are.
    pub(super) fn swept(&mut self) {
        self.swept = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_looked_for_after_a_cause_and_when_runs_have_settled() {
        let mut retirement = Retirement::default();
        assert!(retirement.is_due());
        retirement.begins();
        assert!(!retirement.is_due());
        retirement.at_once();
        assert!(retirement.is_due());
        retirement.later();
        assert!(retirement.is_due());
        retirement.begins();
        // The run's slots wait for calls in progress.
        assert_eq!(retirement.due, retirement.settled);
        assert!(!retirement.is_due());
    }

    #[test]
    fn many_that_went_are_a_cause_until_slots_are_looked_for() {
        let mut retirement = Retirement::default();
        for _ in 0..=4096 / BATCH {
            assert!(!retirement.has_many_gone(4096));
            retirement.count_gone();
        }
        assert!(retirement.has_many_gone(4096));
        retirement.begins();
        assert!(!retirement.has_many_gone(4096));
    }
}
