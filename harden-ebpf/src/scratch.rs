//! Room to build an event.
//!
//! A per-CPU buffer alone is not safe: programs are preemptible (always since 5.11 for some types,
//! syscall tracepoints since 7.x), and a second task on the CPU would write into it. So there are
//! several, each with a count of its users that is raised before it is looked at: whoever finds
//! itself not alone goes on to the next.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr,
};

use harden_common::{BYTES_MAX, Loss, PathEvent};

use crate::{emit::lost, maps::SCRATCH};

/// Buffers per CPU.
pub const LEVELS: usize = 3;

/// The longest single name in a path, its NUL included, and the slack it needs after the last
/// position where one may begin.
pub const NAME_MAX: usize = 256;

/// One buffer.
#[repr(C)]
pub struct Scratch {
    users: u64,
    /// Its index, by which a global function finds it again.
    level: u64,
    /// Loop state of the walk. In memory, as the verifier forgets what it knew of a loaded value,
    /// so that every turn of the loop looks the same to it.
    pub dentry: u64,
    /// The same: address of the `struct mount`.
    pub mount: u64,
    /// The same: where in `bytes` the next name goes.
    pub position: u64,
    /// Hash of the text.
    pub hash: u64,
    /// The event, directly before its bytes.
    pub event: PathEvent,
    /// Text and walks.
    pub bytes: [u8; BYTES_MAX + NAME_MAX],
}

/// Adds to a counter that other tasks on this CPU may be adding to.
#[inline(always)]
fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer is into the map. The result is not used: 5.10 cannot fetch.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Runs `work` with a buffer of its own, or counts that there was none.
#[inline(always)]
pub fn with(work: impl Fn(*mut Scratch)) {
    let Some(levels) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    let mut taken = ptr::null_mut::<Scratch>();
    for level in 0..LEVELS {
        // SAFETY: `level` is inside the array.
        let scratch = unsafe { levels.cast::<Scratch>().add(level) };
        // SAFETY: the field lies in the map value.
        let users = unsafe { &raw mut (*scratch).users };
        add(users, 1);
        // SAFETY: as above; volatile, as a preempting task changes it.
        if unsafe { users.read_volatile() } == 1 {
            // SAFETY: as above.
            unsafe { (*scratch).level = level as u64 };
            taken = scratch;
            break;
        }
        add(users, u64::MAX);
    }
    if taken.is_null() {
        lost(Loss::ScratchBusy);
        return;
    }
    work(taken);
    // SAFETY: as above.
    add(unsafe { &raw mut (*taken).users }, u64::MAX);
}

/// The buffer at `level`, for a function that the verifier checks on its own and that therefore
/// cannot be given a pointer (5.10 takes numbers only).
#[inline(always)]
pub fn at(level: u64) -> Option<*mut Scratch> {
    let levels = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the bound is checked.
    (level < LEVELS as u64).then(|| unsafe { levels.cast::<Scratch>().add(level as usize) })
}

impl Scratch {
    /// What [`at`] takes.
    #[inline(always)]
    pub fn level(scratch: *mut Self) -> u64 {
        // SAFETY: the field lies in the map value.
        unsafe { (&raw const (*scratch).level).read_volatile() }
    }
}
