//! `harden explain`: where a word of a rendered file comes from.

mod calls;
mod said;
#[cfg(test)]
mod tests;
mod word;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
};

use anyhow::bail;
use clap::Args;

use super::{
    ask::{self, Ask},
    evidence::lines,
    profile::Decisions,
};
use crate::{
    observation::{Deed, Facet, Fact, Observation, Operation, Outcome, Run, RunKind, Text},
    plural::{plural, were},
    policy::{
        Adapted, Evidence,
        judge::{Judgement, Recorded, Sandbox, Unjudged},
    },
    profile::Plan,
};

use word::Word;

/// `harden explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The observation: a JSON file, or a unit as `harden units` lists it
    #[arg(value_name = "OBSERVATION|UNIT")]
    pub observation: OsString,
    /// A word or line of a profile or drop-in, or a fact of the observation: a directive, a system call, a capability, a
    /// socket family, a program, or a path with everything below it [default: everything that was seen]
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
    /// The observation or the overrides cannot be read, no agent knows the unit, or the word is nothing that can be asked for.
    pub fn run(&self) -> anyhow::Result<u8> {
        let observation = ask::observation(&self.observation, &self.ask)?;
        if self.syscalls {
            ask::print(&calls::table(&observation))?;
            return Ok(0);
        }
        // A warning about the installed Firejail is for somebody who writes a profile.
        let (request, _) = self.decisions.request();
        let adapted = request.adapt(&observation)?;
        let plan = request.plan(&observation, &adapted);
        let word = self.word.as_ref().map(|word| word.as_bytes());
        let (is_there, text) = answer(&plan, word)?;
        ask::print(&text)?;
        Ok(u8::from(!is_there))
    }
}

/// What there is to say, and whether the fact was seen or the directive is given.
fn answer(plan: &Plan<'_>, word: Option<&[u8]>) -> anyhow::Result<(bool, String)> {
    let exact = &plan.adapted().exact.recorded;
    let Some(typed) = word else {
        let found = explained(exact, None, &Judged::new());
        if found.is_empty() {
            return Ok((false, absent(plan.observation())));
        }
        return Ok((true, format!("{}{found}", remarks(plan.adapted()))));
    };
    let said = directive(plan, &String::from_utf8_lossy(typed));
    let typed = match element(plan, typed) {
        Some(element) if !said.known => element,
        _ => typed,
    };
    let mut word = Word::of(typed, exact);
    let mut found = explained(exact, Some(&word), &judged(plan, &word));
    if found.is_empty()
        && let Some(wider) = word.of_any_process()
    {
        word = wider;
        found = explained(exact, Some(&word), &judged(plan, &word));
    }
    let lines = &said.text;
    let names = word.remarks();
    if !found.is_empty() {
        return Ok((true, format!("{lines}{names}{found}")));
    }
    let denied = denied(plan, &word);
    if !lines.is_empty() || !denied.is_empty() {
        return Ok((said.given, format!("{lines}{denied}")));
    }
    if !word.is_known() && !said.known {
        bail!(
            "{} was not seen, and is nothing that can be asked for: a directive of the files, a system call or its \
             $NUMBER, a capability, a socket family or type, a fact about arguments, an address as the observation has \
             it, or a path; programs and files in /etc that were seen also by their names",
            Text::from(typed)
        );
    }
    let absent = absent(plan.observation());
    let folded = folded(exact, &word);
    Ok((
        false,
        format!("{names}{absent}{folded}{}", named(plan, &word)),
    ))
}

/// The element in a whole line: `chown` in `caps.keep chown`, `-/srv` in `ReadWritePaths=-/srv`.
fn element<'w>(plan: &Plan<'_>, line: &'w [u8]) -> Option<&'w [u8]> {
    let end = line.iter().position(|byte| b" =".contains(byte))?;
    let (name, element) = (str::from_utf8(&line[..end]).ok()?, &line[end + 1..]);
    let is_one = directive(plan, name).known && !element.is_empty();
    is_one.then(|| element.strip_prefix(b"~").unwrap_or(element))
}

/// What the files say of one of their directives.
struct Directive {
    /// Whether one of them can have it.
    known: bool,
    /// Whether one of them has it.
    given: bool,
    text: String,
}

fn directive(plan: &Plan<'_>, word: &str) -> Directive {
    let mut all = Directive {
        known: false,
        given: false,
        text: String::new(),
    };
    for sandbox in [Sandbox::Firejail, Sandbox::Systemd] {
        let found = said::about(plan, sandbox, word);
        all.known |= found.known;
        all.given |= found.given;
        for line in found.lines {
            // Writing to a string cannot fail.
            let _ = writeln!(all.text, "{}: {line}", sandbox.file());
        }
    }
    all
}

/// The lines of the files that name what was not seen.
fn named(plan: &Plan<'_>, word: &Word) -> String {
    let lines = Sandbox::ALL.into_iter().flat_map(|sandbox| {
        let lines = said::named(plan, sandbox, word).into_iter();
        lines.map(move |line| format!("but {}: {line}\n", sandbox.file()))
    });
    lines.collect()
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
            is_about.then(|| format!("{}: {}", sandbox.file(), shown(&judgement, case.fact)))
        });
        found.entry(case.fact).or_default().extend(lines);
    }
    found
}

/// The judgement; where the profile has a call by its number, with its name.
fn shown(judgement: &Judgement<'_>, fact: Fact<'_>) -> String {
    let lines = judgement.lines();
    let mut elements = lines.iter().filter_map(|line| line.element.as_deref());
    match fact.what {
        Deed::Syscall(_, name) if elements.any(|element| element.starts_with('$')) => {
            format!("{judgement}, the number of {name}")
        }
        _ => judgement.to_string(),
    }
}

/// What was changed before anything was decided, as the files say it.
fn remarks(adapted: &Adapted<'_>) -> String {
    let lines = adapted.remarks.iter().map(|remark| format!("# {remark}\n"));
    lines.collect()
}

/// What was seen of a word, and an override has taken away.
fn denied(plan: &Plan<'_>, word: &Word) -> String {
    let seen = explained(plan.observation(), Some(word), &Judged::new());
    if seen.is_empty() {
        return seen;
    }
    format!(
        "{}denied by an override, but seen:\n{seen}",
        remarks(plan.adapted())
    )
}

/// What is known of one fact.
#[derive(Default)]
struct Known<'a> {
    evidence: Evidence,
    hooks: BTreeSet<&'a str>,
}

fn explained(observation: &Observation, word: Option<&Word>, judged: &Judged<'_>) -> String {
    let mut known: BTreeMap<Fact<'_>, Known<'_>> = BTreeMap::new();
    for (test, run) in observation.tests() {
        for (fact, seen) in run.sightings() {
            if word.is_some_and(|word| !word.is_about(&fact)) {
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
        let hooks: Vec<&str> = hooks.into_iter().collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{fact}");
        text += &lines(&evidence);
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
        | Deed::Refused(..)
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
fn folded(observation: &Observation, word: &Word) -> String {
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| {
        let others = run.control.values().flat_map(|programs| programs.values());
        run.executables.values().chain(others)
    });
    let folded = programs.flat_map(|program| &program.files);
    let folded = folded.filter(|(path, file)| file.names > 0 && word.is_in(path.as_bytes()));
    let above: BTreeMap<_, _> = folded.map(|(path, file)| (path, file.names)).collect();
    let lines = above.into_iter().map(|(path, names)| {
        let names = plural(names, "name");
        format!("but {path} is in the place of {names} in it, and this may be one of them\n")
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
    let (windows, runs): (Vec<&Run>, Vec<&Run>) = observation
        .runs
        .values()
        .partition(|run| run.kind == RunKind::Window);
    let counts = [(runs.len(), "run"), (windows.len(), "window")];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, noun)| plural(count, noun)).collect();
    let mut text = format!(
        "not seen in {} of {}\n",
        counts.join(" and "),
        observation.name
    );
    for reason in blind {
        let _ = writeln!(text, "but some could not have seen it: {reason}");
    }
    if lost > 0 {
        let _ = writeln!(text, "but {} lost", were(lost, "event"));
    }
    text
}
