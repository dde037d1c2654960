//! Paths out of the kernel's own structures: from a dentry and its mount up to the root of the
//! mount namespace (fs/d_path.c, `prepend_path`, does the same).

use core::mem::offset_of;

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel_str, bpf_probe_read_user_str, bpf_ringbuf_output,
};
use harden_common::{BYTES_MAX, ExecutableId, InodeRecord, Loss, PathEvent, TEXT_MAX, path_flag};

use crate::{
    emit::{self, lost_of},
    kernel::{self as k, Address},
    maps::EVENTS,
    scratch::{self, Asked, NAME_MAX, Scratch},
};

/// The most names and mount points that a walk passes.
const STEPS: u32 = 256;
const STEPS_AT_ONCE: u32 = 16;
/// `AT_FDCWD`
pub const CWD: i32 = -100;

/// A place in a tree of mounts.
///
/// No `Option` around it: LLVM would copy the parts of a `None`, which nobody wrote, and the
/// verifier refuses that.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// Its dentry; 0 for no place at all.
    pub dentry: Address,
    /// Its `struct vfsmount`.
    pub vfsmount: Address,
}

impl Place {
    /// No place.
    pub const NOWHERE: Self = Self {
        dentry: 0,
        vfsmount: 0,
    };

    /// Whether this is [`Place::NOWHERE`].
    #[inline(always)]
    pub fn is_nowhere(self) -> bool {
        self.dentry == 0
    }
}

/// Fills in the header and what was asked, and clears the rest.
#[inline(always)]
pub fn begin(event: &mut PathEvent, kind: u32, asked: &Asked) {
    event.header = emit::header(kind, asked.slot);
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
    event.operation = asked.operation;
    event.errno = asked.errno;
    event.argument = asked.argument;
    event.flags = 0;
    event.text_length = 0;
    event.target_length = 0;
    event.prefix_length = 0;
    event.capabilities = asked.capabilities;
}

/// Puts walks behind `text` bytes of text.
#[inline(always)]
pub fn start(scratch: *mut Scratch, text: u32) {
    // SAFETY: the scratch is the caller's own.
    unsafe {
        (*scratch).event.text_length = text;
        (*scratch).position = u64::from(text);
    }
}

/// Copies a path out of the task's memory, and hashes it. Its length without the NUL; `None` if it
/// cannot be read. Read at the exit of the call: then its page is in memory.
#[inline(always)]
pub fn user_text(scratch: *mut Scratch, text: Address) -> Option<u32> {
    // SAFETY: the scratch is the caller's own, with room for TEXT_MAX bytes.
    let read = unsafe {
        bpf_probe_read_user_str(
            (&raw mut (*scratch).bytes).cast(),
            TEXT_MAX as u32,
            text as *const _,
        )
    };
    finish_text(scratch, read)
}

/// The same for a string in the kernel.
#[inline(always)]
pub fn kernel_text(scratch: *mut Scratch, text: Address) -> u32 {
    // SAFETY: as in `user_text`.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            (&raw mut (*scratch).bytes).cast(),
            TEXT_MAX as u32,
            text as *const _,
        )
    };
    finish_text(scratch, read).unwrap_or(0)
}

/// `read` counts the NUL; some kernels return 0 for an empty string.
#[inline(always)]
fn finish_text(scratch: *mut Scratch, read: i64) -> Option<u32> {
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

/// A global function, as [`walk`] is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_at(level: u64, length: u64) -> u32 {
    const _: () = assert!(offset_of!(Scratch, bytes) % 8 == 0);
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let length = emit::masked::<{ TEXT_MAX as u64 - 1 }>(length);
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

/// A global function too: verified once, not for each block.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_block(level: u64, from: u64, length: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let from = emit::masked::<{ TEXT_MAX as u64 - BLOCK }>(from);
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

/// The inode behind `dentry`, 0 for none.
#[inline(always)]
pub fn inode_of(dentry: Address) -> Address {
    k::pointer(dentry, &k::DENTRY_INODE).unwrap_or(0)
}

/// What tells the file at `dentry`, under its present name, from others: its address alone does not,
/// as the next directory may be given the memory of one that was removed, and a rename leaves a file
/// its dentry.
///
/// A global function: verified once, and its many outcomes are one number to its callers.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mark(dentry: Address) -> u64 {
    if dentry == 0 {
        return 0;
    }
    let inode = inode_of(dentry);
    let number: u64 = k::read(inode, &k::INODE_INO).unwrap_or(0);
    let generation: u32 = k::read(inode, &k::INODE_GENERATION).unwrap_or(0);
    let parent: Address = k::read(dentry, &k::DENTRY_PARENT).unwrap_or(0);
    let name: u64 = k::read(dentry, &k::DENTRY_NAME_HASH).unwrap_or(0);
    dentry
        ^ number.rotate_left(48)
        ^ u64::from(generation).rotate_left(24)
        ^ parent.rotate_left(8)
        ^ name.rotate_left(16)
}

/// Which file `inode` is; zeros for what cannot be read.
#[inline(always)]
pub fn inode_id(inode: Address) -> ExecutableId {
    ExecutableId {
        inode: inode_number(inode),
        device: inode_device(inode) as u32,
        generation: inode_generation(inode) as u32,
    }
}

/// Global functions, these three: verified once, and one number each to their callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_number(inode: Address) -> u64 {
    k::read(inode, &k::INODE_INO).unwrap_or(0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_device(inode: Address) -> u64 {
    let sb = k::pointer(inode, &k::INODE_SB).unwrap_or(0);
    u64::from(k::read::<u32>(sb, &k::SB_DEV).unwrap_or(0))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inode_generation(inode: Address) -> u64 {
    u64::from(k::read::<u32>(inode, &k::INODE_GENERATION).unwrap_or(0))
}

#[inline(always)]
fn inode_record(inode: Address) -> Option<InodeRecord> {
    let sb = k::pointer(inode, &k::INODE_SB).filter(|_| inode != 0)?;
    let mode: u16 = k::read(inode, &k::INODE_MODE)?;
    Some(InodeRecord {
        id: inode_id(inode),
        magic: k::read(sb, &k::SB_MAGIC)?,
        rdev: k::read(inode, &k::INODE_RDEV)?,
        mode: u32::from(mode),
        uid: k::read(inode, &k::INODE_UID)?,
        gid: k::read(inode, &k::INODE_GID)?,
    })
}

/// Fills in what the kernel knows of the file at `dentry`.
///
/// A global function: verified once, whatever cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn describe(level: u64, dentry: Address) -> u32 {
    if let Some(scratch) = scratch::at(level)
        && let Some(inode) = inode_record(inode_of(dentry))
    {
        // SAFETY: the scratch is the caller's own.
        unsafe { (*scratch).event.inode = inode };
    }
    0
}

/// What the `struct path` at `path` says; nowhere if that is 0.
#[inline(always)]
pub fn place(path: Address) -> Place {
    if path == 0 {
        return Place::NOWHERE;
    }
    Place {
        dentry: k::read(path, &k::PATH_DENTRY).unwrap_or(0),
        vfsmount: k::read(path, &k::PATH_MNT).unwrap_or(0),
    }
}

/// Address of the `f_path` of the file behind descriptor `fd` of `task`, the current one; 0 if
/// there is none.
#[inline(always)]
pub fn path_of_fd(task: Address, fd: i32) -> Address {
    file_of_fd(task, fd).map_or(0, |file| file + u64::from(k::FILE_PATH.load()))
}

#[inline(always)]
fn file_of_fd(task: Address, fd: i32) -> Option<Address> {
    if fd < 0 {
        return None;
    }
    let files = k::pointer(task, &k::TASK_FILES)?;
    let fdt = k::pointer(files, &k::FILES_FDT)?;
    let max: u32 = k::read(fdt, &k::FDTABLE_MAX_FDS)?;
    if fd as u32 >= max {
        return None;
    }
    let table = k::pointer(fdt, &k::FDTABLE_FD)?;
    k::read_at(table + fd as u64 * 8).filter(|&file: &Address| file != 0)
}

/// Address of the `struct path` of the current directory of `task`; 0 if it has none.
#[inline(always)]
pub fn working_directory(task: Address) -> Address {
    k::pointer(task, &k::TASK_FS).map_or(0, |fs| fs + u64::from(k::FS_PWD.load()))
}

/// The same of its root directory.
#[inline(always)]
pub fn root(task: Address) -> Address {
    k::pointer(task, &k::TASK_FS).map_or(0, |fs| fs + u64::from(k::FS_ROOT.load()))
}

/// Where the text of `scratch` starts from: the task's root for an absolute path, else the current
/// directory.
#[inline(always)]
pub fn base(scratch: *mut Scratch, task: Address, text: u32) -> Place {
    let Some(fs) = k::pointer(task, &k::TASK_FS) else {
        return Place::NOWHERE;
    };
    // SAFETY: the scratch is the caller's own; `text` is 0 or an offset into a text.
    let absolute = unsafe { (*scratch).bytes[text as usize & (TEXT_MAX - 1)] } == b'/';
    let offset = if absolute {
        k::FS_ROOT.load()
    } else {
        k::FS_PWD.load()
    };
    place(fs + u64::from(offset))
}

/// The same for a path relative to descriptor `fd`, which may be `AT_FDCWD`. `in_root`: an absolute
/// path is relative to it too.
#[inline(always)]
pub fn base_at(scratch: *mut Scratch, task: Address, fd: i32, in_root: bool) -> Place {
    // SAFETY: the scratch is the caller's own.
    let absolute = unsafe { (*scratch).bytes[0] } == b'/';
    place(if absolute && !in_root {
        root(task)
    } else if fd == CWD {
        working_directory(task)
    } else {
        path_of_fd(task, fd)
    })
}

/// Adds the target: its inode and its walk.
#[inline(always)]
pub fn target(scratch: *mut Scratch, path: Address) {
    target_at(scratch, place(path));
}

/// The same for a place.
#[inline(always)]
pub fn target_at(scratch: *mut Scratch, place: Place) {
    if place.is_nowhere() {
        return;
    }
    // SAFETY: the scratch is the caller's own.
    let event = unsafe { &mut (*scratch).event };
    describe(Scratch::level(scratch), place.dentry);
    event.flags |= path_flag::TARGET;
    event.target_length = walk_from(scratch, place, path_flag::UNMOUNTED);
}

/// Adds the target: its inode, and the path of `length` bytes that `bpf_d_path` has written where
/// the walks begin.
#[inline(always)]
pub fn target_written(scratch: *mut Scratch, place: Place, length: u32) {
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
    start(scratch, 0);
    let names = walk_from(scratch, place(root(task)), 0);
    // SAFETY: the scratch is the caller's own.
    unsafe { (*scratch).event.flags &= !path_flag::TRUNCATED };
    names == 0
}

/// Adds the walk of the directory that the text starts from.
#[inline(always)]
pub fn prefix(scratch: *mut Scratch, place: Place) {
    if place.is_nowhere() {
        return;
    }
    // SAFETY: the scratch is the caller's own.
    let event = unsafe { &mut (*scratch).event };
    event.flags |= path_flag::PREFIX;
    event.prefix_length = walk_from(scratch, place, 0);
}

/// Appends the walk from `place`, and returns how long it is.
#[inline(always)]
fn walk_from(scratch: *mut Scratch, place: Place, unmounted: u32) -> u32 {
    let level = Scratch::level(scratch);
    append_walk(level, place.dentry, place.vfsmount, u64::from(unmounted))
}

/// A global function, as [`walk`] is.
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
/// A global function (see [`scratch::with`]), in two nested loops: the verifier goes through every
/// turn of each, so that two loops of 16 cost it 32 turns and not 256.
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

/// A global function too: verified once, not at each turn of the loop.
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
    let sent = unsafe {
        let position = (&raw const (*scratch).position).read_volatile();
        if position > BYTES_MAX as u64 {
            lost_of((*scratch).asked.slot, Loss::WalkTruncated);
            return Ok(());
        }
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            (&raw mut (*scratch).event).cast(),
            HEAD as u64 + position,
            0,
        )
    };
    (sent == 0).then_some(()).ok_or(())
}
