//! Paths out of the kernel's own structures: from a dentry and its mount up to the root of the
//! mount namespace (fs/d_path.c, `prepend_path`, does the same).

use core::mem::offset_of;

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel_str, bpf_probe_read_user_str, bpf_ringbuf_output,
};
use harden_common::{BYTES_MAX, ExecutableId, InodeRecord, Loss, PathEvent, TEXT_MAX, path_flag};

use crate::{
    emit::{self, lost},
    kernel::{self as k, Address},
    maps::EVENTS,
    scratch::{self, Asked, NAME_MAX, Scratch},
};

/// The most names and mount points that a walk passes.
const STEPS: u32 = 128;
/// `AT_FDCWD`
pub const CWD: i32 = -100;

/// A place in a tree of mounts.
///
/// No `Option` around it: LLVM would copy the parts of a `None`, which nobody wrote, and the
/// verifier refuses that.
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
    event.reserved = 0;
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

/// A global function, as [`walk`] is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hash_at(level: u64, length: u64) -> u32 {
    const _: () = assert!(offset_of!(Scratch, bytes) % 8 == 0);
    let Some(scratch) = scratch::at(level) else {
        return 0;
    };
    let length = emit::masked::<{ TEXT_MAX as u64 - 1 }>(length) as usize;
    // SAFETY: the scratch is the caller's own; `length` < TEXT_MAX, so the clearing word and all
    // words of the loop lie inside `bytes`, which is larger, and words are aligned.
    unsafe {
        let bytes = (&raw mut (*scratch).bytes).cast::<u8>();
        bytes.add(length).cast::<[u8; 8]>().write_volatile([0; 8]);
        (*scratch).hash = 0xcbf2_9ce4_8422_2325;
        let hash = &raw mut (*scratch).hash;
        for word in 0..TEXT_MAX / 8 {
            if word * 8 >= length {
                break;
            }
            let value = bytes.cast::<u64>().add(word).read_volatile();
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

/// What tells the file at `dentry` from others: its address alone does not, as the next directory
/// may be given the memory of one that was removed.
#[inline(always)]
pub fn mark(dentry: Address) -> u64 {
    if dentry == 0 {
        return 0;
    }
    let inode = inode_of(dentry);
    let number: u64 = k::read(inode, &k::INODE_INO).unwrap_or(0);
    let generation: u32 = k::read(inode, &k::INODE_GENERATION).unwrap_or(0);
    dentry ^ number.rotate_left(48) ^ u64::from(generation).rotate_left(24)
}

/// Which file `inode` is.
#[inline(always)]
pub fn inode_id(inode: Address) -> Option<ExecutableId> {
    let sb = k::pointer(inode, &k::INODE_SB).filter(|_| inode != 0)?;
    Some(ExecutableId {
        inode: k::read(inode, &k::INODE_INO)?,
        device: k::read(sb, &k::SB_DEV)?,
        generation: k::read(inode, &k::INODE_GENERATION)?,
    })
}

#[inline(always)]
fn inode_record(inode: Address) -> Option<InodeRecord> {
    let sb = k::pointer(inode, &k::INODE_SB).filter(|_| inode != 0)?;
    let mode: u16 = k::read(inode, &k::INODE_MODE)?;
    Some(InodeRecord {
        id: inode_id(inode)?,
        magic: k::read(sb, &k::SB_MAGIC)?,
        rdev: k::read(inode, &k::INODE_RDEV)?,
        mode: u32::from(mode),
        uid: k::read(inode, &k::INODE_UID)?,
        gid: k::read(inode, &k::INODE_GID)?,
    })
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
    let place = place(path);
    if place.is_nowhere() {
        return;
    }
    // SAFETY: the scratch is the caller's own.
    let event = unsafe { &mut (*scratch).event };
    if let Some(inode) = inode_record(inode_of(place.dentry)) {
        event.inode = inode;
    }
    event.flags |= path_flag::TARGET;
    event.target_length = walk_from(scratch, place, path_flag::UNMOUNTED);
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

#[inline(always)]
fn walk_from(scratch: *mut Scratch, place: Place, unmounted: u32) -> u32 {
    // SAFETY: the scratch is the caller's own.
    unsafe {
        let before = (*scratch).position;
        (*scratch).dentry = place.dentry;
        (*scratch).mount = place.vfsmount - u64::from(k::MOUNT_VFSMOUNT.load());
        let flags = walk(Scratch::level(scratch));
        (*scratch).event.flags |= flags & (path_flag::TRUNCATED | unmounted);
        ((*scratch).position - before) as u32
    }
}

/// One turn's outcome.
enum Step {
    Up,
    Root,
    Detached,
    Full,
}

/// Appends the names from the dentry in the scratch upward. Returns path flags.
///
/// A global function (see [`scratch::with`]).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk(level: u64) -> u32 {
    let Some(scratch) = scratch::at(level) else {
        return path_flag::TRUNCATED;
    };
    for _ in 0..STEPS {
        match step(scratch) {
            Some(Step::Up) => {}
            Some(Step::Root) => return 0,
            Some(Step::Detached) => return path_flag::UNMOUNTED,
            Some(Step::Full) | None => return path_flag::TRUNCATED,
        }
    }
    path_flag::TRUNCATED
}

#[inline(always)]
fn step(scratch: *mut Scratch) -> Option<Step> {
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
                return Some(Step::Root);
            }
            (&raw mut (*scratch).dentry).write_volatile(k::read(mount, &k::MOUNT_MOUNTPOINT)?);
            (&raw mut (*scratch).mount).write_volatile(above);
            return Some(Step::Up);
        }
        if dentry == parent {
            return Some(Step::Detached);
        }
        let position = (&raw const (*scratch).position).read_volatile();
        if position > (BYTES_MAX - NAME_MAX) as u64 {
            return Some(Step::Full);
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
    Some(Step::Up)
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
            lost(Loss::WalkTruncated);
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
