//! Which system calls a container may make: what an OCI runtime loads as `linux.seccomp` (config-linux.md of
//! the runtime specification, 1.0.2).

use std::collections::BTreeSet;

use serde::Serialize;

use crate::observation::{Abi, Facet, Text};

use super::DecisionOptions;
use super::basis::Basis;
use super::calls::is_nameless;
use super::coverage::Coverage;
use super::elsewhere;
use super::equivalents::{Compatibility, equivalents};
use super::evidence::{Decision, Item};
use super::launchers;
use super::warnings::{self, Warning};

/// What the runtime calls itself between loading the filter and the exec of the program: with
/// `noNewPrivileges` it loads it last, without it before it gives up its rights. Traced in runc 1.1.5, both
/// ways; the Go runtime's own calls (signals, memory, other threads) come when they come, and are
/// those of its `sys_linux_*.s` (`runtime`, Go 1.19).
pub(super) const RUNTIME: [&str; 40] = [
    "capget",
    "capset",
    "chdir",
    "clone",
    "close",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit",
    "exit_group",
    "faccessat2",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getpid",
    "getppid",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "prctl",
    "read",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "setgid",
    "setgroups",
    "setuid",
    "sigaltstack",
    "tgkill",
    "write",
];

/// As a kernel that does not have the call: what libraries have their way round for; EPERM they take for a refusal (moby
/// issue 42680).
const ENOSYS: u32 = 38;

/// Everything decided for one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seccomp {
    /// What was observed: a unit or a command.
    pub subject: Text,
    /// Over what, and what could not be seen.
    pub coverage: Coverage,
    /// The calling conventions, as libseccomp names them (`seccomp_arch_add(3)`), and the calls that may be made
    /// in each of them.
    pub allowed: Decision<Allowed>,
    /// What the person who installs the list must know.
    pub warnings: Vec<Warning>,
}

/// What is allowed, and how everything else is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// `x86_64`, `x86`, …
    pub architectures: BTreeSet<&'static str>,
    /// The calls that the program made.
    pub program: Vec<Item>,
    /// Those that can happen although the program did not ask for them.
    pub unasked: Vec<Item>,
    /// Those that only the runtime makes.
    pub runtime: Vec<Item>,
    /// The error of everything else.
    pub errno: u32,
}

impl Seccomp {
    /// Decides.
    #[must_use]
    pub fn decide(basis: &Basis<'_>, decision_options: &DecisionOptions) -> Self {
        let observation = basis.observation();
        let mut warnings = warnings::of_coverage(basis.coverage());
        warnings.extend(launchers::warning(
            observation,
            "Every job in the container would be held to this list",
        ));
        warnings.extend(elsewhere::warnings(observation));
        warnings.extend(warnings::mixed(observation));
        warnings.extend(warnings::io_uring(observation));
        warnings.extend(warnings::foreign(
            observation,
            decision_options.host.as_ref(),
        ));
        Self {
            subject: observation.name.clone(),
            allowed: allowed(basis, decision_options.compatibility),
            coverage: basis.coverage().clone(),
            warnings,
        }
    }
}

fn allowed(basis: &Basis<'_>, compatibility: Compatibility) -> Decision<Allowed> {
    if let Some(reason) = basis.coverage().blind(Facet::Syscalls) {
        return Decision::withheld(reason);
    }
    let mut reasons = Vec::new();
    let mut architectures = BTreeSet::new();
    let asked = basis.asked();
    for (machine, abi) in &asked.tolerated {
        match architecture(machine, *abi) {
            Some(name) => {
                architectures.insert(name);
            }
            None => reasons.push(format!(
                "libseccomp has no name for the architecture {machine}"
            )),
        }
    }
    let calls = basis.calls();
    if calls.is_empty() {
        reasons.push("no system call was seen".to_owned());
    }
    for name in calls.keys().filter(|name| is_nameless(name.as_str())) {
        reasons.push(format!(
            "the call {name} has no name, and a list without it would refuse it"
        ));
    }
    reasons.dedup();
    let names: BTreeSet<&str> = calls.keys().map(|name| name.as_str()).collect();
    let others = equivalents(&names, compatibility);
    let runtime = RUNTIME
        .into_iter()
        .filter(|name| !names.contains(name) && !others.contains_key(name))
        .map(|name| Item::noted(name, "the runtime itself, before it runs the program"))
        .collect();
    // What is on the runtime's list need not be on this one.
    let unasked = basis
        .unasked(&names, &asked.conventions, compatibility)
        .into_iter()
        .filter(|(name, _)| !others.contains_key(name) && !RUNTIME.contains(name))
        .map(|(name, why)| Item::noted(name, why))
        .collect();
    let mut program: Vec<Item> = calls
        .iter()
        .map(|(name, evidence)| Item::new(name.as_str(), evidence.clone()))
        .collect();
    program.extend(others.into_iter().map(|(name, why)| Item::noted(name, why)));
    program.sort_by(|one, other| one.value.cmp(&other.value));
    Decision::given_unless(
        reasons,
        Allowed {
            architectures,
            program,
            unasked,
            runtime,
            errno: ENOSYS,
        },
    )
}

fn architecture(machine: &Text, abi: Abi) -> Option<&'static str> {
    match (machine.as_bytes(), abi) {
        (b"x86_64", Abi::Native) => Some("x86_64"),
        (b"x86_64", Abi::Ia32) => Some("x86"),
        (b"x86_64", Abi::X32) => Some("x32"),
        (b"aarch64", Abi::Native) => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn decided(fixture: Fixture) -> Decision<Allowed> {
        Seccomp::decide(
            &Basis::of(&fixture.observation()),
            &DecisionOptions::default(),
        )
        .allowed
    }

    #[test]
    fn every_call_in_every_convention_that_was_used() {
        let fixture = Fixture::new()
            .executable("/bin/d")
            .syscalls(&["read", "socket"])
            .syscalls_of(Abi::Ia32, &["socketcall"]);
        let allowed = decided(fixture);
        let allowed = allowed.given().unwrap();
        assert_eq!(allowed.architectures, ["x86", "x86_64"].into());
        let names: Vec<_> = allowed.program.iter().map(|item| &item.value[..]).collect();
        assert_eq!(names, ["read", "socket", "socketcall"]);
        // What the program does itself is not put down to the runtime.
        assert!(allowed.runtime.iter().all(|item| item.value != "read"));
        assert!(allowed.runtime.iter().any(|item| item.value == "execve"));
    }

    #[test]
    fn what_has_no_name_or_was_not_seen_gives_no_list() {
        let nameless = Fixture::new()
            .executable("/bin/d")
            .syscalls(&["syscall-470"]);
        // A kernel that may have it.
        let mut newer = nameless;
        newer.run().host.kernel = "6.19".into();
        assert!(decided(newer).given().is_none());
        assert!(decided(Fixture::new()).given().is_none());
        let mut blind = Fixture::new().executable("/bin/d").syscalls(&["read"]);
        blind.run().hooks.clear();
        assert!(decided(blind).given().is_none());
        let mut strange = Fixture::new().executable("/bin/d").syscalls(&["read"]);
        strange.run().host.architecture = "riscv64".into();
        assert!(decided(strange).given().is_none());
    }
}
