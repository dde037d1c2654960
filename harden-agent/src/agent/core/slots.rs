//! Slots: whose they are, and what of them is final.

use harden_common::SlotKey;

use super::{Core, CoreError};
use crate::{
    agent::journal::{Owner, Record},
    collect::{self, unit},
    observation::Text,
    probe::{Events, ProbeError, grace_period},
};

/// Slots that wait for a grace period.
pub(crate) struct Retired {
    slots: Vec<u32>,
    /// Cgroups that were gone before: these are the last of their slots.
    gone: Vec<u64>,
    grace: tokio::task::JoinHandle<Result<(), ProbeError>>,
}

impl Retired {
    /// Waits for the grace period of `retired`, and hands the slots out; for ever if there is none.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) async fn over(retired: &mut Option<Self>) -> Result<Final, CoreError> {
        let Some(waiting) = retired else {
            return std::future::pending().await;
        };
        let over = (&mut waiting.grace).await;
        let waited = retired.take();
        over.map_err(|error| CoreError::System("a grace period", error.into()))??;
        let (slots, gone) = waited
            .map(|retired| (retired.slots, retired.gone))
            .unwrap_or_default();
        Ok(Final { slots, gone })
    }
}

/// Slots whose records do not change any more.
pub(crate) struct Final {
    slots: Vec<u32>,
    gone: Vec<u64>,
}

impl Core {
    /// Learns whose `slot` is. Says whether anybody wants to know of it.
    pub(super) fn learn_slot(&mut self, slot: u32) -> bool {
        let Ok((record, _)) = self.probe.slot(slot) else {
            return false;
        };
        let Some(record) = collect::slot(&record) else {
            return false;
        };
        self.learn_cgroup(record.key.cgroup);
        self.own_slot(slot, &record.key)
    }

    fn own_slot(&mut self, slot: u32, key: &SlotKey) -> bool {
        if self.state.unit_of(key.cgroup).is_none() {
            return false;
        }
        self.record(Record::Slot {
            slot,
            owner: Owner::new(key, key.command),
        });
        self.state.has_slot(slot)
    }

    /// Learns of a cgroup from the kernel side's table, where its birth has not been told yet: of those above
    /// it in its unit first.
    fn learn_cgroup(&mut self, id: u64) {
        let mut missing = Vec::new();
        let mut next = id;
        // As deep as a tree may be (`cgroup.max.depth` has no limit; a cycle must end).
        for _ in 0..256 {
            if self.state.has_cgroup(next) {
                break;
            }
            let Ok(Some(found)) = self.probe.cgroup_path(next) else {
                break;
            };
            let parent = found.parent;
            missing.push((next, found));
            next = parent;
        }
        for (id, found) in missing.into_iter().rev() {
            if self.is_wanted(&found.path) && unit::unit(&found.path).is_some() {
                self.cgroup(id, found.parent, found.born, &found.path);
            }
        }
    }

    /// What only the records of `slots` know.
    pub(super) fn read_slots(&mut self, slots: &[u32]) -> Result<(), CoreError> {
        for &slot in slots {
            if !self.state.has_slot(slot) && !self.learn_slot(slot) {
                continue;
            }
            let (record, _) = self.probe.slot(slot)?;
            let Some(record) = collect::slot(&record) else {
                continue;
            };
            let finals = Record::finals(slot, &record.facts);
            if !self.state.has_read(&finals) {
                self.record(finals);
            }
            let losses = collect::losses(&record);
            if self.state.lost_of(slot) != Some(&losses) {
                self.record(Record::Lost { slot, losses });
            }
        }
        Ok(())
    }

    /// Reads the slots of one unit.
    pub(super) fn read_unit(&mut self, unit: &Text) -> Result<(), CoreError> {
        let slots: Vec<u32> = self.state.slots_of(unit).collect();
        self.read_slots(&slots)
    }

    /// Reads the slots that an earlier agent has left, and forgets those that have another owner by now.
    pub(super) fn adopt_slots(&mut self) -> Result<(), CoreError> {
        let held = self.probe.slots_with_facts()?;
        let stale: Vec<u32> = self
            .state
            .slots()
            .filter(|slot| !held.contains(slot))
            .collect();
        for slot in stale {
            self.state.free(slot);
        }
        self.read_slots(&held)
    }

    /// Begins to free slots that nobody uses any more.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(crate) fn retire(&mut self) -> Result<Option<Retired>, CoreError> {
        if self.retirement.is_sweep_due() {
            self.sweep()?;
        }
        self.retirement.begins();
        let gone = self.state.gone_cgroups();
        // A payer that has no slots is taken out at once, with what it lost.
        self.take_refused()?;
        let slots = self.probe.retire()?;
        if slots.is_empty() {
            self.retirement.without_slots.extend(gone);
            return Ok(None);
        }
        Ok(Some(Retired {
            slots,
            gone,
            grace: tokio::task::spawn_blocking(grace_period),
        }))
    }

    /// Whether there is a cause to look for slots that can be freed.
    #[must_use]
    pub(crate) fn is_retirement_due(&self) -> bool {
        self.retirement.is_due()
    }

    /// Forgets cgroups of which nothing can come any more, and has runs written that have ended.
    pub(super) fn forget_gone_cgroups(&mut self) -> Result<(), CoreError> {
        let retirement = &mut self.retirement;
        if !retirement.is_unsettled && retirement.without_slots.is_empty() {
            return Ok(());
        }
        retirement.is_unsettled = false;
        for cgroup in self.state.forget_gone(&retirement.without_slots) {
            self.probe.forget_cgroup(cgroup)?;
            retirement.without_slots.remove(&cgroup);
        }
        let state = &self.state;
        let is_known = |cgroup: &u64| state.has_cgroup(*cgroup);
        retirement.without_slots.retain(is_known);
        self.save_ended();
        Ok(())
    }

    /// Whether so many cgroups went that slots are to be freed earlier than they would be.
    #[must_use]
    pub(crate) fn has_many_gone(&self) -> bool {
        self.retirement.has_many_gone(self.sizes.slots)
    }

    /// Takes the last of what was recorded in slots, and frees them.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(crate) fn finish(&mut self, events: &mut Events, last: &Final) -> Result<(), CoreError> {
        events.drain(|item| self.take(item));
        self.free(&last.slots)?;
        self.retirement.without_slots.extend(&last.gone);
        self.retirement.is_unsettled = true;
        Ok(())
    }

    fn free(&mut self, slots: &[u32]) -> Result<(), CoreError> {
        self.read_slots(slots)?;
        // A payer may be gone with them, and what it lost.
        self.take_refused()?;
        self.probe.free(slots)?;
        for &slot in slots {
            self.state.free(slot);
        }
        Ok(())
    }
}
