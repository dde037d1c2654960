//! What can be relaxed in the files of a unit, by number, and the files with some of it relaxed.

use std::path::Path;

use super::{
    Candidate, Relaxation, System, drop_in, firejail,
    search::{Confinement, Set},
};
use crate::apply::{Backend, Files};

/// The files, and their candidates.
pub struct Plan<'s> {
    files: Files,
    candidates: Vec<Candidate>,
    /// So many are there from the beginning; the others are narrower ones.
    first: usize,
    system: &'s dyn System,
}

/// What confines nothing.
const UNCONFINED: &str = "# Written by harden trial\n[Service]\n";

impl<'s> Plan<'s> {
    /// Of these files.
    #[must_use]
    pub fn new(files: Files, system: &'s dyn System) -> Self {
        let candidates = match &files.profile {
            Some(profile) => firejail::candidates(profile),
            None => drop_in::candidates(&files.drop_in, system),
        };
        Self {
            files,
            first: candidates.len(),
            candidates,
            system,
        }
    }

    /// The numbers of what can be relaxed, what is preferred first.
    #[must_use]
    pub fn candidates(&self) -> Vec<usize> {
        (0..self.first).collect()
    }

    /// How likely a candidate is.
    #[must_use]
    pub fn weight(&self, number: usize) -> u32 {
        self.candidates.get(number).map_or(1, |one| one.weight)
    }

    /// What a candidate is.
    #[must_use]
    pub fn relaxation(&self, number: usize) -> &Relaxation {
        &self.candidates[number].relaxation
    }

    /// These, for people and for the record.
    #[must_use]
    pub fn named(&self, set: &Set) -> Vec<String> {
        let all = set.iter().map(|one| self.relaxation(*one).to_string());
        all.collect()
    }

    /// What is narrower than a candidate.
    pub fn narrower(&mut self, number: usize) -> Vec<usize> {
        let Relaxation::Write(path) = self.relaxation(number) else {
            return Vec::new();
        };
        let below = drop_in::narrower(path, self.system);
        let numbers = below.into_iter().map(|path| {
            let relaxation = Relaxation::Write(path);
            let known = self
                .candidates
                .iter()
                .position(|one| one.relaxation == relaxation);
            known.unwrap_or_else(|| {
                self.candidates.push(Candidate {
                    relaxation,
                    weight: 1,
                });
                self.candidates.len() - 1
            })
        });
        numbers.collect()
    }

    /// The files for a test run.
    #[must_use]
    pub fn files(&self, confinement: &Confinement) -> Files {
        match confinement {
            Confinement::None => Files {
                backend: Backend::Systemd,
                drop_in: UNCONFINED.to_owned(),
                profile: None,
                observation: self.files.observation.clone(),
            },
            Confinement::Except(set) => self.relaxed(set, None),
        }
    }

    /// The files with these relaxed, each marked with the reason.
    #[must_use]
    pub fn relaxed(&self, set: &Set, why: Option<&str>) -> Files {
        let relaxations: Vec<&Relaxation> = set.iter().map(|one| self.relaxation(*one)).collect();
        let mut files = self.files.clone();
        match &mut files.profile {
            Some(profile) => *profile = firejail::relaxed(profile, &relaxations, why),
            None => files.drop_in = drop_in::relaxed(&files.drop_in, &relaxations, why),
        }
        files
    }

    /// Has what was refused in the sight of others come first.
    pub fn suspect(&mut self, suspects: &[Relaxation]) {
        /// Beside a few hundred others, one is tried alone.
        const WEIGHT: u32 = 2000;
        for one in &mut self.candidates {
            let is_within = |suspect: &Relaxation| match (suspect, &one.relaxation) {
                (Relaxation::Write(path), Relaxation::Write(directory)) => {
                    directory != Path::new("/") && path.starts_with(directory)
                }
                (suspect, one) => suspect == one,
            };
            if suspects.iter().any(is_within) {
                one.weight = WEIGHT;
            }
        }
        // Stable: those of the same weight keep their order.
        self.candidates.sort_by_key(|one| one.weight != WEIGHT);
    }
}
