//! What could not be recorded is counted, by kind.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use harden_common::Loss;

use crate::records::record;

/// What was lost, by [`Loss`]: first what is in no slot's record, then what is in one.
#[btf_map]
static LOSSES: PerCpuArray<u64, { 2 * Loss::COUNT as usize }> = PerCpuArray::new();

/// Counts `loss` where it is not known whose it is.
#[inline(always)]
pub fn lost(loss: Loss) {
    count_lost(loss as u32);
}

/// Counts `loss` where a record besides has it.
#[inline(always)]
pub fn lost_elsewhere(loss: Loss) {
    count_lost(Loss::COUNT + loss as u32);
}

#[inline(always)]
fn count_lost(index: u32) {
    if let Some(count) = LOSSES.get_ptr_mut(index) {
        // SAFETY: the pointer is this CPU's own entry; the verifier checked it.
        unsafe { *count += 1 };
    }
}

/// Counts `loss` in the record of `slot`.
#[inline(always)]
pub fn lost_of(slot: u32, loss: Loss) {
    count_lost_of(u64::from(slot), loss as u64);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_lost_of(slot: u64, loss: u64) -> u64 {
    let loss = loss as u32;
    if loss >= Loss::COUNT {
        return 0;
    }
    let Some(record) = record(slot as u32) else {
        count_lost(loss);
        return 0;
    };
    // SAFETY: `record` points to a whole record in the array map, and `loss` is below the length. The result is not
    // used: 5.10 cannot fetch.
    unsafe {
        let counter = (&raw mut (*record).losses).cast::<u64>().add(loss as usize);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
    }
    count_lost(Loss::COUNT + loss);
    0
}
