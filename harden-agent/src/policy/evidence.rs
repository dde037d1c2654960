//! Why a decision was made: what was seen that asks for it, or why a rule is left out.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::reasons::Reasons;
use crate::observation::{Seen, Test, Text, Word};

/// Where a fact was seen. Without an executable it is a need of the sandbox itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The executables that showed it.
    pub executables: Names<Text>,
    /// The runs that showed it.
    pub runs: Names<Word>,
    /// The names of those that were marked.
    pub marks: Names<Text>,
    /// When first, where that is known.
    pub first: Option<Timestamp>,
    /// How often altogether, where that was counted.
    pub count: Option<u64>,
}

/// Names in their order, each once. Most often there is one, as a million rules may each have evidence: a tree has a node
/// with room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Names<T> {
    /// There is none.
    #[default]
    None,
    /// There is one.
    One(T),
    /// There are more.
    Several(BTreeSet<T>),
}

impl<T: Ord + Clone> Names<T> {
    /// Adds one. Returns whether it was not there.
    pub fn add(&mut self, name: &T) -> bool {
        match self {
            Self::None => *self = Self::One(name.clone()),
            Self::One(known) if known == name => return false,
            Self::One(known) => *self = Self::Several([known.clone(), name.clone()].into()),
            Self::Several(known) if known.contains(name) => return false,
            Self::Several(known) => {
                known.insert(name.clone());
            }
        }
        true
    }

    fn extend<'a>(&mut self, names: impl IntoIterator<Item = &'a T>)
    where
        T: 'a,
    {
        for name in names {
            self.add(name);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, several) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Several(several) => (None, Some(several)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Several(several) => several.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Ord + Clone + Serialize> Serialize for Names<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Evidence {
    /// Adds one sighting.
    pub fn add(&mut self, test: Test<'_>, executable: &Text, seen: &Seen) {
        self.executables.add(executable);
        if self.runs.add(test.id) {
            self.marks.extend(test.label);
        }
        self.see(seen.first(), seen.count());
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.executables.extend(other.executables.iter());
        self.runs.extend(other.runs.iter());
        self.marks.extend(other.marks.iter());
        self.see(other.first, other.count);
    }

    fn see(&mut self, first: Option<Timestamp>, count: Option<u64>) {
        self.first = match (self.first, first) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.count = match (self.count, count) {
            (Some(mine), Some(theirs)) => Some(mine.saturating_add(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

/// `nginx, sh; 2 runs (login, upload); 311 times`. Without the time, which would make each recording of the same
/// work another file.
impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(&self.executables, out)?;
        match self.runs.len() {
            0 => {}
            1 => out.write_str("; 1 run")?,
            runs => write!(out, "; {runs} runs")?,
        }
        if !self.marks.is_empty() {
            out.write_str(" (")?;
            list(&self.marks, out)?;
            out.write_str(")")?;
        }
        match self.count {
            None => {}
            Some(1) => out.write_str("; once")?,
            Some(count) => write!(out, "; {count} times")?,
        }
        Ok(())
    }
}

fn list(names: &Names<Text>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    const NAMES: usize = 3;
    for (at, name) in names.iter().take(NAMES).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        write!(out, "{separator}{name}")?;
    }
    if names.len() > NAMES {
        write!(out, " and {} more", names.len() - NAMES)?;
    }
    Ok(())
}

/// One value of a rule and what asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The syscall, capability, name or path, as the sandbox writes it: safe to put into a line.
    pub value: String,
    /// What was seen.
    pub evidence: Evidence,
    /// What else there is to say about it.
    pub note: Option<String>,
}

impl Item {
    /// A value with what was seen of it.
    pub fn new(value: impl Into<String>, evidence: Evidence) -> Self {
        Self {
            value: value.into(),
            evidence,
            note: None,
        }
    }

    /// A value that no fact asks for, with its reason.
    pub fn noted(value: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            evidence: Evidence::default(),
            note: Some(note.into()),
        }
    }
}

/// Whether a rule is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision<T> {
    /// It is: everything observed can live with it.
    Given(T),
    /// It is not, for these reasons.
    Withheld(Reasons),
}

impl<T> Decision<T> {
    /// Given if nothing speaks against it.
    pub fn given_unless(reasons: impl Into<Reasons>, value: T) -> Self {
        let reasons = reasons.into();
        if reasons.is_empty() {
            Self::Given(value)
        } else {
            Self::Withheld(reasons)
        }
    }

    /// Not given, for one reason.
    pub fn withheld(reason: impl Into<String>) -> Self {
        Self::Withheld(vec![reason.into()].into())
    }

    /// The value, if the rule is given.
    pub fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Withheld(_) => None,
        }
    }

    /// The reasons, if it is not given: those that are known by their words.
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Given(_) => &[],
            Self::Withheld(reasons) => reasons.kept(),
        }
    }

    /// All reasons, if it is not given.
    pub fn into_reasons(self) -> Reasons {
        match self {
            Self::Given(_) => Reasons::default(),
            Self::Withheld(reasons) => reasons,
        }
    }
}
