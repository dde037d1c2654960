//! Which calls take paths, sockets or arguments worth a look, and where.
//!
//! Calls of other ABIs are first brought to the native number with the same arguments
//! ([`native_of_ia32`], [`native_of_x32`]), so that there is one table.

/// What a call does with a path.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOperation {
    /// open and its kin: what exactly is told by the flags.
    Open = 1,
    /// execve, execveat
    Execute = 2,
    /// stat and its kin
    Stat = 3,
    /// access and its kin
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
    /// utime and its kin
    Utime = 20,
    /// getxattr, listxattr
    XattrRead = 21,
    /// setxattr, removexattr
    XattrWrite = 22,
    /// statfs
    Statfs = 23,
    /// `inotify_add_watch`, `fanotify_mark`
    Watch = 24,
    /// mount and its kin
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

/// (native number, first path, second path), from `arch/x86/entry/syscalls/syscall_64.tbl` and the
/// `SYSCALL_DEFINE`s of fs/, Linux 6.18.
///
/// Not here: `mq_open` and `memfd_create` (their names are no paths), fsopen and `kexec_file_load`
/// (no path), `bpf` object pinning and `fsconfig` (paths inside structures).
const PATHS: &[(u32, PathArgument, PathArgument)] = &[
    (2, path(P::Open, 0, NONE, 1), 0),                           // open
    (85, path(P::Open, 0, NONE, NONE), 0),                       // creat
    (257, path(P::Open, 1, 0, 2), 0),                            // openat
    (437, path(P::Open, 1, 0, 2), 0), // openat2: the third argument points to the flags
    (304, path(P::Open, NONE, 0, 2), 0), // open_by_handle_at
    (428, path(P::Stat, 1, 0, NONE), 0), // open_tree
    (467, path(P::Stat, 1, 0, NONE), 0), // open_tree_attr
    (59, at_cwd(P::Execute, 0), 0),   // execve
    (322, at_fd(P::Execute, 0, 1), 0), // execveat
    (4, at_cwd(P::Stat, 0), 0),       // stat
    (5, fd(P::Stat, 0), 0),           // fstat
    (6, at_cwd(P::Stat, 0), 0),       // lstat
    (262, at_fd(P::Stat, 0, 1), 0),   // newfstatat
    (332, at_fd(P::Stat, 0, 1), 0),   // statx
    (303, at_fd(P::Stat, 0, 1), 0),   // name_to_handle_at
    (468, at_fd(P::Stat, 0, 1), 0),   // file_getattr
    (469, at_fd(P::Chmod, 0, 1), 0),  // file_setattr
    (21, path(P::Access, 0, NONE, 1), 0), // access
    (269, path(P::Access, 1, 0, 2), 0), // faccessat
    (439, path(P::Access, 1, 0, 2), 0), // faccessat2
    (89, at_cwd(P::Readlink, 0), 0),  // readlink
    (267, at_fd(P::Readlink, 0, 1), 0), // readlinkat
    (80, at_cwd(P::Chdir, 0), 0),     // chdir
    (81, fd(P::Chdir, 0), 0),         // fchdir
    (161, at_cwd(P::Chroot, 0), 0),   // chroot
    (155, at_cwd(P::Chroot, 0), at_cwd(P::Chroot, 1)), // pivot_root
    (83, at_cwd(P::Mkdir, 0), 0),     // mkdir
    (258, at_fd(P::Mkdir, 0, 1), 0),  // mkdirat
    (84, at_cwd(P::Rmdir, 0), 0),     // rmdir
    (87, at_cwd(P::Unlink, 0), 0),    // unlink
    (263, at_fd(P::Unlink, 0, 1), 0), // unlinkat
    (82, at_cwd(P::RenameFrom, 0), at_cwd(P::RenameTo, 1)), // rename
    (264, at_fd(P::RenameFrom, 0, 1), at_fd(P::RenameTo, 2, 3)), // renameat
    (316, at_fd(P::RenameFrom, 0, 1), at_fd(P::RenameTo, 2, 3)), // renameat2
    (86, at_cwd(P::LinkFrom, 0), at_cwd(P::LinkTo, 1)), // link
    (265, at_fd(P::LinkFrom, 0, 1), at_fd(P::LinkTo, 2, 3)), // linkat
    (88, at_cwd(P::Symlink, 1), 0),   // symlink
    (266, at_fd(P::Symlink, 1, 2), 0), // symlinkat
    (133, path(P::Mknod, 0, NONE, 1), 0), // mknod
    (259, path(P::Mknod, 1, 0, 2), 0), // mknodat
    (90, at_cwd(P::Chmod, 0), 0),     // chmod
    (91, fd(P::Chmod, 0), 0),         // fchmod
    (268, at_fd(P::Chmod, 0, 1), 0),  // fchmodat
    (452, at_fd(P::Chmod, 0, 1), 0),  // fchmodat2
    (92, at_cwd(P::Chown, 0), 0),     // chown
    (93, fd(P::Chown, 0), 0),         // fchown
    (94, at_cwd(P::Chown, 0), 0),     // lchown
    (260, at_fd(P::Chown, 0, 1), 0),  // fchownat
    (76, at_cwd(P::Truncate, 0), 0),  // truncate
    (77, fd(P::Truncate, 0), 0),      // ftruncate
    (132, at_cwd(P::Utime, 0), 0),    // utime
    (235, at_cwd(P::Utime, 0), 0),    // utimes
    (261, at_fd(P::Utime, 0, 1), 0),  // futimesat
    (280, at_fd(P::Utime, 0, 1), 0),  // utimensat
    (188, at_cwd(P::XattrWrite, 0), 0), // setxattr
    (189, at_cwd(P::XattrWrite, 0), 0), // lsetxattr
    (190, fd(P::XattrWrite, 0), 0),   // fsetxattr
    (191, at_cwd(P::XattrRead, 0), 0), // getxattr
    (192, at_cwd(P::XattrRead, 0), 0), // lgetxattr
    (193, fd(P::XattrRead, 0), 0),    // fgetxattr
    (194, at_cwd(P::XattrRead, 0), 0), // listxattr
    (195, at_cwd(P::XattrRead, 0), 0), // llistxattr
    (196, fd(P::XattrRead, 0), 0),    // flistxattr
    (197, at_cwd(P::XattrWrite, 0), 0), // removexattr
    (198, at_cwd(P::XattrWrite, 0), 0), // lremovexattr
    (199, fd(P::XattrWrite, 0), 0),   // fremovexattr
    (463, at_fd(P::XattrWrite, 0, 1), 0), // setxattrat
    (464, at_fd(P::XattrRead, 0, 1), 0), // getxattrat
    (465, at_fd(P::XattrRead, 0, 1), 0), // listxattrat
    (466, at_fd(P::XattrWrite, 0, 1), 0), // removexattrat
    (137, at_cwd(P::Statfs, 0), 0),   // statfs
    (138, fd(P::Statfs, 0), 0),       // fstatfs
    (254, at_cwd(P::Watch, 1), 0),    // inotify_add_watch
    (301, at_fd(P::Watch, 3, 4), 0),  // fanotify_mark
    (IA32_FANOTIFY_MARK, at_fd(P::Watch, 4, 5), 0),
    (165, at_cwd(P::Mount, 0), at_cwd(P::Mount, 1)), // mount
    (429, at_fd(P::Mount, 0, 1), at_fd(P::Mount, 2, 3)), // move_mount
    (433, at_fd(P::Mount, 0, 1), 0),                 // fspick
    (442, at_fd(P::Mount, 0, 1), 0),                 // mount_setattr
    (166, at_cwd(P::Unmount, 0), 0),                 // umount2
    (167, at_cwd(P::Administer, 0), 0),              // swapon
    (168, at_cwd(P::Administer, 0), 0),              // swapoff
    (163, at_cwd(P::Administer, 0), 0),              // acct
    (134, at_cwd(P::Administer, 0), 0),              // uselib
    (179, at_cwd(P::Administer, 1), 0),              // quotactl
    (443, fd(P::Administer, 0), 0),                  // quotactl_fd
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
    /// access and its kin: run under credentials made from the task's real IDs, and are its own need.
    pub const ACCESS: u8 = 32;
    /// capset: asks for `CAP_SETPCAP` whether or not the call depends on it.
    pub const CAPSET: u8 = 64;
}

/// Calls whose arguments `arguments.rs` of the kernel programs looks at.
const ARGUMENT_CALLS: &[u32] = &[
    9,
    10,
    329,
    30,
    319, // mmap, mprotect, pkey_mprotect, shmat, memfd_create
    56,
    435,
    272,
    308, // clone, clone3, unshare, setns
    13,
    155, // rt_sigaction, pivot_root
    2,
    85,
    257,
    437, // open, creat, openat, openat2
    90,
    91,
    268,
    452,
    83,
    258,
    133,
    259, // chmod, mkdir, mknod
    144,
    314,
    135,
    425, // sched_setscheduler, sched_setattr, personality, io_uring_setup
    126,
    157, // capset, prctl
    41,
    53,
    IA32_SOCKETCALL,
    IA32_OLD_MMAP, // socket, socketpair
];
const SOCKET_CALLS: &[u32] = &[41, 53, 49, 42, 44, 46, 307, IA32_SOCKETCALL];
const EXEC_CALLS: &[u32] = &[59, 322];
/// mmap, mprotect, munmap, brk, mremap, shmat, `remap_file_pages`, `pkey_mprotect`
const MEMORY_CALLS: &[u32] = &[9, 10, 11, 12, 25, 30, 216, 329, IA32_OLD_MMAP];
const ACCESS_CALLS: &[u32] = &[21, 269, 439];
/// capset, whose check for `CAP_SETPCAP` is looked at on entry.
const CAPSET_CALLS: &[u32] = &[126];

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
    mark(table, CAPSET_CALLS, class::CAPSET)
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
const IA32: &[(u32, u16)] = &[
    (5, 2),
    (8, 85),
    (9, 86),
    (10, 87),
    (11, 59),
    (12, 80),
    (14, 133),
    (15, 90),
    (16, 94),
    (18, 4),
    (21, 165),
    (22, 166),
    (28, 5),
    (30, 132),
    (33, 21),
    (38, 82),
    (39, 83),
    (40, 84),
    (51, 163),
    (52, 166),
    (61, 161),
    (174, 13),
    (83, 88),
    (84, 6),
    (85, 89),
    (86, 134),
    (87, 167),
    (90, IA32_OLD_MMAP as u16),
    (92, 76),
    (93, 77),
    (94, 91),
    (95, 93),
    (99, 137),
    (100, 138),
    (102, IA32_SOCKETCALL as u16),
    (106, 4),
    (107, 6),
    (108, 5),
    (115, 168),
    (120, 56),
    (125, 10),
    (45, 12),
    (91, 11),
    (163, 25),
    (172, 157),
    (185, 126),
    (131, 179),
    (133, 81),
    (136, 135),
    (156, 144),
    (182, 92),
    (192, 9),
    (193, 76),
    (194, 77),
    (195, 4),
    (196, 6),
    (197, 5),
    (198, 94),
    (207, 93),
    (212, 92),
    (217, 155),
    (226, 188),
    (227, 189),
    (228, 190),
    (229, 191),
    (230, 192),
    (231, 193),
    (232, 194),
    (233, 195),
    (234, 196),
    (235, 197),
    (236, 198),
    (237, 199),
    (257, 216),
    (268, 137),
    (269, 138),
    (271, 235),
    (292, 254),
    (295, 257),
    (296, 258),
    (297, 259),
    (298, 260),
    (299, 261),
    (300, 262),
    (301, 263),
    (302, 264),
    (303, 265),
    (304, 266),
    (305, 267),
    (306, 268),
    (307, 269),
    (310, 272),
    (320, 280),
    (339, IA32_FANOTIFY_MARK as u16),
    (341, 303),
    (342, 304),
    (345, 307),
    (346, 308),
    (351, 314),
    (353, 316),
    (356, 319),
    (358, 322),
    (359, 41),
    (360, 53),
    (361, 49),
    (362, 42),
    (369, 44),
    (370, 46),
    (380, 329),
    (383, 332),
    (397, 30),
    (412, 280),
];

/// By 32-bit number: the native number with the same arguments, or 0 (`read`, which is not looked
/// at) for a call that is not looked at.
pub static NATIVE_OF_IA32: [u16; 512] = {
    let mut table = [0; 512];
    let mut at = 0;
    while at < IA32.len() {
        table[IA32[at].0 as usize] = IA32[at].1;
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
        512 => 13,
        520 => 59,
        518 => 46,
        538 => 307,
        545 => 322,
        _ => 0,
    }
}
