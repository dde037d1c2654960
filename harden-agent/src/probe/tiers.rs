//! The tier table: for each kind of fact, the hooks that can supply it, best first.
//!
//! No single hook exists on every kernel or under every lockdown. The loader takes the first that
//! loads and attaches; a refused one never stops the rest.

use std::{collections::BTreeMap, str::FromStr};

/// A kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// Calls, arguments, socket families and types.
    Syscalls,
    /// Calls that the first program is skipped for, where the kernel preempts programs.
    SkippedCalls,
    /// Opened files.
    Files,
    /// What else is done to paths: mkdir, unlink, rename, chmod and the like.
    PathOperations,
    /// Paths as they were asked for: links on them, lookups that fail, `O_PATH`, stat, access.
    Lookups,
    /// Socket addresses.
    Addresses,
    /// Calls that a seccomp filter refused.
    RefusedCalls,
    /// Capability checks.
    Capabilities,
    /// Signals to processes of other cgroups.
    Signals,
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
    const ALL: [Self; 14] = [
        Self::Syscalls,
        Self::SkippedCalls,
        Self::Files,
        Self::PathOperations,
        Self::Lookups,
        Self::Addresses,
        Self::RefusedCalls,
        Self::Capabilities,
        Self::Signals,
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::CgroupBirth,
        Self::CgroupEnd,
    ];

    /// The fact's name in the observation and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syscalls => "syscalls",
            Self::SkippedCalls => "skipped-calls",
            Self::Files => "files",
            Self::PathOperations => "path-operations",
            Self::Lookups => "lookups",
            Self::Addresses => "addresses",
            Self::RefusedCalls => "refused-calls",
            Self::Capabilities => "capabilities",
            Self::Signals => "signals",
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
    /// Hook of the Linux security modules, as the module `bpf`.
    Lsm,
    /// The end of a kernel function.
    Fexit,
}

/// One program and where it attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The tracepoint, LSM hook or function.
    pub target: &'static str,
    /// The name of the program.
    pub program: &'static str,
}

/// One way to learn a kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it supplies.
    pub fact: Fact,
    /// How it attaches.
    pub attach: Attach,
    /// Its name without the way it attaches.
    pub short: &'static str,
    /// All of these, or the hook is refused.
    pub points: &'static [Point],
}

impl Hook {
    /// The hook's name in the observation and on the command line: `tp_btf:sys_enter`.
    #[must_use]
    pub fn name(self) -> String {
        let kind = match self.attach {
            Attach::RawTracepoint => "raw_tp",
            Attach::BtfTracepoint => "tp_btf",
            Attach::Lsm => "lsm",
            Attach::Fexit => "fexit",
        };
        format!("{kind}:{}", self.short)
    }
}

/// A hook that is one program.
macro_rules! hook {
    ($fact:ident, $attach:ident, $target:literal, $program:literal) => {
        Hook {
            fact: Fact::$fact,
            attach: Attach::$attach,
            short: $target,
            points: &[Point {
                target: $target,
                program: $program,
            }],
        }
    };
    ($fact:ident, $attach:ident, $target:literal) => {
        hook!($fact, $attach, $target, $target)
    };
}

/// The hooks of a family, whose programs have the names of their hooks.
macro_rules! family {
    ($fact:ident, $attach:ident, $short:literal, [$($target:literal),*]) => {
        Hook {
            fact: Fact::$fact,
            attach: Attach::$attach,
            short: $short,
            points: &[$(Point { target: $target, program: $target }),*],
        }
    };
}

/// The hooks of each fact, best first. Attached from the end to the beginning, so that everything
/// that explains a call is in place before the first call is seen.
///
/// stat stays with `sys_exit` although `security_inode_getattr` has a path: it cannot tell fstat, for
/// which nobody needs the path, from stat. access and readlink have no hook with a path.
pub(super) const TIERS: &[&[Hook]] = &[
    // Last to be attached: a copy has to come after the program that it makes up for.
    &[Hook {
        fact: Fact::SkippedCalls,
        attach: Attach::BtfTracepoint,
        short: "sys_enter+sys_exit",
        points: &[
            Point {
                target: "sys_enter",
                program: "sys_enter_again",
            },
            Point {
                target: "sys_exit",
                program: "sys_exit_again",
            },
        ],
    }],
    &[hook!(Syscalls, BtfTracepoint, "sys_enter")],
    &[hook!(Lookups, BtfTracepoint, "sys_exit")],
    &[hook!(Addresses, BtfTracepoint, "sys_exit")],
    &[
        hook!(RefusedCalls, BtfTracepoint, "sys_exit"),
        hook!(RefusedCalls, Fexit, "audit_seccomp"),
    ],
    &[
        hook!(Files, Lsm, "file_open"),
        hook!(Files, BtfTracepoint, "sys_exit"),
        hook!(Files, Fexit, "security_file_open"),
    ],
    &[
        family!(
            PathOperations,
            Lsm,
            "path_*",
            [
                "path_mkdir",
                "path_rmdir",
                "path_unlink",
                "path_symlink",
                "path_link",
                "path_rename",
                "path_mknod",
                "path_chmod",
                "path_chown",
                "path_chroot",
                "path_truncate"
            ]
        ),
        hook!(PathOperations, BtfTracepoint, "sys_exit"),
    ],
    &[
        hook!(Capabilities, Lsm, "capable"),
        hook!(Capabilities, BtfTracepoint, "cap_capable"),
        hook!(Capabilities, Fexit, "cap_capable", "cap_capable_done"),
    ],
    &[hook!(Signals, RawTracepoint, "signal_generate")],
    &[hook!(Fork, BtfTracepoint, "task_newtask")],
    &[
        hook!(Exec, Lsm, "bprm_committed_creds"),
        hook!(Exec, RawTracepoint, "sched_process_exec"),
    ],
    &[hook!(Exit, RawTracepoint, "sched_process_exit")],
    &[hook!(CgroupBirth, BtfTracepoint, "cgroup_mkdir")],
    &[hook!(CgroupEnd, RawTracepoint, "cgroup_rmdir")],
];

/// The hooks of `fact`, best first.
#[must_use]
pub(super) fn tiers(fact: Fact) -> &'static [Hook] {
    TIERS
        .iter()
        .find(|tier| tier.first().is_some_and(|hook| hook.fact == fact))
        .copied()
        .unwrap_or_default()
}

/// A tier that somebody wants and no other: `FACT=NAME`, with `none` for no hook at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forced {
    /// The fact.
    pub fact: Fact,
    /// Its hook.
    pub hook: Option<Hook>,
}

/// There is no such fact or tier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnknownTier {
    /// Not `FACT=NAME`.
    #[error("write FACT=NAME, as in files=tp_btf:sys_exit")]
    Form,
    /// No such fact.
    #[error("there is no fact {0}; the facts are {1}")]
    Fact(String, String),
    /// The fact has no such hook.
    #[error("{0} has no hook {1}; it has {2}")]
    Hook(&'static str, String, String),
    /// Without it there is nothing to see.
    #[error("without syscalls nothing can be observed")]
    Needed,
}

impl FromStr for Forced {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (fact, name) = text.split_once('=').ok_or(UnknownTier::Form)?;
        let fact = Fact::ALL
            .into_iter()
            .find(|known| known.name() == fact)
            .ok_or_else(|| {
                UnknownTier::Fact(fact.to_owned(), Fact::ALL.map(Fact::name).join(", "))
            })?;
        if name == "none" {
            return match fact {
                Fact::Syscalls => Err(UnknownTier::Needed),
                _ => Ok(Self { fact, hook: None }),
            };
        }
        let hooks = tiers(fact);
        let hook = hooks.iter().find(|hook| hook.name() == name);
        let known = || {
            let names: Vec<_> = hooks.iter().map(|hook| hook.name()).collect();
            format!("{}, none", names.join(", "))
        };
        hook.map(|hook| Self {
            fact,
            hook: Some(*hook),
        })
        .ok_or_else(|| UnknownTier::Hook(fact.name(), name.to_owned(), known()))
    }
}

/// What is to be attached: for each fact the hooks to try, in the order of [`TIERS`].
///
/// Of two that force the same fact, the later holds.
#[must_use]
pub(super) fn plan(forced: &[Forced]) -> Vec<(Fact, Vec<Hook>)> {
    let forced: BTreeMap<Fact, Option<Hook>> = forced
        .iter()
        .map(|forced| (forced.fact, forced.hook))
        .collect();
    TIERS
        .iter()
        .filter_map(|tier| {
            let fact = tier.first()?.fact;
            let hooks = forced
                .get(&fact)
                .map_or_else(|| tier.to_vec(), |hook| hook.iter().copied().collect());
            Some((fact, hooks))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Fact, Forced, TIERS, UnknownTier, plan, tiers};

    #[test]
    fn every_fact_has_its_tiers() {
        for fact in Fact::ALL {
            assert!(!tiers(fact).is_empty(), "{fact:?}");
        }
        assert_eq!(TIERS.len(), Fact::ALL.len());
        for tier in TIERS {
            assert!(tier.iter().all(|hook| hook.fact == tier[0].fact));
        }
    }

    #[test]
    fn a_tier_is_named_as_the_observation_names_it() {
        for hook in TIERS.iter().copied().flatten() {
            let text = format!("{}={}", hook.fact.name(), hook.name());
            assert_eq!(text.parse::<Forced>().unwrap().hook, Some(*hook));
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let refused = |text: &str| text.parse::<Forced>().unwrap_err();
        assert_eq!(refused("files"), UnknownTier::Form);
        assert!(matches!(refused("file=none"), UnknownTier::Fact(..)));
        assert!(matches!(refused("files=lsm:open"), UnknownTier::Hook(..)));
        assert_eq!(refused("syscalls=none"), UnknownTier::Needed);
    }

    #[test]
    fn a_forced_tier_is_the_only_one_tried() {
        let forced = ["files=fexit:security_file_open", "lookups=none"]
            .map(|text| text.parse::<Forced>().unwrap());
        for (fact, hooks) in plan(&forced) {
            match fact {
                Fact::Files => assert_eq!(hooks, [forced[0].hook.unwrap()]),
                Fact::Lookups => assert_eq!(hooks, []),
                _ => assert_eq!(hooks, tiers(fact)),
            }
        }
    }
}
