//! The calls that were made, by convention and name, and which of them ask for something.
//!
//! A call that this kernel does not have asks for nothing: it was answered with `ENOSYS`, and any list of calls
//! answers it so, or refuses it, which is the same to the program. Decided here for all formats.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;

use crate::observation::{Abi, Executable, Observation, Run, RunKind, Seen, Text, Word};

use super::evidence::Evidence;

/// The last kernel of which the table of names has every call (`file_setattr`, its highest, is of Linux 6.17; 6.18
/// adds none).
const TABLE: (u32, u32) = (6, 18);

/// The loss of a call whose number is beyond the facts.
const UNKNOWN: &str = "unknown-call";

/// What was called.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked<'a> {
    /// What asks for something.
    pub(super) made: BTreeMap<(Abi, &'a Word), Evidence>,
    /// What was answered with `ENOSYS` in every run, for want of it.
    pub(super) unanswered: BTreeMap<(Abi, &'a Word), Evidence>,
    /// How many calls had numbers beyond those that facts have room for, and so beyond all that there are.
    pub(super) beyond: u64,
    /// The conventions by which something was asked for, with the architecture.
    pub(super) conventions: BTreeSet<(&'a Text, Abi)>,
    /// Those by which calls were made, if only such as the kernel does not have: a filter that does not list the convention
    /// kills the program (`SCMP_FLTATR_ACT_BADARCH`, `seccomp_attr_set(3)`).
    pub(super) tolerated: BTreeSet<(&'a Text, Abi)>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(observation: &'a Observation) -> Self {
        let mut asked = Self::default();
        for (test, run) in observation.tests() {
            let x32 = !is_without_x32(run);
            for (path, executable) in &run.executables {
                for (abi, calls) in &executable.syscalls {
                    let convention = (&run.host.architecture, *abi);
                    for (name, seen) in calls {
                        asked.tolerated.insert(convention);
                        let calls = if asks(run, (*abi, name), seen, x32) {
                            asked.conventions.insert(convention);
                            &mut asked.made
                        } else {
                            &mut asked.unanswered
                        };
                        let evidence = calls.entry((*abi, name)).or_default();
                        evidence.add(test, path, seen);
                    }
                }
            }
        }
        // A kernel that has it counts, whatever another says.
        let made = &asked.made;
        asked.unanswered.retain(|call, _| !made.contains_key(call));
        asked.beyond = runs(observation)
            .filter(|run| !is_newer(&run.host.kernel.to_string()))
            .flat_map(|run| &run.losses)
            .filter(|(kind, _)| kind.as_str() == UNKNOWN)
            .fold(0, |sum, (_, count)| sum.saturating_add(*count));
        asked
    }

    /// The calls by name, whatever the convention. The readers of lists take a name for every convention that has
    /// it, and skip the others.
    pub(super) fn names(&self) -> BTreeMap<&'a Word, Evidence> {
        let mut names: BTreeMap<&Word, Evidence> = BTreeMap::new();
        for ((_, name), evidence) in &self.made {
            names.entry(name).or_default().merge(evidence);
        }
        names
    }

    /// Those that ask for nothing: `syscall-1000`, `x32 getpid`.
    pub(super) fn nothing(&self) -> BTreeMap<String, Evidence> {
        let calls = self.unanswered.iter();
        let mut nothing: BTreeMap<String, Evidence> = calls
            .map(|((abi, name), evidence)| (spelt(*abi, name), evidence.clone()))
            .collect();
        if self.beyond > 0 {
            let evidence = Evidence {
                count: Some(self.beyond),
                ..Evidence::default()
            };
            nothing.insert("numbers beyond all calls".to_owned(), evidence);
        }
        nothing
    }
}

impl Asked<'_> {
    /// Whether calls were made by this convention that the kernel has.
    pub(super) fn has(&self, abi: Abi) -> bool {
        self.made.keys().any(|(of, _)| *of == abi)
    }
}

/// `openat`, `ia32 openat`, `x32 openat`
pub(super) fn spelt(abi: Abi, name: &Word) -> String {
    match abi {
        Abi::Native => name.to_string(),
        Abi::Ia32 => format!("ia32 {name}"),
        Abi::X32 => format!("x32 {name}"),
    }
}

/// What was lost in `run`, but for the numbers of calls that its kernel cannot have.
pub(super) fn losses(run: &Run) -> impl Iterator<Item = (&Word, &u64)> {
    let newer = is_newer(&run.host.kernel.to_string());
    let losses = run.losses.iter();
    losses.filter(move |(kind, _)| newer || kind.as_str() != UNKNOWN)
}

fn runs(observation: &Observation) -> impl Iterator<Item = &Run> {
    let runs = observation.runs.values();
    runs.filter(|run| run.kind != RunKind::Override)
}

/// Whether a call asks for something: it cannot be known that the kernel does not have it. Numbers of x32 are none of
/// native calls since Linux 5.4 (`x32_sys_call_table`), before the first on which harden runs.
fn asks(run: &Run, (abi, name): (Abi, &Word), seen: &Seen, x32: bool) -> bool {
    // What somebody allows is asked for.
    if run.kind == RunKind::Override {
        return true;
    }
    if abi == Abi::X32 && !x32 {
        return false;
    }
    // What came back with anything but an error is there, whatever the table says.
    !(is_nameless(name.as_str()) && !is_newer(&run.host.kernel.to_string()) && always_failed(seen))
}

/// Whether it is known to have failed each time: the program asked in vain, and lives with that.
pub(super) fn failed_each_time(seen: &Seen) -> bool {
    seen.count().is_some() && always_failed(seen)
}

fn always_failed(seen: &Seen) -> bool {
    seen.count()
        .is_none_or(|count| seen.errors().unwrap_or_default() >= count)
}

/// Whether the kernel of a run has no x32 calls: it was watched whether one is answered, and none was. On a kernel
/// without `CONFIG_X86_X32_ABI` all of them come back with `ENOSYS` (`do_syscall_64`, `arch/x86/entry/syscall_64.c`).
fn is_without_x32(run: &Run) -> bool {
    // Whatever hook it supplies, the program there reports the answers.
    let watched = run.hooks.values().any(|hook| hook.ends_with(":sys_exit"));
    let mut facts = run.executables.values().flat_map(Executable::said);
    // An exit that was skipped may have been an answer.
    let mut losses = run.losses.keys();
    watched
        && !losses.any(|kind| kind.as_str().starts_with("skipped"))
        && !facts.any(|argument| argument == Argument::X32Answered)
}

/// Whether a kernel may have calls that the table does not know.
pub(super) fn is_newer(release: &str) -> bool {
    let mut numbers = release
        .split(|one: char| !one.is_ascii_digit())
        .map_while(|part| part.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) > TABLE,
        // It does not say.
        _ => true,
    }
}

/// Whether it is the number of a call for which no table had a name: `syscall-470`, `syscall_470`.
pub(super) fn is_nameless(call: &str) -> bool {
    call.starts_with("syscall-") || call.starts_with("syscall_")
}

/// The number in the name that a call without a name has: `syscall-470`, `syscall_470`.
pub(super) fn unnumbered(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("syscall")?.strip_prefix(['-', '_'])?;
    let number: u32 = digits.parse().ok()?;
    // What the kernel's tables can ever hold; Firejail would take the number modulo anything.
    (number < 4096).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn made(observation: &Observation) -> Vec<String> {
        let asked = Asked::of(observation);
        let made = asked.made.keys();
        made.map(|(abi, name)| spelt(*abi, name)).collect()
    }

    fn on(kernel: &str, abi: Abi, calls: &[&str]) -> Fixture {
        let mut fixture = Fixture::new()
            .executable("/a")
            .syscalls(&["read"])
            .syscalls_of(abi, calls);
        fixture.run().host.kernel = kernel.into();
        fixture
    }

    /// How often, and how often in vain.
    fn counted(fixture: &mut Fixture, abi: Abi, count: u64, errors: u64) {
        for program in fixture.run().executables.values_mut() {
            for seen in program.syscalls.get_mut(&abi).unwrap().values_mut() {
                seen.set_counts(Some(count), Some(errors));
            }
        }
    }

    #[test]
    fn the_table_ends_where_it_is_said_to() {
        // By number: `Sysno::iter` leaves the last one out.
        let mut calls = (0..4096).filter_map(syscalls::x86_64::Sysno::new);
        let last = calls.next_back().unwrap();
        assert_eq!((last.id(), last.name()), (469, "file_setattr"));
    }

    #[test]
    fn a_number_that_no_kernel_of_its_time_has_asks_for_nothing() {
        for (kernel, calls) in [
            ("6.18.44-fc", vec!["read"]),
            ("5.10.0-33-amd64", vec!["read"]),
            ("6.19.0", vec!["read", "syscall-1000"]),
            ("7.2", vec!["read", "syscall-1000"]),
            ("strange", vec!["read", "syscall-1000"]),
        ] {
            let observation = on(kernel, Abi::Native, &["syscall-1000"]).observation();
            assert_eq!(made(&observation), calls, "{kernel}");
        }
        let ia32 = on("6.1", Abi::Ia32, &["syscall-499"]).observation();
        assert_eq!(made(&ia32), ["read"]);
        assert!(Asked::of(&ia32).nothing().contains_key("ia32 syscall-499"));
        let mut there = on("6.1", Abi::Native, &["syscall-471"]);
        counted(&mut there, Abi::Native, 2, 1);
        assert_eq!(made(&there.observation()).len(), 2);
    }

    #[test]
    fn what_one_kernel_has_counts() {
        let first = on("6.1", Abi::Native, &["syscall-470"]);
        let mut both = first.next_run().executable("/a").syscalls(&["syscall-470"]);
        both.run().host.kernel = "6.19".into();
        let observation = both.observation();
        let asked = Asked::of(&observation);
        assert_eq!(asked.made.len(), 2);
        assert!(asked.unanswered.is_empty());
    }

    #[test]
    fn x32_asks_for_nothing_where_none_was_answered() {
        let with = |watched: bool| {
            let mut fixture = on("6.1", Abi::X32, &["getpid"]);
            if watched {
                let hooks = &mut fixture.run().hooks;
                hooks.insert("lookups".to_owned(), "tp_btf:sys_exit".to_owned());
            }
            fixture
        };
        assert_eq!(made(&with(true).observation()), ["read"]);
        assert_eq!(made(&with(false).observation()).len(), 2);
        let answered = with(true).argument(Argument::X32Answered).observation();
        assert_eq!(made(&answered).len(), 2);
    }

    #[test]
    fn a_number_beyond_the_facts_is_no_loss() {
        let lost = |kernel: &str| {
            let mut fixture = on(kernel, Abi::Native, &["write"]);
            let kind = Word::new(UNKNOWN).unwrap();
            fixture.run().losses.insert(kind, 3);
            let observation = fixture.observation();
            let nothing = Asked::of(&observation).nothing().len();
            let lost = observation.runs.values().flat_map(losses).count();
            (nothing, lost)
        };
        assert_eq!(lost("6.18"), (1, 0));
        assert_eq!(lost("6.19"), (0, 1));
    }
}
