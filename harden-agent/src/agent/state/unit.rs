//! Units: what is open of each, and which of its facts are known.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::Timestamp;

use super::run::OpenRun;
use crate::observation::{Run, Text, Told, Word};

/// One unit.
#[derive(Default)]
pub(super) struct Unit {
    /// Runs that may not be on disk, or not whole.
    pub open: BTreeMap<Word, Box<OpenRun>>,
    /// The same, of an earlier kernel side.
    pub ended: BTreeMap<Word, Run>,
    /// Hashes of the facts of all runs; of none where the unit is at rest.
    known: HashSet<u64>,
    /// Nothing goes on in it: what is known is in its file alone.
    pub is_at_rest: bool,
    /// It has a file of its own.
    pub is_kept: bool,
    /// When the last fact came that was not known.
    pub last_new: Option<Timestamp>,
    /// There is more than on disk.
    pub dirty: bool,
    /// How often something came.
    pub changes: u64,
    /// So many facts, about.
    pub held: usize,
}

/// So many facts of a unit are known again; more are told as new each time.
const KNOWN: usize = 100_000;

impl Unit {
    /// Whether the fact, of this time, is new.
    pub(super) fn discover(&mut self, program: &Text, fact: &Told, time: Timestamp) -> bool {
        let is_new = self.add_known(program, fact);
        if is_new {
            self.last_new = self.last_new.max(Some(time));
        }
        is_new
    }

    /// Gives up what its file has too, if nothing goes on in it.
    pub(super) fn unload(&mut self) {
        if self.open.is_empty() && self.ended.is_empty() {
            self.known = HashSet::new();
            self.is_at_rest = true;
        }
    }

    /// As [`Self::discover`], for a fact of old.
    pub(super) fn add_known(&mut self, program: &Text, fact: &Told) -> bool {
        // The same for every process of this build: only kept in memory.
        let mut hasher = DefaultHasher::new();
        (program, fact).hash(&mut hasher);
        if self.known.len() >= KNOWN {
            return !self.known.contains(&hasher.finish());
        }
        self.known.insert(hasher.finish())
    }

    /// The invocation in the cgroup `unit_cgroup` has ended.
    pub(super) fn end(&mut self, unit_cgroup: u64) {
        for run in self
            .open
            .values_mut()
            .filter(|run| run.unit_cgroup == unit_cgroup)
        {
            run.has_ended = true;
            self.dirty = true;
        }
    }

    /// All have, and left `runs`.
    pub(super) fn end_all(&mut self, runs: BTreeMap<Word, Run>) {
        self.dirty |= !self.open.is_empty();
        self.open.clear();
        self.ended = runs;
    }
}
