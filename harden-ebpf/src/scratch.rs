//! Room to build an event.
//!
//! A per-CPU buffer alone is not safe: programs are preemptible (always since 5.11 for some types,
//! syscall tracepoints since 7.x), and a second task on the CPU would write into it. So there are
//! several, each with a count of its users that is raised before it is looked at: a program that
//! is not alone goes on to the next.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use harden_common::{BYTES_MAX, Loss, PathEvent, PathOperation};

use crate::{
    arch::{Arguments, Call},
    loss::lost_of,
    place::{CWD, Directory, Place},
};

/// Buffers per CPU. With `preempt=full` a CPU shared by 16 busy tasks uses more than four at times.
pub const LEVELS: usize = 16;

/// The longest single name in a path, its NUL included, and the slack it needs after the last
/// position where one may begin.
pub const NAME_MAX: usize = 256;

/// What is to be sent, of what: handed over in memory, as a global function takes at most five numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// The slot.
    pub slot: u32,
    /// A `PathOperation` as number.
    pub operation: u32,
    /// Flags of open, mode of access, or 0.
    pub argument: u32,
    /// 0 or the errno.
    pub errno: u32,
    /// Where the path or address is; 0 for none.
    pub text: u64,
    /// Bytes of an address.
    pub length: u32,
    /// Bits of [`request_flag`].
    pub flags: u32,
    /// Descriptor of the directory or of the file itself.
    pub fd: i32,
    /// As [`PathEvent::capabilities`] has them.
    pub capabilities: u32,
    /// What the call returned.
    pub result: i64,
    /// The file itself, where the hook has it in hand.
    pub place: Place,
}

/// Bits of [`Request::flags`].
pub mod request_flag {
    /// The directory of the descriptor is the root of the lookup: an absolute path begins there too.
    pub const IN_ROOT: u32 = 1;
}

impl Request {
    /// To send `operation`, of which nothing else is known.
    #[inline(always)]
    pub fn new(slot: u32, operation: PathOperation) -> Self {
        Self {
            slot,
            operation: operation as u32,
            argument: 0,
            errno: 0,
            text: 0,
            length: 0,
            flags: 0,
            fd: CWD,
            capabilities: 0,
            result: 0,
            place: Place::NOWHERE,
        }
    }
}

/// A call that came back, for what looks at its paths and sockets.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Returned {
    /// Its arguments, and room for each index of three bits.
    pub arguments: [u64; 8],
    /// What it returned.
    pub result: i64,
    /// The slot.
    pub slot: u32,
    /// As [`Call::native`] has it.
    pub native: u32,
    /// As [`Call::compat`] has it.
    pub compat: bool,
    /// As [`PathEvent::capabilities`] has them.
    pub capabilities: u32,
}

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
    /// What passes through memory, so that the verifier takes it for numbers.
    pub directory: Directory,
    /// The call that came back, if that is what is looked at.
    pub returned: Returned,
    /// What is to be sent.
    pub request: Request,
    /// The event, directly before its bytes.
    pub event: PathEvent,
    /// Text and walks.
    pub bytes: [u8; BYTES_MAX + NAME_MAX],
}

/// Room to build an event, too large for the stack.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, LEVELS> = PerCpuArray::new();

/// Adds to a counter that other tasks on this CPU may be adding to.
#[inline(always)]
fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer is into the map. The result is not used: 5.10 cannot fetch.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Runs `work` for `slot` with the index of a buffer of its own, which [`at`] takes, or counts that there was
/// none.
///
/// An index and not a pointer: `work` ends in a global function (see [`crate::verifier`]).
#[inline(always)]
pub fn with(slot: u32, work: impl Fn(u64)) {
    let level = take_scratch();
    if level >= LEVELS as u64 {
        return lost_of(slot, Loss::ScratchBusy);
    }
    work(level);
    if let Some(scratch) = at(level) {
        // SAFETY: the field lies in the map value.
        add(unsafe { &raw mut (*scratch).users }, u64::MAX);
    }
}

/// [`with`] a buffer that has `request` in it.
#[inline(always)]
pub fn with_request(request: Request, work: impl Fn(u64)) {
    with(request.slot, |level| {
        if let Some(scratch) = at(level) {
            // SAFETY: the scratch is ours until we return.
            unsafe { (*scratch).request = request };
        }
        work(level);
    });
}

/// [`with`] a buffer that says that `call` came back.
#[inline(always)]
pub fn with_call(
    call: Call,
    arguments: Arguments,
    result: i64,
    slot: u32,
    capabilities: u32,
    work: impl Fn(u64),
) {
    with(slot, |level| {
        if let Some(scratch) = at(level) {
            let [first, second, third, fourth, fifth, sixth] = arguments;
            // SAFETY: the scratch is ours until we return.
            unsafe {
                (*scratch).returned = Returned {
                    arguments: [first, second, third, fourth, fifth, sixth, 0, 0],
                    result,
                    slot,
                    native: call.native,
                    compat: call.compat,
                    capabilities,
                };
            }
        }
        work(level);
    });
}

/// The index of a buffer that nobody else uses; [`LEVELS`] if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_scratch() -> u64 {
    for level in 0..LEVELS as u64 {
        let Some(scratch) = at(level) else { break };
        // SAFETY: the field lies in the map value; volatile, as a preempting task changes it.
        unsafe {
            let users = &raw mut (*scratch).users;
            add(users, 1);
            if users.read_volatile() == 1 {
                (*scratch).level = level;
                return level;
            }
            add(users, u64::MAX);
        }
    }
    LEVELS as u64
}

/// The buffer with index `level`.
#[inline(always)]
pub fn at(level: u64) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(level as u32)
}

impl Scratch {
    /// What [`at`] takes.
    #[inline(always)]
    pub fn level(scratch: *mut Self) -> u64 {
        // SAFETY: the field lies in the map value.
        unsafe { (&raw const (*scratch).level).read_volatile() }
    }
}
