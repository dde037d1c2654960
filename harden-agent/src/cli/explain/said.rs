//! What the files say of one of their directives, from the decisions.

use std::collections::BTreeSet;

use crate::{
    policy::{
        Decision, Item,
        judge::{Line, Rules, Said, Sandbox, Shape},
    },
    profile::Plan,
};

/// What one file says of a directive or an element of a list.
#[derive(Default)]
pub(super) struct Lines {
    /// Whether it is given.
    pub given: bool,
    /// Where it is given, with the evidence above it; where it is left out, why.
    pub lines: Vec<String>,
}

pub(super) fn about(plan: &Plan<'_>, sandbox: Sandbox, word: &str) -> Lines {
    let mut found = Lines::default();
    for said in plan.said(sandbox) {
        if is(said.directive, word) {
            found.directive(sandbox, said);
        } else {
            found.element(&said, word);
        }
    }
    if sandbox == Sandbox::Firejail {
        found.left_out(plan, word);
    }
    found
}

/// `shell` is always followed by `none`.
fn is(directive: &str, word: &str) -> bool {
    let word = match word.split_once(' ') {
        Some(("shell", "none")) => "shell",
        _ => word.trim_end_matches('='),
    };
    directive.eq_ignore_ascii_case(word)
}

impl Lines {
    fn directive(&mut self, sandbox: Sandbox, said: Said) {
        let name = match (sandbox, said.directive) {
            (Sandbox::Systemd, name) => format!("{name}="),
            (_, "shell") => "shell none".to_owned(),
            (_, name) => name.to_owned(),
        };
        match &said.value {
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

    fn reasons(&mut self, name: &str, reasons: &[String]) {
        /// More of them make no reader wiser.
        const NAMED: usize = 5;
        let mut seen = BTreeSet::new();
        let reasons: Vec<&String> = reasons.iter().filter(|one| seen.insert(*one)).collect();
        let named = reasons.iter().take(NAMED);
        self.lines
            .extend(named.map(|reason| format!("# no {name}: {reason}")));
        if reasons.len() > NAMED {
            let more = reasons.len() - NAMED;
            self.lines.push(format!("# no {name}: and {more} more"));
        }
    }

    /// Why an element is on a list although nothing asked for it: there is nothing else to say of it.
    fn element(&mut self, said: &Said, word: &str) {
        let items = said.value.given().into_iter().flatten();
        let unasked = items.filter(|item| item.evidence.executables.is_empty());
        for item in unasked.filter(|item| item.value.eq_ignore_ascii_case(word)) {
            if let Some(line) = explained(item) {
                self.given = true;
                self.lines.push(line);
            }
        }
    }

    /// What a profile says beside its directives.
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
