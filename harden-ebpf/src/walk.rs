//! Paths out of the kernel's own structures: from a dentry and its mount up to the root of the
//! mount namespace (fs/d_path.c, `prepend_path`, does the same).

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use harden_common::{BYTES_MAX, path_flag};

use crate::{
    kernel::{self as k, Address},
    place::Place,
    scratch::{self, NAME_MAX, Scratch},
};

/// The most names and mount points that a walk passes.
const STEPS: u32 = 256;
const STEPS_AT_ONCE: u32 = 16;

/// Appends the walk from `place`, and returns how long it is.
#[inline(always)]
pub fn append(scratch: *mut Scratch, place: Place, unmounted: u32) -> u32 {
    let level = Scratch::level(scratch);
    append_walk(level, place.dentry, place.vfsmount, u64::from(unmounted))
}

/// Appends the walk from `dentry` in `vfsmount`, and returns how long it is. The event gets the path flags that it comes to:
/// that the walk was cut, and those in `unmounted`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append_walk(level: u64, dentry: u64, vfsmount: u64, unmounted: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let unmounted = unmounted as u32;
    // SAFETY: the scratch is the caller's own.
    unsafe {
        let before = (*scratch).position;
        (*scratch).dentry = dentry;
        (*scratch).mount = vfsmount - u64::from(k::MOUNT_VFSMOUNT.load());
        let flags = walk(level);
        (*scratch).event.flags |= flags & (path_flag::TRUNCATED | unmounted);
        ((*scratch).position - before) as u32
    }
}

/// What one step of a walk came to.
mod step {
    /// A name or a mount point was passed.
    pub const UP: u32 = 0;
    /// This is the root of the mount namespace.
    pub const ROOT: u32 = 1;
    /// This lies in no mounted tree.
    pub const DETACHED: u32 = 2;
    /// There is no room for another name, or the kernel's memory could not be read.
    pub const CUT: u32 = 3;
}

/// Appends the names from the dentry in the scratch upward. Returns path flags.
///
/// Two nested loops of global functions: the verifier goes through every turn of each, so that two loops of 16 cost it 32
/// turns and not 256.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk(level: u64) -> u32 {
    for _ in 0..STEPS / STEPS_AT_ONCE {
        match walk_some(level) {
            step::UP => {}
            step::ROOT => return 0,
            step::DETACHED => return path_flag::UNMOUNTED,
            _ => return path_flag::TRUNCATED,
        }
    }
    path_flag::TRUNCATED
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_some(level: u64) -> u32 {
    for _ in 0..STEPS_AT_ONCE {
        let step = walk_step(level);
        if step != step::UP {
            return step;
        }
    }
    step::UP
}

/// A global function, so that the verifier goes through it once, and not at each turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_step(level: u64) -> u32 {
    match scratch::at(level) {
        Some(scratch) => take_step(scratch).unwrap_or(step::CUT),
        None => step::CUT,
    }
}

#[inline(always)]
fn take_step(scratch: *mut Scratch) -> Option<u32> {
    // SAFETY: the scratch is the caller's own; volatile, so that the loop's state stays in memory.
    unsafe {
        let dentry = (&raw const (*scratch).dentry).read_volatile();
        let mount = (&raw const (*scratch).mount).read_volatile();
        let vfsmount = mount + u64::from(k::MOUNT_VFSMOUNT.load());
        let parent: Address = k::read(dentry, &k::DENTRY_PARENT)?;
        if dentry == k::read(vfsmount, &k::VFSMOUNT_ROOT)? {
            let above: Address = k::read(mount, &k::MOUNT_PARENT)?;
            if above == mount {
                // The namespace's root; a kernel-internal mount (pipefs, memfd) has a file there.
                return Some(step::ROOT);
            }
            (&raw mut (*scratch).dentry).write_volatile(k::read(mount, &k::MOUNT_MOUNTPOINT)?);
            (&raw mut (*scratch).mount).write_volatile(above);
            return Some(step::UP);
        }
        if dentry == parent {
            return Some(step::DETACHED);
        }
        let position = (&raw const (*scratch).position).read_volatile();
        if position > (BYTES_MAX - NAME_MAX) as u64 {
            return Some(step::CUT);
        }
        let name = k::pointer(dentry, &k::DENTRY_NAME)?;
        let at = (&raw mut (*scratch).bytes)
            .cast::<u8>()
            .add(position as usize);
        let read = bpf_probe_read_kernel_str(at.cast(), NAME_MAX as u32, name as *const _);
        if read <= 0 {
            return None;
        }
        (&raw mut (*scratch).position).write_volatile(position + read as u64);
        (&raw mut (*scratch).dentry).write_volatile(parent);
    }
    Some(step::UP)
}
