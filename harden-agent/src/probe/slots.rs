//! Slots of cgroups that are gone: their facts are final, and their records serve again.
//!
//! Nobody may write to a record that has a new owner, so freeing takes four steps:
//! 1. [`Probe::retire`]: the keys go, and the generation rises. Whoever finds another generation than
//!    its own looks for its slot anew, and does not find these.
//! 2. [`super::grace_period`]: programs that still knew the old generation have ended.
//! 3. The ring buffer is drained and the records are read ([`Probe::slot`]): they do not change any more.
//! 4. [`Probe::free`]: the records are zeroed and their next numbers are free.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, HashMap, MapError, PerCpuArray, PerCpuValues, Queue};
use harden_common::{CALLS, Counts, SLOT_INDEX, SlotKey, SlotRecord, next_owner};

use super::{
    Probe, ProbeError,
    load::{map, map_mut},
};

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

    /// What `slot` recorded, and how often each native call was made in it, over all CPUs, if that
    /// was counted.
    ///
    /// # Errors
    /// [`ProbeError`] if the maps cannot be read.
    pub fn slot(&self, slot: u32) -> Result<(Record, Option<Counts>), ProbeError> {
        let records: Array<_, Record> = Array::try_from(map(&self.ebpf, "SLOTS")?)?;
        let record = records.get(&(slot & SLOT_INDEX), 0)?;
        Ok((record, self.counts(slot & SLOT_INDEX)?))
    }

    fn counts(&self, index: u32) -> Result<Option<Counts>, ProbeError> {
        if index >= self.counted_slots {
            return Ok(None);
        }
        let counts: PerCpuArray<_, Counts> = PerCpuArray::try_from(map(&self.ebpf, "COUNTS")?)?;
        let mut sum = [0; CALLS as usize];
        for cpu in counts.get(&index, 0)?.iter() {
            for (sum, count) in sum.iter_mut().zip(cpu) {
                *sum += count;
            }
        }
        Ok(Some(sum))
    }

    /// Takes the keys of all slots whose cgroup is gone away, and raises the generation if there are
    /// any. After a grace period their records are final.
    ///
    /// # Errors
    /// [`ProbeError`] if a map cannot be used.
    pub fn retire(&mut self) -> Result<Vec<u32>, ProbeError> {
        let keys = self.keys()?;
        let gone = self.gone(keys.keys().map(cgroup).collect())?;
        let mut slot_of: HashMap<_, Key, u32> =
            HashMap::try_from(map_mut(&mut self.ebpf, "SLOT_OF")?)?;
        let mut retired = Vec::new();
        for (key, slot) in keys {
            if gone.contains(&cgroup(&key)) {
                slot_of.remove(&key)?;
                retired.push(slot);
            }
        }
        if !retired.is_empty() {
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
        for slot in slots {
            let index = slot & SLOT_INDEX;
            let mut records: Array<_, Record> = Array::try_from(map_mut(&mut self.ebpf, "SLOTS")?)?;
            records.set(index, [0; size_of::<SlotRecord>()], 0)?;
            if index < counted {
                let mut counts: PerCpuArray<_, Counts> =
                    PerCpuArray::try_from(map_mut(&mut self.ebpf, "COUNTS")?)?;
                let mut zeroes = counts.get(&index, 0)?.to_vec();
                zeroes.fill([0; CALLS as usize]);
                let zeroes = PerCpuValues::try_from(zeroes)
                    .map_err(|error| ProbeError::System("the number of CPUs changed", error))?;
                counts.set(index, zeroes, 0)?;
            }
            let mut free: Queue<_, u32> = Queue::try_from(map_mut(&mut self.ebpf, "FREE_SLOTS")?)?;
            free.push(next_owner(*slot), 0)?;
        }
        // Whoever found no free slot since the last time tries once more.
        if !slots.is_empty() {
            self.raise_generation()?;
        }
        Ok(())
    }

    fn keys(&self) -> Result<BTreeMap<Key, u32>, ProbeError> {
        let slot_of: HashMap<_, Key, u32> = HashMap::try_from(map(&self.ebpf, "SLOT_OF")?)?;
        Ok(slot_of.iter().collect::<Result<_, _>>()?)
    }

    /// Those of `cgroups` that are not observed any more: the kernel side takes a cgroup out of the
    /// table when it is removed, whether its event finds room or not.
    fn gone(&self, mut cgroups: BTreeSet<u64>) -> Result<BTreeSet<u64>, ProbeError> {
        let observed: HashMap<_, u64, u64> = HashMap::try_from(map(&self.ebpf, "CGROUPS")?)?;
        let mut failed = None;
        cgroups.retain(|id| match observed.get(id, 0) {
            Ok(_) => false,
            Err(MapError::KeyNotFound) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(cgroups), |error| Err(error.into()))
    }
}

/// The cgroup of a key.
fn cgroup(key: &Key) -> u64 {
    const _: () = assert!(std::mem::offset_of!(SlotKey, cgroup) == 0);
    key.first_chunk().copied().map_or(0, u64::from_ne_bytes)
}
