//! Which calls take paths, sockets or arguments worth a look, and where.
//!
//! Calls of other ABIs are first brought to the native number with the same arguments
//! ([`native_of_ia32`], [`native_of_x32`]), so that there is one table.

/// What a call does with a path.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOperation {
    /// open and the like: what exactly is told by the flags.
    Open = 1,
    /// execve, execveat
    Execute = 2,
    /// stat and the like
    Stat = 3,
    /// access and the like
    Access = 4,
    /// readlink
    Readlink = 5,
    /// chdir
    Chdir = 6,
    /// chroot, `pivot_root`
    Chroot = 7,
    /// mkdir
    Mkdir = 8,
    /// rmdir (unlink with `AT_REMOVEDIR` counts as unlink)
    Rmdir = 9,
    /// unlink
    Unlink = 10,
    /// rename, the old name
    RenameFrom = 11,
    /// rename, the new name
    RenameTo = 12,
    /// link, the old name
    LinkFrom = 13,
    /// link, the new name
    LinkTo = 14,
    /// symlink, the link's own name
    Symlink = 15,
    /// mknod
    Mknod = 16,
    /// chmod
    Chmod = 17,
    /// chown
    Chown = 18,
    /// truncate
    Truncate = 19,
    /// utime and the like
    Utime = 20,
    /// getxattr, listxattr
    XattrRead = 21,
    /// setxattr, removexattr
    XattrWrite = 22,
    /// statfs
    Statfs = 23,
    /// `inotify_add_watch`, `fanotify_mark`
    Watch = 24,
    /// mount and the like
    Mount = 25,
    /// umount
    Unmount = 26,
    /// swapon, swapoff, acct, quotactl, uselib
    Administer = 27,
    /// bind of a unix socket, or of any other address
    Bind = 28,
    /// connect
    Connect = 29,
    /// sendto, sendmsg with an address
    Send = 30,
}

/// Where one path of a call is: the low half of an entry of [`PATH_CALLS`] is the first path, the
/// high half the second; 0 is none.
///
/// | bits | meaning |
/// | --- | --- |
/// | 0–5 | [`PathOperation`] |
/// | 6–8 | index of the argument that points to the path; 7: no path, the descriptor itself |
/// | 9–11 | index of the argument with the directory's descriptor; 7: the current directory |
/// | 12–14 | index of the argument with flags or mode (open, access); 7: none |
pub type PathArgument = u32;

/// Entries of the tables below: native numbers, then from 512 a few shapes that only 32-bit calls
/// have. A power of two, so that the kernel side bounds an index by a mask.
pub const TABLE: usize = 1024;
/// The pseudo-number of the 32-bit `fanotify_mark`, whose mask takes two registers.
pub const IA32_FANOTIFY_MARK: u32 = 512;
/// The pseudo-number of the 32-bit `socketcall`.
pub const IA32_SOCKETCALL: u32 = 513;
/// The pseudo-number of the 32-bit `mmap`, whose arguments are in memory.
pub const IA32_OLD_MMAP: u32 = 514;

const NONE: u32 = 7;

const fn path(operation: PathOperation, path: u32, directory: u32, argument: u32) -> PathArgument {
    operation as u32 | path << 6 | directory << 9 | argument << 12
}

/// A path relative to the current directory.
const fn at_cwd(operation: PathOperation, argument: u32) -> PathArgument {
    path(operation, argument, NONE, NONE)
}

/// A path relative to a descriptor.
const fn at_fd(operation: PathOperation, directory: u32, argument: u32) -> PathArgument {
    path(operation, argument, directory, NONE)
}

/// A descriptor alone.
const fn fd(operation: PathOperation, argument: u32) -> PathArgument {
    path(operation, NONE, argument, NONE)
}

use PathOperation as P;

use crate::nr;

/// (native number, first path, second path), from `arch/x86/entry/syscalls/syscall_64.tbl` and the
/// `SYSCALL_DEFINE`s of fs/, Linux 6.18.
///
/// Not here: `mq_open` and `memfd_create` (their names are no paths), fsopen and `kexec_file_load`
/// (no path), `bpf` object pinning and `fsconfig` (paths inside structures).
const PATHS: &[(u32, PathArgument, PathArgument)] = &[
    (nr::OPEN, path(P::Open, 0, NONE, 1), 0),
    (nr::CREAT, path(P::Open, 0, NONE, NONE), 0),
    (nr::OPENAT, path(P::Open, 1, 0, 2), 0),
    (nr::OPENAT2, path(P::Open, 1, 0, 2), 0),
    (nr::OPEN_BY_HANDLE_AT, path(P::Open, NONE, 0, 2), 0),
    (nr::OPEN_TREE, path(P::Stat, 1, 0, NONE), 0),
    (nr::OPEN_TREE_ATTR, path(P::Stat, 1, 0, NONE), 0),
    (nr::EXECVE, at_cwd(P::Execute, 0), 0),
    (nr::EXECVEAT, at_fd(P::Execute, 0, 1), 0),
    (nr::STAT, at_cwd(P::Stat, 0), 0),
    (nr::FSTAT, fd(P::Stat, 0), 0),
    (nr::LSTAT, at_cwd(P::Stat, 0), 0),
    (nr::NEWFSTATAT, at_fd(P::Stat, 0, 1), 0),
    (nr::STATX, at_fd(P::Stat, 0, 1), 0),
    (nr::NAME_TO_HANDLE_AT, at_fd(P::Stat, 0, 1), 0),
    (nr::FILE_GETATTR, at_fd(P::Stat, 0, 1), 0),
    (nr::FILE_SETATTR, at_fd(P::Chmod, 0, 1), 0),
    (nr::ACCESS, path(P::Access, 0, NONE, 1), 0),
    (nr::FACCESSAT, path(P::Access, 1, 0, 2), 0),
    (nr::FACCESSAT2, path(P::Access, 1, 0, 2), 0),
    (nr::READLINK, at_cwd(P::Readlink, 0), 0),
    (nr::READLINKAT, at_fd(P::Readlink, 0, 1), 0),
    (nr::CHDIR, at_cwd(P::Chdir, 0), 0),
    (nr::FCHDIR, fd(P::Chdir, 0), 0),
    (nr::CHROOT, at_cwd(P::Chroot, 0), 0),
    (nr::PIVOT_ROOT, at_cwd(P::Chroot, 0), at_cwd(P::Chroot, 1)),
    (nr::MKDIR, at_cwd(P::Mkdir, 0), 0),
    (nr::MKDIRAT, at_fd(P::Mkdir, 0, 1), 0),
    (nr::RMDIR, at_cwd(P::Rmdir, 0), 0),
    (nr::UNLINK, at_cwd(P::Unlink, 0), 0),
    (nr::UNLINKAT, at_fd(P::Unlink, 0, 1), 0),
    (nr::RENAME, at_cwd(P::RenameFrom, 0), at_cwd(P::RenameTo, 1)),
    (
        nr::RENAMEAT,
        at_fd(P::RenameFrom, 0, 1),
        at_fd(P::RenameTo, 2, 3),
    ),
    (
        nr::RENAMEAT2,
        at_fd(P::RenameFrom, 0, 1),
        at_fd(P::RenameTo, 2, 3),
    ),
    (nr::LINK, at_cwd(P::LinkFrom, 0), at_cwd(P::LinkTo, 1)),
    (nr::LINKAT, at_fd(P::LinkFrom, 0, 1), at_fd(P::LinkTo, 2, 3)),
    (nr::SYMLINK, at_cwd(P::Symlink, 1), 0),
    (nr::SYMLINKAT, at_fd(P::Symlink, 1, 2), 0),
    (nr::MKNOD, path(P::Mknod, 0, NONE, 1), 0),
    (nr::MKNODAT, path(P::Mknod, 1, 0, 2), 0),
    (nr::CHMOD, at_cwd(P::Chmod, 0), 0),
    (nr::FCHMOD, fd(P::Chmod, 0), 0),
    (nr::FCHMODAT, at_fd(P::Chmod, 0, 1), 0),
    (nr::FCHMODAT2, at_fd(P::Chmod, 0, 1), 0),
    (nr::CHOWN, at_cwd(P::Chown, 0), 0),
    (nr::FCHOWN, fd(P::Chown, 0), 0),
    (nr::LCHOWN, at_cwd(P::Chown, 0), 0),
    (nr::FCHOWNAT, at_fd(P::Chown, 0, 1), 0),
    (nr::TRUNCATE, at_cwd(P::Truncate, 0), 0),
    (nr::FTRUNCATE, fd(P::Truncate, 0), 0),
    (nr::UTIME, at_cwd(P::Utime, 0), 0),
    (nr::UTIMES, at_cwd(P::Utime, 0), 0),
    (nr::FUTIMESAT, at_fd(P::Utime, 0, 1), 0),
    (nr::UTIMENSAT, at_fd(P::Utime, 0, 1), 0),
    (nr::SETXATTR, at_cwd(P::XattrWrite, 0), 0),
    (nr::LSETXATTR, at_cwd(P::XattrWrite, 0), 0),
    (nr::FSETXATTR, fd(P::XattrWrite, 0), 0),
    (nr::GETXATTR, at_cwd(P::XattrRead, 0), 0),
    (nr::LGETXATTR, at_cwd(P::XattrRead, 0), 0),
    (nr::FGETXATTR, fd(P::XattrRead, 0), 0),
    (nr::LISTXATTR, at_cwd(P::XattrRead, 0), 0),
    (nr::LLISTXATTR, at_cwd(P::XattrRead, 0), 0),
    (nr::FLISTXATTR, fd(P::XattrRead, 0), 0),
    (nr::REMOVEXATTR, at_cwd(P::XattrWrite, 0), 0),
    (nr::LREMOVEXATTR, at_cwd(P::XattrWrite, 0), 0),
    (nr::FREMOVEXATTR, fd(P::XattrWrite, 0), 0),
    (nr::SETXATTRAT, at_fd(P::XattrWrite, 0, 1), 0),
    (nr::GETXATTRAT, at_fd(P::XattrRead, 0, 1), 0),
    (nr::LISTXATTRAT, at_fd(P::XattrRead, 0, 1), 0),
    (nr::REMOVEXATTRAT, at_fd(P::XattrWrite, 0, 1), 0),
    (nr::STATFS, at_cwd(P::Statfs, 0), 0),
    (nr::FSTATFS, fd(P::Statfs, 0), 0),
    (nr::INOTIFY_ADD_WATCH, at_cwd(P::Watch, 1), 0),
    (nr::FANOTIFY_MARK, at_fd(P::Watch, 3, 4), 0),
    (IA32_FANOTIFY_MARK, at_fd(P::Watch, 4, 5), 0),
    (nr::MOUNT, at_cwd(P::Mount, 0), at_cwd(P::Mount, 1)),
    (nr::MOVE_MOUNT, at_fd(P::Mount, 0, 1), at_fd(P::Mount, 2, 3)),
    (nr::FSPICK, at_fd(P::Mount, 0, 1), 0),
    (nr::MOUNT_SETATTR, at_fd(P::Mount, 0, 1), 0),
    (nr::UMOUNT2, at_cwd(P::Unmount, 0), 0),
    (nr::SWAPON, at_cwd(P::Administer, 0), 0),
    (nr::SWAPOFF, at_cwd(P::Administer, 0), 0),
    (nr::ACCT, at_cwd(P::Administer, 0), 0),
    (nr::USELIB, at_cwd(P::Administer, 0), 0),
    (nr::QUOTACTL, at_cwd(P::Administer, 1), 0),
    (nr::QUOTACTL_FD, fd(P::Administer, 0), 0),
];

/// By native number: where the paths of a call are.
pub static PATH_CALLS: [u32; TABLE] = {
    let mut table = [0; TABLE];
    let mut at = 0;
    while at < PATHS.len() {
        let (number, first, second) = PATHS[at];
        table[number as usize] = first | second << 16;
        at += 1;
    }
    table
};

/// Bits of an entry of [`CLASSES`].
pub mod class {
    /// [`super::PATH_CALLS`] has paths for it.
    pub const PATH: u8 = 1;
    /// Its arguments are looked at on entry.
    pub const ARGUMENTS: u8 = 2;
    /// socket, socketpair, and bind, connect, send with an address.
    pub const SOCKET: u8 = 4;
    /// execve, execveat: on success there is nothing left to see at the exit.
    pub const EXEC: u8 = 8;
    /// Memory calls in which a check for `CAP_SYS_ADMIN` can only be overcommit's.
    pub const MEMORY: u8 = 16;
    /// access and the like: run under credentials made from the task's real IDs, and are its own need.
    pub const ACCESS: u8 = 32;
    /// capset: asks for `CAP_SETPCAP` whether or not the call depends on it.
    pub const CAPSET: u8 = 64;
    /// Where it succeeds, the task's paths may have another root.
    pub const ROOT: u8 = 128;
    /// There is something to be looked at when it comes back.
    pub const AT_EXIT: u8 = PATH | SOCKET | EXEC | ROOT;
}

/// Calls whose arguments `arguments.rs` of the kernel programs looks at.
const ARGUMENT_CALLS: &[u32] = &[
    nr::MMAP,
    nr::MPROTECT,
    nr::PKEY_MPROTECT,
    nr::SHMAT,
    nr::MEMFD_CREATE,
    nr::CLONE,
    nr::CLONE3,
    nr::UNSHARE,
    nr::SETNS,
    nr::RT_SIGACTION,
    nr::PIVOT_ROOT,
    nr::OPEN,
    nr::CREAT,
    nr::OPENAT,
    nr::OPENAT2,
    nr::CHMOD,
    nr::FCHMOD,
    nr::FCHMODAT,
    nr::FCHMODAT2,
    nr::MKDIR,
    nr::MKDIRAT,
    nr::MKNOD,
    nr::MKNODAT,
    nr::SCHED_SETSCHEDULER,
    nr::SCHED_SETATTR,
    nr::PERSONALITY,
    nr::IO_URING_SETUP,
    nr::CAPSET,
    nr::PRCTL,
    nr::SOCKET,
    nr::SOCKETPAIR,
    IA32_SOCKETCALL,
    IA32_OLD_MMAP,
];
const SOCKET_CALLS: &[u32] = &[
    nr::SOCKET,
    nr::SOCKETPAIR,
    nr::BIND,
    nr::CONNECT,
    nr::SENDTO,
    nr::SENDMSG,
    nr::SENDMMSG,
    IA32_SOCKETCALL,
];
const EXEC_CALLS: &[u32] = &[nr::EXECVE, nr::EXECVEAT];
/// mmap, mprotect, munmap, brk, mremap, shmat, `remap_file_pages`, `pkey_mprotect`
const MEMORY_CALLS: &[u32] = &[
    nr::MMAP,
    nr::MPROTECT,
    nr::MUNMAP,
    nr::BRK,
    nr::MREMAP,
    nr::SHMAT,
    nr::REMAP_FILE_PAGES,
    nr::PKEY_MPROTECT,
    IA32_OLD_MMAP,
];
const ACCESS_CALLS: &[u32] = &[nr::ACCESS, nr::FACCESSAT, nr::FACCESSAT2];
/// capset, whose check for `CAP_SETPCAP` is looked at on entry.
const CAPSET_CALLS: &[u32] = &[nr::CAPSET];
const ROOT_CALLS: &[u32] = &[nr::PIVOT_ROOT, nr::CHROOT, nr::SETNS];

/// By native number: what a call is looked at for; 0 for most.
pub static CLASSES: [u8; TABLE] = {
    let mut table = [0; TABLE];
    let mut at = 0;
    while at < TABLE {
        if PATH_CALLS_CONST[at] != 0 {
            table[at] |= class::PATH;
        }
        at += 1;
    }
    table = mark(table, ARGUMENT_CALLS, class::ARGUMENTS);
    table = mark(table, SOCKET_CALLS, class::SOCKET);
    table = mark(table, EXEC_CALLS, class::EXEC);
    table = mark(table, MEMORY_CALLS, class::MEMORY);
    table = mark(table, ACCESS_CALLS, class::ACCESS);
    table = mark(table, CAPSET_CALLS, class::CAPSET);
    mark(table, ROOT_CALLS, class::ROOT)
};

const PATH_CALLS_CONST: [u32; TABLE] = PATH_CALLS;

const fn mark(mut table: [u8; TABLE], calls: &[u32], class: u8) -> [u8; TABLE] {
    let mut at = 0;
    while at < calls.len() {
        table[calls[at] as usize] |= class;
        at += 1;
    }
    table
}

/// (32-bit number, native number), for the calls that are looked at
/// (`arch/x86/entry/syscalls/syscall_32.tbl`). From 424 on the numbers are the same.
const IA32: &[(u32, u32)] = &[
    (5, nr::OPEN),
    (8, nr::CREAT),
    (9, nr::LINK),
    (10, nr::UNLINK),
    (11, nr::EXECVE),
    (12, nr::CHDIR),
    (14, nr::MKNOD),
    (15, nr::CHMOD),
    (16, nr::LCHOWN),
    (18, nr::STAT),
    (21, nr::MOUNT),
    (22, nr::UMOUNT2),
    (28, nr::FSTAT),
    (30, nr::UTIME),
    (33, nr::ACCESS),
    (38, nr::RENAME),
    (39, nr::MKDIR),
    (40, nr::RMDIR),
    (51, nr::ACCT),
    (52, nr::UMOUNT2),
    (61, nr::CHROOT),
    (174, nr::RT_SIGACTION),
    (83, nr::SYMLINK),
    (84, nr::LSTAT),
    (85, nr::READLINK),
    (86, nr::USELIB),
    (87, nr::SWAPON),
    (90, IA32_OLD_MMAP),
    (92, nr::TRUNCATE),
    (93, nr::FTRUNCATE),
    (94, nr::FCHMOD),
    (95, nr::FCHOWN),
    (99, nr::STATFS),
    (100, nr::FSTATFS),
    (102, IA32_SOCKETCALL),
    (106, nr::STAT),
    (107, nr::LSTAT),
    (108, nr::FSTAT),
    (115, nr::SWAPOFF),
    (120, nr::CLONE),
    (125, nr::MPROTECT),
    (45, nr::BRK),
    (91, nr::MUNMAP),
    (163, nr::MREMAP),
    (172, nr::PRCTL),
    (185, nr::CAPSET),
    (131, nr::QUOTACTL),
    (133, nr::FCHDIR),
    (136, nr::PERSONALITY),
    (156, nr::SCHED_SETSCHEDULER),
    (182, nr::CHOWN),
    (192, nr::MMAP),
    (193, nr::TRUNCATE),
    (194, nr::FTRUNCATE),
    (195, nr::STAT),
    (196, nr::LSTAT),
    (197, nr::FSTAT),
    (198, nr::LCHOWN),
    (207, nr::FCHOWN),
    (212, nr::CHOWN),
    (217, nr::PIVOT_ROOT),
    (226, nr::SETXATTR),
    (227, nr::LSETXATTR),
    (228, nr::FSETXATTR),
    (229, nr::GETXATTR),
    (230, nr::LGETXATTR),
    (231, nr::FGETXATTR),
    (232, nr::LISTXATTR),
    (233, nr::LLISTXATTR),
    (234, nr::FLISTXATTR),
    (235, nr::REMOVEXATTR),
    (236, nr::LREMOVEXATTR),
    (237, nr::FREMOVEXATTR),
    (257, nr::REMAP_FILE_PAGES),
    (268, nr::STATFS),
    (269, nr::FSTATFS),
    (271, nr::UTIMES),
    (292, nr::INOTIFY_ADD_WATCH),
    (295, nr::OPENAT),
    (296, nr::MKDIRAT),
    (297, nr::MKNODAT),
    (298, nr::FCHOWNAT),
    (299, nr::FUTIMESAT),
    (300, nr::NEWFSTATAT),
    (301, nr::UNLINKAT),
    (302, nr::RENAMEAT),
    (303, nr::LINKAT),
    (304, nr::SYMLINKAT),
    (305, nr::READLINKAT),
    (306, nr::FCHMODAT),
    (307, nr::FACCESSAT),
    (310, nr::UNSHARE),
    (320, nr::UTIMENSAT),
    (339, IA32_FANOTIFY_MARK),
    (341, nr::NAME_TO_HANDLE_AT),
    (342, nr::OPEN_BY_HANDLE_AT),
    (345, nr::SENDMMSG),
    (346, nr::SETNS),
    (351, nr::SCHED_SETATTR),
    (353, nr::RENAMEAT2),
    (356, nr::MEMFD_CREATE),
    (358, nr::EXECVEAT),
    (359, nr::SOCKET),
    (360, nr::SOCKETPAIR),
    (361, nr::BIND),
    (362, nr::CONNECT),
    (369, nr::SENDTO),
    (370, nr::SENDMSG),
    (380, nr::PKEY_MPROTECT),
    (383, nr::STATX),
    (397, nr::SHMAT),
    (412, nr::UTIMENSAT),
];

/// By 32-bit number: the native number with the same arguments, or 0 (`read`, which is not looked
/// at) for a call that is not looked at.
pub static NATIVE_OF_IA32: [u16; 512] = {
    let mut table = [0; 512];
    let mut at = 0;
    while at < IA32.len() {
        table[IA32[at].0 as usize] = IA32[at].1 as u16;
        at += 1;
    }
    let mut number = 424;
    while number < 512 {
        table[number] = number as u16;
        number += 1;
    }
    table
};

/// The native number with the same arguments as x32 call `number` (without bit 30): the same below
/// 512; above, of those that are looked at, `syscall_64.tbl` has `rt_sigaction`, execve, sendmsg, sendmmsg and
/// execveat. 0 for one that is not looked at.
#[must_use]
pub const fn native_of_x32(number: u32) -> u32 {
    match number {
        0..512 => number,
        512 => nr::RT_SIGACTION,
        520 => nr::EXECVE,
        518 => nr::SENDMSG,
        538 => nr::SENDMMSG,
        545 => nr::EXECVEAT,
        _ => 0,
    }
}
