//! What was recorded in another root than the host's, and what was not recorded at all, as it had left.

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Executable, Observation, Run, RunKind, Text};

use super::refused;
use super::warnings::{Id, Warning};

/// Changes the root of who calls it: who does began in the host's.
const GOES_THERE: [&str; 3] = ["chroot", "pivot_root", "setns"];

/// Clients that have a service start programs: none of these is a child of the one who runs the client.
const CLIENTS: [&[u8]; 11] = [
    b"at",
    b"batch",
    b"ctr",
    b"docker",
    b"incus",
    b"lxc",
    b"machinectl",
    b"nerdctl",
    b"podman-remote",
    b"systemd-run",
    b"virsh",
];

/// Whether the program was there from its start: its own path and all others are of that root.
pub(super) fn began_there(run: &Run, facts: &Executable) -> bool {
    let went = || {
        let calls = refused::calls(run, facts);
        GOES_THERE.iter().any(|name| calls.contains(name))
    };
    said(facts, Argument::OtherRoot) && !went()
}

/// The programs that ran in another root.
pub(super) fn programs(observation: &Observation) -> BTreeSet<&Text> {
    who(observation, |_, _, facts| said(facts, Argument::OtherRoot))
}

/// Warns of each.
pub(super) fn warnings(observation: &Observation) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(names) = named(&programs(observation)) {
        warnings.push(Warning::new(
            Id::OTHER_ROOT,
            format!(
                "{names} ran in a root directory of another mount namespace, as in a container: paths there are not \
                 this machine's, and there is no rule for files here, as what of this machine was behind them is not \
                 known"
            ),
        ));
    }
    // `harden run` follows its tasks.
    let followed = who(observation, |run, _, facts| {
        run.kind == RunKind::Command && said(facts, Argument::LeftCgroup)
    });
    if let Some(names) = named(&followed) {
        warnings.push(Warning::new(
            Id::LEFT_CGROUP,
            format!(
                "a process of {names} was moved to another cgroup, and followed there until it had ended, or until the \
                 run was told to end: what it did later is missing here"
            ),
        ));
    }
    let left = who(observation, |run, _, facts| {
        run.kind != RunKind::Command && said(facts, Argument::LeftCgroup)
    });
    if let Some(names) = named(&left) {
        warnings.push(Warning::new(
            Id::LEFT_CGROUP,
            format!(
                "INCOMPLETE: a process of {names} was moved to another cgroup, where it was not recorded: what it did \
                 there is missing here, and would be refused, as it inherits the sandbox. Record that cgroup too, and \
                 merge (harden merge)"
            ),
        ));
    }
    let clients = who(observation, |_, path, _| {
        let name = path.as_path().file_name();
        name.is_some_and(|name| CLIENTS.contains(&name.as_encoded_bytes()))
    });
    if let Some(names) = named(&clients) {
        warnings.push(Warning::new(
            Id::STARTED_ELSEWHERE,
            format!(
                "{names} has a service start programs: what these did was not recorded, and no sandbox of this one holds \
                 them. Record their own units (systemd-run --scope is no such case: it runs the program itself)"
            ),
        ));
    }
    warnings
}

fn said(facts: &Executable, argument: Argument) -> bool {
    facts.said().any(|one| one == argument)
}

fn who(
    observation: &Observation,
    is_one: impl Fn(&Run, &Text, &Executable) -> bool,
) -> BTreeSet<&Text> {
    let mut found = BTreeSet::new();
    for run in observation.runs.values() {
        let control = run.control.values().flatten();
        let programs = run.executables.iter().chain(control);
        found.extend(
            programs
                .filter(|(path, facts)| is_one(run, path, facts))
                .map(|(path, _)| path),
        );
    }
    found
}

/// `/bin/a, /bin/b and 3 more`; `None` for none.
pub(super) fn named(paths: &BTreeSet<&Text>) -> Option<String> {
    /// More of them make no reader wiser.
    const NAMED: usize = 5;
    let names: Vec<String> = paths.iter().take(NAMED).map(ToString::to_string).collect();
    let more = paths.len().saturating_sub(NAMED);
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(names.join(", ")),
        (false, more) => Some(format!("{} and {more} more", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::basis::Basis;
    use super::super::fixture::Fixture;
    use super::super::places::places;
    use super::*;
    use crate::observation::{Facet, Operation};

    #[test]
    fn paths_of_another_root_are_none_of_this_machine_s() {
        let container = |calls: &[&str]| {
            let fixture = Fixture::new().executable("/bin/maker");
            let fixture = fixture.file("/etc/maker", Operation::Read, "ok");
            let inside = fixture.executable("/bin/inside").syscalls(calls);
            let inside = inside.argument(Argument::OtherRoot);
            inside
                .file("/etc/inside", Operation::Read, "ok")
                .observation()
        };
        let paths = |observation: &Observation| -> Vec<Vec<u8>> {
            let places = places(observation);
            places.iter().map(|place| place.path.to_vec()).collect()
        };
        let observation = container(&["read"]);
        assert_eq!(paths(&observation), [&b"/bin/maker"[..], b"/etc/maker"]);
        assert!(
            Basis::of(&observation)
                .coverage()
                .blind(Facet::Files)
                .is_some()
        );
        assert_eq!(warnings(&observation)[0].id, Id::OTHER_ROOT);
        // Who went there began here.
        let observation = container(&["pivot_root"]);
        assert!(paths(&observation).contains(&b"/etc/inside".to_vec()));
    }

    #[test]
    fn who_left_is_named() {
        let fixture = Fixture::new().executable("/usr/bin/runc");
        let mut left = fixture.argument(Argument::LeftCgroup).observation();
        assert!(warnings(&left)[0].text.contains("followed there"));
        for run in left.runs.values_mut() {
            run.kind = RunKind::Invocation;
        }
        let told = warnings(&left);
        assert_eq!(told[0].id, Id::LEFT_CGROUP);
        assert!(
            told[0]
                .text
                .contains("/usr/bin/runc was moved to another cgroup")
        );
        assert!(warnings(&Fixture::new().executable("/a").observation()).is_empty());
    }

    #[test]
    fn what_a_service_starts_is_told() {
        let client = Fixture::new().executable("/usr/bin/systemd-run");
        let told = warnings(&client.observation());
        assert_eq!(told[0].id, Id::STARTED_ELSEWHERE);
        assert!(warnings(&Fixture::new().executable("/usr/bin/cat").observation()).is_empty());
    }
}
