//! What a systemd drop-in may say of a unit: the sandboxing directives of systemd.exec(5) that
//! everything observed can live with.
//!
//! All commands of a unit, `ExecStartPre=` to `ExecStopPost=`, run under the same filters and the
//! same bounding set (`exec_child` in src/core/execute.c, systemd 252), so the facts of all of them
//! are taken together.

mod calls;
pub(super) mod default_list;
mod devices;
mod directories;
mod files;
mod kernel;
mod network;
mod users;
mod withhold;
mod word;

pub(super) use devices::{DEVICE_DIRECTORIES, DEVICES, is_device};
pub(super) use directories::KINDS;
pub(super) use files::HOMES;
pub(super) use kernel::{CLOCK, MODULES, TUNABLES};
pub(super) use network::is_loopback;
pub(super) use withhold::FILTERS;

use serde::Serialize;

/// Lists that are there even if nothing is on them, and to which another drop-in's words would be added.
pub(crate) const LISTS: [&str; 4] = [
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "SystemCallArchitectures",
    "SystemCallFilter",
];

use crate::observation::Text;

use super::DecisionOptions;
use super::basis::UnitBasis;
use super::coverage::Coverage;
use super::elsewhere;
use super::evidence::{Decision, Item};
use super::folded;
use super::launchers;
use super::mounts;
use super::reasons::Reasons;
use super::set_id;
use super::warnings::{self, Id, Warning};

/// Everything decided for one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DropIn {
    /// The unit or command that was observed.
    pub subject: Text,
    /// Over what, and what could not be seen.
    pub coverage: Coverage,
    /// The directives, in the order of systemd.exec(5).
    pub directives: Vec<Directive>,
    /// What the person who installs the drop-in must know.
    pub warnings: Vec<Warning>,
}

/// One directive, or why it is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Directive {
    /// `SystemCallFilter`
    pub name: &'static str,
    /// Its words. A directive with none is given empty, which takes everything away.
    pub value: Decision<Vec<Item>>,
}

impl Directive {
    /// A list.
    fn list(name: &'static str, value: Decision<Vec<Item>>) -> Self {
        Self { name, value }
    }

    /// `NAME=yes`, unless something speaks against it.
    fn yes(name: &'static str, reasons: impl Into<Reasons>) -> Self {
        Self::word(name, "yes", reasons)
    }

    /// `NAME=WORD`, unless something speaks against it.
    fn word(name: &'static str, word: &str, reasons: impl Into<Reasons>) -> Self {
        let item = Item::new(word, super::Evidence::default());
        Self::list(name, Decision::given_unless(reasons, vec![item]))
    }
}

impl DropIn {
    /// Decides. `known` are the names of calls that the systemd which will read the drop-in knows
    /// (`systemd-analyze syscall-filter @known`); it ignores others, with a warning.
    #[must_use]
    pub fn decide(
        basis: &UnitBasis<'_>,
        known: Option<&std::collections::BTreeSet<String>>,
        decision_options: &DecisionOptions,
    ) -> Self {
        let (recorded, observation) = (basis.recorded, basis.observation());
        let (coverage, places) = (basis.coverage(), basis.places());
        let usage = kernel::Usage::of(basis);
        let mut directives = vec![
            kernel::capabilities(basis),
            kernel::no_new_privileges(recorded, &usage),
        ];
        directives.push(users::mask(basis));
        directives.extend(files::decide(
            basis,
            (&usage, decision_options.generalisation),
        ));
        directives.push(users::private(basis, &usage));
        directives.extend(network::decide(basis, &usage));
        directives.extend(kernel::decide(&usage, places));
        directives.push(calls::families(basis));
        directives.extend(calls::decide(basis, &usage, known, decision_options));
        let (own, made) = directories::decide(basis);
        directives.extend(own);
        let unlisted = devices::unlisted((places, &usage), &directives);
        withhold::because(&mut directives, |name| name == "ProtectClock", &unlisted);
        let implied = set_id::implied(recorded, coverage);
        let is_filter = |name: &str| withhold::FILTERS.contains(&name);
        withhold::because(&mut directives, is_filter, &implied);
        let mounts = mounts::against(observation, coverage);
        let is_mounts = |name: &str| withhold::MOUNT_NAMESPACE.contains(&name);
        withhold::because(&mut directives, is_mounts, &mounts);
        withhold::because(&mut directives, |_| true, &launchers::against(observation));
        let mut warnings = warnings::of_coverage(coverage);
        warnings.extend(launchers::warning(
            observation,
            "No directive is given, as all of them are inherited",
        ));
        warnings.extend(mounts::told(observation).map(|told| {
            Warning::new(
                Id::MOUNTS,
                format!(
                    "{told}: no directive is given that makes a mount namespace, as what is mounted would stay in \
                     there, and what is watched would be watched there alone. See that the unit itself has none"
                ),
            )
        }));
        warnings.extend(elsewhere::warnings(observation));
        warnings.extend(folded::warning(observation));
        warnings.extend(warnings::mixed(observation));
        warnings.extend(warnings::io_uring(observation));
        warnings.extend(warnings::sessions(observation));
        warnings.extend(made);
        warnings.extend(warnings::pinned(places, &std::collections::BTreeSet::new()));
        warnings.extend(warnings::foreign(
            observation,
            decision_options.host.as_ref(),
        ));
        Self {
            subject: observation.name.clone(),
            coverage: coverage.clone(),
            directives,
            warnings,
        }
    }

    /// What the directive says, if it is given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&[Item]> {
        let directive = self.directives.iter().find(|one| one.name == name)?;
        directive.value.given().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Commands, fixture::Fixture};
    use super::*;
    use crate::observation::{Abi, CapabilityCheck, ControlCommand, Operation};
    use harden_common::Argument;

    fn words(drop_in: &DropIn, name: &str) -> Option<String> {
        let items = drop_in.given(name)?;
        let words: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
        Some(words.join(" "))
    }

    fn decided(fixture: Fixture) -> DropIn {
        DropIn::decide(
            &Commands::of(fixture.observation()).unit_basis(),
            None,
            &DecisionOptions::default(),
        )
    }

    fn daemon() -> Fixture {
        Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "exit_group"])
    }

    #[test]
    fn the_manual_has_every_directive() {
        let manual = include_str!("../../../../docs/drop-in.md");
        for Directive { name, .. } in &decided(daemon()).directives {
            let is_there = [format!("`{name}`"), format!("`{name}=")];
            let is_there = is_there.iter().any(|name| manual.contains(name));
            assert!(is_there, "docs/drop-in.md has no {name}");
        }
    }

    #[test]
    fn every_directive_is_read_by_the_matcher() {
        let drop_in = decided(daemon());
        let text = crate::render::systemd::drop_in(&drop_in, &crate::render::Options::default());
        let unread = super::super::judge::systemd::read(&text).unread;
        assert!(
            unread.is_empty(),
            "add it to the list of its kind in policy/judge/systemd/read.rs: {unread:?}"
        );
    }

    #[test]
    fn a_daemon_that_asks_for_nothing_gets_everything() {
        let drop_in = decided(daemon());
        for directive in &drop_in.directives {
            assert!(directive.value.given().is_some(), "{directive:?}");
        }
        assert_eq!(words(&drop_in, "CapabilityBoundingSet").unwrap(), "");
        assert_eq!(words(&drop_in, "RestrictAddressFamilies").unwrap(), "none");
        assert_eq!(words(&drop_in, "ProtectSystem").unwrap(), "strict");
        assert_eq!(words(&drop_in, "ProtectHome").unwrap(), "yes");
    }

    #[test]
    fn the_list_holds_what_the_start_of_any_command_needs() {
        let drop_in = decided(daemon());
        assert_eq!(
            words(&drop_in, "SystemCallFilter").unwrap(),
            "capget capset exit_group getcpu prctl read readv write"
        );
    }

    #[test]
    fn other_commands_of_the_unit_count_too() {
        let mut fixture = daemon();
        let helper = Fixture::new()
            .executable("/bin/chown")
            .syscalls(&["fchownat"])
            .capability("chown", CapabilityCheck::Granted)
            .file("/etc/d.conf", Operation::Chown, "ok")
            .observation();
        let programs = helper.runs.into_values().next().unwrap().executables;
        let control = &mut fixture.run().control;
        control.insert(ControlCommand::StartPre, programs);
        let drop_in = decided(fixture);
        let calls = words(&drop_in, "SystemCallFilter").unwrap();
        assert!(calls.contains("fchownat"), "{calls}");
        assert_eq!(
            words(&drop_in, "CapabilityBoundingSet").unwrap(),
            "CAP_CHOWN"
        );
        assert_eq!(words(&drop_in, "ReadWritePaths").unwrap(), "-/etc/d.conf");
    }

    #[test]
    fn thirty_two_bit_calls_are_on_the_list_with_their_convention() {
        let drop_in = decided(daemon().syscalls_of(Abi::Ia32, &["socketcall"]));
        assert_eq!(
            words(&drop_in, "SystemCallArchitectures").unwrap(),
            "native x86"
        );
        let calls = words(&drop_in, "SystemCallFilter").unwrap();
        assert!(calls.contains("socketcall"), "{calls}");
    }

    #[test]
    fn a_call_that_systemd_does_not_know_leaves_the_list_out() {
        let known = ["read", "exit_group"].map(str::to_owned).into();
        let observation = daemon().syscalls(&["mseal"]).observation();
        let drop_in = DropIn::decide(
            &Commands::of(observation).unit_basis(),
            Some(&known),
            &DecisionOptions::default(),
        );
        assert!(drop_in.given("SystemCallFilter").is_none());
        let mut newer = daemon().syscalls(&["syscall-470"]);
        newer.run().host.kernel = "6.19".into();
        let drop_in = decided(newer);
        assert!(drop_in.given("SystemCallFilter").is_none());
    }

    #[test]
    fn what_was_done_forbids_what_would_refuse_it() {
        for (call, directive) in [
            ("clock_settime", "ProtectClock"),
            ("adjtimex", "ProtectClock"),
            ("sethostname", "ProtectHostname"),
            ("finit_module", "ProtectKernelModules"),
            ("syslog", "ProtectKernelLogs"),
            ("shmget", "PrivateIPC"),
            ("openat2", "RestrictSUIDSGID"),
            ("unshare", "RestrictNamespaces"),
            ("setns", "RestrictNamespaces"),
        ] {
            let drop_in = decided(daemon().syscalls(&[call]));
            assert!(drop_in.given(directive).is_none(), "{call}");
        }
        for (argument, directive) in [
            (Argument::MmapWriteExec, "MemoryDenyWriteExecute"),
            (Argument::MprotectExec, "MemoryDenyWriteExecute"),
            (Argument::ShmatExec, "MemoryDenyWriteExecute"),
            (Argument::ModeSetid, "RestrictSUIDSGID"),
            (Argument::SchedulerRealtime, "RestrictRealtime"),
            (Argument::PersonalitySet, "LockPersonality"),
            (Argument::NamespaceAny, "RestrictNamespaces"),
            (Argument::ExecSetid, "NoNewPrivileges"),
            (Argument::MknodDevice, "PrivateDevices"),
        ] {
            let drop_in = decided(daemon().argument(argument));
            assert!(drop_in.given(directive).is_none(), "{argument:?}");
        }
        for (path, operation, outcome, directive) in [
            ("/dev/sda", Operation::Read, "ok", "PrivateDevices"),
            ("/dev/kmsg", Operation::Write, "ok", "ProtectKernelLogs"),
            (
                "/proc/sys/vm/x",
                Operation::Write,
                "ok",
                "ProtectKernelTunables",
            ),
            (
                "/proc/mtrr",
                Operation::Write,
                "ok",
                "ProtectKernelTunables",
            ),
            (
                "/proc/kallsyms",
                Operation::Read,
                "ok",
                "ProtectKernelTunables",
            ),
            (
                "/sys/fs/cgroup/x",
                Operation::Mkdir,
                "ok",
                "ProtectControlGroups",
            ),
            (
                "/usr/lib/modules/x",
                Operation::Read,
                "ok",
                "ProtectKernelModules",
            ),
            ("/proc/1/stat", Operation::Read, "ok", "ProtectProc"),
            ("/proc/meminfo", Operation::Read, "ok", "ProcSubset"),
            ("/home/a/x", Operation::Write, "ok", "ProtectHome"),
            ("/root/.rnd", Operation::Read, "ENOENT", "ProtectHome"),
            ("/tmp/there", Operation::Read, "ok", "PrivateTmp"),
            ("/", Operation::Chmod, "ok", "ReadWritePaths"),
        ] {
            let drop_in = decided(daemon().file(path, operation, outcome));
            let found = words(&drop_in, directive);
            assert!(found.is_none_or(|word| word != "yes"), "{path}");
        }
    }

    #[test]
    fn clone3_is_refused_with_the_namespaces_and_clone_stands_in() {
        let drop_in = decided(daemon().syscalls(&["clone3"]));
        assert!(drop_in.given("RestrictNamespaces").is_some());
        let calls = words(&drop_in, "SystemCallFilter").unwrap();
        assert!(calls.contains("clone clone3"), "{calls}");
        let drop_in = decided(daemon().syscalls(&["clone3", "unshare"]));
        let calls = words(&drop_in, "SystemCallFilter").unwrap();
        assert!(!calls.contains("clone clone3"), "{calls}");
    }

    #[test]
    fn homes_that_are_only_read_stay_readable() {
        let drop_in = decided(daemon().file("/home/a/x", Operation::Read, "ok"));
        assert_eq!(words(&drop_in, "ProtectHome").unwrap(), "read-only");
    }

    #[test]
    fn homes_where_nothing_was_found_are_empty() {
        let word = |fixture| words(&decided(fixture), "ProtectHome");
        let looking = || daemon().file("/root/.rnd", Operation::Read, "ENOENT");
        assert_eq!(word(looking()).unwrap(), "tmpfs");
        let there = looking().file("/run/user", Operation::Stat, "ok");
        assert_eq!(word(there).unwrap(), "tmpfs");
        let found = looking().file("/home/a", Operation::Stat, "ok");
        assert_eq!(word(found).unwrap(), "read-only");
    }

    #[test]
    fn what_is_written_is_the_least_that_can_be_mounted() {
        let drop_in = decided(
            daemon()
                .file("/var/lib/d/state", Operation::Write, "ok")
                .file("/var/log/d/new.log", Operation::Create, "ok")
                .file("/srv/a b%c\n/x", Operation::Write, "ok")
                .file("/proc/self/oom_score_adj", Operation::Write, "ok"),
        );
        assert_eq!(
            words(&drop_in, "ReadWritePaths").unwrap(),
            "-/srv -/var/lib/d -/var/log/d"
        );
        assert_eq!(words(&drop_in, "ReadOnlyPaths").unwrap(), "/run");
        assert_eq!(words(&drop_in, "ProtectSystem").unwrap(), "strict");
    }

    #[test]
    fn entries_in_run_leave_it_writable() {
        let drop_in = decided(daemon().file("/run/d.pid", Operation::Create, "ok"));
        assert_eq!(words(&drop_in, "ReadWritePaths").unwrap(), "-/run");
        assert!(drop_in.given("ReadOnlyPaths").is_none());
    }

    #[test]
    fn a_root_directory_that_is_written_leaves_the_weaker_forms() {
        let drop_in = decided(daemon().file("/new", Operation::Mkdir, "ok"));
        assert_eq!(words(&drop_in, "ProtectSystem").unwrap(), "full");
        let drop_in = decided(daemon().file("/new", Operation::Mkdir, "ok").file(
            "/etc/x",
            Operation::Write,
            "ok",
        ));
        assert_eq!(words(&drop_in, "ProtectSystem").unwrap(), "yes");
    }

    #[test]
    fn what_comes_with_a_directive_takes_it_back() {
        let reason = |drop_in: &DropIn, name: &str| {
            let mut directives = drop_in.directives.iter();
            let directive = directives.find(|one| one.name == name).unwrap();
            directive.value.reasons().join("; ")
        };
        let mut user = daemon();
        user.run().uid = 7;
        let drop_in = decided(
            user.executable("/usr/bin/sudo")
                .argument(Argument::ExecSetid),
        );
        for name in ["SystemCallFilter", "ProtectClock", "PrivateDevices"] {
            let told = reason(&drop_in, name);
            assert!(told.contains("implies NoNewPrivileges="), "{name}: {told}");
        }
        assert!(drop_in.given("ProtectSystem").is_some());

        let drop_in = decided(daemon().syscalls(&["umount2"]));
        for name in [
            "ProtectSystem",
            "ReadWritePaths",
            "PrivateTmp",
            "ProcSubset",
        ] {
            let told = reason(&drop_in, name);
            assert!(told.contains("calls umount2"), "{name}: {told}");
        }
        assert!(drop_in.given("SystemCallFilter").is_some());

        let drop_in = decided(daemon().executable("/usr/sbin/cron"));
        let mut directives = drop_in.directives.iter();
        assert!(directives.all(|one| one.value.given().is_none()));
        assert!(drop_in.warnings.iter().any(|one| one.id == Id::LAUNCHER));
    }

    #[test]
    fn blindness_is_not_absence() {
        let mut observation = daemon().observation();
        for run in observation.runs.values_mut() {
            run.hooks.clear();
        }
        let drop_in = DropIn::decide(
            &Commands::of(observation).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        for directive in &drop_in.directives {
            assert!(directive.value.given().is_none(), "{directive:?}");
        }
    }
}
