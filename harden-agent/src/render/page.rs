//! A file of directives with `#` comments, as Firejail and systemd read them: evidence above what it
//! asks for, reasons where a directive is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::plural::plural;
use crate::policy::{Coverage, Evidence, Id, Item, Reasons, Warning};

/// How much is written beside the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Rules only: no evidence, no reasons. Warnings stay.
    pub bare: bool,
    /// The warnings that somebody has read and does not want again.
    pub silenced: BTreeSet<Id>,
    /// What was changed in what was seen (overrides, directories in the place of files), and what else there is to say
    /// at the top.
    pub remarks: Vec<String>,
}

/// `Over 2 runs and 1 window of 3 executables`
fn over(coverage: &Coverage) -> String {
    format!(
        "Over {}{} of {}",
        plural(coverage.runs, "run"),
        match coverage.windows {
            0 => String::new(),
            windows => format!(" and {}", plural(windows, "window")),
        },
        plural(coverage.executables.len(), "executable")
    )
}

/// What a file begins with: over what it was made, how much of what there is it has, and what asked for nothing.
pub(super) fn head(coverage: &Coverage) -> Vec<String> {
    let mut lines = vec![over(coverage)];
    lines.extend(coverage.completeness.shown());
    lines.extend(coverage.unanswered.iter().map(|(call, evidence)| {
        let evidence = match evidence.count {
            Some(count) if evidence.executables.is_empty() => plural(count, "time"),
            _ => evidence.to_string(),
        };
        format!("Asks for nothing: {call}: not a call of this kernel: answered ENOSYS; {evidence}")
    }));
    lines
}

/// A line for each warning; for those that were silenced, which and how many.
pub(super) fn warned(warnings: &[Warning], options: &Options) -> Vec<String> {
    let mut silenced: BTreeMap<Id, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for warning in warnings {
        if options.silenced.contains(&warning.id) {
            *silenced.entry(warning.id).or_default() += 1;
        } else {
            lines.push(format!("WARNING{warning}"));
        }
    }
    lines.extend(silenced.into_iter().map(|(id, count)| {
        let warnings = if count == 1 { "warning" } else { "warnings" };
        format!("Silenced: {count} {warnings} {id}")
    }));
    lines
}

/// The text so far.
pub(super) struct Page {
    text: String,
    options: Options,
}

impl Page {
    pub(super) fn new(options: Options) -> Self {
        Self {
            text: String::new(),
            options,
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// Over what the file was made.
    pub(super) fn coverage(&mut self, coverage: &Coverage) {
        for line in head(coverage) {
            self.remark(&line);
        }
        for line in self.options.remarks.clone() {
            self.remark(&line);
        }
    }

    /// The warnings; of those that were silenced, which and how many.
    pub(super) fn warnings(&mut self, warnings: &[Warning]) {
        for line in warned(warnings, &self.options) {
            self.comment(&line);
        }
    }

    /// What `fill` writes, after a blank line; nothing if it writes nothing.
    pub(super) fn section(&mut self, fill: impl FnOnce(&mut Self)) {
        let start = self.text.len();
        self.text.push('\n');
        fill(self);
        if self.text.len() == start + 1 {
            self.text.truncate(start);
        }
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A comment line: printable ASCII, one line, never longer than Firejail's buffer, whatever
    /// `text` holds. Its first character is a space, so it can never be the marker.
    pub(super) fn comment(&mut self, text: &str) {
        /// Firejail reads 8,191 characters of a line, and the rest as another line.
        const LIMIT: usize = 4000;
        let mut line = String::from("# ");
        for character in text.chars() {
            if line.len() > LIMIT {
                line.push_str("...");
                break;
            }
            if character == ' ' || character.is_ascii_graphic() {
                line.push(character);
            } else {
                let _ = write!(line, "{}", character.escape_unicode());
            }
        }
        self.line(&line);
    }

    /// A comment that a bare profile does without.
    pub(super) fn remark(&mut self, text: &str) {
        if !self.options.bare {
            self.comment(text);
        }
    }

    pub(super) fn evidence(&mut self, value: &str, evidence: &Evidence) {
        let separator = if value.is_empty() { "" } else { ": " };
        self.remark(&format!("{value}{separator}{evidence}"));
    }

    pub(super) fn explain(&mut self, item: &Item) {
        match &item.note {
            Some(note) if item.evidence.executables.is_empty() => {
                self.remark(&format!("{}: {note}", item.value));
            }
            Some(note) => self.remark(&format!("{}: {}; {note}", item.value, item.evidence)),
            None if item.evidence.executables.is_empty() => {}
            None => self.evidence(&item.value, &item.evidence),
        }
    }

    /// One directive with one argument.
    pub(super) fn item(&mut self, directive: &str, item: &Item) {
        self.explain(item);
        self.line(&format!("{directive} {}", item.value));
    }

    /// One directive with a list.
    pub(super) fn list(&mut self, directive: &str, items: &[Item]) {
        for item in items {
            self.explain(item);
        }
        let values: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
        self.line(&format!("{directive} {}", values.join(",")));
    }

    /// Why a directive is not there.
    pub(super) fn reasons(&mut self, directive: &str, reasons: &Reasons) {
        for reason in reasons.sentences() {
            self.remark(&format!("no {directive}: {reason}"));
        }
    }
}
