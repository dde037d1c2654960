//! What can be taken away from files: what they allow, and the unit was seen to ask for in vain alone.

mod drop_in;
mod firejail;

use std::fmt;

use super::search::{Confinement, Set};
use crate::{
    apply::Files,
    policy::{InVain, Proof},
};

/// A word that can be taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The directive or rule.
    pub directive: String,
    /// The word: of a directive about paths, the path.
    pub word: String,
    /// Why: a clause.
    pub proof: Proof,
}

impl fmt::Display for Removal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.directive, self.word)
    }
}

/// Files, and what can be taken away from them.
#[derive(Clone, Debug)]
pub struct Tighter {
    files: Files,
    removals: Vec<Removal>,
}

impl Tighter {
    /// Of these files: what rests on lookups alone first.
    #[must_use]
    pub fn new(files: Files, in_vain: &InVain) -> Self {
        let mut removals = match &files.profile {
            Some(profile) => firejail::removals(profile, in_vain),
            None => drop_in::removals(&files.drop_in, in_vain),
        };
        removals.sort_by_key(|one| !one.proof.is_lookup);
        Self { files, removals }
    }

    /// The numbers of what can be taken away.
    #[must_use]
    pub fn candidates(&self) -> Vec<usize> {
        (0..self.removals.len()).collect()
    }

    /// One of them.
    #[must_use]
    pub fn removal(&self, number: usize) -> &Removal {
        &self.removals[number]
    }

    /// All but these.
    #[must_use]
    pub fn all_but(&self, left: &Set) -> Vec<&Removal> {
        let all = self.removals.iter().enumerate();
        let all = all.filter(|(number, _)| !left.contains(number));
        all.map(|(_, one)| one).collect()
    }

    /// The files for a test run.
    #[must_use]
    pub fn files(&self, confinement: &Confinement) -> Files {
        match confinement {
            // It is known already how the test does without any.
            Confinement::None => self.files.clone(),
            Confinement::Except(left) => self.without(&self.all_but(left), None),
        }
    }

    /// The files without these, each named with the reason, and with the test that is `passing` without.
    #[must_use]
    pub fn without(&self, removals: &[&Removal], passing: Option<&str>) -> Files {
        let mut files = self.files.clone();
        match &mut files.profile {
            Some(profile) => *profile = firejail::without(profile, removals, passing),
            None => files.drop_in = drop_in::without(&files.drop_in, removals, passing),
        }
        files
    }
}

/// The comment that goes with a word that was taken away.
fn comment(one: &Removal, test: &str) -> String {
    super::commented(&format!(
        "Taken away by harden trial: {one}: {}; without it this test passes: {test}",
        one.proof.why
    ))
}
