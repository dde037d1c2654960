//! Lists of what is allowed, looked up by element.

use std::collections::HashMap;

use super::{
    judgement::{Step, against, by},
    line::{Line, Rules},
};

/// A list: what is not on it is refused by the line that it stands on.
pub(super) struct List<'r> {
    line: &'r Line,
    elements: HashMap<&'r str, &'r Line>,
}

impl<'r> List<'r> {
    /// The list of a directive, if the file has it.
    pub(super) fn of(rules: &'r Rules, directive: &'static str) -> Option<Self> {
        Some(Self {
            line: rules.line(directive)?,
            elements: rules.elements(directive).collect(),
        })
    }

    /// The line of an element.
    pub(super) fn get(&self, element: &str) -> Option<&'r Line> {
        self.elements.get(element).copied()
    }

    /// The line that the list stands on.
    pub(super) fn line(&self) -> &'r Line {
        self.line
    }

    /// What the list means for an element.
    pub(super) fn allows(&self, element: &str) -> Step<'r> {
        self.get(element).map_or(against(self.line), by)
    }
}
