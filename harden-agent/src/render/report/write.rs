//! Headings, lists and tables, in Markdown (`CommonMark` with tables) or plain text.
//!
//! What comes from a program, a path above all, may hold anything: a name must never become a link, a tag or another
//! line.

use std::fmt::Write as _;

use crate::observation::Text;

use super::Syntax;

/// A part of a line.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    is_code: bool,
}

/// Words.
pub(super) fn plain(text: &str) -> Cell {
    Cell {
        text: text.to_owned(),
        is_code: false,
    }
}

/// A name, as it is.
pub(super) fn code(text: &str) -> Cell {
    Cell {
        text: text.to_owned(),
        is_code: true,
    }
}

/// The text so far.
pub(super) struct Writer {
    syntax: Syntax,
    text: String,
}

impl Writer {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            text: String::new(),
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// The first line: `marker`, whose `#` makes it a heading, and whom it is about.
    pub(super) fn title(&mut self, marker: &str, subject: &Text) {
        let subject = self.shown(&code(&subject.to_string()));
        let _ = writeln!(self.text, "{marker}: {subject}");
    }

    pub(super) fn heading(&mut self, title: &str) {
        match self.syntax {
            Syntax::Markdown => {
                let _ = writeln!(self.text, "\n## {title}");
            }
            Syntax::Text => {
                let line = "-".repeat(title.len());
                let _ = writeln!(self.text, "\n{title}\n{line}");
            }
        }
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let shown = self.shown(&plain(text));
        let _ = writeln!(self.text, "\n{shown}");
    }

    /// One line each; `none`, where there is none.
    pub(super) fn list(&mut self, lines: impl Iterator<Item = Vec<Cell>>) {
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            return self.paragraph("none");
        }
        self.text.push('\n');
        for line in lines {
            let shown: Vec<String> = line.iter().map(|cell| self.shown(cell)).collect();
            let _ = writeln!(self.text, "- {}", shown.join(" "));
        }
    }

    /// Nothing, where there is no row.
    pub(super) fn table(&mut self, header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
        let rows: Vec<Vec<String>> = rows
            .map(|row| row.iter().map(|cell| self.shown(cell)).collect())
            .collect();
        if rows.is_empty() {
            return;
        }
        self.text.push('\n');
        match self.syntax {
            Syntax::Markdown => {
                let _ = writeln!(self.text, "| {} |", header.join(" | "));
                let _ = writeln!(self.text, "|{}", " --- |".repeat(header.len()));
                for row in rows {
                    let _ = writeln!(self.text, "| {} |", row.join(" | "));
                }
            }
            Syntax::Text => {
                for row in rows {
                    let named = header.iter().zip(&row);
                    let cells: Vec<String> = named
                        .map(|(name, cell)| format!("{name}: {cell}"))
                        .collect();
                    let _ = writeln!(self.text, "- {}", cells.join("; "));
                }
            }
        }
    }

    /// How many were left out.
    pub(super) fn more(&mut self, all: usize, shown: usize, what: &str) {
        if all > shown {
            self.paragraph(&format!(
                "and {} {what} more; the observation has them",
                all - shown
            ));
        }
    }

    fn shown(&self, cell: &Cell) -> String {
        let one_line: String = cell
            .text
            .chars()
            .map(|one| if one.is_control() { ' ' } else { one })
            .collect();
        match self.syntax {
            Syntax::Text => ascii(&one_line),
            Syntax::Markdown if cell.is_code && !one_line.is_empty() => span(&one_line),
            Syntax::Markdown => escaped(&one_line),
        }
    }
}

fn ascii(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if character == ' ' || character.is_ascii_graphic() {
            shown.push(character);
        } else {
            let _ = write!(shown, "{}", character.escape_unicode());
        }
    }
    shown
}

/// A code span, in which nothing has a meaning but its fence, and in a table the bar (GFM, 4.10).
fn span(text: &str) -> String {
    let longest = text
        .split(|one| one != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let text = text.replace('|', "\\|");
    // A space at each end is taken away, and parts a backtick from the fence.
    let space = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A backslash before every punctuation mark that may have a meaning (`CommonMark` 2.4).
fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if "\\`*_[]<>&|~#!$".contains(character) {
            shown.push('\\');
        }
        shown.push(character);
    }
    // Forges make links of these by themselves (GFM 6.9).
    shown.replace("://", ":\\//").replace("www.", "www\\.")
}
