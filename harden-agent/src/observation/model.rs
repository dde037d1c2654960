//! The shape of an observation: plain data, exactly what the JSON file holds.
//!
//! Every type here is a join semilattice (see [`super::join`]), so observations of several runs,
//! machines and fleets add up in any order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::inodes::Inodes;
use super::seen::Seen;
use super::strict;
use super::text::{Text, Word};
use super::uses::Uses;

/// The version of the JSON that this build writes and reads.
pub const SCHEMA: u32 = 8;

/// What was seen of one unit or command, over all its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// The unit's or command's name: the stem of the files rendered from it.
    pub name: Text,
    /// The runs, by an identifier that is unique in the world (a UUID).
    #[serde(deserialize_with = "strict::unique")]
    pub runs: BTreeMap<Word, Run>,
}

/// The unit's own name in the name of an observation: that of another manager than the system's is
/// `/MANAGER:UNIT`, and its files belong where that manager reads them.
#[must_use]
pub fn unit_name(name: &Text) -> &[u8] {
    let bytes = name.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b':');
    match end {
        Some(end) if bytes.starts_with(b"/") => &bytes[end + 1..],
        _ => bytes,
    }
}

/// One run: an invocation of a unit, a marked test case, a `harden run`, a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What made it a run.
    pub kind: RunKind,
    /// The name that a mark was given.
    pub label: Option<Text>,
    /// systemd's `INVOCATION_ID`, of the invocation that a mark or a window is part of, too.
    pub invocation: Option<Word>,
    /// The other runs that were folded into this one: see [`Observation::fold`].
    pub stands_for: BTreeSet<Word>,
    /// The command and its arguments.
    pub command: Vec<Text>,
    /// The numeric user under which the command was started.
    pub uid: u32,
    /// When observation began.
    pub started: Timestamp,
    /// When the last process was gone.
    pub ended: Timestamp,
    /// How the command ended: its exit status, 128 + n for signal n. `None` where it has not ended,
    /// or nobody saw how.
    pub status: Option<i32>,
    /// Where it ran.
    pub host: Host,
    /// Which kernel hook supplied which kind of fact: `files` → `tp_btf:sys_exit`.
    #[serde(deserialize_with = "strict::labels")]
    pub hooks: BTreeMap<String, String>,
    /// What could not be recorded, by kind, with the number of events lost. Zeroes are left out:
    /// an empty map says that nothing was lost.
    #[serde(deserialize_with = "strict::unique")]
    pub losses: BTreeMap<Word, u64>,
    /// What confined the program already while it was recorded: options of its unit for which systemd installs a
    /// filter, and `seccomp` for any filter that a program began with. Of what a filter refuses nothing is seen.
    /// Schema 2 had none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub filters: BTreeSet<Word>,
    /// Symbolic links that lay on the paths asked for: link → its text, as of the end of the run.
    #[serde(deserialize_with = "strict::by_path")]
    pub symlinks: BTreeMap<Text, Text>,
    /// What was seen, by the executable's path. A process counts for the program that it last
    /// called exec for; a forked child that never calls exec counts for its parent's.
    #[serde(deserialize_with = "strict::by_path")]
    pub executables: BTreeMap<Text, Executable>,
    /// The same of what a unit's other commands did. Told apart, because a sandbox that wraps
    /// `ExecStart=` alone is not there when they run.
    #[serde(deserialize_with = "strict::by_command")]
    pub control: BTreeMap<ControlCommand, BTreeMap<Text, Executable>>,
}

/// What made a run a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A stretch of an invocation's time, cut by the clock. No distinct test: it says nothing about
    /// how many tests showed a fact.
    Window,
    /// One invocation of a unit, up to its first mark or window.
    Invocation,
    /// A test case that somebody marked.
    Mark,
    /// One `harden run`.
    Command,
    /// What an override allows: in no file.
    #[serde(skip)]
    Override,
}

impl RunKind {
    /// Whether each run of this kind is a test of its own.
    #[must_use]
    pub fn is_test(self) -> bool {
        !matches!(self, Self::Window | Self::Override)
    }
}

/// The command of a unit that a process belongs to, where it is not the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlCommand {
    /// `ExecCondition=`
    Condition,
    /// `ExecStartPre=`
    StartPre,
    /// `ExecStartPost=`
    StartPost,
    /// `ExecReload=`
    Reload,
    /// `ExecStop=`
    Stop,
    /// `ExecStopPost=`
    StopPost,
    /// A command entered the unit's cgroup, and systemd did not say which.
    Other,
}

/// The machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// `uname -n`.
    pub name: Text,
    /// `uname -r`.
    pub kernel: Text,
    /// `uname -m`.
    pub architecture: Text,
    /// The C library's name and version, where one is installed (`glibc 2.36`).
    pub libc: Option<Text>,
}

/// The facts of one executable in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Executable {
    /// Which files had this path (an upgrade during the run gives a second).
    pub inodes: Inodes,
    /// The ELF interpreter (`PT_INTERP`) of the program, if it names one.
    pub interpreters: BTreeSet<Text>,
    /// The capabilities that its file gives, as of the end of the run (an upgrade gives a second). Schema 6 had none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub file_capabilities: BTreeSet<FileCapabilities>,
    /// What was given to execve, as an absolute name: the same path, a symbolic link, a script.
    #[serde(deserialize_with = "strict::by_path")]
    pub invoked_as: BTreeMap<Text, Seen>,
    /// Calls by ABI and name.
    #[serde(deserialize_with = "strict::unique")]
    pub syscalls: BTreeMap<Abi, BTreeMap<Word, Seen>>,
    /// Calls that a filter or a tracer refused, as far as it is known which. Schema 7 had none.
    #[serde(
        deserialize_with = "strict::unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub refused: BTreeMap<Abi, BTreeMap<Word, Seen>>,
    /// Capability checks by capability (`net_bind_service`) and kind of check.
    #[serde(deserialize_with = "strict::unique")]
    pub capabilities: BTreeMap<Word, BTreeMap<CapabilityCheck, Seen>>,
    /// The calls in which a capability was granted, by capability and by the name of the native call with the same
    /// arguments. Schema 4 had none.
    #[serde(deserialize_with = "strict::unique")]
    pub capability_calls: BTreeMap<Word, BTreeMap<Word, Seen>>,
    /// What those calls were about, where it was a path or an address: `chown /srv/x`, `bind inet 127.0.0.1:80`. Schema 4
    /// had none.
    #[serde(deserialize_with = "strict::unique")]
    pub capability_objects: BTreeMap<Word, BTreeMap<Text, Seen>>,
    /// Socket families asked for (`inet6`), successful or not.
    #[serde(deserialize_with = "strict::unique")]
    pub families: BTreeMap<Word, Seen>,
    /// Socket types asked for (`stream`).
    #[serde(deserialize_with = "strict::unique")]
    pub socket_types: BTreeMap<Word, Seen>,
    /// Sockets made or refused.
    #[serde(deserialize_with = "strict::unique")]
    pub sockets: BTreeMap<Socket, BTreeMap<Outcome, Seen>>,
    /// Socket addresses: operation → address as text (`inet 127.0.0.1:80`, `inet6 [::1]:80`,
    /// `unix @name` for abstract ones, `unix /path`, `netlink groups 0x1` …) → outcome.
    #[serde(deserialize_with = "strict::unique")]
    pub addresses: BTreeMap<AddressOperation, BTreeMap<Text, BTreeMap<Outcome, Seen>>>,
    /// Facts about arguments (`mmap-write-exec`, `namespace-user`): see
    /// [`harden_common::Argument`].
    #[serde(deserialize_with = "strict::unique")]
    pub arguments: BTreeMap<Word, Seen>,
    /// Files by absolute path.
    #[serde(deserialize_with = "strict::by_path")]
    pub files: BTreeMap<Text, File>,
}

/// What the `security.capability` of a file says (capabilities(7), "File capabilities").
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCapabilities {
    /// What a user who runs it gets.
    pub permitted: BTreeSet<Word>,
    /// What it gets of its own inheritable ones.
    pub inheritable: BTreeSet<Word>,
    /// Whether the program has them at once, without asking.
    pub effective: bool,
}

/// What was done with the file at one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The path is the file's own, walked in the kernel, with no symbolic link in it. If not, it
    /// is the directory's own path joined with what the program asked for.
    pub resolved: bool,
    /// What was done, with which result.
    pub operations: Uses,
    /// The inodes that were there, with owner and mode (several: the file was replaced or chowned).
    pub inodes: Inodes,
    /// The absolute names by which the program asked for it, where they differ from the path.
    #[serde(deserialize_with = "strict::paths")]
    pub asked_as: BTreeSet<Text>,
    /// Of a directory: about so many names in it are not listed, as there are too many. What was done with them was done
    /// with the directory. Schema 6 had none.
    #[serde(skip_serializing_if = "is_none_left_out")]
    pub names: u64,
}

#[cfg(test)]
impl File {
    /// One that was used in this way, with this outcome.
    pub(crate) fn used(operation: Operation, outcome: &str) -> Self {
        let mut file = Self::default();
        let outcome = Outcome(Word::new(outcome).unwrap());
        file.operations.entry(operation, outcome);
        file
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_none_left_out(names: &u64) -> bool {
    *names == 0
}

/// An inode as the kernel had it when the fact was first seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inode {
    /// Device number of the file system, `makedev` coding as in stat(2).
    pub device: u64,
    /// Inode number.
    pub number: u64,
    /// `i_generation`: tells a reused inode number from the first.
    pub generation: u32,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u64,
    /// Magic number of the file system (`statfs`'s `f_type`), 0 if not known.
    pub filesystem: u64,
    /// Its access control list, if it has one and that was looked up: as of the end of the run. Schema 3 had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Box<Acl>>,
}

/// What an access control list says beyond the mode (acl(5)). Permissions are three bits, as in a mode; the group's
/// of the mode are the list's mask then, and bound all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    /// What the owning group may.
    pub group: u32,
    /// What users may, by number.
    #[serde(deserialize_with = "strict::unique")]
    pub users: BTreeMap<u32, u32>,
    /// What groups may, by number.
    #[serde(deserialize_with = "strict::unique")]
    pub groups: BTreeMap<u32, u32>,
}

/// The calling convention by which a call entered the kernel; each has its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// The machine's own (`x86_64`).
    Native,
    /// 32-bit x86: `int 0x80`, sysenter, or a 32-bit program.
    Ia32,
    /// x32: 64-bit registers, 32-bit pointers.
    X32,
}

/// How the kernel was asked about a capability, and what it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapabilityCheck {
    /// Asked for the task itself in the initial user namespace, and granted: the task used it.
    Granted,
    /// Asked, and denied: the task lived without it.
    Denied,
    /// Granted, but only a question (`CAP_OPT_NOAUDIT`: overcommit, listings): no need.
    GrantedNoaudit,
    /// A question, answered no.
    DeniedNoaudit,
    /// Asked under credentials that were not the task's own (overlayfs): no need.
    OverriddenCredentials,
    /// Asked in a child user namespace: needs nothing outside it.
    ChildUserNamespace,
    /// No check: the task asked to keep it, by capset(2) or `PR_CAP_AMBIENT_RAISE`. Schema 5 had none.
    Kept,
}

/// A socket's family, type and protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Socket {
    /// `inet`, `unix`, `af-45` for one without a name.
    pub family: Word,
    /// `stream`, `dgram`, …
    pub kind: Word,
    /// The number given, 0 for the family's default.
    pub protocol: u32,
}

impl From<Socket> for String {
    fn from(socket: Socket) -> Self {
        format!("{} {} {}", socket.family, socket.kind, socket.protocol)
    }
}

impl TryFrom<String> for Socket {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bad = || format!("{text:?} is not 'FAMILY TYPE PROTOCOL'");
        let mut parts = text.split(' ');
        let (Some(family), Some(kind), Some(protocol), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            family: Word::new(family).map_err(|_| bad())?,
            kind: Word::new(kind).map_err(|_| bad())?,
            protocol: protocol.parse().map_err(|_| bad())?,
        })
    }
}

/// What an address was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressOperation {
    /// bind(2)
    Bind,
    /// connect(2)
    Connect,
    /// sendto(2), sendmsg(2), sendmmsg(2) with an address
    Send,
}

/// How a call ended: `ok`, or the name of its errno.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outcome(pub Word);

impl Outcome {
    /// Whether the call succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.0.as_str() == "ok"
    }

    /// Whether nothing was there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self.0.as_str(), "ENOENT" | "ENOTDIR")
    }
}

/// What was done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Opened for reading.
    Read,
    /// Opened for writing.
    Write,
    /// Opened with `O_CREAT`: made if it was not there.
    Create,
    /// Opened with `O_PATH`: neither read nor written.
    Locate,
    /// Run by execve.
    Execute,
    /// stat and similar calls.
    Stat,
    /// access(2) and similar calls.
    Access,
    /// readlink
    Readlink,
    /// chdir, fchdir
    Chdir,
    /// chroot, `pivot_root`
    Chroot,
    /// mkdir
    Mkdir,
    /// rmdir
    Rmdir,
    /// unlink
    Unlink,
    /// Renamed from this name.
    RenameFrom,
    /// Renamed to this name.
    RenameTo,
    /// Hard link made from this name.
    LinkFrom,
    /// Hard link made at this name.
    LinkTo,
    /// Symbolic link made at this name.
    Symlink,
    /// mknod (device, fifo, socket, file).
    Mknod,
    /// chmod, fchmod
    Chmod,
    /// chown, fchown
    Chown,
    /// truncate, ftruncate
    Truncate,
    /// Times set.
    Utime,
    /// Extended attributes read or listed.
    XattrRead,
    /// Extended attributes written or removed.
    XattrWrite,
    /// statfs
    Statfs,
    /// inotify, fanotify
    Watch,
    /// Mount point, source or tree of a mount call.
    Mount,
    /// umount2
    Unmount,
    /// swapon, swapoff, acct, quotactl, uselib: administration by path.
    Administer,
    /// Unix socket bound here.
    Bind,
    /// Unix socket connected to or sent to here.
    Connect,
}

impl Operation {
    /// Whether a read-only mount would refuse it.
    #[must_use]
    pub fn writes(self) -> bool {
        use Operation as O;
        matches!(
            self,
            O::Write
                | O::Create
                | O::Mkdir
                | O::Rmdir
                | O::Unlink
                | O::RenameFrom
                | O::RenameTo
                | O::LinkFrom
                | O::LinkTo
                | O::Symlink
                | O::Mknod
                | O::Chmod
                | O::Chown
                | O::Truncate
                | O::Utime
                | O::XattrWrite
                | O::Bind
        )
    }
}
