//! Which system calls: the union over all executables and runs, as literal names.
//!
//! Never Firejail's groups: they are blacklists in part, and their contents change between
//! versions. Every process under the profile gets the same filter, so the union is the least.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Serialize;

use crate::observation::{Abi, Facet, Observation, Word};

use super::super::basis::Basis;
use super::super::calls::{Asked, spelt, unnumbered};
use super::super::equivalents::{Compatibility, equivalents};
use super::super::evidence::{Decision, Evidence, Item};
use super::super::mode::{Advice, Mode};
use super::super::warnings::{Id, Warning};
use super::default_list;
use super::target::{Launch, Target};

/// The longest line that Firejail reads in one piece (`MAX_READ` is 8,192, `profile.c`).
pub(super) const LINE: usize = 8191;

/// What is decided about system calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Syscalls {
    /// Which kind of list it is, and why.
    pub advice: Advice,
    /// The list.
    pub filter: Decision<Filter>,
    /// Whether every other calling convention (32-bit, x32) is refused.
    pub block_secondary: Decision<()>,
    /// What was called by other conventions, for the reader: `ia32 getpid`.
    pub secondary: Vec<Item>,
    /// What the reader must know.
    pub warnings: Vec<Warning>,
}

/// A list of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// `seccomp.keep`: the calls to allow, all others refused.
    Keep(Vec<Item>),
    /// `seccomp`: what this Firejail refuses by itself, but for these.
    Default(Vec<Item>),
    /// `seccomp.drop`: the calls to refuse.
    Drop(Vec<Item>),
}

impl Syscalls {
    /// The calls of a list that allows them and no others.
    #[must_use]
    pub fn kept(&self) -> Option<&[Item]> {
        match self.filter.given() {
            Some(Filter::Keep(items)) => Some(items),
            _ => None,
        }
    }
}

/// What bash needs between Firejail's filters and its exec of the program, beside what loads any
/// dynamic program: with each left out in turn, these two and the loader's were missed (bash 5.2,
/// glibc 2.36, Firejail 0.9.72); what else it asks for it can do without. But with some of its four
/// identities and without the others it takes itself for a setuid program, says so, and tries to
/// become its user; without getcwd it complains where PWD is not set, as under systemd; and where getpeername is refused, it
/// takes its standard input for a login over the network and reads ~/.bashrc (`isnetconn` in lib/sh/netconn.c of bash 5.2),
/// unless it is called by a shell.
pub(in crate::policy) const SHELL: [&str; 24] = [
    "access",
    "arch_prctl",
    "brk",
    "close",
    "execve",
    "exit_group",
    "futex",
    "getcwd",
    "getegid",
    "geteuid",
    "getgid",
    "getpeername",
    "getpgrp",
    "getuid",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "openat",
    "pread64",
    "prlimit64",
    "read",
    "set_robust_list",
    "set_tid_address",
];

/// What it calls beside, and can be refused; but not be killed for, as with `seccomp-error-action kill`.
pub(in crate::policy) const SHELL_TRIES: [&str; 9] = [
    "getpid",
    "getppid",
    "getrandom",
    "ioctl",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sysinfo",
    "uname",
];

/// Why there is no filter at all: each begins with this check (`HANDLE_X32` in src/include/seccomp.h, 0.9.72).
pub(super) const X32: &str = "x32 calls were made, and every filter of Firejail refuses those";

/// Decides on system calls.
pub(super) fn decide(
    basis: &Basis<'_>,
    target: &Target,
    (compatibility, mode): (Compatibility, Option<Mode>),
) -> Syscalls {
    let blind = basis.coverage().blind(Facet::Syscalls);
    let asked = basis.asked();
    let mut native: BTreeMap<&Word, Evidence> = BTreeMap::new();
    let mut secondary = Vec::new();
    for ((abi, name), evidence) in &asked.made {
        match abi {
            Abi::Native => {
                native.insert(name, evidence.clone());
            }
            Abi::Ia32 | Abi::X32 => secondary.push(Item::new(spelt(*abi, name), evidence.clone())),
        }
    }
    // The list is one of native calls.
    let conventions = asked.conventions.iter().copied();
    let conventions = conventions.filter(|(_, abi)| *abi == Abi::Native).collect();
    let seen = native.keys().map(|name| name.as_str()).collect();
    let unasked = basis.unasked(&seen, &conventions, compatibility);

    let mut warnings = Vec::new();
    let block_secondary = if let Some(reason) = &blind {
        Decision::withheld(reason.clone())
    } else if secondary.is_empty() {
        Decision::Given(())
    } else {
        warnings.push(Warning::new(
            Id::SECONDARY_CALLS,
            if asked.has(Abi::X32) {
                "x32 calls were made. Every filter of Firejail refuses those, so the profile has none"
            } else {
                "32-bit calls were made. No Firejail list confines those (seccomp.32.keep filters native calls instead), \
                 so every one of them stays allowed, and through them most of what the list above refuses"
            },
        ));
        Decision::withheld("32-bit or x32 calls were made, and it would refuse them all")
    };
    let mut advice = Advice::of(basis, mode);
    if compatibility == Compatibility::Exact {
        advice.doubts.push(
            "an exact list has none of the calls that come without being asked for: a stop and continue, a lock that \
             another holds, or more data can end the program"
                .to_owned(),
        );
    }
    let filter = match advice.mode {
        _ if blind.is_some() => Decision::Withheld(blind.into_iter().collect()),
        _ if asked.has(Abi::X32) => Decision::withheld(X32),
        Mode::Allowlist => keep(
            native,
            unasked,
            basis.observation(),
            (target, compatibility),
        ),
        Mode::SandboxDefault => default(&native, &unasked, asked, target),
        Mode::Denylist => Decision::Given(Filter::Drop(refused(&native, &unasked, target))),
    };
    Syscalls {
        advice,
        filter,
        block_secondary,
        secondary,
        warnings,
    }
}

/// The default list with its exceptions.
fn default(
    native: &BTreeMap<&Word, Evidence>,
    unasked: &Unasked,
    asked: &Asked<'_>,
    target: &Target,
) -> Decision<Filter> {
    match beyond_exceptions(asked) {
        Some(call) => Decision::withheld(format!(
            "the 32-bit call {call} was made, which the default list refuses whatever its exceptions are"
        )),
        None => Decision::Given(Filter::Default(exceptions(native, unasked, target))),
    }
}

/// A 32-bit call that the default list refuses: exceptions are for native calls alone (Firejail 0.9.72, tried).
fn beyond_exceptions<'a>(asked: &Asked<'a>) -> Option<&'a Word> {
    let mut made = asked.made.keys();
    let found =
        made.find(|(abi, name)| *abi == Abi::Ia32 && default_list::is_refused(name.as_str()));
    found.map(|(_, name)| *name)
}

/// What can happen beside what was seen, with the reasons.
type Unasked = BTreeMap<&'static str, String>;

/// What was seen of that which Firejail refuses by itself, or can happen.
fn exceptions(native: &BTreeMap<&Word, Evidence>, unasked: &Unasked, target: &Target) -> Vec<Item> {
    let is_one = |name: &str| default_list::is_refused(name) && is_known(name, target);
    let seen = native.iter().filter(|(name, _)| is_one(name.as_str()));
    let mut items: Vec<Item> = seen
        .map(|(name, evidence)| Item::new(name.as_str(), evidence.clone()))
        .collect();
    let others = unasked.iter().filter(|(name, _)| is_one(name));
    items.extend(others.map(|(name, why)| Item::noted(*name, why)));
    items
}

/// The rest of it, by name: what Firejail refuses by itself differs between its versions.
fn refused(native: &BTreeMap<&Word, Evidence>, unasked: &Unasked, target: &Target) -> Vec<Item> {
    let seen = native.keys().map(|name| name.as_str());
    let seen = seen.chain(unasked.keys().copied()).collect();
    default_list::unseen(&seen, |name| is_known(name, target))
}

/// Whether the target has the name. It warns of others.
fn is_known(name: &str, target: &Target) -> bool {
    match &target.syscalls {
        Some(known) => known.contains(name),
        None => syscalls::x86_64::Sysno::from_str(name).is_ok(),
    }
}

fn keep(
    native: BTreeMap<&Word, Evidence>,
    unasked: Unasked,
    observation: &Observation,
    (target, compatibility): (&Target, Compatibility),
) -> Decision<Filter> {
    if native.is_empty() {
        return Decision::withheld("no native system call was seen, and an empty list is an error");
    }
    let architectures: BTreeSet<&[u8]> = observation
        .runs
        .values()
        .map(|run| run.host.architecture.as_bytes())
        .collect();
    let mut reasons = Vec::new();
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    let seen: BTreeSet<&str> = native.keys().map(|name| name.as_str()).collect();
    for (name, why) in unasked.into_iter().chain(equivalents(&seen, compatibility)) {
        // What this Firejail cannot be told of by name was not asked for by the program.
        if let Ok(Spelling::Name) = spell(name, &architectures, target) {
            items.insert(name.to_owned(), Item::noted(name, why));
        }
    }
    for (name, evidence) in native {
        let name = name.as_str();
        match spell(name, &architectures, target) {
            Ok(Spelling::Name) => {
                items.insert(name.to_owned(), Item::new(name, evidence));
            }
            Ok(Spelling::Number(number)) => {
                let mut item = Item::new(format!("${number}"), evidence);
                item.note = Some(format!(
                    "this Firejail does not know the name {name} and would drop it silently"
                ));
                items.insert(name.to_owned(), item);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if matches!(target.launch, Launch::Shell(_)) && architectures.contains(&b"x86_64"[..]) {
        for name in SHELL {
            items.entry(name.to_owned()).or_insert_with(|| {
                Item::noted(
                    name,
                    "the shell through which `firejail -- COMMAND` starts the command",
                )
            });
        }
    }
    let items: Vec<Item> = items.into_values().collect();
    let length: usize = items.iter().map(|item| item.value.len() + 1).sum();
    if "seccomp.keep ".len() + length > LINE {
        reasons.push(format!(
            "the list would be longer than the {LINE} characters that Firejail reads, and it \
             takes only one list"
        ));
    }
    Decision::given_unless(reasons, Filter::Keep(items))
}

enum Spelling {
    Name,
    Number(u32),
}

/// How the target is told of a call: by name, or, where it does not know the name, by number:
/// `$NUMBER` (`syscall_process_name` in `src/lib/syscall.c`).
fn spell(name: &str, architectures: &BTreeSet<&[u8]>, target: &Target) -> Result<Spelling, String> {
    let known = match &target.syscalls {
        Some(known) => known.contains(name),
        // Firejail could not be asked: a name that this build knows is the best guess.
        None => number(name, architectures).is_some_and(|_| unnumbered(name).is_none()),
    };
    if known {
        return Ok(Spelling::Name);
    }
    number(name, architectures)
        .map(Spelling::Number)
        .ok_or_else(|| {
            format!(
                "neither this Firejail nor harden knows the call {name} by name on every machine \
             observed; a list without it would refuse it"
            )
        })
}

/// The number of `name`, if it is one number on all of `architectures`.
fn number(name: &str, architectures: &BTreeSet<&[u8]>) -> Option<u32> {
    if let Some(number) = unnumbered(name) {
        return (architectures.len() == 1).then_some(number);
    }
    let mut numbers = architectures
        .iter()
        .map(|architecture| match *architecture {
            b"x86_64" => syscalls::x86_64::Sysno::from_str(name)
                .ok()
                .map(|call| call.id()),
            b"aarch64" => syscalls::aarch64::Sysno::from_str(name)
                .ok()
                .map(|call| call.id()),
            _ => None,
        });
    let first = numbers.next()??;
    let same = numbers.all(|other| other == Some(first));
    u32::try_from(first).ok().filter(|_| same)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;

    fn values(syscalls: &Syscalls) -> Vec<&str> {
        let items = syscalls.kept().unwrap_or_default().iter();
        items.map(|item| item.value.as_str()).collect()
    }

    /// A whitelist, whatever is recommended.
    fn decide(
        observation: &Observation,
        target: &Target,
        compatibility: Compatibility,
    ) -> Syscalls {
        let basis = Basis::of(observation);
        super::decide(&basis, target, (compatibility, Some(Mode::Allowlist)))
    }

    fn direct() -> Target {
        Target {
            launch: Launch::Direct,
            ..Target::default()
        }
    }

    #[test]
    fn there_is_no_filter_where_x32_calls_were_answered() {
        let fixture = |abi| {
            let fixture = Fixture::new().executable("/usr/bin/a").syscalls(&["read"]);
            fixture.syscalls_of(abi, &["getpid"]).observation()
        };
        let syscalls = decide(&fixture(Abi::X32), &direct(), Compatibility::Exact);
        assert_eq!(syscalls.filter, Decision::withheld(X32));
        assert!(syscalls.warnings[0].text.contains("the profile has none"));
        let syscalls = decide(&fixture(Abi::Ia32), &direct(), Compatibility::Exact);
        assert!(syscalls.kept().is_some());
        assert!(syscalls.warnings[0].text.contains("stays allowed"));
    }

    #[test]
    fn the_union_over_runs_and_executables_by_literal_name() {
        let observation = Fixture::new()
            .executable("/usr/bin/a")
            .syscalls(&["read", "exit_group"])
            .executable("/usr/bin/b")
            .syscalls(&["write"])
            .next_run()
            .executable("/usr/bin/a")
            .syscalls(&["mkdir", "read"])
            .observation();
        let syscalls = decide(&observation, &direct(), Compatibility::Exact);
        assert_eq!(values(&syscalls), ["exit_group", "mkdir", "read", "write"]);
        assert_eq!(syscalls.block_secondary, Decision::Given(()));
        let read = &syscalls.kept().unwrap()[2];
        assert_eq!(read.evidence.runs.len(), 2);
    }

    #[test]
    fn a_shell_that_starts_the_command_has_its_calls() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["read"])
            .observation();
        let syscalls = decide(&observation, &Target::default(), Compatibility::Exact);
        assert!(values(&syscalls).contains(&"getpgrp"));
    }

    #[test]
    fn the_shell_sees_all_of_its_identities_or_none() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["getuid"])
            .observation();
        let kept = decide(&observation, &Target::default(), Compatibility::Exact);
        for call in ["getuid", "geteuid", "getgid", "getegid"] {
            assert!(values(&kept).contains(&call), "{call}");
        }
    }

    #[test]
    fn calls_of_another_convention_stay_apart() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["read"])
            .syscalls_of(Abi::Ia32, &["mkdir"])
            .observation();
        let syscalls = decide(&observation, &direct(), Compatibility::Exact);
        assert_eq!(values(&syscalls), ["read"]);
        assert_eq!(syscalls.secondary[0].value, "ia32 mkdir");
        assert!(syscalls.block_secondary.given().is_none());
        assert_eq!(syscalls.warnings.len(), 1);
    }

    #[test]
    fn a_name_that_firejail_does_not_know_goes_by_number() {
        let mut fixture =
            Fixture::new()
                .executable("/a")
                .syscalls(&["read", "futex_waitv", "syscall-470"]);
        fixture.run().host.kernel = "6.19".into();
        let observation = fixture.observation();
        let target = Target {
            syscalls: Some(["read".to_owned()].into()),
            ..direct()
        };
        let syscalls = decide(&observation, &target, Compatibility::Exact);
        assert_eq!(values(&syscalls), ["$449", "read", "$470"]);
    }

    #[test]
    fn a_name_that_nobody_knows_leaves_the_list_out() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["read", "frobnicate"])
            .observation();
        let syscalls = decide(&observation, &direct(), Compatibility::Exact);
        assert_eq!(syscalls.filter.reasons().len(), 1);
    }

    #[test]
    fn blindness_is_not_absence() {
        let mut observation = Fixture::new()
            .executable("/a")
            .syscalls(&["read"])
            .observation();
        for run in observation.runs.values_mut() {
            run.hooks.remove("syscalls");
        }
        let syscalls = decide(&observation, &direct(), Compatibility::Exact);
        assert!(syscalls.filter.given().is_none());
        assert!(syscalls.block_secondary.given().is_none());
    }

    #[test]
    fn what_stands_for_a_call_is_added_where_it_is_asked_for_and_known() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["open", "poll"])
            .observation();
        let target = Target {
            syscalls: Some(["open", "openat", "poll"].map(str::to_owned).into()),
            ..direct()
        };
        let kept = |compatibility| {
            let syscalls = decide(&observation, &target, compatibility);
            let items = syscalls.kept().unwrap().iter();
            items.map(|item| item.value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kept(Compatibility::Exact), ["open", "poll"]);
        assert_eq!(kept(Compatibility::Libc), ["open", "openat", "poll"]);
        // Firejail would drop ppoll in silence.
        assert_eq!(kept(Compatibility::Kernel), ["open", "openat", "poll"]);
    }

    #[test]
    fn what_was_seen_is_not_refused_by_the_other_kinds_of_list() {
        let observation = Fixture::new()
            .executable("/a")
            .syscalls(&["read", "mount", "chroot"])
            .observation();
        let filter = |mode| {
            let decision_options = (Compatibility::Exact, Some(mode));
            super::decide(&Basis::of(&observation), &direct(), decision_options).filter
        };
        let names = |items: &[Item]| -> Vec<String> {
            items.iter().map(|item| item.value.clone()).collect()
        };
        let Decision::Given(Filter::Default(exceptions)) = filter(Mode::SandboxDefault) else {
            panic!("another kind of list");
        };
        assert_eq!(names(&exceptions), ["chroot", "mount"]);
        let Decision::Given(Filter::Drop(refused)) = filter(Mode::Denylist) else {
            panic!("another kind of list");
        };
        let refused = names(&refused);
        assert!(refused.contains(&"kexec_load".to_owned()), "{refused:?}");
        assert!(refused.iter().all(|name| name != "mount" && name != "read"));
    }
}
