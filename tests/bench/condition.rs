//! What is in force while a workload runs.

/// What is in force while a workload runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Bare,
    Empty,
    Run,
    Observed,
    Excluded,
    Strace,
    PerfTrace,
    Bpftrace,
    Shh,
}

/// In the order of the tables. Those in one group share what is attached.
pub const GROUPS: [&[Condition]; 8] = [
    &[Condition::Bare],
    &[Condition::Empty],
    &[Condition::Run],
    &[Condition::Observed, Condition::Excluded],
    &[Condition::Strace],
    &[Condition::PerfTrace],
    &[Condition::Bpftrace],
    &[Condition::Shh],
];

impl Condition {
    /// All of them, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Self> {
        GROUPS.into_iter().flatten().copied()
    }

    /// Its name where there is room.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bare => "nothing attached",
            Self::Empty => "empty programs on sys_enter and sys_exit",
            Self::Run => "harden run",
            Self::Observed => "harden agent, unit observed",
            Self::Excluded => "harden agent, unit excluded",
            Self::Strace => "strace -c -f",
            Self::PerfTrace => "perf trace -s",
            Self::Bpftrace => "bpftrace, calls counted by cgroup",
            Self::Shh => "shh run",
        }
    }

    /// Its name over a column.
    pub fn column(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Empty => "empty",
            Self::Run => "harden run",
            Self::Observed => "agent, observed",
            Self::Excluded => "agent, excluded",
            Self::Strace => "strace",
            Self::PerfTrace => "perf trace",
            Self::Bpftrace => "bpftrace",
            Self::Shh => "shh",
        }
    }

    /// How much of some work is done: less under a tool that takes very long for each call.
    pub fn scaled(self, operations: usize) -> usize {
        match self {
            Self::Strace | Self::PerfTrace | Self::Shh => operations / 25,
            _ => operations,
        }
    }

    /// Does harden record the workload?
    pub fn records(self) -> bool {
        matches!(self, Self::Run | Self::Observed)
    }

    /// Is it another tool?
    pub fn is_other_tool(self) -> bool {
        matches!(
            self,
            Self::Strace | Self::PerfTrace | Self::Bpftrace | Self::Shh
        )
    }
}
