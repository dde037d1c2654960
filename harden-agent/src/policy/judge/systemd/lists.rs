//! Lists to which later lines add, and from which they take: `SystemCallFilter=@system-service`, then
//! `SystemCallFilter=~@privileged` (systemd.exec(5)).

use std::collections::HashMap;

use super::super::{
    groups::Groups,
    judgement::{PASS, Step, against, any},
    line::{Line, REFUSED, Rules},
    list::call,
};

/// What is left of all lines of one directive.
pub(super) struct Lines<'r> {
    line: &'r Line,
    /// Whether what is named is refused, and all else allowed.
    refuses: bool,
    named: HashMap<&'r str, Vec<&'r Line>>,
    /// What a line has taken back.
    taken: HashMap<&'r str, &'r Line>,
}

impl<'r> Lines<'r> {
    /// The list of a directive, if the file has it.
    pub(super) fn of(rules: &'r Rules, directive: &'static str) -> Option<Self> {
        Self::new(rules, directive, |element| {
            vec![element.trim_start_matches(REFUSED)]
        })
    }

    /// The same, of calls and groups of calls.
    pub(super) fn of_calls(
        rules: &'r Rules,
        directive: &'static str,
        groups: &'static Groups,
    ) -> Option<Self> {
        Self::new(rules, directive, |element| {
            groups.named(call(element)).collect()
        })
    }

    fn new(
        rules: &'r Rules,
        directive: &'static str,
        names: impl Fn(&'r str) -> Vec<&'r str>,
    ) -> Option<Self> {
        let mut lines = Self {
            line: rules.line(directive)?,
            refuses: rules.refuses(directive),
            named: HashMap::new(),
            taken: HashMap::new(),
        };
        for (element, line) in rules.elements(directive) {
            // With an errno of its own, a call is refused whatever the list is of.
            let refuses = element.starts_with(REFUSED) || element.contains(':');
            for name in names(element) {
                if refuses == lines.refuses {
                    lines.named.entry(name).or_default().push(line);
                } else {
                    lines.named.remove(name);
                    lines.taken.insert(name, line);
                }
            }
        }
        Some(lines)
    }

    /// Whether it is a list of what is refused.
    pub(super) fn refuses(&self) -> bool {
        self.refuses
    }

    /// What the list means for an element.
    pub(super) fn judge(&self, element: &str) -> Step<'r> {
        match (self.named.get(element), self.taken.get(element)) {
            (Some(lines), _) if self.refuses => lines.first().map_or(PASS, |line| against(line)),
            (Some(lines), _) => any(lines.clone()),
            (None, _) if self.refuses => PASS,
            (None, Some(line)) => against(line),
            (None, None) => against(self.line),
        }
    }
}
