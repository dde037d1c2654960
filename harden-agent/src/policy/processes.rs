//! Processes that are not the program's own.

use harden_common::Argument;

use crate::observation::{Executable, Facet, Observation, Operation, Run, Text};

use super::basis::Basis;
use super::coverage::is_seen;
use super::elsewhere::named;
use super::evidence::Evidence;
use super::paths::is_within;
use super::places::Place;

/// What a place below /proc is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// /proc itself, of which more was asked than whether it is there.
    All,
    /// The process that asked.
    Itself,
    /// Another process, or the same by its number: which one it was is not known.
    Process,
    /// No process at all.
    Rest,
}

/// What a place is about; `None` outside of /proc.
pub(super) fn subject(place: &Place<'_>) -> Option<Subject> {
    if !is_within(&place.path, b"/proc") {
        return None;
    }
    if *place.path == *b"/proc" {
        let mut uses = place.uses.iter();
        let looked = uses.all(|one| one.operation == Operation::Stat);
        return (!looked).then_some(Subject::All);
    }
    let first = place.path.split(|byte| *byte == b'/').nth(2);
    let first = first.unwrap_or_default();
    let mut names = place.names.iter();
    // The last two are links into the first (fs/proc/root.c, fs/proc/proc_net.c).
    let own: [&[u8]; 4] = [
        b"/proc/self",
        b"/proc/thread-self",
        b"/proc/mounts",
        b"/proc/net",
    ];
    let by_name = |name: &Vec<u8>| own.iter().any(|own| is_within(name, own));
    Some(if first == b"self" || first == b"thread-self" {
        Subject::Itself
    } else if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
        Subject::Rest
    } else if names.any(by_name) {
        Subject::Itself
    } else {
        Subject::Process
    })
}

/// A path in the directory of a process, whichever: `/proc/PID/fd` of `/proc/1234/fd`. The next recording has another
/// number.
#[must_use]
pub fn of_any_process(path: &[u8]) -> Option<Vec<u8>> {
    let inside = path.strip_prefix(b"/proc/")?;
    let end = inside.iter().position(|byte| *byte == b'/');
    let (process, rest) = inside.split_at(end.unwrap_or(inside.len()));
    let is_number = !process.is_empty() && process.iter().all(u8::is_ascii_digit);
    (is_number || process == b"PID").then(|| [b"/proc/PID", rest].concat())
}

/// Calls that name a process by its number, to signal it or to ask whether it lives.
const BY_NUMBER: [&str; 6] = [
    "kill",
    "pidfd_open",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "tgkill",
    "tkill",
];
/// Signals a process of which there is a descriptor.
const BY_DESCRIPTOR: &str = "pidfd_send_signal";

/// Whether signals may have been sent, and nothing saw to whom.
pub(super) fn hides_signals(run: &Run) -> bool {
    let mut programs = run.executables.values();
    let is_signal = |name: &str| name == BY_DESCRIPTOR || is_by_number(name);
    !is_seen(run, Facet::Signals) && programs.any(|facts| calls(facts, is_signal))
}

/// Who sent signals to processes of other cgroups. A unit's other commands do it outside of the sandbox.
pub(super) fn senders(observation: &Observation) -> Evidence {
    let mut evidence = Evidence::default();
    for (test, run) in observation.tests() {
        for (path, facts) in &run.executables {
            let mut arguments = facts.arguments.iter();
            let sent =
                arguments.find(|(name, _)| name.as_str() == Argument::SignalOtherCgroup.name());
            if let Some((_, seen)) = sent {
                evidence.add(test, path, seen);
            }
        }
    }
    evidence
}

fn is_by_number(name: &str) -> bool {
    BY_NUMBER.contains(&name)
}

fn calls(facts: &Executable, is_one: impl Fn(&str) -> bool) -> bool {
    let mut calls = facts.syscalls.values().flat_map(|calls| calls.keys());
    calls.any(|call| is_one(call.as_str()))
}

/// What was done that a PID namespace makes impossible, a clause each.
pub(super) fn others(basis: &Basis<'_>) -> Vec<String> {
    let (observation, places) = (basis.observation(), basis.places());
    let looked = places
        .iter()
        .find(|place| matches!(subject(place), Some(Subject::All | Subject::Process)));
    let looked = looked.map(|place| {
        let path = of_any_process(&place.path).unwrap_or_else(|| place.path.to_vec());
        format!("{} looks at {}", place.executable, Text::from(path))
    });
    let senders = senders(observation).executables;
    let sent = named(&senders.iter().collect());
    let sent = sent.map(|names| format!("{names} signals processes of other units or cgroups"));
    let asked = || asked_by_number(observation, places);
    looked.into_iter().chain(sent.or_else(asked)).collect()
}

/// A number that was read from a PID file which only others write, where something was then done by number.
///
/// A question whether a process lives is signal 0, which the kernel generates none for, or `pidfd_open`.
fn asked_by_number(observation: &Observation, places: &[Place<'_>]) -> Option<String> {
    let runs = observation.runs.values();
    let mut programs = runs.flat_map(|run| run.executables.values());
    if !programs.any(|facts| calls(facts, is_by_number)) {
        return None;
    }
    let written = |path: &[u8]| {
        // They are in the order of their paths.
        let first = places.partition_point(|place| &*place.path < path);
        let mut same = places[first..]
            .iter()
            .take_while(|place| place.path == path);
        same.any(|place| place.wrote() || place.made())
    };
    let read = places.iter().find(|place| {
        place.path.ends_with(b".pid")
            && place.did(Operation::Read)
            && place.succeeded()
            && !written(&place.path)
    });
    read.map(|place| {
        format!(
            "{} reads {}, and signals are sent",
            place.executable,
            Text::from(&place.path)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_process_by_its_number_may_be_another() {
        let of = |fixture: Fixture| {
            let observation = fixture.observation();
            others(&Basis::of(&observation))
        };
        let program = || Fixture::new().executable("/bin/d");
        let read = |path: &str| of(program().file(path, Operation::Read, "ok"));
        assert_eq!(read("/proc/1/stat"), ["/bin/d looks at /proc/PID/stat"]);
        assert_eq!(read("/proc/1"), ["/bin/d looks at /proc/PID"]);
        let listed = of(program().listing("/proc"));
        assert_eq!(listed, ["/bin/d looks at /proc"]);
        assert!(read("/proc/meminfo").is_empty());
        assert!(read("/proc/self/stat").is_empty());
        let itself = Some("/proc/self/exe");
        let itself = program().file_asked("/proc/7/exe", itself, Operation::Readlink, "ok");
        assert!(of(itself).is_empty());
        let looked = program().file("/proc", Operation::Stat, "ok");
        assert!(of(looked).is_empty());
    }
    #[test]
    fn who_signals_other_cgroups_is_named() {
        let of = |fixture: Fixture| {
            let observation = fixture.observation();
            others(&Basis::of(&observation))
        };
        let program = || Fixture::new().executable("/bin/d").syscalls(&["kill"]);
        assert!(of(program()).is_empty());
        let sends = || program().argument(Argument::SignalOtherCgroup);
        let told = ["/bin/d signals processes of other units or cgroups"];
        assert_eq!(of(sends()), told);
        // Where it has the number from is no matter then.
        assert_eq!(of(sends().file("/run/x.pid", Operation::Read, "ok")), told);
    }

    #[test]
    fn without_a_hook_a_call_hides_whom_it_signals() {
        let hides = |call: &str, hook: Option<&str>| {
            let mut fixture = Fixture::new().executable("/bin/d").syscalls(&[call]);
            let hooks = &mut fixture.run().hooks;
            hooks.extend(hook.map(|hook| ("signals".to_owned(), hook.to_owned())));
            hides_signals(fixture.run())
        };
        assert!(hides("kill", None));
        assert!(hides("pidfd_send_signal", Some("none (turned off)")));
        assert!(!hides("kill", Some("raw_tp:signal_generate")));
        assert!(!hides("read", None));
    }

    #[test]
    fn a_number_from_the_pid_file_of_another_is_another_s() {
        let of = |call: &str, fixture: fn(Fixture) -> Fixture| {
            let program = Fixture::new().executable("/bin/d").syscalls(&[call]);
            let observation = fixture(program).observation();
            others(&Basis::of(&observation))
        };
        let reads = |program: Fixture| program.file("/run/x.pid", Operation::Read, "ok");
        assert_eq!(
            of("kill", reads),
            ["/bin/d reads /run/x.pid, and signals are sent"]
        );
        assert!(of("read", reads).is_empty());
        let own = |program: Fixture| {
            let program = program.file("/run/x.pid", Operation::Create, "ok");
            program.file("/run/x.pid", Operation::Read, "ok")
        };
        assert!(of("kill", own).is_empty());
    }
}
