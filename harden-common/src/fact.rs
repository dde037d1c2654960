//! Fact numbers: each fact with a finite range is one byte of a slot, and its number is its index.

/// Calls that one table can tell apart; a larger number is counted as a loss.
pub const CALLS: u32 = 512;
/// Native calls, by number.
pub const FACT_NATIVE: u32 = 0;
/// 32-bit calls, by their own number.
pub const FACT_IA32: u32 = 512;
/// x32 calls, by number without bit 30.
pub const FACT_X32: u32 = 1024;
/// Capability checks: number × [`CAPABILITY_CHECKS`] + kind of check.
pub const FACT_CAPABILITY: u32 = 1600;
/// Capability numbers provided for (Linux 6.18 has 41).
pub const CAPABILITIES: u32 = 48;
/// Kinds of check provided for.
pub const CAPABILITY_CHECKS: u32 = 6;
/// Address families of socket(2) and socketpair(2).
pub const FACT_FAMILY: u32 = 1888;
/// Families provided for (Linux 6.18 has 46).
pub const FAMILIES: u32 = 64;
/// Socket types.
pub const FACT_SOCKET_TYPE: u32 = 1952;
/// Socket types provided for (`SOCK_TYPE_MASK` is 15).
pub const SOCKET_TYPES: u32 = 16;
/// What the arguments of calls said: [`Argument`].
pub const FACT_ARGUMENT: u32 = 1968;
/// Argument facts provided for.
pub const ARGUMENTS: u32 = 32;
/// Capabilities that a task asked to keep, by number: capset(2), `PR_CAP_AMBIENT_RAISE`.
pub const FACT_KEPT: u32 = 2000;
/// Room for facts: a power of two, so that the kernel side bounds a number by a mask.
pub const FACTS: u32 = 2048;

/// Kinds of capability check, in the order of the bytes.
pub mod check {
    /// Granted to the task itself in the initial user namespace.
    pub const GRANTED: u32 = 0;
    /// The same, denied.
    pub const DENIED: u32 = 1;
    /// Granted, asked with `CAP_OPT_NOAUDIT`: a question, no need.
    pub const GRANTED_NOAUDIT: u32 = 2;
    /// The same, denied.
    pub const DENIED_NOAUDIT: u32 = 3;
    /// Asked with credentials that are not the task's own.
    pub const OVERRIDDEN_CREDENTIALS: u32 = 4;
    /// Asked in a child user namespace.
    pub const CHILD_USER_NAMESPACE: u32 = 5;
}

/// What the arguments of a call said, as far as a sandbox has a rule for it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// mmap with `PROT_WRITE` and `PROT_EXEC`.
    MmapWriteExec = 0,
    /// mprotect or `pkey_mprotect` with `PROT_EXEC`.
    MprotectExec = 1,
    /// shmat with `SHM_EXEC`.
    ShmatExec = 2,
    /// `memfd_create`, which Firejail's memory-deny-write-execute refuses too.
    MemfdCreate = 3,
    /// clone, clone3, unshare or setns with `CLONE_NEWNS`.
    NamespaceMount = 4,
    /// The same with `CLONE_NEWCGROUP`.
    NamespaceCgroup = 5,
    /// The same with `CLONE_NEWUTS`.
    NamespaceUts = 6,
    /// The same with `CLONE_NEWIPC`.
    NamespaceIpc = 7,
    /// The same with `CLONE_NEWUSER`.
    NamespaceUser = 8,
    /// The same with `CLONE_NEWPID`.
    NamespacePid = 9,
    /// The same with `CLONE_NEWNET`.
    NamespaceNet = 10,
    /// unshare, clone3 or setns with `CLONE_NEWTIME`.
    NamespaceTime = 11,
    /// setns with type 0: whatever namespace the descriptor is of.
    NamespaceAny = 12,
    /// chmod, mkdir, mknod or open with `O_CREAT`, with a set-user-ID or set-group-ID mode.
    ModeSetid = 13,
    /// `sched_setscheduler` or `sched_setattr` to FIFO, RR or DEADLINE, `SCHED_RESET_ON_FORK` or not.
    SchedulerRealtime = 14,
    /// personality other than the question 0xffffffff.
    PersonalitySet = 15,
    /// mknod of a character or block device.
    MknodDevice = 16,
    /// mknod of a FIFO, socket or regular file.
    MknodOther = 17,
    /// The program on disk is set-user-ID or set-group-ID.
    ExecSetid = 18,
    /// The task was killed by SIGSYS: a seccomp filter was in force while it was observed.
    KilledBySeccomp = 19,
    /// A call came back that never reached `sys_enter`: a filter or tracer refused it.
    CallRefused = 20,
    /// `io_uring_setup`: what goes through the ring passes neither `sys_enter` nor `sys_exit`.
    IoUring = 21,
    /// `rt_sigaction` gave SIGHUP a handler of the program's own.
    HandlesHangup = 22,
    /// It ran in a mount namespace with another root than the command or unit began with: `pivot_root`, or
    /// setns(2) into a container.
    OtherRoot = 23,
    /// A process of it was moved into a cgroup that is not observed, and ran a program there.
    LeftCgroup = 24,
    /// An x32 call came back with something other than `ENOSYS`: this kernel has them.
    X32Answered = 25,
    /// It sent a signal to a process of another cgroup.
    SignalOtherCgroup = 26,
}

impl Argument {
    /// Every argument fact with the name that the observation gives it.
    pub const ALL: [(Self, &'static str); 27] = [
        (Self::MmapWriteExec, "mmap-write-exec"),
        (Self::MprotectExec, "mprotect-exec"),
        (Self::ShmatExec, "shmat-exec"),
        (Self::MemfdCreate, "memfd-create"),
        (Self::NamespaceMount, "namespace-mount"),
        (Self::NamespaceCgroup, "namespace-cgroup"),
        (Self::NamespaceUts, "namespace-uts"),
        (Self::NamespaceIpc, "namespace-ipc"),
        (Self::NamespaceUser, "namespace-user"),
        (Self::NamespacePid, "namespace-pid"),
        (Self::NamespaceNet, "namespace-net"),
        (Self::NamespaceTime, "namespace-time"),
        (Self::NamespaceAny, "namespace-any"),
        (Self::ModeSetid, "mode-setid"),
        (Self::SchedulerRealtime, "scheduler-realtime"),
        (Self::PersonalitySet, "personality-set"),
        (Self::MknodDevice, "mknod-device"),
        (Self::MknodOther, "mknod-other"),
        (Self::ExecSetid, "exec-setid"),
        (Self::KilledBySeccomp, "killed-by-seccomp"),
        (Self::CallRefused, "call-refused"),
        (Self::IoUring, "io-uring"),
        (Self::HandlesHangup, "handles-sighup"),
        (Self::OtherRoot, "other-root"),
        (Self::LeftCgroup, "left-cgroup"),
        (Self::X32Answered, "x32-answered"),
        (Self::SignalOtherCgroup, "signal-other-cgroup"),
    ];

    /// The name that the observation gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The fact's number, the index of its byte.
    #[must_use]
    pub const fn fact(self) -> u32 {
        FACT_ARGUMENT + self as u32
    }
}
