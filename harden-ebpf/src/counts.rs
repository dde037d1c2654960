//! How often: calls, those among them that failed, and capabilities.

use aya_ebpf::{Global, btf_maps::PerCpuArray, macros::btf_map};
use harden_common::{CALLS, COUNTS as COUNTS_OF_ALL, Counts, GRANTED, SLOT_INDEX};

use crate::verifier::masked;

/// How many slots have counts; 0 turns counting off.
#[unsafe(no_mangle)]
static COUNTED_SLOTS: Global<u32> = Global::new(0);

/// Calls counted per slot and CPU, for the first slots only: 8.5 KiB each on each CPU.
#[btf_map]
static COUNTS: PerCpuArray<Counts, 1> = PerCpuArray::new();

/// Whether anything is counted.
#[inline(always)]
pub fn are_counted() -> bool {
    COUNTED_SLOTS.load() != 0
}

/// Counts a call in the half of the counts that begins at `START`, if it is a native one.
#[inline(always)]
pub fn count<const START: usize>(slot: u32, call: u32) {
    if call < CALLS {
        add::<{ CALLS as u64 - 1 }, START>(slot, call);
    }
}

/// Counts a capability that was granted.
#[inline(always)]
pub fn count_granted(slot: u32, capability: u32) {
    add::<{ (COUNTS_OF_ALL - GRANTED) as u64 - 1 }, GRANTED>(slot, capability);
}

/// Adds 1 to the count at `number` of those that begin at `START`, if the slot has some. `MASK` is what a number there can
/// be: the verifier may have lost sight of the bound.
#[inline(always)]
fn add<const MASK: u64, const START: usize>(slot: u32, number: u32) {
    const { assert!(START + (MASK as usize) < COUNTS_OF_ALL) };
    let index = slot & SLOT_INDEX;
    if index >= COUNTED_SLOTS.load() {
        return;
    }
    if let Some(counts) = COUNTS.get_ptr_mut(index) {
        let number = masked::<MASK>(u64::from(number)) as usize;
        // SAFETY: `START + number` is below the length, as asserted above; the entry is this CPU's own.
        unsafe { *counts.cast::<u64>().add(START + number) += 1 };
    }
}
