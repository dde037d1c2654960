//! The ring buffer.

use aya_ebpf::{
    btf_maps::RingBuf,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_ns},
    macros::btf_map,
};
use harden_common::Header;

/// Hints, and what has no byte.
#[btf_map]
pub static EVENTS: RingBuf<u8, 1_048_576> = RingBuf::new();

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
