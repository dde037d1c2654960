//! The event of a path, as it is built in the scratch and sent.

use core::mem::offset_of;

use harden_common::{BYTES_MAX, ExecutableId, InodeRecord, Loss, PathEvent, path_flag};

use crate::{
    emit, inode,
    kernel::Address,
    loss::lost_of,
    once::{self, OnceKey},
    place::{Place, root},
    scratch::{self, Request, Scratch},
    walk,
};

/// Fills in the header and what is requested, and clears the rest.
#[inline(always)]
pub fn begin(event: &mut PathEvent, kind: u32, request: &Request) {
    // Who and when is filled in when it is sent: most is not, and asking takes longer than finding that out.
    event.header.kind = kind;
    event.header.slot = request.slot;
    event.inode = InodeRecord {
        id: ExecutableId {
            inode: 0,
            device: 0,
            generation: 0,
        },
        magic: 0,
        rdev: 0,
        mode: 0,
        uid: 0,
        gid: 0,
    };
    event.operation = request.operation;
    event.errno = request.errno;
    event.argument = request.argument;
    event.flags = 0;
    event.text_length = 0;
    event.target_length = 0;
    event.prefix_length = 0;
    event.capabilities = request.capabilities;
}

/// Puts walks behind `text` bytes of text.
#[inline(always)]
pub fn set_text_length(scratch: *mut Scratch, text: u32) {
    // SAFETY: the scratch is the caller's own.
    unsafe {
        (*scratch).event.text_length = text;
        (*scratch).position = u64::from(text);
    }
}

/// Fills in what the kernel knows of the file at `dentry`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe(level: u64, dentry: Address) -> u32 {
    if let Some(scratch) = scratch::at(level)
        && let Some(inode) = inode::record(inode::of(dentry))
    {
        // SAFETY: the scratch is the caller's own.
        unsafe { (*scratch).event.inode = inode };
    }
    0
}

/// Adds the target: its inode and its walk.
#[inline(always)]
pub fn add_target(scratch: *mut Scratch, place: Place) {
    if place.is_nowhere() {
        return;
    }
    // SAFETY: the scratch is the caller's own.
    let event = unsafe { &mut (*scratch).event };
    describe(Scratch::level(scratch), place.dentry);
    event.flags |= path_flag::TARGET;
    event.target_length = walk::append(scratch, place, path_flag::UNMOUNTED);
}

/// Adds the target: its inode, and the path of `length` bytes that `bpf_d_path` has written where
/// the walks begin.
#[inline(always)]
pub fn add_written_target(scratch: *mut Scratch, place: Place, length: u32) {
    // SAFETY: the scratch is the caller's own.
    unsafe {
        let event = &mut (*scratch).event;
        describe(Scratch::level(scratch), place.dentry);
        event.flags |= path_flag::TARGET | path_flag::TARGET_IS_PATH;
        event.target_length = length;
        (*scratch).position = u64::from(length);
    }
}

/// Whether the root directory of `task` is that of its mount namespace: the walk from it finds no
/// name. To be asked before anything is written to `scratch`.
#[inline(always)]
pub fn is_rooted_at_the_top(scratch: *mut Scratch, task: Address) -> bool {
    set_text_length(scratch, 0);
    let names = walk::append(scratch, Place::of_path(root(task)), 0);
    // SAFETY: the scratch is the caller's own.
    unsafe { (*scratch).event.flags &= !path_flag::TRUNCATED };
    names == 0
}

/// Adds the walk of the directory that the text starts from.
#[inline(always)]
pub fn add_prefix(scratch: *mut Scratch, place: Place) {
    if place.is_nowhere() {
        return;
    }
    // SAFETY: the scratch is the caller's own.
    let event = unsafe { &mut (*scratch).event };
    event.flags |= path_flag::PREFIX;
    event.prefix_length = walk::append(scratch, place, 0);
}

/// Sends the event, and remembers its `key`; counts `full` if the ring buffer is full.
#[inline(always)]
pub fn send_once(scratch: *mut Scratch, key: &OnceKey, full: Loss) {
    match send(scratch) {
        Ok(()) => once::remember(key),
        // SAFETY: the scratch is the caller's own.
        Err(()) => lost_of(unsafe { (*scratch).request.slot }, full),
    }
}

/// Sends the event with as many bytes as were filled.
///
/// # Errors
/// The ring buffer is full.
#[inline(always)]
pub fn send(scratch: *mut Scratch) -> Result<(), ()> {
    const HEAD: usize = size_of::<PathEvent>();
    const _: () = assert!(offset_of!(Scratch, event) + HEAD == offset_of!(Scratch, bytes));
    // SAFETY: the scratch is the caller's own. `position` never exceeds BYTES_MAX: the last name
    // begins at most NAME_MAX before it.
    unsafe {
        let slot = (*scratch).request.slot;
        if (*scratch).event.flags & path_flag::TRUNCATED != 0 {
            lost_of(slot, Loss::WalkTruncated);
        }
        let position = (&raw const (*scratch).position).read_volatile();
        if position > BYTES_MAX as u64 {
            lost_of(slot, Loss::WalkTruncated);
            return Ok(());
        }
        (*scratch).event.header = emit::header((*scratch).event.header.kind, slot);
        emit::send_bytes((&raw const (*scratch).event).cast(), HEAD as u64 + position)
    }
}
