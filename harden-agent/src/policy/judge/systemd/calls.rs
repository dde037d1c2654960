//! System calls under a drop-in.

use crate::observation::Abi;

use super::{
    super::{
        super::systemd::{CLOCK, MODULES},
        groups::SYSTEMD,
        judgement::{Judgement, PASS, Step, all, by},
        line::{Line, Rules},
        list::List,
        recorded::Case,
    },
    NAMESPACES, Yes,
    lists::Lines,
};

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
    filter: Option<Lines<'r>>,
    restricts_namespaces: bool,
    /// How a refused call is answered; none: the program is killed for it.
    error: Option<&'r Line>,
}

impl<'r> Calls<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self {
            architectures: List::of(rules, "SystemCallArchitectures"),
            filter: Lines::of_calls(rules, "SystemCallFilter", &SYSTEMD),
            restricts_namespaces: Lines::of(rules, NAMESPACES).is_some_and(|list| !list.is_idle()),
            error: rules.line("SystemCallErrorNumber"),
        }
    }

    /// The same of a call that was refused already, or is none of this kernel's: what a program bears is the answer.
    pub(super) fn judge_in_vain(&self, abi: Abi, name: &str, why: &'static str) -> Judgement<'r> {
        // Of another convention it is killed, whatever SystemCallErrorNumber= says: that filter has no rules, and
        // libseccomp kills by default (`seccomp_restrict_archs`, src/shared/seccomp-util.c).
        let architecture = all([self.architecture(abi)]);
        if architecture.is_refused() {
            return architecture;
        }
        match (all([self.filter(name)]), self.error) {
            (Judgement::Refused(_), Some(line)) => all([self.architecture(abi), by(line)]),
            (Judgement::Refused(refusal), None) => Judgement::Refused(refusal),
            _ if architecture.rests_on().next().is_some() => architecture,
            _ => Judgement::asks_for_nothing(why),
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
            "clone3" if case.called(name) && self.restricts_namespaces => "clone",
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

    /// systemd runs the unit's command under its filter: no program of the unit has made that call.
    pub(super) fn runs(&self) -> Judgement<'r> {
        all([self.filter("execve")])
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
            Some(list) => list.judge(name),
            None => PASS,
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
