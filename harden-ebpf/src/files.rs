//! Files as the kernel's own security hooks see them: what is being opened, and what is being done
//! to a path.
//!
//! These hooks stand before the outcome, and know no text that a program asked for. They see what
//! no system call shows: opens through `io_uring` and by handle.

use aya_ebpf::helpers::generated::{bpf_d_path, bpf_get_current_task};
use harden_common::{ERRNO_UNKNOWN, Loss, PathOperation, TEXT_MAX, kind, path_flag};

use crate::{
    arch::Call,
    attribution::{self, Current},
    capabilities,
    kernel::{self as k, Address},
    loss::lost_of,
    once, path_event,
    place::{self, Place},
    scratch::{self, Asked},
    shares, text,
};

/// `__FMODE_EXEC` (include/linux/fs.h), which open(2) cannot ask for: exec reads a program. That
/// one is told when it begins to run.
const FMODE_EXEC: u32 = 0x20;
/// `__O_TMPFILE`
const O_TMPFILE: u32 = 0o20_000_000;
const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const BIND: u32 = 49;

/// What [`file_met`] found.
const DONE: u32 = 0;
const WALK: u32 = 1;
const WRITE: u32 = 2;

/// A `struct file *` that the verifier knows for one.
type File = *mut core::ffi::c_void;

/// The task is opening `file`.
#[inline(always)]
pub fn opening(file: File) {
    let Some(current) = attribution::current() else {
        return;
    };
    let flags = k::read(file as Address, &k::FILE_FLAGS).unwrap_or(0);
    if flags & FMODE_EXEC != 0 || capabilities::are_credentials_lent() {
        return;
    }
    let mut place = place::place(file as Address + u64::from(k::FILE_PATH.load()));
    if flags & O_TMPFILE != 0 {
        // It has no name: what is used is the directory.
        place.dentry = k::pointer(place.dentry, &k::DENTRY_PARENT).unwrap_or(0);
    }
    let asked = asked(current, PathOperation::Open, flags, place);
    scratch::with(current.slot, |level| {
        let Some(scratch) = scratch::at(level) else {
            return;
        };
        // SAFETY: the scratch is ours until we return.
        unsafe { (*scratch).asked = asked };
        let todo = file_met(level);
        let mut written = 0;
        if todo == WRITE {
            // SAFETY: the offset is a frozen constant, so that the verifier takes the sum for a
            // `struct path *`; `bytes` has room for TEXT_MAX bytes.
            written = unsafe {
                bpf_d_path(
                    file.cast::<u8>().add(k::FILE_PATH.load() as usize).cast(),
                    (&raw mut (*scratch).bytes).cast(),
                    TEXT_MAX as u32,
                )
            };
        }
        if todo != DONE {
            file_told(level, written as u64);
        }
    });
}

/// The task is about to do `operation` to the file at `dentry`, in the mount of the `struct path`
/// `mount`.
#[inline(always)]
pub fn trying(operation: PathOperation, dentry: Address, mount: Address) {
    let Some(current) = attribution::current() else {
        return;
    };
    try_operation(current, operation, dentry, mount);
}

/// The same for mknod, whose hook also sees files made by open and sockets made by bind.
#[inline(always)]
pub fn trying_mknod(dentry: Address, mount: Address, mode: u32) {
    let Some(current) = attribution::current() else {
        return;
    };
    let call = call(current);
    if does(call, PathOperation::Mknod) {
        try_operation(current, PathOperation::Mknod, dentry, mount);
    } else if call.native == BIND && mode & S_IFMT == S_IFSOCK {
        try_operation(current, PathOperation::Bind, dentry, mount);
    }
}

/// The same for truncate, whose hook also sees open with `O_TRUNC`.
#[inline(always)]
pub fn trying_truncate(dentry: Address, mount: Address) {
    let Some(current) = attribution::current() else {
        return;
    };
    if does(call(current), PathOperation::Truncate) {
        try_operation(current, PathOperation::Truncate, dentry, mount);
    }
}

/// The dentry that a `struct path` names.
#[inline(always)]
pub fn dentry_of(path: Address) -> Address {
    place::place(path).dentry
}

/// The call in progress; number 0 if there is none.
#[inline(always)]
fn call(current: Current) -> Call {
    let mark = if current.state.is_null() {
        0
    } else {
        // SAFETY: a whole value of the map.
        unsafe { (*current.state).call }
    };
    Call::from_mark(mark)
}

#[inline(always)]
fn does(call: Call, operation: PathOperation) -> bool {
    call.paths() & 0x3f == operation as u32
}

#[inline(always)]
fn try_operation(current: Current, operation: PathOperation, dentry: Address, mount: Address) {
    if capabilities::are_credentials_lent() {
        return;
    }
    let vfsmount = place::place(mount).vfsmount;
    let asked = asked(current, operation, 0, Place { dentry, vfsmount });
    scratch::with(current.slot, |level| {
        if let Some(scratch) = scratch::at(level) {
            // SAFETY: the scratch is ours until we return.
            unsafe { (*scratch).asked = asked };
        }
        if file_met(level) != DONE {
            file_told(level, 0);
        }
    });
}

#[inline(always)]
fn asked(current: Current, operation: PathOperation, argument: u32, place: Place) -> Asked {
    Asked {
        slot: current.slot,
        operation: operation as u32,
        argument,
        errno: ERRNO_UNKNOWN,
        text: 0,
        length: 0,
        fd: place::CWD,
        capabilities: 0,
        result: 0,
        place,
    }
}

/// Whether the file needs telling, and whether `bpf_d_path` can write its path: that is relative to
/// the task's own root, and writes for a deleted file or a pipe what could be another file's name.
///
/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_met(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return DONE;
    };
    // SAFETY: the scratch is ours until we return.
    let (event, asked) = unsafe { (&mut (*scratch).event, &(*scratch).asked) };
    path_event::begin(event, kind::PATH, asked);
    text::hash(scratch, 0);
    if asked.place.is_nowhere() || once::is_known(&once::key(scratch, asked.place, Place::NOWHERE))
    {
        return DONE;
    }
    let hashed: u64 = k::read(asked.place.dentry, &k::DENTRY_HASHED).unwrap_or(0);
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    if asked.argument & O_TMPFILE == 0
        && hashed != 0
        && path_event::is_rooted_at_the_top(scratch, task)
    {
        WRITE
    } else {
        WALK
    }
}

/// Sends the file, with the path that `bpf_d_path` wrote if `written`, its length with the NUL, is
/// above 0.
///
/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_told(level: u64, written: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the scratch is ours until we return.
    let (event, asked) = unsafe { (&mut (*scratch).event, &(*scratch).asked) };
    if !shares::may_send(asked.slot) {
        return 0;
    }
    path_event::start(scratch, 0);
    if (written as i64) > 0 {
        let length = written.min(TEXT_MAX as u64) as u32 - 1;
        path_event::target_written(scratch, asked.place, length);
    } else {
        path_event::target_at(scratch, asked.place);
    }
    if event.flags & path_flag::TRUNCATED != 0 {
        lost_of(asked.slot, Loss::WalkTruncated);
    }
    let key = once::key(scratch, asked.place, Place::NOWHERE);
    match path_event::send(scratch) {
        Ok(()) => once::remember(&key),
        Err(()) => lost_of(asked.slot, Loss::PathRingFull),
    }
    0
}
