//! Directives about the kernel's interfaces: each is safe unless what it refuses was done.
//! What each refuses: systemd.exec(5) and src/core/execute.c, src/shared/seccomp-util.c of 252.

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Facet, Observation, Operation, Text};

use super::super::basis::Basis;
use super::super::capabilities::{self, Needs};
use super::super::evidence::Decision;
use super::super::paths::is_within;
use super::super::places::{Place, Places};
use super::super::refused;
use super::super::set_id;
use super::Directive;

/// What was done anywhere in the unit, without by whom: enough to see that nothing speaks against
/// a directive. What was refused each time was not done.
pub(super) struct Usage<'a> {
    calls: BTreeSet<&'a str>,
    arguments: Vec<Argument>,
    capabilities: BTreeSet<&'a str>,
    blind: BTreeSet<String>,
    blind_files: Option<String>,
}

impl<'a> Usage<'a> {
    pub(super) fn of(basis: &Basis<'a>) -> Self {
        let (observation, coverage) = (basis.observation(), basis.coverage());
        let executables = || {
            let runs = observation.runs.values();
            runs.flat_map(|run| run.executables.values().map(move |facts| (run, facts)))
        };
        let mut blind: BTreeSet<String> = coverage.blind(Facet::Syscalls).into_iter().collect();
        blind.extend(coverage.blind(Facet::Capabilities));
        Self {
            calls: executables()
                .flat_map(|(run, facts)| refused::calls(run, facts))
                .collect(),
            arguments: executables()
                .flat_map(|(run, facts)| refused::arguments(run, facts))
                .collect(),
            capabilities: executables()
                .flat_map(|(_, facts)| &facts.capabilities)
                .filter(|(_, checks)| capabilities::is_needed(checks))
                .map(|(name, _)| name.as_str())
                .collect(),
            blind,
            blind_files: coverage.blind(Facet::Files),
        }
    }

    pub(super) fn called(&self, name: &str) -> bool {
        self.calls.contains(name)
    }

    pub(super) fn said(&self, argument: Argument) -> bool {
        self.arguments.contains(&argument)
    }

    /// Why a directive that refuses these cannot be given.
    fn against(
        &self,
        calls: &[&str],
        arguments: &[Argument],
        capabilities: &[&str],
    ) -> Vec<String> {
        let mut reasons: Vec<String> = self.blind.iter().cloned().collect();
        let called = calls.iter().filter(|name| self.calls.contains(*name));
        reasons.extend(called.map(|name| format!("{name} was called")));
        let said = arguments
            .iter()
            .filter(|argument| self.arguments.contains(argument));
        reasons.extend(
            said.map(|argument| format!("the arguments of a call said {}", argument.name())),
        );
        let used = capabilities
            .iter()
            .filter(|name| self.capabilities.contains(*name));
        reasons.extend(used.map(|name| format!("the capability {name} was used")));
        reasons
    }

    /// The same, for a directive that also refuses uses of files.
    pub(super) fn against_with_files(
        &self,
        calls: &[&str],
        arguments: &[Argument],
        capabilities: &[&str],
        uses: impl Iterator<Item = String>,
    ) -> Vec<String> {
        let mut reasons = self.against(calls, arguments, capabilities);
        reasons.extend(self.blind_files.clone());
        reasons.extend(uses);
        reasons
    }
}

/// `CapabilityBoundingSet`
pub(super) fn capabilities(basis: &Basis<'_>) -> Directive {
    let Needs { needed, .. } = basis.needs();
    let mut reasons: Vec<String> = basis
        .coverage()
        .blind(Facet::Capabilities)
        .into_iter()
        .collect();
    let mut items = Vec::new();
    for (name, need) in needed {
        let word = format!("CAP_{}", name.as_str().to_ascii_uppercase());
        // systemd would ignore the word.
        if !capabilities::is_known(name) {
            reasons.push(format!("the capability {name} has no name here"));
        }
        items.push(need.item(word));
    }
    Directive::list(
        "CapabilityBoundingSet",
        Decision::given_unless(reasons, items),
    )
}

/// `NoNewPrivileges`: no program that is run may gain by its set-id bits or file capabilities.
pub(super) fn no_new_privileges(recorded: &Observation, usage: &Usage<'_>) -> Directive {
    let mut reasons = usage.against(&[], &[], &[]);
    reasons.extend(set_id::gains(recorded));
    Directive::yes("NoNewPrivileges", reasons)
}

/// What `ProtectKernelTunables=` makes read-only (`protect_kernel_tunables_proc_table` and `…_sys_table` in
/// src/core/namespace.c).
pub(in super::super) const TUNABLES: [&[u8]; 13] = [
    b"/proc/acpi",
    b"/proc/apm",
    b"/proc/asound",
    b"/proc/bus",
    b"/proc/fs",
    b"/proc/irq",
    b"/proc/latency_stats",
    b"/proc/mtrr",
    b"/proc/scsi",
    b"/proc/sys",
    b"/proc/sysrq-trigger",
    b"/proc/timer_stats",
    b"/sys",
];

/// Loads or unloads modules.
pub(in super::super) const MODULES: [&str; 3] = ["init_module", "finit_module", "delete_module"];
/// Sets the clock; with `ProtectClock` even asking by adjtimex is refused.
pub(in super::super) const CLOCK: [&str; 5] = [
    "adjtimex",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "settimeofday",
];
/// What a private IPC namespace hides from others.
const IPC: [&str; 7] = [
    "mq_open",
    "mq_unlink",
    "msgget",
    "semget",
    "shmget",
    "ipc",
    "shmat",
];
/// Makes namespaces whatever the arguments; those of clone are facts of their own.
const NAMESPACES: [&str; 2] = ["unshare", "setns"];
const NAMESPACE_ARGUMENTS: [Argument; 9] = [
    Argument::NamespaceAny,
    Argument::NamespaceCgroup,
    Argument::NamespaceIpc,
    Argument::NamespaceMount,
    Argument::NamespaceNet,
    Argument::NamespacePid,
    Argument::NamespaceTime,
    Argument::NamespaceUser,
    Argument::NamespaceUts,
];

/// `RestrictNamespaces`
pub(super) fn namespaces(usage: &Usage<'_>) -> Directive {
    Directive::yes(
        "RestrictNamespaces",
        usage.against(&NAMESPACES, &NAMESPACE_ARGUMENTS, &[]),
    )
}

/// The directives, in the order of the manual page.
pub(super) fn decide(usage: &Usage<'_>, places: &Places<'_>) -> Vec<Directive> {
    vec![
        Directive::yes(
            "PrivateIPC",
            usage.against_with_files(&IPC, &[], &[], used(places, &[b"/dev/mqueue"])),
        ),
        Directive::yes(
            "ProtectHostname",
            usage.against(&["sethostname", "setdomainname"], &[], &[]),
        ),
        Directive::yes(
            "ProtectClock",
            usage.against_with_files(
                &CLOCK,
                &[],
                &["sys_time", "wake_alarm"],
                places
                    .iter()
                    .filter(|place| place.found() && place.path.starts_with(b"/dev/rtc"))
                    .map(was_used),
            ),
        ),
        Directive::yes(
            "ProtectKernelTunables",
            usage.against_with_files(
                &[],
                &[],
                &[],
                written(places, &TUNABLES)
                    .chain(used(places, &[b"/proc/kallsyms", b"/proc/kcore"])),
            ),
        ),
        Directive::yes(
            "ProtectKernelModules",
            usage.against_with_files(
                &MODULES,
                &[],
                &["sys_module"],
                used(places, &[b"/lib/modules", b"/usr/lib/modules"]),
            ),
        ),
        Directive::yes(
            "ProtectKernelLogs",
            usage.against_with_files(
                &["syslog"],
                &[],
                &["syslog"],
                used(places, &[b"/dev/kmsg", b"/proc/kmsg"]),
            ),
        ),
        Directive::yes(
            "ProtectControlGroups",
            usage.against_with_files(&[], &[], &[], written(places, &[b"/sys/fs/cgroup"])),
        ),
        namespaces(usage),
        Directive::yes(
            "LockPersonality",
            usage.against(&[], &[Argument::PersonalitySet], &[]),
        ),
        Directive::yes(
            "MemoryDenyWriteExecute",
            usage.against(
                &[],
                &[
                    Argument::MmapWriteExec,
                    Argument::MprotectExec,
                    Argument::ShmatExec,
                ],
                &[],
            ),
        ),
        Directive::yes(
            "RestrictRealtime",
            usage.against(&[], &[Argument::SchedulerRealtime], &[]),
        ),
        // It answers ENOSYS to openat2, whose mode is out of a filter's sight.
        Directive::yes(
            "RestrictSUIDSGID",
            usage.against(&["openat2"], &[Argument::ModeSetid], &[]),
        ),
    ]
}

fn was_used(place: &Place<'_>) -> String {
    format!("{} was used", Text::from(&place.path))
}

/// Any use of what is there, beyond a look at the directory itself.
fn used<'a>(
    places: &'a Places<'_>,
    directories: &'a [&'a [u8]],
) -> impl Iterator<Item = String> + 'a {
    places
        .touching(directories)
        .filter(|place| place.found())
        .filter(|place| !only_passed(place, directories))
        .map(was_used)
}

/// A look at the directory itself.
fn only_passed(place: &Place<'_>, directories: &[&[u8]]) -> bool {
    directories.contains(&&*place.path)
        && place
            .done()
            .all(|operation| matches!(operation, Operation::Stat | Operation::Access))
}

/// What was changed, or was to be.
fn written<'a>(
    places: &'a Places<'_>,
    directories: &'a [&'a [u8]],
) -> impl Iterator<Item = String> + 'a {
    places
        .touching(directories)
        .filter(|place| place.wrote())
        .filter(|place| {
            directories
                .iter()
                .any(|directory| is_within(&place.path, directory))
        })
        .map(|place| format!("{} was written", Text::from(&place.path)))
}
