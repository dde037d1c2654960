//! Kinds of loss: the kernel side counts each where it happens.

/// What could not be recorded.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A path did not fit into the ring buffer. It comes again when the path is used again.
    PathRingFull = 0,
    /// An exec did not fit into the ring buffer.
    ExecRingFull = 1,
    /// A socket or address did not fit into the ring buffer. It comes again.
    SocketRingFull = 2,
    /// A cgroup's birth or end did not fit into the ring buffer.
    CgroupRingFull = 3,
    /// No slot number was left, or none for a payer that had its share of them: the task's facts went unrecorded.
    SlotsExhausted = 4,
    /// A path was longer or deeper than the walk's bounds.
    WalkTruncated = 5,
    /// A path or address in the task's memory could not be read though the call could read it.
    TextUnreadable = 6,
    /// All scratch buffers of the CPU were in use by preempted tasks.
    ScratchBusy = 7,
    /// A call number beyond the table.
    UnknownCall = 8,
    /// An array of messages whose addresses past the first were not read.
    MessagesSkipped = 9,
    /// A map refused an update for another reason than being full.
    MapUpdate = 10,
    /// The table of cgroups was full: a cgroup below an observed one went unobserved.
    CgroupsFull = 11,
    /// The table of tasks was full (only where the kernel has no task storage): the task was
    /// attributed by its own cgroup and program at each call, which is slow, and wrong between fork
    /// and exec.
    TasksFull = 12,
    /// A call's end was not seen: all programs on `sys_exit` were skipped for it.
    ExitSkipped = 13,
    /// A cgroup's path was not kept: the table of paths was full, or the path longer than the kernel
    /// tells it. What the cgroup did is known, and its name only if it is still there to be asked.
    CgroupNamesFull = 14,
    /// The call in which a capability was granted did not fit into the ring buffer. The capability itself is known, and
    /// the call comes again.
    CapabilityRingFull = 15,
    /// A path or address was beyond the share of the ring buffer that its payer has, see [`crate::ShareRecord::whole`]. It
    /// comes again when it is used again.
    OverShare = 16,
    /// The agent ended before it could write what it had taken out of the ring buffer, as its disk was full. No program
    /// counts it: the agent keeps in the counter how much that is.
    Unwritten = 17,
    /// The number of a call that was refused did not fit into the ring buffer. That one was refused is known, and which is
    /// sent when it is refused again.
    RefusedRingFull = 18,
}

impl Loss {
    /// Every kind with the name that the observation gives it.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::PathRingFull, "path-ring-full"),
        (Self::ExecRingFull, "exec-ring-full"),
        (Self::SocketRingFull, "socket-ring-full"),
        (Self::CgroupRingFull, "cgroup-ring-full"),
        (Self::SlotsExhausted, "slots-exhausted"),
        (Self::WalkTruncated, "walk-truncated"),
        (Self::TextUnreadable, "text-unreadable"),
        (Self::ScratchBusy, "scratch-busy"),
        (Self::UnknownCall, "unknown-call"),
        (Self::MessagesSkipped, "messages-skipped"),
        (Self::MapUpdate, "map-update"),
        (Self::CgroupsFull, "cgroups-full"),
        (Self::TasksFull, "tasks-full"),
        (Self::ExitSkipped, "skipped-sys_exit"),
        (Self::CgroupNamesFull, "cgroup-names-full"),
        (Self::CapabilityRingFull, "capability-ring-full"),
        (Self::OverShare, "over-share"),
        (Self::Unwritten, "unwritten"),
        (Self::RefusedRingFull, "refused-ring-full"),
    ];

    /// How many kinds there are.
    pub const COUNT: u32 = 19;
}
