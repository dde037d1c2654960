//! Places in the tree of mounts, and those that a task's paths start from.

use aya_ebpf::Global;

use crate::{
    inode,
    kernel::{self as k, Address},
    task_state::{Task, follow, member},
};

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

    /// What the `struct path` at `path` says; nowhere if that is 0.
    #[inline(always)]
    pub fn of_path(path: Address) -> Self {
        if path == 0 {
            return Self::NOWHERE;
        }
        let [dentry, vfsmount] = k::read_all(path, [&k::PATH_DENTRY, &k::PATH_MNT]);
        Self { dentry, vfsmount }
    }

    /// Whether this is [`Place::NOWHERE`].
    #[inline(always)]
    pub fn is_nowhere(self) -> bool {
        self.dentry == 0
    }
}

/// A directory that a text starts from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Directory {
    /// Where it is.
    pub place: Place,
    /// As [`inode::fingerprint`] has it.
    pub fingerprint: u64,
}

impl Directory {
    /// No directory.
    pub const NONE: Self = Self {
        place: Place::NOWHERE,
        fingerprint: 0,
    };

    /// That behind descriptor `fd` of `task`, the current one.
    #[inline(always)]
    pub fn of_fd(task: Task, fd: i32) -> Self {
        let place = Place::of_path(path_of_fd(task, fd));
        Self {
            place,
            fingerprint: inode::fingerprint(place.dentry),
        }
    }

    /// The root of the task's paths, or the directory that it is in, as `path` says: [`k::FS_ROOT`] or [`k::FS_PWD`].
    ///
    /// Read without a helper, and through memory in `kept`: what the verifier knows for a pointer is no number to it.
    #[inline(always)]
    pub fn of_task(task: Task, path: &Global<u32>, kept: *mut Self) -> Self {
        let fs = follow(task, &k::TASK_FS);
        if fs.is_null() {
            return Self::NONE;
        }
        // SAFETY: a frozen offset inside the structure.
        let path = unsafe { fs.cast::<u8>().add(path.load() as usize) }.cast();
        let (dentry, vfsmount) = (follow(path, &k::PATH_DENTRY), follow(path, &k::PATH_MNT));
        // SAFETY: `kept` is the caller's own.
        unsafe {
            (&raw mut (*kept).place.dentry).write_volatile(dentry as Address);
            (&raw mut (*kept).place.vfsmount).write_volatile(vfsmount as Address);
            let parent = &raw mut (*kept).fingerprint;
            parent.write_volatile(follow(dentry, &k::DENTRY_PARENT) as Address);
            let place = (&raw const (*kept).place).read_volatile();
            Self {
                place,
                fingerprint: inode::fingerprint_of(place.dentry, dentry, parent.read_volatile()),
            }
        }
    }
}

/// Address of the `f_path` of the file behind descriptor `fd` of `task`, the current one; 0 if
/// there is none.
#[inline(always)]
pub fn path_of_fd(task: Task, fd: i32) -> Address {
    file_of_fd(task, fd).map_or(0, |file| file + u64::from(k::FILE_PATH.load()))
}

#[inline(always)]
fn file_of_fd(task: Task, fd: i32) -> Option<Address> {
    if fd < 0 {
        return None;
    }
    let files = follow(task, &k::TASK_FILES);
    if files.is_null() {
        return None;
    }
    let fdt = follow(files, &k::FILES_FDT);
    if fd as u32 >= member::<u32>(fdt, &k::FDTABLE_MAX_FDS) {
        return None;
    }
    let table: Address = member(fdt, &k::FDTABLE_FD);
    k::read_at(table + fd as u64 * 8).filter(|&file: &Address| file != 0)
}

/// Address of the `struct path` of the current directory of `task`; 0 if it has none.
#[inline(always)]
pub fn working_directory(task: Address) -> Address {
    k::pointer(task, &k::TASK_FS).map_or(0, |fs| fs + u64::from(k::FS_PWD.load()))
}

/// Address of the `struct path` of the root directory of `task`; 0 if it has none.
#[inline(always)]
pub fn root(task: Address) -> Address {
    k::pointer(task, &k::TASK_FS).map_or(0, |fs| fs + u64::from(k::FS_ROOT.load()))
}

/// What tells the root that the current task's paths begin at from another: the dentry that is mounted there, 0 if it
/// cannot be read. A copy of the mount namespace has the same, `pivot_root` and a container have others; chroot leaves it as
/// it is, as walks go up through it.
///
/// From the task's root up, the last mount that is reached through a directory of another. What is mounted on the root of
/// another hides that, as the root file system hides the kernel's own rootfs (fs/namespace.c, `init_mount_tree`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mount_root() -> u64 {
    /// Mounts in mounts that are followed.
    const DEPTH: usize = 8;
    let task = k::current_task();
    let Some(vfsmount) = k::pointer(task, &k::TASK_FS).and_then(|fs| {
        let root = fs + u64::from(k::FS_ROOT.load());
        k::pointer(root, &k::PATH_MNT)
    }) else {
        return 0;
    };
    let inside = u64::from(k::MOUNT_VFSMOUNT.load());
    let mut mount = vfsmount.wrapping_sub(inside);
    let root_of = |mount: Address| k::pointer(mount + inside, &k::VFSMOUNT_ROOT);
    let mut root = root_of(mount).unwrap_or(0);
    for _ in 0..DEPTH {
        let Some(parent) = k::pointer(mount, &k::MOUNT_PARENT) else {
            return 0;
        };
        if parent == mount {
            return root;
        }
        let Some(mounted_on) = root_of(parent) else {
            return 0;
        };
        if k::pointer(mount, &k::MOUNT_MOUNTPOINT) != Some(mounted_on) {
            root = mounted_on;
        }
        mount = parent;
    }
    0
}
