//! Text that a call was given: read, hashed, and where it starts from.

use core::mem::offset_of;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use harden_common::TEXT_MAX;

use crate::{
    kernel::{self as k, Address},
    place::{CWD, Directory},
    scratch::{self, Scratch},
    task_state,
    verifier::masked,
};

/// Copies a path out of the task's memory, and hashes it. Its length without the NUL; `None` if it
/// cannot be read. Read at the exit of the call: then its page is in memory.
#[inline(always)]
pub fn read_user(scratch: *mut Scratch, text: Address) -> Option<u32> {
    // SAFETY: the scratch is the caller's own, with room for TEXT_MAX bytes.
    let read = unsafe {
        bpf_probe_read_user_str(
            (&raw mut (*scratch).bytes).cast(),
            TEXT_MAX as u32,
            text as *const _,
        )
    };
    hash_read(scratch, read)
}

/// Copies a string of the kernel, and hashes it. Its length without the NUL; 0 if it cannot be read.
#[inline(always)]
pub fn read_kernel(scratch: *mut Scratch, text: Address) -> u32 {
    // SAFETY: as in `read_user`.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            (&raw mut (*scratch).bytes).cast(),
            TEXT_MAX as u32,
            text as *const _,
        )
    };
    hash_read(scratch, read).unwrap_or(0)
}

/// Hashes what was read. `read` counts the NUL; some kernels return 0 for an empty string.
#[inline(always)]
fn hash_read(scratch: *mut Scratch, read: i64) -> Option<u32> {
    if read < 0 {
        return None;
    }
    let length = (read as u32).saturating_sub(1).min(TEXT_MAX as u32 - 1);
    hash(scratch, length);
    Some(length)
}

/// Hashes the first `length` bytes, FNV-1a by words of eight.
#[inline(always)]
pub fn hash(scratch: *mut Scratch, length: u32) {
    hash_at(Scratch::level(scratch), u64::from(length));
}

/// Bytes that [`hash_block`] takes.
const BLOCK: u64 = 128;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_at(level: u64, length: u64) -> u32 {
    const _: () = assert!(offset_of!(Scratch, bytes) % 8 == 0);
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let length = masked::<{ TEXT_MAX as u64 - 1 }>(length);
    // SAFETY: the scratch is the caller's own; `length` < TEXT_MAX, so the clearing word lies inside
    // `bytes`, which is larger.
    unsafe {
        let bytes = (&raw mut (*scratch).bytes).cast::<u8>();
        bytes
            .add(length as usize)
            .cast::<[u8; 8]>()
            .write_volatile([0; 8]);
        (*scratch).hash = 0xcbf2_9ce4_8422_2325;
    }
    for block in 0..TEXT_MAX as u64 / BLOCK {
        if block * BLOCK >= length {
            break;
        }
        hash_block(level, block * BLOCK, length);
    }
    0
}

/// A global function, so that the verifier goes through it once, and not for each block.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_block(level: u64, from: u64, length: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let from = masked::<{ TEXT_MAX as u64 - BLOCK }>(from);
    // SAFETY: `from` + BLOCK <= TEXT_MAX, less than the size of `bytes`; words are aligned.
    unsafe {
        let words = (&raw mut (*scratch).bytes)
            .cast::<u8>()
            .add(from as usize)
            .cast::<u64>();
        let hash = &raw mut (*scratch).hash;
        for word in 0..BLOCK / 8 {
            if from + word * 8 >= length {
                break;
            }
            let value = words.add(word as usize).read_volatile();
            let mixed = (hash.read_volatile() ^ value).wrapping_mul(0x0100_0000_01b3);
            hash.write_volatile(mixed ^ (mixed >> 32));
        }
    }
    0
}

/// Where the text of `scratch` starts from, which begins at `text`: the task's root for an absolute path, else the current
/// directory.
#[inline(always)]
pub fn base(scratch: *mut Scratch, text: u32) -> Directory {
    // SAFETY: the scratch is the caller's own; `text` is 0 or an offset into a text.
    let absolute = unsafe { (*scratch).bytes[text as usize & (TEXT_MAX - 1)] } == b'/';
    of_current(scratch, absolute)
}

/// Where the text of `scratch` starts from if a relative one does so from the descriptor `fd`, which may be `AT_FDCWD`.
/// `in_root`: an absolute one too.
#[inline(always)]
pub fn base_at(scratch: *mut Scratch, fd: i32, in_root: bool) -> Directory {
    // SAFETY: the scratch is the caller's own.
    let absolute = unsafe { (*scratch).bytes[0] } == b'/' && !in_root;
    if absolute || fd == CWD {
        of_current(scratch, absolute)
    } else {
        Directory::of_fd(task_state::current(), fd)
    }
}

/// The root of the current task's paths, or the directory that it is in.
#[inline(always)]
fn of_current(scratch: *mut Scratch, is_root: bool) -> Directory {
    let path = if is_root { &k::FS_ROOT } else { &k::FS_PWD };
    // SAFETY: the field lies in the map value.
    let kept = unsafe { &raw mut (*scratch).directory };
    Directory::of_task(task_state::current(), path, kept)
}
