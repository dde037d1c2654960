//! The text of a file, line by line, each with the place where it stands.

use std::{fmt, rc::Rc};

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file, as messages name it.
    pub file: Rc<str>,
    /// The number of the line in it, from 1; 0 where lines have none, as in JSON.
    pub number: usize,
}

/// `d.profile:12`
impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => out.write_str(&self.file),
            number => write!(out, "{}:{number}", self.file),
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Where it stands.
    pub position: Position,
    /// All of it, without the line break.
    pub text: String,
}

/// The lines of the file `file`, whose text is `text`.
#[must_use]
pub fn lines(file: &str, text: &str) -> Vec<SourceLine> {
    let file: Rc<str> = file.into();
    let lines = text.lines().enumerate().map(|(at, text)| SourceLine {
        position: Position {
            file: Rc::clone(&file),
            number: at + 1,
        },
        text: text.to_owned(),
    });
    lines.collect()
}
