//! Calls that the kernel refused each time. The program asked in vain and goes on, as it does under a directive that refuses
//! the call: so none of them takes a directive away. Decided here for all directives.
//!
//! What could not be seen is never taken for refused: a call counts as one that worked unless all of its results are known.

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Executable, Operation, Outcome, Run, Seen, Word};

use super::calls::{failed_each_time, losses};

/// Calls that fail for want of a right, a feature or memory, and not because of what lies under some name.
const NAMELESS: [&str; 31] = [
    "adjtimex",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "clone",
    "clone3",
    "fanotify_init",
    "fsmount",
    "io_uring_enter",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "memfd_create",
    "mmap",
    "mmap2",
    "mprotect",
    "pciconfig_iobase",
    "pciconfig_read",
    "pciconfig_write",
    "personality",
    "pkey_mprotect",
    "sched_setattr",
    "sched_setscheduler",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setns",
    "settimeofday",
    "syslog",
    "unshare",
];

/// Calls on a path, by what is recorded of the path. What is on neither list looks for something by a name that is no
/// path (`shmget`, `finit_module`), or does several things (`openat2`): that it failed says what was there that day.
const NAMED: [(&str, Operation); 24] = [
    ("chmod", Operation::Chmod),
    ("chown", Operation::Chown),
    ("chown32", Operation::Chown),
    ("chroot", Operation::Chroot),
    ("fanotify_mark", Operation::Watch),
    ("fchmod", Operation::Chmod),
    ("fchmodat", Operation::Chmod),
    ("fchmodat2", Operation::Chmod),
    ("fchown", Operation::Chown),
    ("fchown32", Operation::Chown),
    ("fchownat", Operation::Chown),
    ("lchown", Operation::Chown),
    ("lchown32", Operation::Chown),
    ("mkdir", Operation::Mkdir),
    ("mkdirat", Operation::Mkdir),
    ("mknod", Operation::Mknod),
    ("mknodat", Operation::Mknod),
    ("mount", Operation::Mount),
    ("mount_setattr", Operation::Mount),
    ("move_mount", Operation::Mount),
    ("open_tree", Operation::Mount),
    ("pivot_root", Operation::Chroot),
    ("umount", Operation::Unmount),
    ("umount2", Operation::Unmount),
];

/// The errors of a refusal. Others say what was there: after `EEXIST` and `ENOENT` another day is another answer, and
/// a program takes the first for success.
const REFUSALS: [&str; 5] = ["EACCES", "ENOSYS", "EOPNOTSUPP", "EPERM", "EROFS"];

const MODES: [&str; 12] = [
    "chmod",
    "creat",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "open",
    "openat",
    "openat2",
];
const NAMESPACES: [&str; 4] = ["clone", "clone3", "setns", "unshare"];
const NODES: [&str; 2] = ["mknod", "mknodat"];

/// The calls whose arguments give a fact: see [`Argument`]. `None` for a fact that is of no call's arguments.
fn makers(argument: Argument) -> Option<&'static [&'static str]> {
    Some(match argument {
        Argument::IoUring => &["io_uring_setup"],
        Argument::MemfdCreate => &["memfd_create"],
        Argument::MknodDevice | Argument::MknodOther => &NODES,
        Argument::MmapWriteExec => &["mmap", "mmap2"],
        Argument::ModeSetid => &MODES,
        Argument::MprotectExec => &["mprotect", "pkey_mprotect"],
        Argument::PersonalitySet => &["personality"],
        Argument::SchedulerRealtime => &["sched_setattr", "sched_setscheduler"],
        Argument::NamespaceAny
        | Argument::NamespaceCgroup
        | Argument::NamespaceIpc
        | Argument::NamespaceMount
        | Argument::NamespaceNet
        | Argument::NamespacePid
        | Argument::NamespaceTime
        | Argument::NamespaceUser
        | Argument::NamespaceUts => &NAMESPACES,
        Argument::ShmatExec
        | Argument::ExecSetid
        | Argument::KilledBySeccomp
        | Argument::CallRefused
        | Argument::HandlesHangup
        | Argument::OtherRoot
        | Argument::LeftCgroup
        | Argument::X32Answered
        | Argument::SignalOtherCgroup => return None,
    })
}

/// The calls that a program made in a run, but for those that were refused each time.
pub(super) fn calls<'a>(run: &Run, facts: &'a Executable) -> BTreeSet<&'a str> {
    let calls = facts.syscalls.values().flatten();
    calls
        .filter(|(name, seen)| !is_refused(run, facts, name.as_str(), seen))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// What the arguments of its calls said, but for calls that were refused each time. A fact says nothing of which call it
/// is of: any that worked, and could have said it, counts.
pub(super) fn arguments(run: &Run, facts: &Executable) -> Vec<Argument> {
    let worked = calls(run, facts);
    let made: BTreeSet<&str> = facts
        .syscalls
        .values()
        .flat_map(|outcomes| outcomes.keys())
        .map(Word::as_str)
        .collect();
    let is_vain = |argument: Argument| {
        let Some(makers) = makers(argument) else {
            return false;
        };
        let mut makers = makers.iter().filter(|call| {
            made.contains(*call)
                && !(argument == Argument::ModeSetid && is_plain_open(run, facts, call))
        });
        // Where none is there, the call that said it is missing.
        makers.clone().next().is_some() && !makers.any(|call| worked.contains(*call))
    };
    let said = facts.said();
    said.filter(|argument| !is_vain(*argument)).collect()
}

/// Whether the call was refused each time.
pub(super) fn is_refused(run: &Run, facts: &Executable, name: &str, seen: &Seen) -> bool {
    let operation = NAMED.iter().find(|(call, _)| *call == name);
    // There may be a million files to look at: last.
    let by_right = || match operation {
        Some((_, operation)) => {
            let mut outcomes = outcomes(facts, *operation).peekable();
            sees_each_path(run) && outcomes.peek().is_some() && outcomes.all(is_refusal)
        }
        None => NAMELESS.contains(&name),
    };
    failed_each_time(seen) && sees_each_result(run, facts) && by_right()
}

/// Whether no result is missing. What a filter refused came back without having been entered: then an error is of neither.
fn sees_each_result(run: &Run, facts: &Executable) -> bool {
    losses(run).next().is_none()
        && run.filters.is_empty()
        && !facts.said().any(|one| one == Argument::CallRefused)
}

/// Whether the paths of all calls were seen, of those that failed too: no security hook sees these.
fn sees_each_path(run: &Run) -> bool {
    run.sees_files_at_exit()
}

/// Whether `call` opens files, and made none: then it had no mode.
fn is_plain_open(run: &Run, facts: &Executable, call: &str) -> bool {
    matches!(call, "open" | "openat" | "openat2")
        && sees_each_result(run, facts)
        && sees_each_path(run)
        && outcomes(facts, Operation::Create).next().is_none()
}

/// How all that was done so with paths has ended.
pub(super) fn outcomes(facts: &Executable, operation: Operation) -> impl Iterator<Item = &Outcome> {
    let files = facts.files.values();
    files
        .flat_map(move |file| file.operations.of(operation))
        .map(|(outcome, _)| outcome)
}

/// Whether the call was refused, whatever was there.
pub(super) fn is_refusal(outcome: &Outcome) -> bool {
    REFUSALS.contains(&outcome.0.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::Abi;

    /// One program that made these calls: how often, and how often in vain.
    fn made(calls: &[(&str, u64, u64)]) -> Fixture {
        let names: Vec<&str> = calls.iter().map(|(name, _, _)| *name).collect();
        let mut fixture = Fixture::new().executable("/bin/d").syscalls(&names);
        let run = fixture.run();
        run.hooks.insert("files".into(), "tp_btf:sys_exit".into());
        for facts in run.executables.values_mut() {
            let native = facts.syscalls.get_mut(&Abi::Native).unwrap();
            for (name, count, errors) in calls {
                let seen = native.get_mut(&Word::new(*name).unwrap()).unwrap();
                seen.set_counts(Some(*count), Some(*errors));
            }
        }
        fixture
    }

    fn of(fixture: Fixture) -> (Vec<String>, Vec<Argument>) {
        let observation = fixture.observation();
        let run = observation.runs.values().next().unwrap();
        let facts = run.executables.values().next().unwrap();
        let calls = calls(run, facts).into_iter().map(str::to_owned);
        (calls.collect(), arguments(run, facts))
    }

    #[test]
    fn what_was_refused_each_time_was_asked_in_vain() {
        let unshare =
            |count, errors| made(&[("unshare", count, errors)]).argument(Argument::NamespaceUts);
        assert_eq!(of(unshare(2, 2)), (vec![], vec![]));
        let worked = (vec!["unshare".to_owned()], vec![Argument::NamespaceUts]);
        assert_eq!(of(unshare(2, 1)), worked);
        // Which of the two asked for the namespace is not known.
        let forks = made(&[("unshare", 1, 1), ("clone", 3, 0)]).argument(Argument::NamespaceUts);
        assert_eq!(of(forks).1, [Argument::NamespaceUts]);
        // Nor which call it was, where none is there.
        assert_eq!(
            of(made(&[]).argument(Argument::NamespaceUts)).1,
            [Argument::NamespaceUts]
        );
        let real_time = made(&[("sched_setscheduler", 1, 1)]).argument(Argument::SchedulerRealtime);
        assert_eq!(of(real_time), (vec![], vec![]));
    }

    #[test]
    fn what_was_not_counted_or_not_all_seen_worked() {
        let vain = || made(&[("unshare", 1, 1)]);
        let mut lost = vain();
        let kind = Word::new("skipped-sys_enter").unwrap();
        lost.run().losses.insert(kind, 1);
        let mut filtered = vain();
        filtered.run().filters.insert(Word::new("seccomp").unwrap());
        let refused = vain().argument(Argument::CallRefused);
        let uncounted = Fixture::new().executable("/bin/d").syscalls(&["unshare"]);
        for fixture in [lost, filtered, refused, uncounted] {
            assert_eq!(of(fixture).0, ["unshare"]);
        }
    }

    #[test]
    fn on_a_path_only_a_refusal_is_one() {
        let mode = |call: &str, operation, error| {
            let made = made(&[(call, 1, 1), ("openat", 5, 0)]).argument(Argument::ModeSetid);
            of(made.file("/run/x", operation, error)).1
        };
        assert!(mode("fchmodat", Operation::Chmod, "EPERM").is_empty());
        assert!(mode("mkdir", Operation::Mkdir, "EROFS").is_empty());
        assert_eq!(
            mode("mkdir", Operation::Mkdir, "EEXIST"),
            [Argument::ModeSetid]
        );
        assert_eq!(
            mode("chmod", Operation::Chmod, "ENOENT"),
            [Argument::ModeSetid]
        );
        // Nothing says why it failed.
        assert_eq!(mode("chmod", Operation::Read, "ok"), [Argument::ModeSetid]);
        let changes = made(&[("chmod", 1, 1), ("openat", 5, 0)]).argument(Argument::ModeSetid);
        let changes = changes.file("/run/x", Operation::Chmod, "EPERM");
        let creates = changes.file("/run/y", Operation::Create, "ok");
        assert_eq!(of(creates).1, [Argument::ModeSetid]);
        let module = made(&[("finit_module", 1, 1)]);
        assert_eq!(of(module).0, ["finit_module"]);
    }
}
