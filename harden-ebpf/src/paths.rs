//! Paths at the exit of the calls that take them.
//!
//! An opened file is walked: its path is the file's own. For the other calls, and for failed
//! lookups, the directory that the text starts from is walked and the text sent as given.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use harden_common::{Loss, PATH_CALLS, PathOperation, kind, path_flag};

use crate::{
    arch::{self, Call},
    emit::{self, OnceKey, lost},
    kernel::Address,
    scratch::{self, Scratch},
    walk::{self, Place},
};

const NONE: u32 = 7;
const OPENAT2: u32 = 437;
const CREAT: u32 = 85;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which creat(2) stands for.
const CREAT_FLAGS: u32 = 0o1101;
const EFAULT: u32 = 14;

/// A path argument of the call that is coming back.
struct Path {
    operation: u32,
    /// Pointer into the task's memory; 0 for none.
    text: Address,
    /// Descriptor of the directory or of the file itself.
    fd: i32,
    argument: u32,
}

/// Looks at the one or two paths of `call`.
#[inline(always)]
pub fn returned(regs: Address, call: Call, result: i64, slot: u32) {
    let Some(&entry) = PATH_CALLS.get(call.native as usize) else {
        return;
    };
    observe(regs, call, result, slot, entry & 0xffff);
    if entry >> 16 != 0 {
        observe(regs, call, result, slot, entry >> 16);
    }
}

#[inline(always)]
fn observe(regs: Address, call: Call, result: i64, slot: u32, entry: u32) {
    let Some(path) = decode(regs, call, entry) else {
        return;
    };
    scratch::with(|scratch| one(scratch, &path, result, slot));
}

#[inline(always)]
fn decode(regs: Address, call: Call, entry: u32) -> Option<Path> {
    let (text, fd, argument) = (entry >> 6 & 7, entry >> 9 & 7, entry >> 12 & 7);
    let mut path = Path {
        operation: entry & 0x3f,
        text: 0,
        fd: -100,
        argument: 0,
    };
    if text != NONE {
        path.text = arch::argument(regs, call, text)?;
    }
    if fd != NONE {
        path.fd = arch::argument(regs, call, fd)? as i32;
    }
    if argument != NONE {
        let value = arch::argument(regs, call, argument)?;
        path.argument = if call.native == OPENAT2 {
            open_how(value)
        } else {
            value as u32
        };
    }
    if call.native == CREAT {
        path.argument = CREAT_FLAGS;
    }
    Some(path)
}

/// `struct open_how` begins with the flags, a u64 (include/uapi/linux/openat2.h).
#[inline(always)]
fn open_how(how: Address) -> u32 {
    let mut flags = 0u64;
    // SAFETY: the helper writes 8 bytes to our stack, or fails.
    unsafe { bpf_probe_read_user((&raw mut flags).cast(), 8, how as *const _) };
    flags as u32
}

#[inline(never)]
fn one(scratch: *mut Scratch, path: &Path, result: i64, slot: u32) {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    // SAFETY: the scratch is ours until we return.
    let event = unsafe { &mut (*scratch).event };
    walk::begin(event, kind::PATH, slot, PathOperation::Open);
    event.operation = path.operation;
    event.argument = path.argument;
    event.errno = if (-4095..0).contains(&result) {
        -result as u32
    } else {
        0
    };

    let mut text = 0;
    if path.text != 0 {
        match walk::user_text(scratch, path.text) {
            Some(length) => text = length,
            // The call itself could not read it either, or somebody changed the memory since.
            None if event.errno == EFAULT => return,
            None => return lost(Loss::TextUnreadable),
        }
    } else {
        walk::hash(scratch, 0);
    }

    let done = |operation: PathOperation| path.operation == operation as u32 && event.errno == 0;
    let target = if done(PathOperation::Open) {
        walk::path_of_fd(task, result as i32)
    } else if done(PathOperation::Chdir) {
        walk::working_directory(task)
    } else if done(PathOperation::Chroot) {
        walk::root(task)
    } else if text == 0 {
        walk::path_of_fd(task, path.fd)
    } else {
        0
    };
    let directory = if text == 0 {
        Place::NOWHERE
    } else {
        walk::base_at(scratch, task, path.fd)
    };
    let target_place = walk::place(target);
    // chdir and chroot change what their own text started from; that it was is not known any more.
    let moved = done(PathOperation::Chdir) || done(PathOperation::Chroot);
    let directory = if moved && directory.dentry == target_place.dentry {
        Place::NOWHERE
    } else {
        directory
    };
    if target == 0 && directory.is_nowhere() {
        // A bad descriptor: the call failed before it looked anything up.
        return;
    }
    let key = key(scratch, target_place, directory);
    if emit::is_known(&key) {
        return;
    }
    walk::start(scratch, text);
    walk::target(scratch, target);
    walk::prefix(scratch, directory);
    if event.flags & path_flag::TRUNCATED != 0 {
        lost(Loss::WalkTruncated);
    }
    match walk::send(scratch) {
        Ok(()) => emit::remember(&key),
        Err(()) => lost(Loss::PathRingFull),
    }
}

/// The key of the event that `scratch` is being filled with.
#[inline(always)]
pub fn key(scratch: *mut Scratch, target: Place, directory: Place) -> OnceKey {
    // SAFETY: the scratch is the caller's own.
    let (event, hash) = unsafe { (&(*scratch).event, (*scratch).hash) };
    OnceKey {
        slot: event.header.slot,
        what: event.header.kind << 16 | event.operation,
        argument: event.argument,
        errno: event.errno,
        target: target.dentry,
        directory: directory.dentry,
        mount: target.vfsmount ^ directory.vfsmount.rotate_left(1),
        text: hash,
    }
}
