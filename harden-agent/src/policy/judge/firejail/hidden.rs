//! Paths that a line is about with all that is below, by name or by pattern; `noblacklist` before it takes some out
//! (`globbing` in src/firejail/fs.c).

use std::collections::HashMap;

use super::super::{
    super::paths::up,
    judgement::{PASS, Step, against},
    line::{Line, Rules},
    pattern::PathPattern,
    surroundings::Surroundings,
    uses::Use,
};

pub(super) struct Hidden<'r> {
    named: HashMap<Vec<u8>, &'r Line>,
    patterns: Vec<(usize, PathPattern, &'r Line)>,
    exceptions: Vec<(usize, Exception<'r>)>,
}

enum Exception<'r> {
    Path(&'r [u8]),
    Pattern(PathPattern),
}

impl<'r> Hidden<'r> {
    /// The paths of a directive.
    pub(super) fn of(rules: &'r Rules, directive: &'static str, around: &Surroundings) -> Self {
        let mut hidden = Self {
            named: HashMap::new(),
            patterns: Vec::new(),
            exceptions: Vec::new(),
        };
        for (at, line) in rules.lines().iter().enumerate() {
            let Some(path) = &line.element else { continue };
            let pattern = PathPattern::of(path);
            if line.directive == "noblacklist" && directive == "blacklist" {
                let path = Exception::Path(path.as_bytes());
                let exception = pattern.map_or(path, Exception::Pattern);
                hidden.exceptions.push((at, exception));
            } else if line.directive == directive {
                hidden.add((at, line), path.as_bytes(), pattern, around);
            }
        }
        hidden
    }

    /// `noblacklist` is compared with the path as the line has it, and what is hidden is where that leads.
    fn add(
        &mut self,
        (at, line): (usize, &'r Line),
        path: &[u8],
        pattern: Option<PathPattern>,
        around: &Surroundings,
    ) {
        if let Some(pattern) = pattern {
            self.patterns.push((at, pattern, line));
        } else if !self.is_excepted(at, path) {
            self.named.entry(around.real(path)).or_insert(line);
            self.named.entry(path.to_vec()).or_insert(line);
        }
    }

    fn is_excepted(&self, at: usize, path: &[u8]) -> bool {
        let mut before = self.exceptions.iter().filter(|(one, _)| *one < at);
        before.any(|(_, exception)| match exception {
            Exception::Path(one) => *one == path,
            Exception::Pattern(pattern) => pattern.matches(path),
        })
    }

    /// What is meant for a use: whatever was looked for there, the answer is EACCES.
    pub(super) fn meets(&self, one: &Use<'_, '_>) -> Step<'r> {
        let line = one.place.all_names().find_map(|name| self.covers(name));
        line.map_or(PASS, against)
    }

    /// The line about the path, or about a directory above.
    pub(super) fn covers(&self, path: &[u8]) -> Option<&'r Line> {
        up(path).find_map(|at| self.at(at))
    }

    fn at(&self, path: &[u8]) -> Option<&'r Line> {
        let named = self.named.get(path).copied();
        let matches = || {
            let mut patterns = self.patterns.iter();
            patterns.find(|(at, pattern, _)| pattern.matches(path) && !self.is_excepted(*at, path))
        };
        named.or_else(|| matches().map(|(_, _, line)| *line))
    }
}
