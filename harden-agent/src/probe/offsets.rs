//! The constants of `kernel.rs` of the kernel programs, and where each comes from.

use super::btf::Btf;

/// (constant, structure, member), in the order of the kernel side.
const OFFSETS: [(&str, &str, &str); 59] = [
    ("TASK_SELF_EXEC_ID", "task_struct", "self_exec_id"),
    ("TASK_GROUP_LEADER", "task_struct", "group_leader"),
    ("TASK_REAL_CRED", "task_struct", "real_cred"),
    ("TASK_CRED", "task_struct", "cred"),
    ("CRED_EFFECTIVE", "cred", "cap_effective"),
    ("CRED_PERMITTED", "cred", "cap_permitted"),
    ("CRED_INHERITABLE", "cred", "cap_inheritable"),
    ("CRED_USER_NS", "cred", "user_ns"),
    ("TASK_SECCOMP_MODE", "task_struct", "seccomp.mode"),
    ("TASK_MM", "task_struct", "mm"),
    ("TASK_FS", "task_struct", "fs"),
    ("TASK_FILES", "task_struct", "files"),
    ("TASK_EXIT_CODE", "task_struct", "exit_code"),
    ("TASK_SIGNAL", "task_struct", "signal"),
    ("SIGNAL_FLAGS", "signal_struct", "flags"),
    ("TASK_START_BOOTTIME", "task_struct", "start_boottime"),
    ("TASK_PID", "task_struct", "pid"),
    ("TASK_THREAD_STATUS", "task_struct", "thread_info.status"),
    ("MM_EXE_FILE", "mm_struct", "exe_file"),
    ("FS_ROOT", "fs_struct", "root"),
    ("FS_PWD", "fs_struct", "pwd"),
    ("FILES_FDT", "files_struct", "fdt"),
    ("FDTABLE_MAX_FDS", "fdtable", "max_fds"),
    ("FDTABLE_FD", "fdtable", "fd"),
    ("FILE_PATH", "file", "f_path"),
    ("FILE_FLAGS", "file", "f_flags"),
    ("PATH_MNT", "path", "mnt"),
    ("PATH_DENTRY", "path", "dentry"),
    ("MOUNT_VFSMOUNT", "mount", "mnt"),
    ("MOUNT_PARENT", "mount", "mnt_parent"),
    ("MOUNT_MOUNTPOINT", "mount", "mnt_mountpoint"),
    ("VFSMOUNT_ROOT", "vfsmount", "mnt_root"),
    ("DENTRY_PARENT", "dentry", "d_parent"),
    ("DENTRY_NAME", "dentry", "d_name.name"),
    ("DENTRY_NAME_HASH", "dentry", "d_name.hash_len"),
    ("DENTRY_INODE", "dentry", "d_inode"),
    ("DENTRY_HASHED", "dentry", "d_hash.pprev"),
    ("INODE_MODE", "inode", "i_mode"),
    ("INODE_UID", "inode", "i_uid"),
    ("INODE_GID", "inode", "i_gid"),
    ("INODE_RDEV", "inode", "i_rdev"),
    ("INODE_INO", "inode", "i_ino"),
    ("INODE_GENERATION", "inode", "i_generation"),
    ("INODE_SB", "inode", "i_sb"),
    ("SB_DEV", "super_block", "s_dev"),
    ("SB_MAGIC", "super_block", "s_magic"),
    ("USER_NS_LEVEL", "user_namespace", "level"),
    ("BINPRM_FILENAME", "linux_binprm", "filename"),
    ("SIGINFO_CODE", "kernel_siginfo", "si_code"),
    ("TASK_CGROUPS", "task_struct", "cgroups"),
    ("CSS_SET_DOMAIN", "css_set", "dom_cset"),
    ("CSS_SET_CGROUP", "css_set", "dfl_cgrp"),
    ("CGROUP_KN", "cgroup", "kn"),
    ("KERNFS_NODE_ID", "kernfs_node", "id"),
    ("CGROUP_ROOT", "cgroup", "root"),
    ("CGROUP_ROOT_HIERARCHY", "cgroup_root", "hierarchy_id"),
    ("CGROUP_LEVEL", "cgroup", "level"),
    ("CGROUP_PARENT_CSS", "cgroup", "self.parent"),
    ("CSS_CGROUP", "cgroup_subsys_state", "cgroup"),
];

/// The running kernel lacks a structure member that the kernel programs read.
#[derive(Debug, thiserror::Error)]
#[error("this kernel has no {structure}.{member}: it is older than 5.10 or newer than this harden")]
pub struct MissingMember {
    structure: &'static str,
    member: &'static str,
}

/// Every constant with its value for the kernel of `btf`.
///
/// # Errors
/// [`MissingMember`] for the first member that is not there.
pub fn resolve(btf: &Btf) -> Result<Vec<(&'static str, u32)>, MissingMember> {
    OFFSETS
        .iter()
        .map(|&(name, structure, member)| {
            let offset = btf
                .offset(structure, member)
                .ok_or(MissingMember { structure, member })?;
            Ok((name, offset))
        })
        .collect()
}
