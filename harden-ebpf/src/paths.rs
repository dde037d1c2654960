//! Paths at the exit of the calls that take them.
//!
//! An opened file is walked: its path is the file's own. For the other calls, and for failed
//! lookups, the directory that the text starts from is walked and the text sent as given.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use harden_common::{Loss, PathOperation, kind, nr};

use crate::{
    arch,
    kernel::{self as k, Address},
    loss::lost_of,
    once, path_event,
    place::{self, Directory, Place},
    scratch::{self, Request, Returned, request_flag},
    shares, task_state, text,
};

/// No argument: in [`Returned::arguments`] there is a 0.
const NONE: u32 = 7;
/// `O_CREAT | O_WRONLY | O_TRUNC`, which creat(2) implies.
const CREAT_FLAGS: u32 = 0o1101;
const RESOLVE_IN_ROOT: u64 = 0x10;
const EFAULT: u32 = 14;

/// Looks at the one or two paths of the call that came back, which are where `paths` says, an entry of `PATH_CALLS`.
#[inline(always)]
pub fn on_exit(level: u64, paths: u32) {
    emit_path(level, u64::from(paths & 0xffff));
    if paths >> 16 != 0 {
        emit_path(level, u64::from(paths >> 16));
    }
}

/// What is to be sent of the path that is where `entry` says.
#[inline(always)]
fn request(returned: &Returned, entry: u32) -> Request {
    let (text, fd, argument) = (entry >> 6 & 7, entry >> 9 & 7, entry >> 12 & 7);
    let read = |index: u32| returned.arguments[index as usize & 7];
    let (mut argument, mut flags) = (read(argument) as u32, 0);
    if returned.native == nr::OPENAT2 {
        (argument, flags) = open_how(read(2));
    } else if returned.native == nr::CREAT {
        argument = CREAT_FLAGS;
    }
    Request {
        slot: returned.slot,
        operation: entry & 0x3f,
        argument,
        errno: arch::errno(returned.result),
        text: read(text),
        length: 0,
        flags,
        fd: if fd == NONE {
            place::CWD
        } else {
            read(fd) as i32
        },
        capabilities: returned.capabilities,
        result: returned.result,
        place: Place::NOWHERE,
    }
}

/// The flags in `struct open_how`, and those of the request. The struct is flags, mode and resolve, a u64 each
/// (include/uapi/linux/openat2.h).
#[inline(always)]
fn open_how(how: Address) -> (u32, u32) {
    let mut fields = MaybeUninit::<[u64; 3]>::uninit();
    // SAFETY: the helper writes 24 bytes to our stack, zeroes if it cannot read.
    let [flags, _, resolve] = unsafe {
        bpf_probe_read_user(fields.as_mut_ptr().cast(), 24, how as *const _);
        fields.assume_init()
    };
    let in_root = if resolve & RESOLVE_IN_ROOT != 0 {
        request_flag::IN_ROOT
    } else {
        0
    };
    (flags as u32, in_root)
}

/// Sends the path that is where `entry` says.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_path(level: u64, entry: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let task = k::current_task();
    // SAFETY: the scratch is ours until we return.
    let (event, request) = unsafe {
        (*scratch).request = request(&(*scratch).returned, entry as u32);
        (&mut (*scratch).event, &(*scratch).request)
    };
    path_event::begin(event, kind::PATH, request);

    let mut length = 0;
    if request.text == 0 {
        text::hash(scratch, 0);
    } else {
        match text::read_user(scratch, request.text) {
            Some(read) => length = read,
            // The call itself could not read it either, or somebody changed the memory since.
            None => {
                if request.errno != EFAULT {
                    lost_of(request.slot, Loss::TextUnreadable);
                }
                return 0;
            }
        }
    }

    let done =
        |operation: PathOperation| request.operation == operation as u32 && request.errno == 0;
    let target = if done(PathOperation::Open) {
        place::path_of_fd(task_state::current(), request.result as i32)
    } else if done(PathOperation::Chdir) {
        place::working_directory(task)
    } else if done(PathOperation::Chroot) {
        place::root(task)
    } else if length == 0 {
        place::path_of_fd(task_state::current(), request.fd)
    } else {
        0
    };
    let directory = if length == 0 {
        Directory::NONE
    } else {
        text::base_at(
            scratch,
            request.fd,
            request.flags & request_flag::IN_ROOT != 0,
        )
    };
    let target_place = Place::of_path(target);
    // chdir and chroot change what their own text started from; that it was is not known any more.
    let moved = done(PathOperation::Chdir) || done(PathOperation::Chroot);
    let directory = if moved && directory.place.dentry == target_place.dentry {
        Directory::NONE
    } else {
        directory
    };
    if target == 0 && directory.place.is_nowhere() {
        // A bad descriptor: the call failed before it looked anything up.
        return 0;
    }
    let key = once::key_of(scratch, target_place, directory);
    if once::is_known(&key) {
        return 0;
    }
    if !shares::may_send(request.slot) {
        return 0;
    }
    path_event::set_text_length(scratch, length);
    path_event::add_target(scratch, target_place);
    path_event::add_prefix(scratch, directory.place);
    path_event::send_once(scratch, &key, Loss::PathRingFull);
    0
}
