//! Files as the kernel's own security hooks see them: what is being opened, and what is being done
//! to a path.
//!
//! These hooks stand before the outcome, and know no text that a program asked for. They see what
//! no system call shows: opens through `io_uring` and by handle.

use aya_ebpf::helpers::generated::bpf_d_path;
use harden_common::{ERRNO_UNKNOWN, Loss, PathOperation, TEXT_MAX, kind, nr};

use crate::{
    attribution::{self, Current},
    capabilities,
    kernel::{self as k, Address},
    once, path_event,
    place::{Directory, Place},
    scratch::{self, Request},
    shares, text,
};

/// `__FMODE_EXEC` (include/linux/fs.h), which open(2) cannot ask for: exec reads a program. That
/// one is reported when it begins to run.
const FMODE_EXEC: u32 = 0x20;
/// `__O_TMPFILE`
const O_TMPFILE: u32 = 0o20_000_000;
const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;

/// What [`check_file`] found.
const DONE: u32 = 0;
const WALK: u32 = 1;
const WRITE: u32 = 2;

/// A `struct file *` that the verifier knows for one.
type File = *mut core::ffi::c_void;

/// The task is opening `file`.
#[inline(always)]
pub fn on_open(file: File) {
    let Some(current) = attribution::current() else {
        return;
    };
    let flags = k::read(file as Address, &k::FILE_FLAGS).unwrap_or(0);
    if flags & FMODE_EXEC != 0 || capabilities::are_credentials_lent() {
        return;
    }
    let mut place = Place::of_path(file as Address + u64::from(k::FILE_PATH.load()));
    if flags & O_TMPFILE != 0 {
        // It has no name: what is used is the directory.
        place.dentry = k::pointer(place.dentry, &k::DENTRY_PARENT).unwrap_or(0);
    }
    let request = request(current, PathOperation::Open, flags, place);
    scratch::with_request(request, |level| {
        let todo = check_file(level);
        let mut written = 0;
        if todo == WRITE
            && let Some(scratch) = scratch::at(level)
        {
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
            emit_file(level, written as u64);
        }
    });
}

/// The task is about to do `operation` to the file at `dentry`, in the mount of the `struct path`
/// `mount`.
#[inline(always)]
pub fn on_operation(operation: PathOperation, dentry: Address, mount: Address) {
    let Some(current) = attribution::current() else {
        return;
    };
    record_operation(current, operation, dentry, mount);
}

/// The task is about to make a file by mknod, or a socket by bind. The hook sees the files that open makes too.
#[inline(always)]
pub fn on_mknod(dentry: Address, mount: Address, mode: u32) {
    let Some(current) = attribution::current() else {
        return;
    };
    if does(current, PathOperation::Mknod) {
        record_operation(current, PathOperation::Mknod, dentry, mount);
    } else if is_bind(current) && mode & S_IFMT == S_IFSOCK {
        record_operation(current, PathOperation::Bind, dentry, mount);
    }
}

/// The task is about to truncate a file. The hook sees open with `O_TRUNC` too, which is no truncate.
#[inline(always)]
pub fn on_truncate(dentry: Address, mount: Address) {
    let Some(current) = attribution::current() else {
        return;
    };
    if does(current, PathOperation::Truncate) {
        record_operation(current, PathOperation::Truncate, dentry, mount);
    }
}

/// The dentry that a `struct path` names.
#[inline(always)]
pub fn dentry_of(path: Address) -> Address {
    Place::of_path(path).dentry
}

/// Whether the call in progress is bind(2).
#[inline(always)]
fn is_bind(current: Current) -> bool {
    current.call().is_some_and(|call| call.native == nr::BIND)
}

/// Whether the call in progress does `operation`.
#[inline(always)]
fn does(current: Current, operation: PathOperation) -> bool {
    current
        .call()
        .is_some_and(|call| call.paths() & 0x3f == operation as u32)
}

#[inline(always)]
fn record_operation(current: Current, operation: PathOperation, dentry: Address, mount: Address) {
    if capabilities::are_credentials_lent() {
        return;
    }
    let vfsmount = Place::of_path(mount).vfsmount;
    let request = request(current, operation, 0, Place { dentry, vfsmount });
    scratch::with_request(request, |level| {
        if check_file(level) != DONE {
            emit_file(level, 0);
        }
    });
}

#[inline(always)]
fn request(current: Current, operation: PathOperation, argument: u32, place: Place) -> Request {
    Request {
        argument,
        errno: ERRNO_UNKNOWN,
        place,
        ..Request::new(current.slot, operation)
    }
}

/// Whether the file is to be sent, and whether `bpf_d_path` can write its path: that is relative to
/// the task's own root, and writes for a deleted file or a pipe what could be another file's name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_file(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return DONE;
    };
    // SAFETY: the scratch is ours until we return.
    let (event, request) = unsafe { (&mut (*scratch).event, &(*scratch).request) };
    path_event::begin(event, kind::PATH, request);
    text::hash(scratch, 0);
    if request.place.is_nowhere()
        || once::is_known(&once::key_of(scratch, request.place, Directory::NONE))
    {
        return DONE;
    }
    let hashed: u64 = k::read(request.place.dentry, &k::DENTRY_HASHED).unwrap_or(0);
    let task = k::current_task();
    if request.argument & O_TMPFILE == 0
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
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_file(level: u64, written: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    // SAFETY: the scratch is ours until we return.
    let request = unsafe { &(*scratch).request };
    if !shares::may_send(request.slot) {
        return 0;
    }
    path_event::set_text_length(scratch, 0);
    if (written as i64) > 0 {
        let length = written.min(TEXT_MAX as u64) as u32 - 1;
        path_event::add_written_target(scratch, request.place, length);
    } else {
        path_event::add_target(scratch, request.place);
    }
    let key = once::key_of(scratch, request.place, Directory::NONE);
    path_event::send_once(scratch, &key, Loss::PathRingFull);
    0
}
