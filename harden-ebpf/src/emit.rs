//! The ring buffer.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::{Array, RingBuf},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_ktime_get_ns, bpf_ringbuf_output, bpf_ringbuf_query},
    },
    macros::btf_map,
};
use harden_common::{Header, WAKE_INTERVAL};

/// Hints, and what has no byte.
#[btf_map]
static EVENTS: RingBuf<u8, 1_048_576> = RingBuf::new();

/// When the reader was last woken.
#[btf_map]
static WOKEN: Array<u64, 1> = Array::new();

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, `BPF_RB_AVAIL_DATA` and `BPF_RB_RING_SIZE`
/// (include/uapi/linux/bpf.h, 5.8).
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const RING_USED: u64 = 0;
const RING_SIZE: u64 = 1;

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

/// Sends an event, which begins with its header.
///
/// # Errors
/// The ring buffer is full.
#[inline(always)]
pub fn send<T>(event: &T) -> Result<(), ()> {
    // SAFETY: the event is all there.
    unsafe { send_bytes(core::ptr::from_ref(event).cast(), size_of::<T>() as u64) }
}

/// Sends an event of so many `bytes`, which begins with its header.
///
/// # Errors
/// The ring buffer is full.
///
/// # Safety
/// There are so many bytes at `event`.
#[inline(always)]
pub unsafe fn send_bytes(event: *const c_void, bytes: u64) -> Result<(), ()> {
    // SAFETY: every event begins with a header.
    let time = unsafe { (*event.cast::<Header>()).time };
    let flags = wake(time);
    // SAFETY: the caller's promise.
    let failed = unsafe { bpf_ringbuf_output(ring(), event.cast_mut(), bytes, flags) };
    (failed == 0).then_some(()).ok_or(())
}

/// How much of the ring buffer waits to be read, and all of it.
#[inline(always)]
pub fn fill() -> (u64, u64) {
    // SAFETY: the helper takes a ring buffer.
    unsafe {
        (
            bpf_ringbuf_query(ring(), RING_USED),
            bpf_ringbuf_query(ring(), RING_SIZE),
        )
    }
}

#[inline(always)]
fn ring() -> *mut c_void {
    (&raw const EVENTS).cast_mut().cast()
}

/// The flags for an event at `now`. A reader that was woken looks again after a while, so long as there is something: to wake
/// it for each event costs the program more than the event, and takes a processor from it. With a quarter of the buffer used it
/// is woken all the same.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wake(now: u64) -> u64 {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return FORCE_WAKEUP;
    };
    let (used, size) = fill();
    // SAFETY: a pointer into the map, to one word. If two CPUs write at once, the reader is woken twice.
    unsafe {
        if now.wrapping_sub(*woken) < WAKE_INTERVAL && used < size / 4 {
            return NO_WAKEUP;
        }
        *woken = now;
    }
    FORCE_WAKEUP
}
