//! Programs for which a mount namespace of their own is another world: what they mount is for others, or what they watch
//! is everybody's.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{Facet, Observation, Operation, Text};

use super::coverage::Coverage;
use super::refused;

/// Changes what is mounted, hands out what is, or watches it. In a mount namespace of one's own, all of it is about that
/// alone: mounts come in from outside, and never get out (`MS_SLAVE`, `mount_namespaces(7)`), and a mark of fanotify on a
/// mount is on the copy.
const CALLS: [&str; 10] = [
    "fanotify_init",
    "fanotify_mark",
    "fsmount",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "umount",
    "umount2",
];

/// The programs with the calls that they made, over all runs: those that had no mount namespace of their own, as far as
/// that is known.
fn callers(observation: &Observation) -> BTreeMap<&Text, BTreeSet<&str>> {
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.iter().map(move |program| (run, program)));
    let mut callers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (run, (path, facts)) in programs {
        let said = refused::arguments(run, facts);
        if said.contains(&Argument::NamespaceMount) || said.contains(&Argument::OtherRoot) {
            continue;
        }
        let mut calls = refused::calls(run, facts);
        calls.retain(|name| CALLS.contains(name));
        let mut done = facts.files.values().flat_map(|file| file.operations.iter());
        let mounted = done.any(|(one, outcome, _)| {
            matches!(one, Operation::Mount | Operation::Unmount) && !refused::is_refusal(outcome)
        });
        if calls.is_empty() && mounted {
            calls.insert("mount");
        }
        if !calls.is_empty() {
            callers.entry(path).or_default().extend(calls);
        }
    }
    callers
}

/// `/bin/mount calls mount and umount2`
fn sentences(observation: &Observation) -> impl Iterator<Item = String> {
    callers(observation).into_iter().map(|(path, calls)| {
        let calls: Vec<&str> = calls.into_iter().collect();
        format!("{path} calls {}", calls.join(" and "))
    })
}

/// Why no directive may be given that makes a mount namespace.
pub(super) fn against(observation: &Observation, coverage: &Coverage) -> Vec<String> {
    let callers = sentences(observation);
    let mut reasons: Vec<String> = callers
        .map(|calls| format!("it makes a mount namespace, out of which nothing gets, and {calls}"))
        .collect();
    reasons.extend(coverage.blind(Facet::Syscalls));
    reasons
}

/// `/bin/mount calls mount, /sbin/x calls fanotify_mark`; `None`: none of them.
pub(super) fn told(observation: &Observation) -> Option<String> {
    let told: Vec<String> = sentences(observation).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn who_was_refused_a_namespace_mounts_for_all_and_who_was_refused_a_mount_for_none() {
        let refused = |call: &str| {
            let mut fixture = Fixture::new()
                .executable("/bin/d")
                .syscalls(&["mount", "unshare"]);
            fixture = fixture.argument(Argument::NamespaceMount);
            let run = fixture.run();
            run.hooks.insert("files".into(), "tp_btf:sys_exit".into());
            for (name, seen) in run
                .executables
                .values_mut()
                .flat_map(|facts| facts.syscalls.values_mut().flatten())
            {
                let errors = u64::from(name.as_str() == call);
                seen.set_counts(Some(1), Some(errors));
            }
            let outcome = if call == "mount" { "EPERM" } else { "ok" };
            told(
                &fixture
                    .file("/mnt", Operation::Mount, outcome)
                    .observation(),
            )
        };
        assert_eq!(refused("unshare").as_deref(), Some("/bin/d calls mount"));
        assert_eq!(refused("mount"), None);
        assert_eq!(refused("neither"), None);
    }

    #[test]
    fn who_has_a_mount_namespace_of_its_own_mounts_for_nobody_else() {
        let told_of = |fixture: Fixture| told(&fixture.observation());
        let program = || Fixture::new().executable("/bin/d");
        let mounts = || program().syscalls(&["mount", "read"]);
        assert_eq!(told_of(mounts()).as_deref(), Some("/bin/d calls mount"));
        let watches = program().syscalls(&["fanotify_mark"]);
        assert_eq!(
            told_of(watches).as_deref(),
            Some("/bin/d calls fanotify_mark")
        );
        let unmounted = program().file("/mnt/x", Operation::Unmount, "ok");
        assert!(told_of(unmounted).is_some());
        assert_eq!(told_of(mounts().argument(Argument::NamespaceMount)), None);
        assert_eq!(told_of(mounts().argument(Argument::OtherRoot)), None);
        assert_eq!(
            told_of(program().syscalls(&["read", "inotify_init1"])),
            None
        );
    }
}
