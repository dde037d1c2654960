//! What the files say of one of their directives, from the decisions.

use crate::{
    policy::{
        Decision, Item, Reasons,
        judge::{Line, Rules, Said, Sandbox, Shape},
    },
    profile::Plan,
};

use super::word::Word;

/// What one file says of a directive.
#[derive(Default)]
pub(super) struct Found {
    /// Whether there is such a directive.
    pub known: bool,
    /// Whether it is given.
    pub given: bool,
    /// Where it is given, with the evidence above it; where it is left out, why.
    pub lines: Vec<String>,
}

pub(super) fn about(plan: &Plan<'_>, sandbox: Sandbox, word: &str) -> Found {
    let mut found = Found::default();
    for said in plan.said(sandbox) {
        if is(said.directive, word) {
            found.known = true;
            found.directive(sandbox, said);
        }
    }
    if sandbox == Sandbox::Firejail {
        found.left_out(plan, word);
    }
    found
}

/// Where a file names what was not seen, and why.
pub(super) fn named(plan: &Plan<'_>, sandbox: Sandbox, word: &Word) -> Vec<String> {
    let notes = |line: &Line| {
        let said = plan.said(sandbox).into_iter();
        let of_directive = said.filter(|said| said.directive == line.directive);
        let items = of_directive.flat_map(|said| said.value.given().cloned().unwrap_or_default());
        let mut notes = items.filter(|item| Some(item.value.as_str()) == line.element.as_deref());
        notes.find_map(|item| item.note)
    };
    let rules = plan.rules(sandbox);
    let lines = rules.lines().iter().filter(|line| {
        let element = line.element.as_deref();
        element.is_some_and(|element| word.is_element(element))
    });
    let named = lines.map(|line| {
        let note = notes(line).map(|note| format!(": {note}"));
        format!("{} {line}{}", verb(line), note.unwrap_or_default())
    });
    named.collect()
}

/// What a line does to what it names.
fn verb(line: &Line) -> &'static str {
    let is_refused = line
        .element
        .as_deref()
        .is_some_and(|one| one.starts_with('~'));
    match line.directive {
        "read-only" | "ReadOnlyPaths" => "read-only by",
        "blacklist" | "seccomp.drop" | "caps.drop" | "IPAddressDeny" => "refused by",
        _ if is_refused => "refused by",
        _ => "allowed by",
    }
}

/// `shell` is always followed by `none`.
fn is(directive: &str, word: &str) -> bool {
    let word = match word.split_once(' ') {
        Some(("shell", "none")) => "shell",
        _ => word.trim_end_matches('='),
    };
    directive.eq_ignore_ascii_case(word)
}

impl Found {
    fn directive(&mut self, sandbox: Sandbox, said: Said) {
        let name = match (sandbox, said.directive) {
            (Sandbox::Systemd, name) => format!("{name}="),
            (_, "shell") => "shell none".to_owned(),
            (_, name) => name.to_owned(),
        };
        match &said.value {
            Decision::Withheld(reasons) if reasons.is_empty() => {
                self.lines.push(format!("# no {name}: nothing asks for it"));
            }
            Decision::Withheld(reasons) => self.reasons(&name, reasons),
            Decision::Given(items) => {
                let items = items.clone();
                let (directive, shape) = (said.directive, said.shape);
                let rules = Rules::of(sandbox, [said]);
                if shape == Shape::Each && sandbox == Sandbox::Firejail {
                    for (item, line) in items.iter().zip(rules.lines()) {
                        self.given(&rules, line, std::slice::from_ref(item));
                    }
                } else if let Some(line) = rules.lines().first() {
                    debug_assert_eq!(line.directive, directive);
                    self.given(&rules, line, &items);
                }
            }
        }
    }

    fn given(&mut self, rules: &Rules, line: &Line, items: &[Item]) {
        self.given = true;
        self.lines.extend(items.iter().filter_map(explained));
        self.lines.push(rules.written(line));
    }

    fn reasons(&mut self, name: &str, reasons: &Reasons) {
        let lines = reasons.sentences();
        self.lines
            .extend(lines.map(|reason| format!("# no {name}: {reason}")));
    }

    /// What a profile says in comments of its own.
    fn left_out(&mut self, plan: &Plan<'_>, word: &str) {
        let policy = plan.firejail();
        for withheld in &policy.files.withheld {
            if withheld.rule.is_about(word) {
                let (rule, reason) = (&withheld.rule, &withheld.reason);
                self.lines.push(format!("# no {rule}: {reason}"));
            }
        }
        for item in &policy.capabilities.noise {
            if item.value.eq_ignore_ascii_case(word) {
                let why = item.note.as_deref().unwrap_or_default();
                self.lines
                    .push(format!("# not kept: {}: {why}", item.value));
            }
        }
    }
}

/// What asks for an element, if anything.
fn explained(item: &Item) -> Option<String> {
    let is_seen = !item.evidence.executables.is_empty();
    let seen = is_seen.then(|| item.evidence.to_string());
    let reasons: Vec<String> = seen.into_iter().chain(item.note.clone()).collect();
    if reasons.is_empty() {
        return None;
    }
    let reasons = reasons.join("; ");
    Some(match item.value.as_str() {
        "" => format!("# {reasons}"),
        value => format!("# {value}: {reasons}"),
    })
}
