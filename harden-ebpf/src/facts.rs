//! Facts that have a byte in the record of their slot.

use harden_common::{FactEvent, SlotRecord, kind};

use crate::{
    emit::{self, header},
    records::record,
    verifier::masked,
};

/// Sets the byte of `fact` in `slot`, and hints at it if this was the first time.
#[inline(always)]
pub fn set(slot: u32, fact: u32) {
    let Some(record) = record(slot) else {
        return;
    };
    set_in(record, slot, fact);
}

/// [`set`] for a record already looked up.
#[inline(always)]
pub fn set_in(record: *mut SlotRecord, slot: u32, fact: u32) {
    let byte = byte(record, fact);
    // SAFETY: see `byte`. Volatile, as other CPUs store to the same byte: they all store 1.
    unsafe {
        if byte.read_volatile() != 0 {
            return;
        }
        byte.write_volatile(1);
    }
    hint(u64::from(slot), u64::from(fact));
}

/// Whether the byte of `fact` is set.
#[inline(always)]
pub fn is_set(record: *mut SlotRecord, fact: u32) -> bool {
    // SAFETY: see `byte`.
    unsafe { byte(record, fact).read_volatile() != 0 }
}

#[inline(always)]
fn byte(record: *mut SlotRecord, fact: u32) -> *mut u8 {
    let fact = masked::<{ harden_common::FACTS as u64 - 1 }>(u64::from(fact));
    // SAFETY: `record` points to a whole record in the array map, and the mask keeps `fact` inside
    // `facts`.
    unsafe { (&raw mut (*record).facts).cast::<u8>().add(fact as usize) }
}

/// Says that the fact is new. A global function, as it is called at so many places.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hint(slot: u64, fact: u64) -> u64 {
    let slot = slot as u32;
    let event = FactEvent {
        header: header(kind::FACT, slot),
        fact: fact as u32,
        call: 0,
    };
    if emit::send(&event).is_err()
        && let Some(record) = record(slot)
    {
        // SAFETY: see `set_in`.
        unsafe { (&raw mut (*record).rescan).write_volatile(1) };
    }
    0
}
