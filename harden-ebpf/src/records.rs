//! The records of slots: what each has done, as far as a byte can say it.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use harden_common::{SLOT_INDEX, SlotRecord};

/// Slot records, by slot number. The truth about every fact that has a byte.
#[btf_map]
static SLOTS: Array<SlotRecord, 1024> = Array::new();

/// The record of a slot.
#[inline(always)]
pub fn record(slot: u32) -> Option<*mut SlotRecord> {
    SLOTS.get_ptr_mut(slot & SLOT_INDEX)
}
