//! Places in the tree of mounts, and those that a task's paths start from.

use crate::kernel::{self as k, Address};

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
        Self {
            dentry: k::read(path, &k::PATH_DENTRY).unwrap_or(0),
            vfsmount: k::read(path, &k::PATH_MNT).unwrap_or(0),
        }
    }

    /// Whether this is [`Place::NOWHERE`].
    #[inline(always)]
    pub fn is_nowhere(self) -> bool {
        self.dentry == 0
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
