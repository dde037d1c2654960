//! `harden trial`: which lines of a drop-in or a profile break a test, found by running it.
//!
//! ```text
//! files ─► plan (what can be relaxed) ─► search ─► which of it has to be
//!                                          │ ▲
//!                                          ▼ │ passes?
//!                                record ◄─ gate (the unit under the files, and the test)
//! ```
//!
//! With `--tighten`, what the files allow and the unit was seen to ask for in vain alone is taken away afterwards ([`Tighter`]), by
//! the same search: what it looks for then is what has to stay.
//!
//! [`search()`](search::search) is pure. [`Plan`] says what can be relaxed, and writes the files with some of it relaxed. [`UnitGate`] runs
//! the test for real, and [`Record`] keeps what came of each run, so that an interrupted search goes on.

mod drop_in;
mod firejail;
mod gate;
mod names;
pub(crate) mod overrides;
mod plan;
mod record;
pub mod search;
mod suspects;
mod tighten;

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

pub use gate::{Report, Runner, TighterGate, Tried, UnitGate};
pub use plan::Plan;
pub use record::{Key, Record};
use serde::{Deserialize, Serialize};
pub use suspects::suspects;
pub use tighten::{Removal, Tighter};

use crate::{machine, observation::Text};

/// One thing that can be relaxed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relaxation {
    /// A word more on a list: the directive, and the word.
    Word(String, String),
    /// A directory that may be written.
    Write(PathBuf),
    /// Without all lines of this directive.
    Line(String),
}

impl fmt::Display for Relaxation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(directive, word) => write!(out, "{directive} {word}"),
            Self::Write(path) => write!(out, "ReadWritePaths {}", path.display()),
            Self::Line(name) => write!(out, "no {name}"),
        }
    }
}

/// Something that can be relaxed, and how likely it is that it has to be, beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it is.
    pub relaxation: Relaxation,
    /// How likely.
    pub weight: u32,
}

/// What has to be known of a system.
pub trait System {
    /// The directories in one, in order, without symbolic links.
    fn below(&self, path: &Path) -> Vec<PathBuf>;

    /// Whether systemd knows a call of this name. It warns of each other one at each `daemon-reload`, and leaves it out.
    fn knows_call(&self, name: &str) -> bool;
}

/// This one.
#[derive(Clone, Debug)]
pub struct ThisSystem {
    calls: Option<BTreeSet<String>>,
}

impl ThisSystem {
    /// Asks systemd what it knows.
    #[must_use]
    pub fn ask() -> Self {
        Self {
            calls: machine::systemd::calls(),
        }
    }
}

impl System for ThisSystem {
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut paths: Vec<PathBuf> = directories.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    fn knows_call(&self, name: &str) -> bool {
        let calls = self.calls.as_ref();
        calls.is_none_or(|calls| calls.contains(name))
    }
}

#[cfg(test)]
impl<F: Fn(&Path) -> Vec<PathBuf>> System for F {
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        self(path)
    }

    fn knows_call(&self, name: &str) -> bool {
        name != "uretprobe"
    }
}

/// A comment of one line, whatever is in the text. Firejail reads 8,191 characters of a line.
fn commented(text: &str) -> String {
    const LIMIT: usize = 1000;
    let shown = Text::from(text.as_bytes()).to_string();
    let cut: String = shown.chars().take(LIMIT).collect();
    format!("# {cut}\n")
}
