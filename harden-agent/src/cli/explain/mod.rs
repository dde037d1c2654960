//! `harden explain`: where a word of a rendered file comes from.

mod said;
mod word;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::{
    ask::{self, Ask},
    profile::Decisions,
};
use crate::{
    observation::{Abi, Deed, Facet, Fact, Observation, Operation, Outcome, Run, RunKind, Seen},
    policy::{
        Adapted, Evidence, Terms,
        judge::{Judgement, Recorded, Sandbox, Unjudged},
    },
    profile::{Plan, Request},
};

use word::Word;

/// `harden explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The observation: a JSON file, or a unit as `harden units` lists it
    #[arg(value_name = "OBSERVATION|UNIT")]
    pub observation: OsString,
    /// A word of a profile or drop-in: a directive, a system call, a capability, a socket family, a program, or a
    /// path with everything below it [default: everything that was seen]
    pub word: Option<OsString>,
    /// Print a table of the system calls, the most frequent first, like strace -c
    #[arg(long, conflicts_with = "word")]
    pub syscalls: bool,
    /// Use the same options as for the files
    #[command(flatten)]
    pub decisions: Decisions,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Explain {
    /// Reads and prints.
    ///
    /// # Errors
    /// The observation or the overrides cannot be read, or no agent knows the unit.
    pub fn run(&self) -> anyhow::Result<u8> {
        let observation = ask::observation(&self.observation, &self.ask)?;
        if self.syscalls {
            ask::print(&calls(&observation))?;
            return Ok(0);
        }
        let adapted = self.decisions.adapt(&observation)?;
        let word = self.word.as_ref().map(|word| word.as_bytes());
        let request = for_no_machine(self.decisions.terms());
        let plan = request.plan(&observation, &adapted);
        let exact = &adapted.exact.recorded;
        let judged = word.map(|word| judged(&plan, &Word::of(word, exact)));
        let found = explained(exact, word, &judged.unwrap_or_default());
        let (given, lines) = match word {
            Some(word) => directive(&plan, &String::from_utf8_lossy(word)),
            None => (false, remarks(&adapted)),
        };
        let denied = if found.is_empty() {
            denied(&observation, word, &adapted)
        } else {
            String::new()
        };
        if found.is_empty() && lines.is_empty() && denied.is_empty() {
            let folded = folded(&observation, word);
            ask::print(&format!("{}{folded}", absent(&observation)))?;
        } else {
            ask::print(&format!("{lines}{found}{denied}"))?;
        }
        Ok(u8::from(found.is_empty() && !given))
    }
}

/// For a Firejail and a systemd that are not asked: what was decided does not depend on who reads it here.
fn for_no_machine(terms: Terms) -> Request {
    Request {
        terms,
        ..Request::default()
    }
}

/// What the files say of one of their directives, and whether it is given.
fn directive(plan: &Plan<'_>, word: &str) -> (bool, String) {
    let mut text = String::new();
    let mut given = false;
    for sandbox in [Sandbox::Firejail, Sandbox::Systemd] {
        let found = said::about(plan, sandbox, word);
        given |= found.given;
        for line in found.lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {line}", sandbox.file());
        }
    }
    (given, text)
}

/// What the files mean for facts, a line each.
type Judged<'a> = BTreeMap<Fact<'a>, BTreeSet<String>>;

/// What the files mean for the facts that `word` is about.
fn judged<'p>(plan: &'p Plan<'_>, word: &Word) -> Judged<'p> {
    let rules = Sandbox::ALL.map(|sandbox| plan.rules(sandbox));
    let judges = rules.iter().filter(|rules| !rules.lines().is_empty());
    let judges: Vec<_> = judges
        .map(|rules| (rules.sandbox(), plan.judge(rules)))
        .collect();
    let recorded = Recorded::of(&plan.adapted().exact.recorded);
    let mut found = Judged::new();
    for case in recorded.cases().filter(|case| word.is_about(&case.fact)) {
        let lines = judges.iter().filter_map(|(sandbox, judge)| {
            let judgement = judge.judge(&case);
            // A container's file says nothing of paths, and no reader expects it to.
            let is_about = !matches!(judgement, Judgement::Unjudged(Unjudged::NotExpressible(_)));
            is_about.then(|| format!("{}: {judgement}", sandbox.file()))
        });
        found.entry(case.fact).or_default().extend(lines);
    }
    found
}

/// What was changed before anything was decided, as the files say it.
fn remarks(adapted: &Adapted<'_>) -> String {
    let lines = adapted.remarks.iter().map(|remark| format!("# {remark}\n"));
    lines.collect()
}

/// What was seen of a word, and an override has taken away.
fn denied(observation: &Observation, word: Option<&[u8]>, adapted: &Adapted<'_>) -> String {
    let seen = explained(observation, word, &Judged::new());
    if seen.is_empty() {
        return seen;
    }
    format!(
        "{}denied by an override, but seen:\n{seen}",
        remarks(adapted)
    )
}

/// What is known of one fact.
#[derive(Default)]
struct Known<'a> {
    evidence: Evidence,
    hooks: BTreeSet<&'a str>,
}

fn explained(observation: &Observation, word: Option<&[u8]>, judged: &Judged<'_>) -> String {
    let mut known: BTreeMap<Fact<'_>, Known<'_>> = BTreeMap::new();
    let word = word.map(|word| Word::of(word, observation));
    for (test, run) in observation.tests() {
        for (fact, seen) in run.sightings() {
            if word.as_ref().is_some_and(|word| !word.is_about(&fact)) {
                continue;
            }
            let entry = known.entry(fact).or_default();
            let seen = seen.cloned().unwrap_or_default();
            entry.evidence.add(test, fact.executable, &seen);
            if run.kind != RunKind::Override {
                entry.hooks.extend(hook(run, fact.what));
            }
        }
    }
    let mut text = String::new();
    for (fact, Known { evidence, hooks }) in known {
        let runs: Vec<String> = evidence.runs.iter().map(ToString::to_string).collect();
        let marks: Vec<String> = evidence.marks.iter().map(ToString::to_string).collect();
        let hooks: Vec<&str> = hooks.into_iter().collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{fact}");
        let _ = writeln!(text, "  runs   {}", runs.join(", "));
        if !marks.is_empty() {
            let _ = writeln!(text, "  marks  {}", marks.join(", "));
        }
        if let Some(first) = evidence.first {
            let _ = writeln!(text, "  first  {first}");
        }
        if let Some(count) = evidence.count {
            let _ = writeln!(text, "  times  {count}");
        }
        if !hooks.is_empty() {
            let _ = writeln!(text, "  hook   {}", hooks.join(", "));
        }
        for line in judged.get(&fact).into_iter().flatten() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// The hook that supplied such facts in the run.
fn hook<'a>(run: &'a Run, deed: Deed<'_>) -> Option<&'a str> {
    let fact = match deed {
        Deed::Ran | Deed::InvokedAs(_) => Facet::Exec,
        Deed::Syscall(..)
        | Deed::Family(_)
        | Deed::SocketType(_)
        | Deed::Socket(..)
        | Deed::Argument(_) => Facet::Syscalls,
        Deed::Capability(..) | Deed::GrantedIn(..) | Deed::GrantedFor(..) => Facet::Capabilities,
        Deed::Address(..) => Facet::Addresses,
        Deed::File(_, operation, outcome) => file_hook(operation, outcome),
    };
    run.hook(fact)
}

fn file_hook(operation: Operation, outcome: &Outcome) -> Facet {
    use Operation as O;
    match operation {
        _ if matches!(outcome.0.as_str(), "ENOENT" | "ENOTDIR") => Facet::Lookups,
        O::Stat | O::Access => Facet::Lookups,
        O::Read | O::Write | O::Create | O::Locate => Facet::Files,
        _ => Facet::PathOperations,
    }
}

/// The directories that represent names in them, among which the path in `word` may be.
fn folded(observation: &Observation, word: Option<&[u8]>) -> String {
    let Some(word) = word.filter(|word| word.starts_with(b"/")) else {
        return String::new();
    };
    let programs = observation
        .runs
        .values()
        .flat_map(|run| run.executables.values());
    let folded = programs.flat_map(|program| &program.files);
    let folded = folded.filter(|(_, file)| file.names > 0);
    let above: BTreeMap<_, _> = folded
        .filter(|(path, _)| word.starts_with(path.as_bytes()))
        .map(|(path, file)| (path, file.names))
        .collect();
    let lines = above.into_iter().map(|(path, names)| {
        format!("but {path} is in the place of {names} names in it, and this may be one of them\n")
    });
    lines.collect()
}

/// The kinds that a word may be about.
const ASKED_FOR: [Facet; 5] = [
    Facet::Syscalls,
    Facet::Capabilities,
    Facet::Files,
    Facet::Lookups,
    Facet::Addresses,
];

/// Why there is nothing to tell.
fn absent(observation: &Observation) -> String {
    if observation.runs.is_empty() {
        return format!("nothing is recorded of {}\n", observation.name);
    }
    let mut blind: BTreeSet<String> = BTreeSet::new();
    let mut lost = 0_u64;
    for run in observation.runs.values() {
        lost = run
            .losses
            .values()
            .fold(lost, |sum, one| sum.saturating_add(*one));
        for fact in ASKED_FOR {
            match run.hook(fact) {
                None => blind.insert(format!("no hook for {fact}")),
                Some(hook) if hook.starts_with("none") => blind.insert(format!("{fact}: {hook}")),
                Some(_) => false,
            };
        }
    }
    let runs = observation.runs.len();
    let mut text = format!(
        "not seen in {runs} runs and windows of {}\n",
        observation.name
    );
    for reason in blind {
        let _ = writeln!(text, "but some could not have seen it: {reason}");
    }
    if lost > 0 {
        let _ = writeln!(text, "but {lost} events were lost");
    }
    text
}

/// The calls of all programs together, the most frequent first.
fn calls(observation: &Observation) -> String {
    #[derive(Default)]
    struct Row<'a> {
        count: Option<u64>,
        errors: u64,
        runs: BTreeSet<&'a str>,
        programs: BTreeSet<String>,
    }
    let mut rows: BTreeMap<(Abi, &str), Row<'_>> = BTreeMap::new();
    for (test, run) in observation.tests() {
        for (fact, seen) in run.sightings() {
            let Deed::Syscall(abi, name) = fact.what else {
                continue;
            };
            let row = rows.entry((abi, name.as_str())).or_default();
            if let Some(count) = seen.and_then(Seen::count) {
                row.count = Some(row.count.unwrap_or(0).saturating_add(count));
            }
            let errors = seen.and_then(Seen::errors).unwrap_or(0);
            row.errors = row.errors.saturating_add(errors);
            row.runs.insert(test.id.as_str());
            row.programs.insert(fact.executable.to_string());
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(name, row)| (std::cmp::Reverse(row.count), *name));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["calls", "errors", "runs", "syscall", "programs"]);
    for ((abi, name), row) in rows {
        let name = match abi {
            Abi::Native => name.to_owned(),
            Abi::Ia32 => format!("ia32 {name}"),
            Abi::X32 => format!("x32 {name}"),
        };
        let count = row
            .count
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        let errors = if row.errors > 0 {
            row.errors.to_string()
        } else {
            String::new()
        };
        let runs = row.runs.len().to_string();
        let programs: Vec<String> = row.programs.into_iter().collect();
        table.add_row([count, errors, runs, name, programs.join(", ")]);
    }
    for column in 0..3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::CapabilityCheck,
        policy::{Commands, fixture::Fixture},
    };

    fn observed() -> Observation {
        Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "openat"])
            .capability("net_bind_service", CapabilityCheck::Granted)
            .family("inet6")
            .file("/run/d/pid", Operation::Create, "ok")
            .file("/running", Operation::Read, "ok")
            .file("/etc/d.conf", Operation::Read, "ok")
            .next_run()
            .executable("/usr/sbin/d")
            .syscalls(&["read"])
            .observation()
    }

    fn first_lines(word: &str) -> Vec<String> {
        let text = explained(&observed(), Some(word.as_bytes()), &Judged::new());
        let lines = text.lines().filter(|line| !line.starts_with(' '));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn words_as_the_files_have_them_are_understood() {
        for (word, expected) in [
            ("read", "/usr/sbin/d: native read"),
            (
                "CAP_NET_BIND_SERVICE",
                "/usr/sbin/d: net_bind_service granted",
            ),
            ("net_bind_service", "/usr/sbin/d: net_bind_service granted"),
            ("AF_INET6", "/usr/sbin/d: inet6"),
            ("-/run", "/usr/sbin/d: create ok /run/d/pid"),
            // read(2) is call 0 there, and `d` a name of private-bin.
            ("$0", "/usr/sbin/d: native read"),
            ("d", "/usr/sbin/d: ran"),
            ("d.conf", "/usr/sbin/d: read ok /etc/d.conf"),
        ] {
            assert_eq!(first_lines(word), [expected], "{word}");
        }
        assert!(first_lines("write").is_empty());
        assert!(first_lines("/ru").is_empty());
    }

    #[test]
    fn a_directive_is_explained_given_or_not() {
        let observation = observed();
        let adapted = unchanged(&observation);
        let request = for_no_machine(Terms::default());
        let plan = request.plan(&observation, &adapted);
        let directive = |word| directive(&plan, word);
        let (given, text) = directive("private-etc");
        assert!(
            given && text.contains("profile: private-etc d.conf\n"),
            "{text}"
        );
        let (given, text) = directive("PrivateNetwork");
        assert!(
            !given && text.contains("drop-in: # no PrivateNetwork=: inet6 sockets were made\n"),
            "{text}"
        );
        let (given, text) = directive("DynamicUser");
        assert!(!given && text.is_empty(), "{text}");
        let (given, text) = directive("shell none");
        assert!(
            !given && text.starts_with("profile: # no shell none: "),
            "{text}"
        );
    }

    fn unchanged(observation: &Observation) -> Adapted<'_> {
        Adapted {
            exact: Commands::of(observation.clone()),
            general: Commands::of(observation.clone()),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn a_directive_comes_with_its_evidence() {
        let observation = observed();
        let request = for_no_machine(Terms::default());
        let adapted = unchanged(&observation);
        let plan = request.plan(&observation, &adapted);
        let text = |word| directive(&plan, word).1;
        let caps = text("caps.keep");
        assert_eq!(
            caps,
            "profile: # net_bind_service: /usr/sbin/d; 1 run\nprofile: caps.keep net_bind_service\n"
        );
        // On the list, and nothing asked for it.
        let calls = plan.firejail().syscalls.kept().unwrap().iter();
        let mut unasked = calls.filter(|item| item.evidence.executables.is_empty());
        let unasked = unasked.next().unwrap();
        let (given, why) = directive(&plan, &unasked.value);
        let note = unasked.note.as_ref().unwrap();
        let expected = format!("profile: # {}: {note}\n", unasked.value);
        assert!(given && why.contains(&expected), "{why}");
        assert!(text("read").is_empty());
        assert!(text("private").contains("profile: # no private: "));
        assert!(text("read-only").contains("profile: # no read-only /run: "));
        let paths = text("ReadWritePaths");
        assert!(
            paths.ends_with("drop-in: ReadWritePaths=-/run/d\n"),
            "{paths}"
        );
    }

    #[test]
    fn a_fact_has_the_lines_that_allow_it() {
        let observation = observed();
        let request = for_no_machine(Terms::default());
        let adapted = unchanged(&observation);
        let plan = request.plan(&observation, &adapted);
        let judged = |word: &str| {
            let judged = judged(&plan, &Word::of(word.as_bytes(), &observation));
            judged.into_values().flatten().collect::<Vec<_>>()
        };
        assert_eq!(
            judged("openat"),
            [
                "drop-in: allowed by SystemCallFilter=openat",
                "oci: allowed by \"names\": \"openat\"",
                "profile: allowed by seccomp.keep openat",
            ]
        );
        assert!(judged("net_bind_service").contains(
            &"drop-in: allowed by CapabilityBoundingSet=CAP_NET_BIND_SERVICE".to_owned()
        ));
        assert!(
            judged("/run/d/pid").contains(&"drop-in: allowed by ReadWritePaths=-/run/d".to_owned())
        );
    }

    #[test]
    fn a_fact_has_its_runs_and_its_hook() {
        let text = explained(&observed(), Some(b"read"), &Judged::new());
        assert_eq!(
            text,
            "/usr/sbin/d: native read\n  runs   run-0, run-1\n  hook   raw_tp\n"
        );
    }

    #[test]
    fn what_was_not_seen_may_have_been_out_of_sight() {
        let mut observation = observed();
        for run in observation.runs.values_mut() {
            run.hooks
                .insert("files".to_owned(), "none (refused)".to_owned());
        }
        let text = absent(&observation);
        assert!(text.contains("files: none (refused)"), "{text}");
    }

    #[test]
    fn the_most_frequent_call_stands_first() {
        let mut observation = observed();
        for run in observation.runs.values_mut() {
            for facts in run.executables.values_mut() {
                for (name, seen) in facts.syscalls.values_mut().flatten() {
                    let is_read = name.as_str() == "read";
                    seen.set_counts(Some(if is_read { 5 } else { 2 }), is_read.then_some(1));
                }
            }
        }
        let text = calls(&observation);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1], ["10", "2", "2", "read", "/usr/sbin/d"]);
        assert_eq!(rows[2], ["2", "1", "openat", "/usr/sbin/d"]);
    }
}
