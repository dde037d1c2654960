//! The tier table: for each kind of fact, the hooks that can supply it, best first.
//!
//! No single hook exists on every kernel or under every lockdown. The loader takes the first that
//! loads and attaches; a refused one never stops the rest.

/// A kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// Calls, arguments, socket families and types.
    Syscalls,
    /// Paths and socket addresses.
    Files,
    /// Capability checks.
    Capabilities,
    /// What a forked task belongs to.
    Fork,
    /// When a task begins another program, and what exec was given.
    Exec,
    /// How a task ended.
    Exit,
    /// Cgroups born below an observed one.
    CgroupBirth,
    /// Cgroups removed.
    CgroupEnd,
}

impl Fact {
    /// The fact's name in the observation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syscalls => "syscalls",
            Self::Files => "files",
            Self::Capabilities => "capabilities",
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::CgroupBirth => "cgroup-birth",
            Self::CgroupEnd => "cgroup-end",
        }
    }
}

/// How a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// Raw tracepoint.
    RawTracepoint,
    /// BTF-typed raw tracepoint.
    BtfTracepoint,
}

/// One way to learn a kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it supplies.
    pub fact: Fact,
    /// How it attaches.
    pub attach: Attach,
    /// The tracepoint, and the name of the program.
    pub point: &'static str,
}

impl Hook {
    /// The hook's name in the observation: `raw_tp:sys_enter`.
    #[must_use]
    pub fn name(self) -> String {
        let kind = match self.attach {
            Attach::RawTracepoint => "raw_tp",
            Attach::BtfTracepoint => "tp_btf",
        };
        format!("{kind}:{}", self.point)
    }
}

const fn raw(fact: Fact, point: &'static str) -> Hook {
    Hook {
        fact,
        attach: Attach::RawTracepoint,
        point,
    }
}

const fn btf(fact: Fact, point: &'static str) -> Hook {
    Hook {
        fact,
        attach: Attach::BtfTracepoint,
        point,
    }
}

/// The hooks of each fact, best first. Attached from the end to the beginning, so that everything
/// that explains a call is in place before the first call is seen.
pub const TIERS: &[&[Hook]] = &[
    &[raw(Fact::Syscalls, "sys_enter")],
    &[raw(Fact::Files, "sys_exit")],
    &[btf(Fact::Capabilities, "cap_capable")],
    &[btf(Fact::Fork, "task_newtask")],
    &[raw(Fact::Exec, "sched_process_exec")],
    &[raw(Fact::Exit, "sched_process_exit")],
    &[raw(Fact::CgroupBirth, "cgroup_mkdir")],
    &[raw(Fact::CgroupEnd, "cgroup_rmdir")],
];
