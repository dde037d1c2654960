//! Events on the ring buffer. Each begins with a [`Header`]; all fields are in host byte order.

use crate::ExecutableId;

/// Kinds of event.
pub mod kind {
    /// [`crate::FactEvent`]: the first sight of a fact with a byte in its slot.
    pub const FACT: u32 = 1;
    /// [`crate::PathEvent`]: something done with a path.
    pub const PATH: u32 = 2;
    /// [`crate::PathEvent`]: a task began to run a program.
    pub const EXEC: u32 = 3;
    /// [`crate::SocketEvent`]: a socket made or refused.
    pub const SOCKET: u32 = 4;
    /// [`crate::PathEvent`] whose text is a `sockaddr`: bind, connect, send.
    pub const ADDRESS: u32 = 5;
    /// [`crate::CgroupEvent`]: an observed cgroup got a child.
    pub const CGROUP_BORN: u32 = 6;
    /// [`crate::CgroupEvent`]: an observed cgroup is gone.
    pub const CGROUP_GONE: u32 = 7;
}

/// In nanoseconds: so long after the reader of the ring buffer was woken it is not woken again, as it looks again by itself.
pub const WAKE_INTERVAL: u64 = 4_000_000;

/// What every event begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// See [`kind`].
    pub kind: u32,
    /// The slot it belongs to.
    pub slot: u32,
    /// Nanoseconds since boot, time in suspend not counted (`CLOCK_MONOTONIC`).
    pub time: u64,
    /// Thread group id in the initial PID namespace.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// The first sight of a fact; of a capability that was granted, the first in each call too; and each call that was refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FactEvent {
    /// Kind [`kind::FACT`].
    pub header: Header,
    /// The fact's number.
    pub fact: u32,
    /// The number of the native call with the same arguments as the one in progress, and 1; 0 where it is not told. Of
    /// [`crate::Argument::CallRefused`]: the fact of the call that was refused, and 1.
    pub call: u32,
}

/// A socket made or refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketEvent {
    /// Kind [`kind::SOCKET`].
    pub header: Header,
    /// Address family.
    pub family: u32,
    /// Type, without flags.
    pub kind: u32,
    /// Protocol.
    pub protocol: u32,
    /// 0 or the errno.
    pub errno: u32,
}

/// What the kernel knows of an inode. All zero where no inode was at hand.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct InodeRecord {
    /// Device, number, generation.
    pub id: ExecutableId,
    /// `s_magic` of its file system.
    pub magic: u64,
    /// Device number of a device node, kernel coding.
    pub rdev: u32,
    /// Type and permissions.
    pub mode: u32,
    /// Owner, as in the initial user namespace.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
}

/// Something done with a path. After the struct come `text_length` bytes of text (what the call
/// was given), then `target_length` and `prefix_length` bytes of walks.
///
/// A walk is the names from the file up to the root of the mount namespace, each ended by a NUL:
/// `passwd\0etc\0` is `/etc/passwd`; nothing is `/`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PathEvent {
    /// Kind [`kind::PATH`], [`kind::EXEC`] or [`kind::ADDRESS`].
    pub header: Header,
    /// The file that the call was about, where the kernel had it in hand: an opened file, the
    /// file of a descriptor, a program.
    pub inode: InodeRecord,
    /// A [`crate::PathOperation`] as number.
    pub operation: u32,
    /// 0, the errno, or [`ERRNO_UNKNOWN`].
    pub errno: u32,
    /// Flags of open; mode of access; else 0.
    pub argument: u32,
    /// See [`path_flag`].
    pub flags: u32,
    /// Bytes of text.
    pub text_length: u32,
    /// Bytes of the target's walk.
    pub target_length: u32,
    /// Bytes of the walk of the directory that a relative text starts from, or of the task's root.
    pub prefix_length: u32,
    /// The capabilities that were granted during the call, the last four: a byte for each, its number and 1.
    pub capabilities: u32,
}

/// Bits of [`PathEvent::flags`].
pub mod path_flag {
    /// The target's walk is there.
    pub const TARGET: u32 = 1;
    /// The prefix's walk is there.
    pub const PREFIX: u32 = 2;
    /// The target lies in no mounted tree: a pipe, a memfd, a detached mount.
    pub const UNMOUNTED: u32 = 4;
    /// A walk reached its bounds: the path begins in the middle.
    pub const TRUNCATED: u32 = 8;
    /// The target is no walk but a path as `bpf_d_path` writes it.
    pub const TARGET_IS_PATH: u32 = 16;
}

/// [`PathEvent::errno`] from a hook that stands before the outcome, as security hooks do.
pub const ERRNO_UNKNOWN: u32 = u32::MAX;

/// A cgroup was made below an observed one, or removed. The path follows the struct:
/// `path_length` bytes, relative to the cgroup root.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupEvent {
    /// Kind [`kind::CGROUP_BORN`] or [`kind::CGROUP_GONE`]; the slot is [`crate::SLOT_EXCLUDED`].
    pub header: Header,
    /// Its id: the inode number of its directory.
    pub cgroup: u64,
    /// Its parent's id.
    pub parent: u64,
    /// Bytes of path.
    pub path_length: u32,
    /// Zero.
    pub reserved: u32,
}

/// The longest path text taken from a task: `PATH_MAX`, its NUL included.
pub const TEXT_MAX: usize = 4096;
/// Room for text and walks together.
pub const BYTES_MAX: usize = 8192;
