//! Lists of what is allowed or refused, looked up by element.

use std::collections::HashMap;

use super::{
    groups::Groups,
    judgement::{Step, against, any},
    line::{Line, Rules},
    pattern::PathPattern,
};

/// A list: what is not on it is refused by the line that it stands on, or what is.
pub(super) struct List<'r> {
    line: &'r Line,
    elements: HashMap<&'r str, Vec<&'r Line>>,
    patterns: Vec<(PathPattern, &'r Line)>,
}

impl<'r> List<'r> {
    /// The list of a directive, if the file has it.
    pub(super) fn of(rules: &'r Rules, directive: &'static str) -> Option<Self> {
        let elements = rules.elements(directive);
        Some(Self::new(rules.line(directive)?, elements))
    }

    /// The same, of calls: a group is each of its calls, and the errno behind a colon is only how a call is refused.
    pub(super) fn of_calls(
        rules: &'r Rules,
        directive: &'static str,
        groups: &'static Groups,
    ) -> Option<Self> {
        let calls = rules.elements(directive).flat_map(|(element, line)| {
            let named = groups.named(call(element));
            named.map(move |call| (call, line))
        });
        Some(Self::new(rules.line(directive)?, calls))
    }

    /// The same, of names that may be patterns.
    pub(super) fn of_names(rules: &'r Rules, directive: &'static str) -> Option<Self> {
        let patterns = rules.elements(directive);
        let patterns = patterns.filter_map(|(name, line)| Some((PathPattern::of(name)?, line)));
        Some(Self {
            patterns: patterns.collect(),
            ..Self::of(rules, directive)?
        })
    }

    pub(super) fn new(line: &'r Line, all: impl Iterator<Item = (&'r str, &'r Line)>) -> Self {
        let mut elements: HashMap<&str, Vec<&Line>> = HashMap::new();
        for (element, line) in all {
            elements.entry(element).or_default().push(line);
        }
        Self {
            line,
            elements,
            patterns: Vec::new(),
        }
    }

    /// The first line of an element.
    pub(super) fn get(&self, element: &str) -> Option<&'r Line> {
        let named = self.elements.get(element).and_then(|lines| lines.first());
        let matches = || {
            let mut patterns = self.patterns.iter();
            patterns.find(|(pattern, _)| pattern.matches(element.as_bytes()))
        };
        let line = named.copied();
        line.or_else(|| matches().map(|(_, line)| *line))
    }

    /// The line that the list stands on.
    pub(super) fn line(&self) -> &'r Line {
        self.line
    }

    /// Whether nothing is on it.
    pub(super) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// What a list of what is allowed means for an element.
    pub(super) fn allows(&self, element: &str) -> Step<'r> {
        match self.elements.get(element) {
            Some(lines) => any(lines.clone()),
            None => against(self.line),
        }
    }
}

/// The call or group that an element names: `ptrace` of `~ptrace:EPERM`.
pub(super) fn call(element: &str) -> &str {
    let name = element.split(':').next().unwrap_or_default();
    name.trim_start_matches(['~', '!'])
}
