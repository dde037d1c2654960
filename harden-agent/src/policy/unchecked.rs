//! Capabilities that the kernel looks for without a check that could be seen, and those that were asked for and whose
//! refusal may change nothing.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{
    Executable, Facet, File, Observation, Operation, Outcome, Run, Text, Word,
};

use super::capabilities::Need;
use super::refused;

/// Who has more than the process that it looks at is asked for nothing (`cap_ptrace_access_check` in
/// security/commoncap.c): so root with all capabilities is never asked, and is once it has fewer than that process.
const PTRACE: &str = "no check was seen, as root had all that the other process had: with fewer it is asked for \
                      (cap_ptrace_access_check)";
/// `create_user_ns` in `kernel/user_namespace.c`, since 5.12: `parent_could_setfcap` is read when the map is written.
const SETFCAP: &str = "no check tells it: without it the kernel lets nobody map root into a user namespace that it made \
                       (parent_could_setfcap, since 5.12)";

/// The files of a process that ask for `PTRACE_MODE_READ` or more (`fs/proc/base.c`, `namespaces.c`, `task_mmu.c`). The
/// others, such as `stat` and `status`, answer anyway.
const GUARDED: [&str; 20] = [
    "auxv",
    "clear_refs",
    "cwd",
    "environ",
    "exe",
    "fd",
    "fdinfo",
    "io",
    "map_files",
    "maps",
    "mem",
    "ns",
    "pagemap",
    "personality",
    "root",
    "smaps",
    "smaps_rollup",
    "stack",
    "syscall",
    "timerslack_ns",
];

/// Calls about the memory or the descriptors of another process, with the same rule.
const OTHERS: [&str; 3] = ["pidfd_getfd", "process_vm_readv", "process_vm_writev"];

/// A capability that something other than a check asks for, and why.
pub(super) fn asked(run: &Run) -> Vec<(&'static str, &'static str, &Text)> {
    // What an ordinary user could do without any capability, it still can.
    if run.uid != 0 {
        return Vec::new();
    }
    let files_blind = !super::coverage::is_seen(run, Facet::Files);
    let mapped = files_blind
        || run.executables.values().any(|facts| {
            let mut files = facts.files.iter();
            files.any(|(path, file)| {
                path.as_bytes().ends_with(b"/uid_map") && did(file, Operation::Write)
            })
        });
    let mut found = Vec::new();
    for (path, facts) in &run.executables {
        if mapped && refused::arguments(run, facts).contains(&Argument::NamespaceUser) {
            found.push(("setfcap", SETFCAP, path));
        }
        if called(facts, &OTHERS) || looks_into_others(facts) {
            found.push(("sys_ptrace", PTRACE, path));
        }
    }
    found
}

fn called(facts: &Executable, names: &[&str]) -> bool {
    let mut calls = facts.syscalls.values().flat_map(BTreeMap::keys);
    calls.any(|name: &Word| names.contains(&name.as_str()))
}

fn did(file: &File, operation: Operation) -> bool {
    let mut outcomes = file.operations.of(operation);
    outcomes.any(|(outcome, _)| outcome.is_ok())
}

/// Whether it looked into another process. Where that is another user's it was asked for the capability, and that was
/// seen: this is for those of root. A link there has the path of what it leads to, and its own among the names.
fn looks_into_others(facts: &Executable) -> bool {
    facts.files.iter().any(|(path, file)| {
        let mut outcomes = file.operations.outcomes();
        let mut names = file.asked_as.iter().chain([path]).map(Text::as_bytes);
        let mut own = names.clone();
        let own = own.any(|name| {
            name.starts_with(b"/proc/self/") || name.starts_with(b"/proc/thread-self/")
        });
        !own && outcomes.any(Outcome::is_ok) && names.any(is_guarded)
    })
}

fn is_guarded(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b'/').skip(1);
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if parts.next() != Some(b"proc") || !parts.next().is_some_and(is_number) {
        return false;
    }
    let mut below = parts.next();
    // A thread's files are as its process's.
    if below == Some(b"task") {
        below = parts.nth(1);
    }
    below.is_some_and(|name| GUARDED.iter().any(|one| one.as_bytes() == name))
}

/// Adds what [`asked`] finds in all runs.
pub(super) fn add<'a>(observation: &'a Observation, needed: &mut BTreeMap<Word, Need<'a>>) {
    for (id, run) in observation.tests() {
        for (name, why, path) in asked(run) {
            let Ok(word) = Word::new(name) else { continue };
            let need = needed.entry(word).or_default();
            need.evidence
                .add(id, path, &crate::observation::Seen::default());
            need.unchecked.insert(why);
        }
    }
}

/// A capability, the calls in which its refusal may change nothing, and why.
type Doubt = (&'static str, &'static [&'static str], &'static str);

/// What most programs go on without. The refusal of `setuid` or `setgid` that nobody notices is a loss, and is not
/// among them.
const DOUBTS: [Doubt; 7] = [
    (
        "net_admin",
        &["setsockopt"],
        "a larger buffer (SO_RCVBUFFORCE, SO_SNDBUFFORCE) mostly falls back to what SO_RCVBUF gets",
    ),
    (
        "sys_admin",
        &["clone", "clone3", "unshare"],
        "many programs make a namespace where they can, and go on without",
    ),
    (
        "sys_resource",
        &["prlimit64", "setrlimit"],
        "many programs raise a limit where they can, and go on with the old one",
    ),
    (
        "sys_nice",
        &[
            "ioprio_set",
            "sched_setattr",
            "sched_setparam",
            "sched_setscheduler",
            "setpriority",
        ],
        "many programs go on with the priority that they have",
    ),
    (
        "ipc_lock",
        &["mlock", "mlock2", "mlockall"],
        "many programs go on with memory that may be swapped out",
    ),
    (
        "setpcap",
        &["prctl"],
        "what is not dropped from the bounding set is not in this one",
    ),
    // setattr_prepare and mode_strip_sgid only clear the bit (fs/attr.c).
    (
        "fsetid",
        &[
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "mkdir",
            "mkdirat",
            "open",
            "openat",
        ],
        "without it a set-group-ID bit is cleared, and none was set",
    ),
];

/// Why it is perhaps not needed, if it was granted in such calls alone.
pub(super) fn doubt(name: &str, calls: &BTreeSet<&Word>, sets_id: bool) -> Option<&'static str> {
    let (_, harmless, why) = DOUBTS.iter().find(|(one, _, _)| *one == name)?;
    let all = !calls.is_empty() && calls.iter().all(|call| harmless.contains(&call.as_str()));
    (all && !(name == "fsetid" && sets_id)).then_some(*why)
}

#[cfg(test)]
mod tests {
    use super::super::capabilities::needs;
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::{CapabilityCheck, Seen};

    fn needed(fixture: Fixture) -> Vec<String> {
        let observation = fixture.observation();
        let needed = needs(&observation).needed.into_keys();
        needed.map(|name| name.to_string()).collect()
    }

    #[test]
    fn root_that_maps_root_needs_setfcap() {
        let maps = || {
            let fixture = Fixture::new().executable("/bin/unshare");
            let fixture = fixture.argument(Argument::NamespaceUser);
            fixture.file("/proc/7/uid_map", Operation::Write, "ok")
        };
        assert_eq!(needed(maps()), ["setfcap"]);
        let mut user = maps();
        user.run().uid = 7;
        assert!(needed(user).is_empty());
        let unmapped = Fixture::new().executable("/bin/x");
        assert!(needed(unmapped.argument(Argument::NamespaceUser)).is_empty());
    }

    #[test]
    fn root_that_looks_into_root_s_processes_needs_ptrace() {
        let reads = |path: &str, asked: Option<&str>, result: &str| {
            let fixture = Fixture::new().executable("/bin/d");
            needed(fixture.file_asked(path, asked, Operation::Readlink, result))
        };
        assert_eq!(reads("/proc/1/exe", None, "ok"), ["sys_ptrace"]);
        assert_eq!(reads("/proc/1/task/1/ns/net", None, "ok"), ["sys_ptrace"]);
        let asked = Some("/proc/1/root/etc/x");
        assert_eq!(reads("/etc/x", asked, "ok"), ["sys_ptrace"]);
        assert!(reads("/proc/1/exe", None, "EACCES").is_empty());
        assert!(reads("/proc/1/exe", Some("/proc/self/exe"), "ok").is_empty());
        assert!(reads("/proc/1/stat", None, "ok").is_empty());
        assert!(reads("/proc/self/exe", None, "ok").is_empty());
        let calls = Fixture::new().executable("/bin/d");
        assert_eq!(
            needed(calls.syscalls(&["process_vm_readv"])),
            ["sys_ptrace"]
        );
    }

    #[test]
    fn what_a_file_gives_at_once_is_needed_to_run_it() {
        let ping = || {
            Fixture::new()
                .executable("/bin/ping")
                .file_capabilities(&["net_raw"])
        };
        let observation = ping().observation();
        let (name, need) = needs(&observation).needed.pop_first().unwrap();
        assert_eq!(name.as_str(), "net_raw");
        assert!(need.is_brought());
        let told = need.item("net_raw").note.unwrap();
        assert!(told.starts_with("file capabilities of /bin/ping"), "{told}");
        let uses = ping()
            .capability("net_raw", CapabilityCheck::Granted)
            .observation();
        assert!(!needs(&uses).needed.pop_first().unwrap().1.is_brought());
        // Of one that has to ask for them, what it asked for is seen.
        let mut asks = ping();
        for facts in asks.run().executables.values_mut() {
            let files = std::mem::take(&mut facts.file_capabilities).into_iter();
            let files = files.map(|file| crate::observation::FileCapabilities {
                effective: false,
                ..file
            });
            facts.file_capabilities = files.collect();
        }
        assert!(needed(asks).is_empty());
    }

    #[test]
    fn what_is_granted_in_such_calls_alone_is_perhaps_not_needed() {
        let note = |name: &str, calls: &[&str], check| {
            let mut fixture = Fixture::new().executable("/bin/d").capability(name, check);
            let program = fixture.run().executables.values_mut().next().unwrap();
            let word = |name: &str| Word::new(name).unwrap();
            let calls = calls.iter().map(|call| (word(call), Seen::default()));
            program.capability_calls.insert(word(name), calls.collect());
            let observation = fixture.observation();
            let need = needs(&observation).needed.into_values().next().unwrap();
            need.item(name).note.unwrap_or_default()
        };
        let granted = CapabilityCheck::Granted;
        let told = note("net_admin", &["setsockopt"], granted);
        assert!(
            told.starts_with("asked for in setsockopt; perhaps not needed: "),
            "{told}"
        );
        for (name, calls) in [
            ("net_admin", &["setsockopt", "ioctl"][..]),
            ("net_admin", &[]),
            ("setuid", &["setuid"]),
            ("chown", &["fchown"]),
        ] {
            let told = note(name, calls, granted);
            assert!(!told.contains("perhaps"), "{told}");
        }
        let kept = note("sys_nice", &["setpriority"], CapabilityCheck::Kept);
        assert!(
            kept.contains("asks to keep it") && !kept.contains("perhaps"),
            "{kept}"
        );
    }
}
