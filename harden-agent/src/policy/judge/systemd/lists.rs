//! Lists to which later lines add, and from which they take: `SystemCallFilter=@system-service`, then
//! `SystemCallFilter=~@privileged` (systemd.exec(5)).

use std::collections::{HashMap, HashSet};

use super::super::{
    super::systemd::default_list::DEFAULT,
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
    /// What systemd puts on a list of what is allowed by itself, as far as no line has taken it back.
    own: HashSet<&'r str>,
}

impl<'r> Lines<'r> {
    /// The list of a directive, if the file has it.
    pub(super) fn of(rules: &'r Rules, directive: &'static str) -> Option<Self> {
        let names = |element: &'r str| vec![element.trim_start_matches(REFUSED)];
        Self::new(rules, directive, &[], names)
    }

    /// The same, of calls and groups of calls.
    pub(super) fn of_calls(
        rules: &'r Rules,
        directive: &'static str,
        groups: &'static Groups,
    ) -> Option<Self> {
        let names = |element| groups.named(call(element)).collect();
        Self::new(rules, directive, &DEFAULT, names)
    }

    fn new(
        rules: &'r Rules,
        directive: &'static str,
        own: &[&'static str],
        names: impl Fn(&'r str) -> Vec<&'r str>,
    ) -> Option<Self> {
        let refuses = rules.refuses(directive);
        let own = own.iter().filter(|_| !refuses).copied();
        let mut lines = Self {
            line: rules.line(directive)?,
            refuses,
            named: HashMap::new(),
            taken: HashMap::new(),
            own: own.collect(),
        };
        for (element, line) in rules.elements(directive) {
            // With an errno of its own, a call is refused whatever the list is of.
            let refuses = element.starts_with(REFUSED) || element.contains(':');
            for name in names(element) {
                if refuses == lines.refuses {
                    lines.named.entry(name).or_default().push(line);
                } else {
                    lines.named.remove(name);
                    lines.own.remove(name);
                    lines.taken.insert(name, line);
                }
            }
        }
        Some(lines)
    }

    /// The line that the list stands on.
    pub(super) fn line(&self) -> &'r Line {
        self.line
    }

    /// Whether it refuses nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.refuses && self.named.is_empty()
    }

    /// What the list means for an element.
    pub(super) fn judge(&self, element: &str) -> Step<'r> {
        if self.own.contains(element) {
            return PASS;
        }
        match (self.named.get(element), self.taken.get(element)) {
            (Some(lines), _) if self.refuses => lines.first().map_or(PASS, |line| against(line)),
            (Some(lines), _) => any(lines.clone()),
            (None, _) if self.refuses => PASS,
            (None, Some(line)) => against(line),
            (None, None) => against(self.line),
        }
    }
}
