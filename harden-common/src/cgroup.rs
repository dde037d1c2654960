//! What the kernel side keeps of a cgroup, so that its name outlives it.

/// Room for a cgroup's path: what the kernel gives its tracepoints (`TRACE_CGROUP_PATH_LEN`,
/// kernel/cgroup/cgroup-internal.h), NUL included. A path that fills it was cut.
pub const CGROUP_PATH_MAX: usize = 1024;

/// Where a cgroup is in the tree. Written at its birth; taken away by the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CgroupRecord {
    /// Its parent's id.
    pub parent: u64,
    /// When it was made: nanoseconds since boot, time in suspend not counted (`CLOCK_MONOTONIC`).
    pub born: u64,
    /// The cgroup in whose share of the table this is; itself, if it has a share of its own.
    pub payer: u64,
    /// Bytes of path.
    pub path_length: u32,
    /// Zero.
    pub reserved: u32,
    /// The path, relative to the cgroup root. What lies behind its length means nothing.
    pub path: [u8; CGROUP_PATH_MAX],
}
