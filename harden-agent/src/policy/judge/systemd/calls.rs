//! System calls under a drop-in.

use crate::observation::Abi;

use super::{
    super::{
        super::systemd::{CLOCK, MODULES},
        judgement::{Judgement, PASS, Step, against, all},
        line::Rules,
        list::List,
        recorded::Case,
    },
    Yes,
};

/// What is on every list of allowed calls (`systemd-analyze syscall-filter @default`, 252).
const DEFAULT: [&str; 63] = [
    "arch_prctl",
    "brk",
    "cacheflush",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "execve",
    "exit",
    "exit_group",
    "futex",
    "futex_time64",
    "futex_waitv",
    "get_robust_list",
    "get_thread_area",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getsid",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "membarrier",
    "mmap",
    "mmap2",
    "mprotect",
    "munmap",
    "nanosleep",
    "pause",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "set_tls",
    "sigreturn",
    "time",
    "ugetrlimit",
    "riscv_flush_icache",
    "riscv_hwprobe",
    "uretprobe",
];

/// Asks for what a raw device gives (`@raw-io`).
const RAW_IO: [&str; 5] = [
    "ioperm",
    "iopl",
    "pciconfig_iobase",
    "pciconfig_read",
    "pciconfig_write",
];

pub(super) struct Calls<'r> {
    architectures: Option<List<'r>>,
    filter: Option<List<'r>>,
    refuses: bool,
}

impl<'r> Calls<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self {
            architectures: List::of(rules, "SystemCallArchitectures"),
            filter: List::of(rules, "SystemCallFilter"),
            refuses: rules.refuses("SystemCallFilter"),
        }
    }

    pub(super) fn judge(
        &self,
        abi: Abi,
        name: &str,
        yes: &Yes<'r>,
        case: &Case<'_, '_>,
    ) -> Judgement<'r> {
        // Its flags are out of a filter's sight: it is answered ENOSYS, and clone is called instead.
        let instead = match name {
            "clone3" if case.called(name) && yes.get("RestrictNamespaces").is_some() => "clone",
            _ => name,
        };
        let by_name = if case.called(name) {
            by_name(name, yes)
        } else {
            // Refused each time it was called.
            PASS
        };
        all([self.architecture(abi), self.filter(instead), by_name])
    }

    /// Calls of the machine's own convention are always allowed (`seccomp_restrict_archs`, src/shared/seccomp-util.c).
    fn architecture(&self, abi: Abi) -> Step<'r> {
        let name = match abi {
            Abi::Native => return PASS,
            Abi::Ia32 => "x86",
            Abi::X32 => "x32",
        };
        let list = self.architectures.as_ref();
        list.map_or(PASS, |list| list.allows(name))
    }

    fn filter(&self, name: &str) -> Step<'r> {
        match &self.filter {
            Some(list) if self.refuses => list.get(&format!("~{name}")).map_or(PASS, against),
            Some(list) if !DEFAULT.contains(&name) => list.allows(name),
            Some(_) | None => PASS,
        }
    }
}

/// What directives of other names refuse.
fn by_name<'r>(name: &str, yes: &Yes<'r>) -> Step<'r> {
    let directive = match name {
        "sethostname" | "setdomainname" => "ProtectHostname",
        "syslog" => "ProtectKernelLogs",
        "openat2" => "RestrictSUIDSGID",
        "setns" => "RestrictNamespaces",
        _ if CLOCK.contains(&name) => "ProtectClock",
        _ if MODULES.contains(&name) => "ProtectKernelModules",
        _ if RAW_IO.contains(&name) => "PrivateDevices",
        _ => return PASS,
    };
    yes.against(&[directive])
}
