//! Sending to the agent: each fact once, each loss counted.

use core::{
    arch::asm,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns};
use harden_common::{
    CAPABILITY_CHECKS, FACT_CAPABILITY, FactEvent, Header, Loss, SlotRecord, check, kind,
};

use crate::maps::{EVENTS, LOSSES, ONCE, record};

/// What makes a path, socket or address the same as one already sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OnceKey {
    /// Slot: so that a new run, or the next owner of the record, sends everything again.
    pub slot: u32,
    /// Event kind << 16 | operation.
    pub what: u32,
    /// Open flags or access mode.
    pub argument: u32,
    /// Errno.
    pub errno: u32,
    /// Dentry of the target, or 0.
    pub target: u64,
    /// Dentry of the directory that a relative text starts from, or 0.
    pub directory: u64,
    /// Mount of the target, or of that directory.
    pub mount: u64,
    /// Hash of the text.
    pub text: u64,
}

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
    lost_in(u64::from(slot), loss as u64);
}

/// A global function: verified once, and two numbers to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lost_in(slot: u64, loss: u64) -> u64 {
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

/// The header of an event of the current task.
#[inline(always)]
pub fn header(kind: u32, slot: u32) -> Header {
    let ids = bpf_get_current_pid_tgid();
    Header {
        kind,
        slot,
        // SAFETY: the helper has no preconditions.
        time: unsafe { bpf_ktime_get_ns() },
        pid: (ids >> 32) as u32,
        tid: ids as u32,
    }
}

/// Sets the byte of `fact` in `slot`, and hints at it if this was the first time.
#[inline(always)]
pub fn fact(slot: u32, fact: u32) {
    let Some(record) = record(slot) else {
        return;
    };
    set(record, slot, fact);
}

/// [`fact`] for a record already looked up.
#[inline(always)]
pub fn set(record: *mut SlotRecord, slot: u32, fact: u32) {
    let byte = byte(record, fact);
    // SAFETY: see `byte`. Volatile, as other CPUs store to the same byte: they all store 1.
    unsafe {
        if byte.read_volatile() != 0 {
            return;
        }
        byte.write_volatile(1);
    }
    first_sight(record, slot, fact);
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

/// `value & MASK`, done where the verifier sees it.
///
/// LLVM knows some bounds itself and leaves the mask out, or checks a copy of the register that is
/// then used; the verifier knows only what it sees done to that register.
#[inline(always)]
pub fn masked<const MASK: u64>(mut value: u64) -> u64 {
    // SAFETY: one instruction on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK) };
    value
}

/// Kept out of the hot path.
#[inline(never)]
fn first_sight(record: *mut SlotRecord, slot: u32, fact: u32) {
    let event = FactEvent {
        header: header(kind::FACT, slot),
        fact,
        call: 0,
    };
    if EVENTS.output_untyped::<FactEvent>(event, 0).is_err() {
        // SAFETY: see `set`.
        unsafe { (&raw mut (*record).rescan).write_volatile(1) };
    }
}

/// Tells, once for each call, that `capability` was granted in the native call `call`, or in one with the same arguments.
///
/// A global function: verified once, and one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn granted(slot: u64, capability: u64, call: u64) -> u64 {
    let fact = FACT_CAPABILITY + capability as u32 * CAPABILITY_CHECKS + check::GRANTED;
    let key = OnceKey {
        slot: slot as u32,
        what: kind::FACT << 16,
        argument: fact,
        errno: call as u32,
        target: 0,
        directory: 0,
        mount: 0,
        text: 0,
    };
    if is_known(&key) {
        return 0;
    }
    let event = FactEvent {
        header: header(kind::FACT, slot as u32),
        fact,
        call: call as u32 + 1,
    };
    match EVENTS.output_untyped::<FactEvent>(event, 0) {
        Ok(()) => remember(&key),
        Err(_) => lost_of(slot as u32, Loss::CapabilityRingFull),
    }
    0
}

/// Whether `key` was sent before.
#[inline(always)]
pub fn is_known(key: &OnceKey) -> bool {
    ONCE.get_ptr(key).is_some()
}

/// Remembers that `key` was sent. An LRU map always makes room, but may be contended: then it is
/// sent again.
#[inline(always)]
pub fn remember(key: &OnceKey) {
    let _ = ONCE.insert(key, 1, 0);
}
