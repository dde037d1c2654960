//! Paths at the exit of the calls that take them.
//!
//! An opened file is walked: its path is the file's own. For the other calls, and for failed
//! lookups, the directory that the text starts from is walked and the text sent as given.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use harden_common::{Loss, PathOperation, kind, path_flag};

use crate::{
    arch::{self, Call},
    kernel::Address,
    loss::lost_of,
    once, path_event,
    place::{self, Place},
    scratch::{self, Asked},
    shares, text,
};

const NONE: u32 = 7;
const OPENAT2: u32 = 437;
const CREAT: u32 = 85;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which creat(2) stands for.
const CREAT_FLAGS: u32 = 0o1101;
const RESOLVE_IN_ROOT: u64 = 0x10;
const EFAULT: u32 = 14;

/// Looks at the one or two paths of `call`.
#[inline(always)]
pub fn returned(regs: Address, call: Call, result: i64, slot: u32, capabilities: u32) {
    let entry = call.paths();
    observe(regs, call, result, slot, capabilities, entry & 0xffff);
    if entry >> 16 != 0 {
        observe(regs, call, result, slot, capabilities, entry >> 16);
    }
}

#[inline(always)]
fn observe(regs: Address, call: Call, result: i64, slot: u32, capabilities: u32, entry: u32) {
    let (text, fd, argument) = (entry >> 6 & 7, entry >> 9 & 7, entry >> 12 & 7);
    let read = |index| {
        if index == NONE {
            0
        } else {
            arch::argument(regs, call, index)
        }
    };
    let (text, directory, mut argument) = (read(text), read(fd), read(argument) as u32);
    let mut in_root = 0;
    if call.native == OPENAT2 {
        (argument, in_root) = open_how(read(2));
    } else if call.native == CREAT {
        argument = CREAT_FLAGS;
    }
    let asked = Asked {
        slot,
        operation: entry & 0x3f,
        argument,
        errno: if (-4095..0).contains(&result) {
            -result as u32
        } else {
            0
        },
        text,
        length: in_root,
        fd: if fd == NONE {
            place::CWD
        } else {
            directory as i32
        },
        capabilities,
        result,
        place: Place::NOWHERE,
    };
    scratch::with(slot, |level| {
        if let Some(scratch) = scratch::at(level) {
            // SAFETY: the scratch is ours until we return.
            unsafe { (*scratch).asked = asked };
        }
        path_returned(level);
    });
}

/// The flags in `struct open_how`, and whether the directory is the root of the lookup. The struct is
/// flags, mode and resolve, a u64 each (include/uapi/linux/openat2.h).
#[inline(always)]
fn open_how(how: Address) -> (u32, u32) {
    let mut fields = MaybeUninit::<[u64; 3]>::uninit();
    // SAFETY: the helper writes 24 bytes to our stack, zeroes if it cannot read.
    let [flags, _, resolve] = unsafe {
        bpf_probe_read_user(fields.as_mut_ptr().cast(), 24, how as *const _);
        fields.assume_init()
    };
    (flags as u32, u32::from(resolve & RESOLVE_IN_ROOT != 0))
}

/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn path_returned(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    // SAFETY: the scratch is ours until we return.
    let (event, path) = unsafe { (&mut (*scratch).event, &(*scratch).asked) };
    path_event::begin(event, kind::PATH, path);

    let mut length = 0;
    if path.text == 0 {
        text::hash(scratch, 0);
    } else {
        match text::user_text(scratch, path.text) {
            Some(read) => length = read,
            // The call itself could not read it either, or somebody changed the memory since.
            None => {
                if path.errno != EFAULT {
                    lost_of(path.slot, Loss::TextUnreadable);
                }
                return 0;
            }
        }
    }

    let done = |operation: PathOperation| path.operation == operation as u32 && path.errno == 0;
    let target = if done(PathOperation::Open) {
        place::path_of_fd(task, path.result as i32)
    } else if done(PathOperation::Chdir) {
        place::working_directory(task)
    } else if done(PathOperation::Chroot) {
        place::root(task)
    } else if length == 0 {
        place::path_of_fd(task, path.fd)
    } else {
        0
    };
    let directory = if length == 0 {
        Place::NOWHERE
    } else {
        text::base_at(scratch, task, path.fd, path.length != 0)
    };
    let target_place = place::place(target);
    // chdir and chroot change what their own text started from; that it was is not known any more.
    let moved = done(PathOperation::Chdir) || done(PathOperation::Chroot);
    let directory = if moved && directory.dentry == target_place.dentry {
        Place::NOWHERE
    } else {
        directory
    };
    if target == 0 && directory.is_nowhere() {
        // A bad descriptor: the call failed before it looked anything up.
        return 0;
    }
    let key = once::key(scratch, target_place, directory);
    if once::is_known(&key) {
        return 0;
    }
    if !shares::may_send(path.slot) {
        return 0;
    }
    path_event::start(scratch, length);
    path_event::target(scratch, target);
    path_event::prefix(scratch, directory);
    if event.flags & path_flag::TRUNCATED != 0 {
        lost_of(path.slot, Loss::WalkTruncated);
    }
    match path_event::send(scratch) {
        Ok(()) => once::remember(&key),
        Err(()) => lost_of(path.slot, Loss::PathRingFull),
    }
    0
}
