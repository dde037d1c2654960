//! Programs that get more by being run than who runs them has: by set-id bits, or by capabilities of their files.
//! `no_new_privs` takes both from them (prctl(2)), and a filter sets it where who installs one is not privileged.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{
    CapabilityCheck, Executable, Facet, Observation, Run, RunKind, Text, Word,
};

use super::capabilities::is_needed;
use super::coverage::Coverage;
use super::refused;

/// The set-user-ID and set-group-ID programs that were run.
pub(super) fn programs(observation: &Observation) -> BTreeSet<&Text> {
    let runs = observation.runs.values();
    let control = runs.clone().flat_map(|run| run.control.values()).flatten();
    let programs = runs.flat_map(|run| &run.executables).chain(control);
    programs
        .filter(|(_, facts)| is_set_id(facts))
        .map(|(path, _)| path)
        .collect()
}

/// Whether it is a set-id program.
pub(super) fn is_set_id(facts: &Executable) -> bool {
    facts.said().any(|one| one == Argument::ExecSetid)
}

/// The capabilities that the program's file gives a user who runs it, before it asks: without one of them in the bounding set
/// the kernel does not run it (`bprm_caps_from_vfs_caps` in security/commoncap.c).
pub(super) fn at_once(facts: &Executable) -> impl Iterator<Item = &Word> {
    let files = facts.file_capabilities.iter();
    files
        .filter(|file| file.effective)
        .flat_map(|file| &file.permitted)
}

/// Become another user. Root has all capabilities anyway, whatever a file gives.
const BECOMES: [&str; 6] = [
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setuid",
    "setuid32",
];

/// The programs with file capabilities that somebody else than root may have run.
pub(super) fn with_capabilities(observation: &Observation) -> BTreeSet<&Text> {
    let runs = observation.runs.values().filter(|run| has_users(run));
    let control = runs.clone().flat_map(|run| run.control.values()).flatten();
    let programs = runs.flat_map(|run| &run.executables).chain(control);
    programs
        .filter(|(_, facts)| gives(facts))
        .map(|(path, _)| path)
        .collect()
}

fn gives(facts: &Executable) -> bool {
    let mut files = facts.file_capabilities.iter();
    files.any(|file| !file.permitted.is_empty() || !file.inheritable.is_empty())
}

/// Whether not everything was run as root, as far as that is known.
fn has_users(run: &Run) -> bool {
    let control = run.control.values().flat_map(BTreeMap::values);
    let mut programs = run.executables.values().chain(control);
    run.uid != 0
        || is_user_unknown(run)
        || programs.any(|facts| {
            let calls = refused::calls(run, facts);
            BECOMES.iter().any(|name| calls.contains(name))
        })
}

/// What would lose by `no_new_privs`, a clause each.
pub(super) fn gains(observation: &Observation) -> Vec<String> {
    let set_id = programs(observation).into_iter();
    let mut gains: Vec<String> = set_id
        .map(|path| format!("{path} was run, which is set-user-ID or set-group-ID"))
        .collect();
    let with = with_capabilities(observation);
    gains.extend(with.iter().map(|path| {
        format!("{path} was run, which has file capabilities, and not all was run as root")
    }));
    for run in observation.runs.values().filter(|run| run.uid != 0) {
        let control = run.control.values().flatten();
        let control = control.filter(|(_, facts)| !was_root(facts));
        for (path, facts) in run.executables.iter().chain(control) {
            if let Some(name) = used(facts).next().filter(|_| !with.contains(path)) {
                gains.push(format!(
                    "{path} was not started as root and used {name}: it may have it from its file"
                ));
            }
        }
    }
    gains
}

/// Why no directive may be given that installs a filter. Before 255, systemd sets `no_new_privs` with any where the
/// unit has a `User=`: it installs them when it has no `CAP_SYS_ADMIN` any more (`context_has_no_new_privileges` in
/// src/core/execute.c, 252). From 255 on it keeps that until they are installed (`keep_seccomp_privileges` in
/// src/core/exec-invoke.c); by which the drop-in will be read is not known.
pub(super) fn implied(observation: &Observation, coverage: &Coverage) -> Vec<String> {
    let mut runs = observation.runs.values();
    if runs.all(|run| run.uid == 0 && !is_user_unknown(run)) {
        return Vec::new();
    }
    let mut reasons = gains(observation);
    reasons.extend(coverage.blind(Facet::Capabilities));
    let why = "before systemd 255 it implies NoNewPrivileges= where the unit has a User=";
    reasons
        .into_iter()
        .map(|reason| format!("{why}: {reason}"))
        .collect()
}

/// Whether nobody said as whom it was started: a unit's user is known with its command, from systemd, and the agent cannot
/// ask that of a container. Then it is written as root's.
fn is_user_unknown(run: &Run) -> bool {
    !matches!(run.kind, RunKind::Command | RunKind::Override) && run.command.is_empty()
}

fn used(facts: &Executable) -> impl Iterator<Item = &str> {
    let checks = facts.capabilities.iter();
    checks
        .filter(|(_, checks)| is_needed(checks))
        .map(|(name, _)| name.as_str())
}

/// Whether a command beside the main one had what hardly any file gives: with `+` or `PermissionsStartOnly=` it is root
/// whatever `User=` says (systemd.service(5)), and has it from that.
fn was_root(facts: &Executable) -> bool {
    const OF_ROOT: [&str; 5] = [
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
    ];
    facts.capabilities.iter().any(|(name, checks)| {
        checks.contains_key(&CapabilityCheck::Granted) && OF_ROOT.contains(&name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Basis, fixture::Fixture};
    use super::*;
    use crate::observation::ControlCommand;

    fn implied_for(uid: u32, mut fixture: Fixture) -> Vec<String> {
        fixture.run().uid = uid;
        let observation = fixture.observation();
        implied(&observation, Basis::of(&observation).coverage())
    }

    #[test]
    fn only_what_another_user_than_root_would_gain_counts() {
        let sudo = || {
            Fixture::new()
                .executable("/usr/bin/sudo")
                .argument(Argument::ExecSetid)
        };
        let ping = || {
            let fixture = Fixture::new().executable("/usr/bin/ping");
            fixture.capability("net_raw", CapabilityCheck::Granted)
        };
        for fixture in [sudo, ping] {
            assert_eq!(implied_for(0, fixture()), Vec::<String>::new());
            assert_eq!(implied_for(7, fixture()).len(), 1);
        }
        assert!(implied_for(7, Fixture::new().executable("/bin/d")).is_empty());
        let mut unknown = sudo();
        unknown.run().kind = RunKind::Invocation;
        assert_eq!(implied_for(0, unknown).len(), 1);
    }

    #[test]
    fn file_capabilities_are_a_gain_for_whoever_is_not_root() {
        let runs = |uid: u32, calls: &[&str]| {
            let ping = Fixture::new().executable("/usr/bin/ping");
            let mut fixture = ping
                .file_capabilities(&["net_raw"])
                .executable("/usr/sbin/d");
            fixture = fixture.syscalls(calls);
            fixture.run().uid = uid;
            fixture.observation()
        };
        assert_eq!(gains(&runs(0, &["read"])), Vec::<String>::new());
        for (uid, calls) in [(7, "read"), (0, "setresuid")] {
            let told = gains(&runs(uid, &[calls]));
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("/usr/bin/ping was run, which has file capabilities"));
        }
        // A filter of a unit of root implies nothing.
        let observation = runs(0, &["setresuid"]);
        assert!(implied(&observation, Basis::of(&observation).coverage()).is_empty());
    }

    #[test]
    fn a_command_of_root_beside_the_main_one_gains_nothing() {
        let of = |path: &str, capability: &str| {
            let helper = Fixture::new().executable(path);
            let helper = helper.capability(capability, CapabilityCheck::Granted);
            let programs = helper.observation().runs.into_values().next().unwrap();
            let mut fixture = Fixture::new().executable("/usr/sbin/mariadbd");
            let control = &mut fixture.run().control;
            control.insert(ControlCommand::StartPre, programs.executables);
            implied_for(7, fixture)
        };
        assert!(of("/usr/bin/install", "chown").is_empty());
        assert_eq!(of("/usr/bin/ping", "net_raw").len(), 1);
    }
}
