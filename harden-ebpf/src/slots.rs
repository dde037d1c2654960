//! Slots: which there are, and who has which.

use aya_ebpf::{
    btf_maps::{HashMap, Queue},
    macros::btf_map,
};
use harden_common::{ExecutableId, Loss, SLOT_EXCLUDED, SlotKey};

use crate::{loss::lost, records::record, shares};

/// Slot numbers by key. What is not in here has no slot, whatever its record says.
#[btf_map]
static SLOT_OF: HashMap<SlotKey, u32, 1024> = HashMap::new();

/// Slot numbers that are free; the agent fills it.
#[btf_map]
static FREE_SLOTS: Queue<u32, 1024> = Queue::new();

/// The key of a record that no slot owns.
const NO_KEY: SlotKey = SlotKey {
    cgroup: 0,
    executable: ExecutableId {
        inode: 0,
        device: 0,
        generation: 0,
    },
    run: 0,
    command: 0,
    other_root: 0,
};

/// The slot that has `key`, if there is one.
#[inline(always)]
pub fn find(key: &SlotKey) -> Option<u32> {
    // SAFETY: a pointer into the map, to one word.
    SLOT_OF.get_ptr(key).map(|slot| unsafe { *slot })
}

/// Whether `slot` still has the key that is in its record. The agent takes the key away before it
/// raises the generation and waits for programs that run: so if it is there now, the slot is not
/// freed before we return.
#[inline(always)]
pub fn is_in_use(slot: u32) -> bool {
    let Some(record) = record(slot) else {
        return false;
    };
    // SAFETY: a pointer into the map. A key that is being written is that of another owner.
    find(unsafe { &(*record).key }) == Some(slot)
}

/// Finds or makes the slot for `key`, which `payer` pays for. Says whether it is new.
#[inline(always)]
pub fn find_or_make(key: &SlotKey, payer: u64) -> (u32, bool) {
    if let Some(slot) = find(key) {
        return (slot, false);
    }
    let slot = take_number(payer) as u32;
    let Some(record) = record(slot) else {
        return (SLOT_EXCLUDED, false);
    };
    // SAFETY: the number came from the queue, so nobody else has the record yet.
    unsafe {
        (*record).key = *key;
        (*record).payer = payer;
    }
    const BPF_NOEXIST: u64 = 1;
    if SLOT_OF.insert(key, slot, BPF_NOEXIST).is_ok() {
        shares::count_given_slot(payer);
        return (slot, true);
    }
    // Another CPU was first, or the map is full.
    give_back(u64::from(slot));
    match find(key) {
        Some(slot) => (slot, false),
        None => {
            shares::count_refused_slot(payer);
            (SLOT_EXCLUDED, false)
        }
    }
}

/// A slot number that was free, now that of its record; [`SLOT_EXCLUDED`] if there is none for `payer`. No record has
/// that index.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_number(payer: u64) -> u64 {
    if shares::may_have_slot(payer) == 0 {
        return u64::from(SLOT_EXCLUDED);
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        shares::count_refused_slot(payer);
        return u64::from(SLOT_EXCLUDED);
    };
    let Some(record) = record(slot) else {
        lost(Loss::MapUpdate);
        return u64::from(SLOT_EXCLUDED);
    };
    // SAFETY: the number came from the queue, so nobody else has the record yet.
    unsafe { (*record).slot = slot };
    u64::from(slot)
}

/// Frees a number that did not get a key after all. None is left in its record: a key that is in no
/// table marks facts that are still to be taken.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn give_back(slot: u64) -> u64 {
    if let Some(record) = record(slot as u32) {
        // SAFETY: the number came from the queue, and nobody else has the record yet.
        unsafe { (*record).key = NO_KEY };
    }
    if FREE_SLOTS.push(slot as u32, 0).is_err() {
        lost(Loss::MapUpdate);
    }
    0
}
