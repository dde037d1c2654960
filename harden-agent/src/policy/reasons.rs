//! Why something is left out of a profile.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use serde::{Serialize, Serializer};

/// Sentences without their full stops, each once: the first by their words, the rest by number. A million files can be a
/// million reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    kept: Vec<String>,
    /// Hashes of those that are only counted.
    others: HashSet<u64, Hasher>,
}

type Hasher = BuildHasherDefault<DefaultHasher>;

/// So many are kept.
const KEPT: usize = 20;

/// So many are named to a reader: more of them make none wiser.
const NAMED: usize = 5;

impl Reasons {
    /// Adds one.
    pub fn push(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.kept.contains(&reason) {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push(reason);
        } else {
            self.others.insert(Hasher::default().hash_one(&reason));
        }
    }

    /// Adds those of another decision.
    pub fn append(&mut self, other: Self) {
        self.extend(other.kept);
        self.others.extend(other.others);
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those that are known by their words.
    #[must_use]
    pub fn kept(&self) -> &[String] {
        &self.kept
    }

    /// What a reader is told: a few of them, and how many more there are.
    pub fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        let all = self.kept.len() + self.others.len();
        let more = all.checked_sub(NAMED).filter(|more| *more > 0);
        let named = self.kept.iter().take(NAMED).cloned();
        named.chain(more.map(|more| format!("and {more} more")))
    }
}

impl Extend<String> for Reasons {
    fn extend<I: IntoIterator<Item = String>>(&mut self, reasons: I) {
        for reason in reasons {
            self.push(reason);
        }
    }
}

impl FromIterator<String> for Reasons {
    fn from_iter<I: IntoIterator<Item = String>>(reasons: I) -> Self {
        let mut all = Self::default();
        all.extend(reasons);
        all
    }
}

impl From<Vec<String>> for Reasons {
    fn from(reasons: Vec<String>) -> Self {
        reasons.into_iter().collect()
    }
}

/// As a reader is told.
impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sentences())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_the_rest_is_counted() {
        let told = |reasons: &Reasons| reasons.sentences().collect::<Vec<_>>();
        let few: Reasons = ["a", "b", "a"].map(String::from).into_iter().collect();
        assert_eq!(told(&few), ["a", "b"]);
        assert!(!few.is_empty() && Reasons::default().is_empty());
        let twice = (0..1_000).chain(0..1_000).map(|number| number.to_string());
        let many: Reasons = twice.collect();
        assert_eq!(told(&many), ["0", "1", "2", "3", "4", "and 995 more"]);
        assert_eq!(many.kept().len(), KEPT);
        let five: Reasons = (0..5).map(|number| number.to_string()).collect();
        assert_eq!(told(&five).len(), 5);
    }
}
