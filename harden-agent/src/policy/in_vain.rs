//! What was asked for and never had, in any run: what a file may stop to allow, as far as a recording can say that.
//!
//! What could not be seen is never taken for failed. That a call failed each time is known of one that was counted, and of a
//! lookup of a path if the outcome of each was seen. And a failure says something of the next day only if it was not about
//! what was there that day: so this is about lookups, advice to the kernel, and calls that were refused for want of a
//! right or a feature ([`refused`]). A call that waits fails for want of patience (`EAGAIN`, `EINTR`, `EINPROGRESS`), one that makes or
//! removes something because it was there already or no more, and one with many operations (`ioctl`, `prctl`) may succeed
//! with another: of these nothing is said here.

use std::collections::BTreeMap;

use harden_common::Argument;

use crate::observation::{
    Executable, Facet, Observation, Operation, Outcome, Run, RunKind, Seen, Word,
};

use super::{
    Commands, UnitBasis,
    calls::failed_each_time,
    capabilities::why_not,
    paths::is_within,
    refused::{self, is_refusal, outcomes},
    systemd::default_list::DEFAULT,
};

/// Calls that look for a path, by what is recorded of it; and whether they name one each time. The others take a
/// descriptor instead, too, of which nothing may be recorded.
const LOOKUPS: [(&str, Operation, bool); 19] = [
    ("access", Operation::Access, true),
    ("faccessat", Operation::Access, true),
    ("faccessat2", Operation::Access, false),
    ("fstatat64", Operation::Stat, false),
    ("getxattr", Operation::XattrRead, true),
    ("inotify_add_watch", Operation::Watch, true),
    ("lgetxattr", Operation::XattrRead, true),
    ("listxattr", Operation::XattrRead, true),
    ("llistxattr", Operation::XattrRead, true),
    ("lstat", Operation::Stat, true),
    ("lstat64", Operation::Stat, true),
    ("newfstatat", Operation::Stat, false),
    ("readlink", Operation::Readlink, true),
    ("readlinkat", Operation::Readlink, false),
    ("stat", Operation::Stat, true),
    ("stat64", Operation::Stat, true),
    ("statfs", Operation::Statfs, true),
    ("statfs64", Operation::Statfs, true),
    ("statx", Operation::Stat, false),
];

/// Calls that advise the kernel, or ask for more of something: a program that is refused goes on with less.
const ADVICE: [&str; 18] = [
    "fadvise64",
    "fadvise64_64",
    "get_mempolicy",
    "ioprio_set",
    "landlock_create_ruleset",
    "mbind",
    "membarrier",
    "mlock",
    "mlock2",
    "mlockall",
    "perf_event_open",
    "process_madvise",
    "readahead",
    "sched_setaffinity",
    "sched_setparam",
    "set_mempolicy",
    "setpriority",
    "setrlimit",
];

/// Refused for want of a right, and not for nothing: a program that does not notice that keeps what it has.
const NOTICED: [&str; 1] = ["setgroups"];

/// Why something counts as never had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// A clause, for people.
    pub why: String,
    /// Nothing more than lookups rests on it.
    pub is_lookup: bool,
}

impl Proof {
    fn other(why: String) -> Self {
        Self {
            why,
            is_lookup: false,
        }
    }
}

/// What was asked for and never had.
#[derive(Clone, Debug, Default)]
pub struct InVain {
    /// Calls, by name.
    pub calls: BTreeMap<String, Proof>,
    /// Capabilities (`sys_admin`) that were never granted to a task itself.
    pub capabilities: BTreeMap<String, Proof>,
    /// Socket families (`inet6`) of which every socket was refused.
    pub families: BTreeMap<String, Proof>,
    /// What is not known of any of these, and why; a sentence each, without its full stop.
    pub unknown: Vec<String>,
    /// Where something was to be changed, by the names that the place has; and whether it ever was, or may have been.
    changes: Vec<(Vec<Vec<u8>>, bool)>,
}

impl InVain {
    /// What an observation says of it, of all commands of the unit together.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let commands = Commands::of(observation.clone());
        let basis = commands.unit_basis();
        let mut all = Self::default();
        if let Some(reason) = hidden(observation, &basis) {
            all.unknown.push(reason);
            return all;
        }
        all.calls = calls(observation);
        if !is_counted(observation) {
            all.unknown.push(
                "calls were not counted in every run: of these, only lookups of paths are known to have failed each time"
                    .to_owned(),
            );
        }
        match basis.coverage().blind(Facet::Capabilities) {
            Some(reason) => all.unknown.push(format!("capabilities: {reason}")),
            None => all.capabilities = capabilities(&basis),
        }
        all.families = families(observation, &basis);
        let blind = basis.coverage().blind(Facet::Files);
        let at_exit = tests(observation).all(sees_each_path);
        if blind.is_some() || !at_exit {
            all.unknown
                .push("paths: what failed was not seen in every run".to_owned());
        } else {
            all.changes = changes(observation, &basis);
        }
        all
    }

    /// Why nothing has to be changed in a directory, or in a file of this path: all that was tried there was refused.
    #[must_use]
    pub fn changes_in(&self, path: &[u8]) -> Option<Proof> {
        let inside = |names: &Vec<Vec<u8>>| names.iter().any(|name| is_within(name, path));
        let mut tried = self.changes.iter().filter(|(names, _)| inside(names));
        let is_vain = tried.clone().next().is_some() && !tried.any(|(_, worked)| *worked);
        is_vain.then(|| Proof::other("every change of it was refused".to_owned()))
    }
}

#[cfg(test)]
impl InVain {
    /// With something that was to be changed; and whether it was.
    pub(crate) fn change(&mut self, change: (Vec<Vec<u8>>, bool)) {
        self.changes.push(change);
    }
}

/// The runs, but for what somebody has allowed.
fn tests(observation: &Observation) -> impl Iterator<Item = &Run> {
    let runs = observation.runs.values();
    runs.filter(|run| run.kind != RunKind::Override)
}

/// All programs of a run, of all commands.
fn programs(run: &Run) -> impl Iterator<Item = &Executable> {
    let others = run.control.values().flat_map(|programs| programs.values());
    run.executables.values().chain(others)
}

/// Why nothing is known at all.
fn hidden(observation: &Observation, basis: &UnitBasis<'_>) -> Option<String> {
    let coverage = basis.coverage();
    if tests(observation).next().is_none() {
        return Some("the observation has no run".to_owned());
    }
    if !coverage.losses.is_empty() {
        return Some("the recording has losses: what failed each time is not known".to_owned());
    }
    if !tests(observation).all(knows_what_filters_refused) {
        return Some(
            "a filter was in force when it was recorded, and it is not known of each call whether that refused it"
                .to_owned(),
        );
    }
    coverage.blind(Facet::Syscalls)
}

/// Whether it is known which calls a filter has refused: a hook looks for that, and has found the name of each.
fn knows_what_filters_refused(run: &Run) -> bool {
    let hook = run.hooks.get("refused-calls");
    let is_watched = hook.is_some_and(|hook| !hook.starts_with("none"));
    let is_nameless = |facts: &Executable| {
        facts.refused.is_empty() && facts.said().any(|one| one == Argument::CallRefused)
    };
    (run.filters.is_empty() || is_watched) && !programs(run).any(is_nameless)
}

/// Whether it is known of every call how often it failed. Of runs that were folded into one, the larger numbers are
/// kept, whichever they are of.
fn is_counted(observation: &Observation) -> bool {
    tests(observation).all(|run| {
        let mut calls = programs(run).flat_map(|facts| facts.syscalls.values().flatten());
        run.stands_for.is_empty() && calls.all(|(_, seen)| seen.count().is_some())
    })
}

/// Calls that failed each time in every program of every run.
fn calls(observation: &Observation) -> BTreeMap<String, Proof> {
    let mut all: BTreeMap<&str, Option<Tally>> = BTreeMap::new();
    for run in observation.runs.values() {
        for facts in programs(run) {
            for (name, seen) in facts.syscalls.values().flatten() {
                let name = name.as_str();
                let failed = failure(run, facts, name, seen);
                let known = all.entry(name).or_insert(Some(Tally::default()));
                *known = known.take().zip(failed).map(|(all, one)| all.and(one));
            }
        }
    }
    // systemd allows these beside any list.
    let all = all.into_iter().filter(|(name, _)| !DEFAULT.contains(name));
    all.filter_map(|(name, tally)| Some((name.to_owned(), tally?.proof(name))))
        .collect()
}

/// How often a call failed, if that was counted each time.
#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    is_uncounted: bool,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            is_uncounted: self.is_uncounted || other.is_uncounted,
        }
    }

    fn proof(self, name: &str) -> Proof {
        let is_lookup = lookup(name).is_some();
        let what = if is_lookup { "lookups" } else { "calls" };
        let why = match self.count {
            _ if self.is_uncounted => format!("all {what} failed"),
            1 => format!("its {} failed", what.trim_end_matches('s')),
            some => format!("all {some} {what} failed"),
        };
        Proof { why, is_lookup }
    }
}

fn lookup(name: &str) -> Option<(Operation, bool)> {
    let found = LOOKUPS.iter().find(|(call, ..)| *call == name)?;
    Some((found.1, found.2))
}

/// Whether a program's calls of this name are known to have failed each time, in a way that says something of the next day.
fn failure(run: &Run, facts: &Executable, name: &str, seen: &Seen) -> Option<Tally> {
    let mut refused = facts.refused.values().flat_map(BTreeMap::keys);
    let is_filtered = refused.any(|call| call.as_str() == name);
    if run.kind == RunKind::Override || is_filtered || NOTICED.contains(&name) {
        return None;
    }
    let is_counted = run.stands_for.is_empty() && failed_each_time(seen);
    let counted = || Tally {
        count: seen.count().unwrap_or_default(),
        is_uncounted: false,
    };
    if let Some((operation, names_each)) = lookup(name) {
        if is_counted {
            return Some(counted());
        }
        let is_seen = names_each && seen.count().is_none() && sees_each_lookup(run, operation);
        return (is_seen && found_nothing(facts, operation)).then_some(Tally {
            count: 0,
            is_uncounted: true,
        });
    }
    let is_vain = ADVICE.contains(&name) || refused::is_refused(run, facts, name, seen);
    (is_counted && is_vain).then(counted)
}

/// Whether paths were seen where calls come back, whatever came of them: no security hook sees what fails.
fn sees_each_path(run: &Run) -> bool {
    let hooks = [Facet::Files, Facet::Lookups, Facet::PathOperations];
    let mut hooks = hooks.into_iter().map(|facet| run.hook(facet));
    hooks.all(|hook| hook.is_some_and(|hook| hook.ends_with(":sys_exit")))
}

/// The same, of lookups. These are seen there whichever hook sees what is done to files.
fn sees_each_lookup(run: &Run, operation: Operation) -> bool {
    use Operation as O;
    let hook = run.hook(Facet::Lookups);
    let is_seen = hook.is_some_and(|hook| hook.ends_with(":sys_exit"));
    is_seen && matches!(operation, O::Access | O::Readlink | O::Stat) || sees_each_path(run)
}

/// Whether this was done with paths, and each time in vain. Of names that are not listed it is not known.
fn found_nothing(facts: &Executable, operation: Operation) -> bool {
    let mut all = outcomes(facts, operation).peekable();
    let is_listed = facts.files.values().all(|file| file.names == 0);
    is_listed && all.peek().is_some() && all.all(|outcome| !is_done(outcome))
}

/// Whether it succeeded, or may have.
fn is_done(outcome: &Outcome) -> bool {
    outcome.is_ok() || outcome.0.as_str() == "tried"
}

/// What was asked about and never granted to a task itself.
fn capabilities(basis: &UnitBasis<'_>) -> BTreeMap<String, Proof> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, check) in basis.needs().noise.keys() {
        let reasons = all.entry(name.to_string()).or_default();
        reasons.push(why_not(*check));
    }
    let all = all.into_iter();
    all.map(|(name, reasons)| (name, Proof::other(reasons.join("; "))))
        .collect()
}

/// The families of which every socket was refused, and that nobody allows.
fn families(observation: &Observation, basis: &UnitBasis<'_>) -> BTreeMap<String, Proof> {
    let is_allowed = |family: &Word| {
        let runs = observation.runs.values();
        let mut allowing = runs.filter(|run| run.kind == RunKind::Override);
        allowing.any(|run| programs(run).any(|facts| facts.families.contains_key(family)))
    };
    let without = basis.families().iter();
    let without = without.filter(|(family, (_, without))| *without && !is_allowed(family));
    let proof = || Proof::other("every socket of it was refused".to_owned());
    without
        .map(|(family, _)| (family.to_string(), proof()))
        .collect()
}

/// What was to be changed, and whether that worked. After an error that is no refusal another day has another answer:
/// that counts as if it had worked.
fn changes(observation: &Observation, basis: &UnitBasis<'_>) -> Vec<(Vec<Vec<u8>>, bool)> {
    let mut all: Vec<(Vec<Vec<u8>>, bool)> = Vec::new();
    for place in basis.places().iter().filter(|place| place.wrote()) {
        all.push((place.all_names().map(<[u8]>::to_vec).collect(), true));
    }
    for run in observation.runs.values() {
        for (path, file) in programs(run).flat_map(|facts| &facts.files) {
            for (operation, outcome, _) in file.operations.iter() {
                if operation.writes() {
                    let worked = is_done(outcome) || !is_refusal(outcome);
                    let asked = file.asked_as.iter().map(|name| name.as_bytes().to_vec());
                    let names = std::iter::once(path.as_bytes().to_vec()).chain(asked);
                    all.push((names.collect(), worked));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Fixture, *};
    use crate::observation::{Abi, CapabilityCheck};

    /// A program whose calls were made, and failed, so often.
    fn made(calls: &[(&str, Option<(u64, u64)>)]) -> Fixture {
        let names: Vec<&str> = calls.iter().map(|(name, _)| *name).collect();
        let mut fixture = Fixture::new().executable("/bin/d").syscalls(&names);
        let run = fixture.run();
        for facet in [Facet::Files, Facet::Lookups, Facet::PathOperations] {
            let hooks = &mut run.hooks;
            hooks.insert(facet.name().to_owned(), "tp_btf:sys_exit".to_owned());
        }
        for facts in run.executables.values_mut() {
            let native = facts.syscalls.get_mut(&Abi::Native).unwrap();
            for (name, counts) in calls {
                let seen = native.get_mut(&Word::new(*name).unwrap()).unwrap();
                seen.set_counts(counts.map(|(count, _)| count), counts.map(|(_, all)| all));
            }
        }
        fixture
    }

    fn of(fixture: Fixture) -> Vec<(String, String)> {
        let all = InVain::of(&fixture.observation());
        let calls = all.calls.into_iter();
        calls.map(|(name, proof)| (name, proof.why)).collect()
    }

    fn is_in_vain(fixture: Fixture, name: &str) -> bool {
        of(fixture).iter().any(|(call, _)| call == name)
    }

    #[test]
    fn what_was_counted_and_failed_each_time_is_in_vain() {
        let all = of(made(&[
            ("access", Some((3, 3))),
            ("readlink", Some((2, 1))),
            ("setpriority", Some((1, 1))),
            ("unshare", Some((2, 2))),
            ("read", Some((5, 5))),
            ("connect", Some((1, 1))),
            ("ioctl", Some((4, 4))),
            ("mmap", Some((1, 1))),
            ("setgroups", Some((1, 1))),
        ]));
        let expected = [
            ("access", "all 3 lookups failed"),
            ("setpriority", "its call failed"),
            ("unshare", "all 2 calls failed"),
        ];
        let expected = expected.map(|(name, why)| (name.to_owned(), why.to_owned()));
        assert_eq!(all, expected);
    }

    #[test]
    fn a_lookup_that_was_not_counted_is_known_by_its_paths() {
        let looked = |outcome| {
            let fixture = made(&[("access", None), ("setpriority", None)]);
            fixture.file("/etc/x", Operation::Access, outcome)
        };
        let why = "all lookups failed".to_owned();
        assert_eq!(of(looked("ENOENT")), [("access".to_owned(), why)]);
        assert_eq!(of(looked("tried")), []);
        let also = looked("ENOENT").file("/etc/y", Operation::Access, "ok");
        assert_eq!(of(also), []);
        let mut by_security_hooks = looked("ENOENT");
        let hooks = &mut by_security_hooks.run().hooks;
        hooks.insert("files".to_owned(), "lsm:file_open".to_owned());
        assert!(is_in_vain(by_security_hooks, "access"));
        // Which names these were is not known.
        let mut folded = looked("EACCES").file("/etc", Operation::Read, "ok");
        for facts in folded.run().executables.values_mut() {
            for file in facts.files.values_mut() {
                file.names = 1000;
            }
        }
        assert_eq!(of(folded), []);
        // A descriptor has no path.
        let by_descriptor = made(&[("newfstatat", None)]).file("/x", Operation::Stat, "ENOENT");
        assert_eq!(of(by_descriptor), []);
    }

    #[test]
    fn one_that_may_have_worked_counts() {
        let vain = || made(&[("access", Some((1, 1)))]);
        assert!(is_in_vain(vain(), "access"));
        let mut lost = vain();
        let kind = Word::new("path-ring-full").unwrap();
        lost.run().losses.insert(kind, 1);
        let mut filtered = vain();
        filtered.run().filters.insert(Word::new("seccomp").unwrap());
        let mut watched = filtered.observation();
        for run in watched.runs.values_mut() {
            let hooks = &mut run.hooks;
            hooks.insert("refused-calls".to_owned(), "raw_tp:sys_exit".to_owned());
        }
        assert!(InVain::of(&watched).calls.contains_key("access"));
        let mut filtered = vain();
        filtered.run().filters.insert(Word::new("seccomp").unwrap());
        let nameless = vain().argument(Argument::CallRefused);
        let by_filter = |name: &str| {
            let mut fixture = vain().argument(Argument::CallRefused);
            for facts in fixture.run().executables.values_mut() {
                let refused = facts.refused.entry(Abi::Native).or_default();
                refused.insert(Word::new(name).unwrap(), Seen::default());
            }
            fixture
        };
        assert!(is_in_vain(by_filter("setpriority"), "access"));
        let refused = by_filter("access");
        let mut folded = vain();
        folded.run().stands_for.insert(Word::new("x").unwrap());
        let next = vain().next_run().executable("/bin/e").syscalls(&["access"]);
        let mut allowed = vain().next_run().executable("/bin/d").syscalls(&["access"]);
        allowed.run().kind = RunKind::Override;
        // The larger numbers of both, which a join would keep, are those of the one that failed.
        let mut reload = vain();
        let other = made(&[("access", Some((1, 0)))]).run().executables.clone();
        let control = &mut reload.run().control;
        control.insert(crate::observation::ControlCommand::Reload, other);
        for fixture in [
            lost, filtered, nameless, refused, folded, next, allowed, reload,
        ] {
            assert!(!is_in_vain(fixture, "access"));
        }
    }

    #[test]
    fn what_was_only_asked_about_is_not_had() {
        let fixture = made(&[])
            .capability("sys_admin", CapabilityCheck::DeniedNoaudit)
            .capability("chown", CapabilityCheck::Denied)
            .capability("chown", CapabilityCheck::Granted)
            .family("inet6")
            .family("unix")
            .socket("inet6 stream 0", "EAFNOSUPPORT")
            .socket("unix stream 0", "ok")
            .file("/etc/d.conf", Operation::Write, "EACCES")
            .file("/var/lib/d/x", Operation::Unlink, "ENOENT")
            .file("/run/d.pid", Operation::Create, "ok");
        let all = InVain::of(&fixture.observation());
        let names: Vec<&String> = all.capabilities.keys().chain(all.families.keys()).collect();
        assert_eq!(names, ["sys_admin", "inet6"]);
        assert!(all.changes_in(b"/etc").is_some());
        assert!(all.changes_in(b"/etc/d.conf").is_some());
        for path in ["/var/lib/d", "/run", "/srv"] {
            assert!(all.changes_in(path.as_bytes()).is_none(), "{path}");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let uncounted = made(&[("access", None)]).observation();
        assert_eq!(InVain::of(&uncounted).unknown.len(), 1);
        let counted = made(&[("access", Some((1, 1)))]).observation();
        assert_eq!(InVain::of(&counted).unknown, Vec::<String>::new());
        let mut blind = made(&[("access", Some((1, 1)))]);
        blind.run().hooks.clear();
        let all = InVain::of(&blind.observation());
        assert!(all.calls.is_empty() && all.unknown.len() == 1, "{all:?}");
    }
}
