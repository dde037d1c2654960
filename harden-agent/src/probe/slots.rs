//! Slots of cgroups that are gone, and of runs that are over: their facts are final, and their records
//! serve again.
//!
//! Nobody may write to a record that has a new owner, so freeing takes four steps:
//! 1. [`Probe::retire`]: the keys go, and the generation rises. A task that finds another generation than
//!    its own looks for its slot again, and does not find these.
//! 2. [`super::grace_period`]: programs that still knew the old generation have ended.
//! 3. The ring buffer is drained and the records are read ([`Probe::slot`]): they do not change any more.
//! 4. [`Probe::free`]: the records are zeroed and their next numbers are free.
//!
//! A process that ends between two of these leaves records that are in no table and not free either.
//! A process that adopts the maps finds them ([`Probe::find_unfinished`]), and the next [`Probe::retire`] hands
//! them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::offset_of,
    time::Duration,
};

use aya::maps::{Array, HashMap, MapError, PerCpuArray, PerCpuValues, Queue};
use harden_common::{COUNTS, Counts, Observed, SLOT_INDEX, SlotKey, SlotRecord, next_owner};

use super::{Probe, ProbeError, handle::grace_period};

/// How long the slots of a run stay after the next has begun: calls that were in progress then come back
/// to them.
const SETTLED: Duration = Duration::from_secs(1);

const NO_COUNTS: Counts = [0; COUNTS];

/// A key as it lies in the map.
type Key = [u8; size_of::<SlotKey>()];
/// A [`SlotRecord`] as it lies in the map.
pub type Record = [u8; size_of::<SlotRecord>()];

impl Probe {
    /// The slots in use.
    ///
    /// # Errors
    /// [`ProbeError`] if the map cannot be read.
    pub fn slots(&self) -> Result<Vec<u32>, ProbeError> {
        Ok(self.keys()?.into_values().collect())
    }

    /// The slots that hold facts: those in use, and those that an earlier process was freeing when it ended, which
    /// the next [`Probe::retire`] hands out.
    ///
    /// # Errors
    /// [`ProbeError`] if the map cannot be read.
    pub fn slots_with_facts(&self) -> Result<Vec<u32>, ProbeError> {
        let mut slots = self.slots()?;
        slots.extend(&self.unfinished);
        Ok(slots)
    }

    /// What `slot` recorded, and how often each native call was made in it and failed, and each capability granted, over
    /// all CPUs, if that was counted.
    ///
    /// # Errors
    /// [`ProbeError`] if the maps cannot be read.
    pub fn slot(&self, slot: u32) -> Result<(Record, Option<Counts>), ProbeError> {
        let records: Array<_, Record> = Array::try_from(self.maps.get("SLOTS")?)?;
        let record = records.get(&(slot & SLOT_INDEX), 0)?;
        Ok((record, self.counts(slot & SLOT_INDEX)?))
    }

    fn counts(&self, index: u32) -> Result<Option<Counts>, ProbeError> {
        if index >= self.counted_slots {
            return Ok(None);
        }
        let counts: PerCpuArray<_, Counts> = PerCpuArray::try_from(self.maps.get("COUNTS")?)?;
        let mut sum = NO_COUNTS;
        for cpu in counts.get(&index, 0)?.iter() {
            for (sum, count) in sum.iter_mut().zip(cpu) {
                *sum += count;
            }
        }
        Ok(Some(sum))
    }

    /// Takes away the keys of all slots whose cgroup is not observed any more, or whose run has been over
    /// for a second, and raises the generation if there are any. After a grace period their records are
    /// final.
    ///
    /// # Errors
    /// [`ProbeError`] if a map cannot be used.
    pub fn retire(&mut self) -> Result<Vec<u32>, ProbeError> {
        self.begun.retain(|_, begun| begun.elapsed() < SETTLED);
        let given = self.given()?;
        let keys = self.keys()?;
        let cgroups = keys.keys().map(cgroup).chain(given.keys().copied());
        let observed = self.those_observed(cgroups.collect())?;
        let begun = &self.begun;
        let mut held: BTreeMap<u64, u64> = BTreeMap::new();
        let mut slot_of: HashMap<_, Key, u32> = HashMap::try_from(self.maps.get_mut("SLOT_OF")?)?;
        let mut retired = std::mem::take(&mut self.unfinished);
        for (key, slot) in keys {
            let cgroup = cgroup(&key);
            match observed.get(&cgroup) {
                Some([present, payer]) if *present == run(&key) || begun.contains_key(&cgroup) => {
                    *held.entry(*payer).or_default() += 1;
                }
                _ => {
                    slot_of.remove(&key)?;
                    retired.push(slot);
                }
            }
        }
        self.count_later(&given, &held, |payer| observed.contains_key(&payer));
        if retired.is_empty() {
            self.count_returned()?;
        } else {
            self.raise_generation()?;
        }
        Ok(retired)
    }

    /// Zeroes the records of `slots`, which nobody can hold any more, and gives them out again.
    ///
    /// # Errors
    /// [`ProbeError`] if a map cannot be used.
    pub fn free(&mut self, slots: &[u32]) -> Result<(), ProbeError> {
        let counted = self.counted_slots;
        self.unfinished.retain(|slot| !slots.contains(slot));
        for slot in slots {
            let index = slot & SLOT_INDEX;
            let mut records: Array<_, Record> = Array::try_from(self.maps.get_mut("SLOTS")?)?;
            let next = next_owner(*slot);
            records.set(index, empty(next), 0)?;
            if index < counted {
                let mut counts: PerCpuArray<_, Counts> =
                    PerCpuArray::try_from(self.maps.get_mut("COUNTS")?)?;
                let mut zeroes = counts.get(&index, 0)?.to_vec();
                zeroes.fill(NO_COUNTS);
                let zeroes = PerCpuValues::try_from(zeroes)
                    .map_err(|error| ProbeError::System("the number of CPUs changed", error))?;
                counts.set(index, zeroes, 0)?;
            }
            let mut free: Queue<_, u32> = Queue::try_from(self.maps.get_mut("FREE_SLOTS")?)?;
            free.push(next, 0)?;
        }
        self.count_returned()?;
        // What found no free slot since the last time tries once more.
        if !slots.is_empty() {
            self.raise_generation()?;
        }
        Ok(())
    }

    fn keys(&self) -> Result<BTreeMap<Key, u32>, ProbeError> {
        let slot_of: HashMap<_, Key, u32> = HashMap::try_from(self.maps.get("SLOT_OF")?)?;
        Ok(slot_of.iter().collect::<Result<_, _>>()?)
    }

    /// Those of `cgroups` that are observed. The kernel side takes a cgroup out of the table when it is removed, whether
    /// its event finds room or not.
    fn those_observed(
        &self,
        cgroups: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, Observed>, ProbeError> {
        let observed: HashMap<_, u64, Observed> = HashMap::try_from(self.maps.get("CGROUPS")?)?;
        let found = cgroups
            .into_iter()
            .filter_map(|cgroup| match observed.get(&cgroup, 0) {
                Ok(observed) => Some(Ok((cgroup, observed))),
                Err(MapError::KeyNotFound) => None,
                Err(error) => Some(Err(error)),
            });
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Finds the records that are in no table and not free: an earlier process ended while it was freeing
    /// them. Those with facts are to be retired; the rest is free.
    ///
    /// # Errors
    /// [`ProbeError`] if a map cannot be used.
    pub(super) fn find_unfinished(&mut self) -> Result<(), ProbeError> {
        let mut adrift = self.adrift()?;
        if adrift.is_empty() {
            return Ok(());
        }
        // A program may just have had one in its hands.
        grace_period()?;
        let still = self.adrift()?;
        adrift.retain(|index| still.contains(index));
        for index in adrift {
            let records: Array<_, Record> = Array::try_from(self.maps.get("SLOTS")?)?;
            let record = records.get(&index, 0)?;
            let slot = number(&record, index);
            if is_owned(&record) {
                self.unfinished.push(slot);
            } else {
                let mut free: Queue<_, u32> = Queue::try_from(self.maps.get_mut("FREE_SLOTS")?)?;
                free.push(slot, 0)?;
            }
        }
        Ok(())
    }

    /// The indices of records that are neither in use nor free.
    fn adrift(&mut self) -> Result<BTreeSet<u32>, ProbeError> {
        let mut adrift: BTreeSet<u32> = (0..self.slots).collect();
        // Free ones first: what a program takes meanwhile is among those in use when these are read.
        for free in self.free_slots()? {
            adrift.remove(&(free & SLOT_INDEX));
        }
        for slot in self.slots()? {
            adrift.remove(&(slot & SLOT_INDEX));
        }
        Ok(adrift)
    }

    /// The numbers in the queue. It can only be looked at by taking: each is put back at once, so that
    /// programs find all but one.
    fn free_slots(&mut self) -> Result<BTreeSet<u32>, ProbeError> {
        let mut free: Queue<_, u32> = Queue::try_from(self.maps.get_mut("FREE_SLOTS")?)?;
        let mut seen = BTreeSet::new();
        for _ in 0..self.slots {
            let slot = match free.pop(0) {
                Ok(slot) => slot,
                Err(MapError::ElementNotFound) => break,
                Err(error) => return Err(error.into()),
            };
            free.push(slot, 0)?;
            if !seen.insert(slot) {
                break;
            }
        }
        Ok(seen)
    }
}

/// The cgroup of a key.
fn cgroup(key: &Key) -> u64 {
    word(key, offset_of!(SlotKey, cgroup))
}

/// The run of a key.
fn run(key: &Key) -> u64 {
    word(key, offset_of!(SlotKey, run))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().map_or(0, u64::from_ne_bytes)
}

/// Whether the record has a key.
fn is_owned(record: &Record) -> bool {
    word(
        record,
        offset_of!(SlotRecord, key) + offset_of!(SlotKey, cgroup),
    ) != 0
}

/// The number of the record with this index: its index, if it was never given out.
fn number(record: &Record, index: u32) -> u32 {
    let bytes = record[offset_of!(SlotRecord, slot)..].first_chunk();
    let slot = bytes.copied().map_or(0, u32::from_ne_bytes);
    if slot & SLOT_INDEX == index {
        slot
    } else {
        index
    }
}

/// The record of nobody, to be given out as `slot`.
fn empty(slot: u32) -> Record {
    let mut record = [0; size_of::<SlotRecord>()];
    let at = offset_of!(SlotRecord, slot);
    record[at..at + size_of::<u32>()].copy_from_slice(&slot.to_ne_bytes());
    record
}

#[cfg(test)]
mod tests {
    use harden_common::next_owner;

    use super::{Record, empty, is_owned, number};

    #[test]
    fn an_empty_record_knows_its_next_number() {
        let next = next_owner(next_owner(5));
        let record = empty(next);
        assert!(!is_owned(&record));
        assert_eq!(number(&record, 5), next);
        // One that was never given out.
        assert_eq!(number(&[0; size_of::<Record>()], 5), 5);
    }
}
