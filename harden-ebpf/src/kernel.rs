//! The running kernel's structures: where their members are, and how they are read.
//!
//! No offset is compiled in. The agent finds each in the running kernel's BTF and overrides the
//! constants here before loading; frozen, the verifier takes them as known numbers.

use core::mem::MaybeUninit;

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[unsafe(no_mangle)] pub static $name: Global<u32> = Global::new(0);)*
    };
}

offsets! {
    /// `task_struct.self_exec_id` (u64 since 5.7): raised by every exec.
    TASK_SELF_EXEC_ID;
    /// `task_struct.group_leader`
    TASK_GROUP_LEADER;
    /// `task_struct.real_cred`
    TASK_REAL_CRED;
    /// `task_struct.cred`: other credentials than `real_cred` are lent for a moment.
    TASK_CRED;
    /// `cred.cap_effective`
    CRED_EFFECTIVE;
    /// `cred.cap_permitted`
    CRED_PERMITTED;
    /// `cred.cap_inheritable`
    CRED_INHERITABLE;
    /// `cred.user_ns`
    CRED_USER_NS;
    /// `task_struct.seccomp.mode`: 0 for a task without a filter.
    TASK_SECCOMP_MODE;
    /// `task_struct.mm`
    TASK_MM;
    /// `task_struct.fs`
    TASK_FS;
    /// `task_struct.files`
    TASK_FILES;
    /// `task_struct.exit_code`
    TASK_EXIT_CODE;
    /// `task_struct.signal`
    TASK_SIGNAL;
    /// `signal_struct.flags`
    SIGNAL_FLAGS;
    /// `task_struct.start_boottime`: with the thread id it names a task for ever.
    TASK_START_BOOTTIME;
    /// `task_struct.pid`
    TASK_PID;
    /// `task_struct.thread_info.status`
    TASK_THREAD_STATUS;
    /// `mm_struct.exe_file`
    MM_EXE_FILE;
    /// `fs_struct.root`
    FS_ROOT;
    /// `fs_struct.pwd`
    FS_PWD;
    /// `files_struct.fdt`
    FILES_FDT;
    /// `fdtable.max_fds`
    FDTABLE_MAX_FDS;
    /// `fdtable.fd`
    FDTABLE_FD;
    /// `file.f_path`
    FILE_PATH;
    /// `file.f_flags`
    FILE_FLAGS;
    /// `path.mnt`
    PATH_MNT;
    /// `path.dentry`
    PATH_DENTRY;
    /// `mount.mnt`: the `vfsmount` that a path points to lies inside its `mount`.
    MOUNT_VFSMOUNT;
    /// `mount.mnt_parent`
    MOUNT_PARENT;
    /// `mount.mnt_mountpoint`
    MOUNT_MOUNTPOINT;
    /// `vfsmount.mnt_root`
    VFSMOUNT_ROOT;
    /// `dentry.d_parent`
    DENTRY_PARENT;
    /// `dentry.d_name.name`
    DENTRY_NAME;
    /// `dentry.d_name.hash_len`: hash and length of the name.
    DENTRY_NAME_HASH;
    /// `dentry.d_inode`
    DENTRY_INODE;
    /// `dentry.d_hash.pprev`: NULL for a dentry that no lookup finds.
    DENTRY_HASHED;
    /// `inode.i_mode`
    INODE_MODE;
    /// `inode.i_uid`
    INODE_UID;
    /// `inode.i_gid`
    INODE_GID;
    /// `inode.i_rdev`
    INODE_RDEV;
    /// `inode.i_ino`
    INODE_INO;
    /// `inode.i_generation`
    INODE_GENERATION;
    /// `inode.i_sb`
    INODE_SB;
    /// `super_block.s_dev`
    SB_DEV;
    /// `super_block.s_magic`
    SB_MAGIC;
    /// `user_namespace.level`: 0 is the initial one.
    USER_NS_LEVEL;
    /// `linux_binprm.filename`
    BINPRM_FILENAME;
    /// `kernel_siginfo.si_code`
    SIGINFO_CODE;
    /// `task_struct.cgroups`, a `css_set`.
    TASK_CGROUPS;
    /// `css_set.dom_cset`: that of the process, where a thread is in a threaded cgroup.
    CSS_SET_DOMAIN;
    /// `css_set.dfl_cgrp`: the cgroup of version 2.
    CSS_SET_CGROUP;
    /// `cgroup.kn`
    CGROUP_KN;
    /// `kernfs_node.id`
    KERNFS_NODE_ID;
    /// `cgroup.root`
    CGROUP_ROOT;
    /// `cgroup_root.hierarchy_id`: 0 is version 2's.
    CGROUP_ROOT_HIERARCHY;
    /// `cgroup.level`: 0 for the root.
    CGROUP_LEVEL;
    /// `cgroup.self.parent`, a `cgroup_subsys_state`.
    CGROUP_PARENT_CSS;
    /// `cgroup_subsys_state.cgroup`
    CSS_CGROUP;
}

/// A kernel address.
pub type Address = u64;

/// Reads a `T` at `address` + `offset`. `None` if the address is not mapped.
///
/// `T` must be plain data. Members are read one by one: a kernel may have randomised its layouts.
#[inline(always)]
pub fn read<T: Copy>(address: Address, offset: &Global<u32>) -> Option<T> {
    read_at(address.wrapping_add(u64::from(offset.load())))
}

/// Reads a `T` at `address`.
#[inline(always)]
pub fn read_at<T: Copy>(address: Address) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes size_of::<T>() bytes to our stack, or fails; all callers ask for
    // integers, for which every bit pattern is a value.
    unsafe {
        let failed = bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        (failed == 0).then(|| value.assume_init())
    }
}

/// Reads a pointer and takes NULL for missing.
#[inline(always)]
pub fn pointer(address: Address, offset: &Global<u32>) -> Option<Address> {
    read::<Address>(address, offset).filter(|&pointer| pointer != 0)
}
