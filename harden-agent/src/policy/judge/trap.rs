//! Lines that do not mean what they seem to mean, whatever was recorded.

use super::source::{Position, SourceLine};

/// Such a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Where it stands.
    pub position: Position,
    /// The line.
    pub line: String,
    /// What it does instead, and what to write.
    pub text: String,
    /// Whether the sandbox does not start with it.
    pub is_fatal: bool,
}

impl Trap {
    pub(super) fn new(line: &SourceLine, text: impl Into<String>) -> Self {
        Self {
            position: line.position.clone(),
            line: line.text.clone(),
            text: text.into(),
            is_fatal: false,
        }
    }

    pub(super) fn fatal(line: &SourceLine, text: impl Into<String>) -> Self {
        Self {
            is_fatal: true,
            ..Self::new(line, text)
        }
    }
}

/// Some of the names, as a sentence lists them.
pub(super) fn some(names: &[&str]) -> String {
    const NAMED: usize = 3;
    match names {
        [] => "none".to_owned(),
        [first] => (*first).to_owned(),
        _ if names.len() > NAMED => format!("{} and others", names[..NAMED].join(", ")),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
