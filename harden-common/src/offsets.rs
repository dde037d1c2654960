//! The members of kernel structures that the kernel programs read.

/// Calls the macro `$with` with one line for each: a name, and the structure and member whose offset it is. A dotted
/// member is one of an embedded structure.
///
/// Both sides make what they need of this list: the kernel programs a constant of each name, the agent the table by
/// which it finds the values in the BTF of the running kernel. A name that is not here does not compile.
#[macro_export]
macro_rules! kernel_offsets {
    ($with:ident) => {
        $with! {
            /// A u64 since 5.7: raised by every exec.
            TASK_SELF_EXEC_ID = "task_struct" "self_exec_id";
            TASK_GROUP_LEADER = "task_struct" "group_leader";
            TASK_REAL_CRED = "task_struct" "real_cred";
            /// Other credentials than `real_cred` are lent for a moment.
            TASK_CRED = "task_struct" "cred";
            CRED_EFFECTIVE = "cred" "cap_effective";
            CRED_PERMITTED = "cred" "cap_permitted";
            CRED_INHERITABLE = "cred" "cap_inheritable";
            CRED_USER_NS = "cred" "user_ns";
            /// 0 for a task without a filter.
            TASK_SECCOMP_MODE = "task_struct" "seccomp.mode";
            TASK_MM = "task_struct" "mm";
            TASK_FS = "task_struct" "fs";
            TASK_FILES = "task_struct" "files";
            TASK_EXIT_CODE = "task_struct" "exit_code";
            TASK_SIGNAL = "task_struct" "signal";
            SIGNAL_FLAGS = "signal_struct" "flags";
            /// With the thread id it names a task for ever.
            TASK_START_BOOTTIME = "task_struct" "start_boottime";
            TASK_PID = "task_struct" "pid";
            TASK_THREAD_STATUS = "task_struct" "thread_info.status";
            MM_EXE_FILE = "mm_struct" "exe_file";
            FS_ROOT = "fs_struct" "root";
            FS_PWD = "fs_struct" "pwd";
            FILES_FDT = "files_struct" "fdt";
            FDTABLE_MAX_FDS = "fdtable" "max_fds";
            FDTABLE_FD = "fdtable" "fd";
            FILE_PATH = "file" "f_path";
            FILE_FLAGS = "file" "f_flags";
            PATH_MNT = "path" "mnt";
            PATH_DENTRY = "path" "dentry";
            /// The `vfsmount` that a path points to lies inside its `mount`.
            MOUNT_VFSMOUNT = "mount" "mnt";
            MOUNT_PARENT = "mount" "mnt_parent";
            MOUNT_MOUNTPOINT = "mount" "mnt_mountpoint";
            VFSMOUNT_ROOT = "vfsmount" "mnt_root";
            DENTRY_PARENT = "dentry" "d_parent";
            DENTRY_NAME = "dentry" "d_name.name";
            /// Hash and length of the name.
            DENTRY_NAME_HASH = "dentry" "d_name.hash_len";
            DENTRY_INODE = "dentry" "d_inode";
            /// NULL for a dentry that no lookup finds.
            DENTRY_HASHED = "dentry" "d_hash.pprev";
            INODE_MODE = "inode" "i_mode";
            INODE_UID = "inode" "i_uid";
            INODE_GID = "inode" "i_gid";
            INODE_RDEV = "inode" "i_rdev";
            INODE_INO = "inode" "i_ino";
            INODE_GENERATION = "inode" "i_generation";
            INODE_SB = "inode" "i_sb";
            SB_DEV = "super_block" "s_dev";
            SB_MAGIC = "super_block" "s_magic";
            /// 0 is the initial one.
            USER_NS_LEVEL = "user_namespace" "level";
            BINPRM_FILENAME = "linux_binprm" "filename";
            SIGINFO_CODE = "kernel_siginfo" "si_code";
            /// A `css_set`.
            TASK_CGROUPS = "task_struct" "cgroups";
            /// That of the process, where a thread is in a threaded cgroup.
            CSS_SET_DOMAIN = "css_set" "dom_cset";
            /// The cgroup of version 2.
            CSS_SET_CGROUP = "css_set" "dfl_cgrp";
            CGROUP_KN = "cgroup" "kn";
            KERNFS_NODE_ID = "kernfs_node" "id";
            CGROUP_ROOT = "cgroup" "root";
            /// 0 is version 2's.
            CGROUP_ROOT_HIERARCHY = "cgroup_root" "hierarchy_id";
            /// 0 for the root.
            CGROUP_LEVEL = "cgroup" "level";
            /// A `cgroup_subsys_state`.
            CGROUP_PARENT_CSS = "cgroup" "self.parent";
            CSS_CGROUP = "cgroup_subsys_state" "cgroup";
        }
    };
}
