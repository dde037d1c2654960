//! Keeps an observation from growing for ever: runs that tell nothing more are folded into one.
//!
//! A folded run names the runs that it replaces, so that folding is lawful: which runs are one is
//! a partition of their identifiers, partitions join to the finest one that both refine, and the
//! value of a part is the join of the runs in it. What was folded in one copy and not in another is
//! folded in both together, under the same identifier, and no run is there twice.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::join::Join;
use super::model::{Executable, Host, Observation, Run, RunKind};
use super::text::{Text, Word};

/// The kinds of which runs may be united.
const UNITED: [RunKind; 4] = [
    RunKind::Window,
    RunKind::Invocation,
    RunKind::Mark,
    RunKind::Command,
];

/// The test that a run is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test<'a> {
    /// Its identifier.
    pub id: &'a Word,
    /// The name that a mark gave it.
    pub label: Option<&'a Text>,
}

impl Observation {
    /// Folds runs that tell nothing of their own, and no facts get lost:
    ///
    /// - the windows of one invocation but for the newest `windows`;
    /// - the invocations, but for the newest `limit`, of which every fact is in one that is kept: so
    ///   how many facts were seen in one run alone, which tells how complete the set is, stays true.
    ///
    /// Only runs of one machine, user and set of hooks are folded into one, which has the least
    /// of their identifiers.
    pub fn fold(&mut self, limit: usize, windows: usize) {
        let mut parts = Partition::default();
        for group in self.groups(RunKind::Window) {
            let old = group.len().saturating_sub(windows);
            parts.unite_all(group[..old].iter().map(|(id, _)| *id));
        }
        for group in self.groups(RunKind::Invocation) {
            let (old, new) = group.split_at(group.len().saturating_sub(limit));
            parts.unite_all(told_elsewhere(old, new));
        }
        self.settle_by(parts);
    }

    /// Forgets which runs were folded into one beyond the first thousand of them, as there may be one each second for
    /// years. Where an older copy still has such a run apart, both together have it twice.
    pub fn forget_folded(&mut self) {
        const KEPT: usize = 1000;
        for run in self.runs.values_mut() {
            if let Some(end) = run.stands_for.iter().nth(KEPT).cloned() {
                run.stands_for.split_off(&end);
            }
        }
    }

    /// Forgets programs of which nothing is said.
    pub fn forget_empty(&mut self) {
        let is_known = |program: &Executable| *program != Executable::default();
        for run in self.runs.values_mut() {
            run.executables.retain(|_, program| is_known(program));
            for programs in run.control.values_mut() {
                programs.retain(|_, program| is_known(program));
            }
            run.control.retain(|_, programs| !programs.is_empty());
        }
    }

    /// Makes one of all runs of a kind but for the newest `kept`, whatever they say: in how many of them a fact was seen
    /// is no longer known.
    pub(super) fn unite(&mut self, kept: usize) {
        let mut parts = Partition::default();
        for kind in UNITED {
            for group in self.alike(kind, false) {
                let old = group.len().saturating_sub(kept);
                parts.unite_all(group[..old].iter().map(|(id, _)| *id));
            }
        }
        self.settle_by(parts);
    }

    /// Brings runs that others replace together with them. [`Join::join`] and reading a file do
    /// this; code that changes [`Observation::runs`] by hand may have to.
    pub fn settle(&mut self) {
        self.settle_by(Partition::default());
    }

    /// The identifier under which what is known of the run `id` is kept: its own, or that of the run
    /// that replaces it.
    #[must_use]
    pub fn holder(&self, id: &Word) -> Option<&Word> {
        if let Some((id, _)) = self.runs.get_key_value(id) {
            return Some(id);
        }
        let mut runs = self.runs.iter();
        runs.find(|(_, run)| run.stands_for.contains(id))
            .map(|(holder, _)| holder)
    }

    /// Every run with the identifier of the test that it is part of: its own, or, as a window is no
    /// test, that of its invocation.
    pub fn tests(&self) -> impl Iterator<Item = (Test<'_>, &Run)> {
        let mut invocations = BTreeMap::new();
        for kind in [RunKind::Invocation, RunKind::Window] {
            for (id, run) in self.runs.iter().filter(|(_, run)| run.kind == kind) {
                if let Some(invocation) = &run.invocation {
                    invocations.entry(invocation).or_insert(id);
                }
            }
        }
        self.runs.iter().map(move |(id, run)| {
            let invocation = run.invocation.as_ref().filter(|_| !run.kind.is_test());
            let test = invocation.and_then(|invocation| invocations.get(invocation));
            let id = test.copied().unwrap_or(id);
            let label = run.label.as_ref();
            (Test { id, label }, run)
        })
    }

    /// The runs of one kind that may become one, the oldest first.
    fn groups(&self, kind: RunKind) -> impl Iterator<Item = Vec<(&Word, &Run)>> {
        self.alike(kind, kind == RunKind::Window)
    }

    /// The runs of one kind on one machine, of one user and set of hooks, and of one invocation if asked so.
    fn alike(
        &self,
        kind: RunKind,
        by_invocation: bool,
    ) -> impl Iterator<Item = Vec<(&Word, &Run)>> {
        type Key<'a> = (
            Option<&'a Word>,
            &'a Host,
            &'a BTreeMap<String, String>,
            u32,
        );
        let mut groups: BTreeMap<Key<'_>, Vec<_>> = BTreeMap::new();
        for (id, run) in self.runs.iter().filter(|(_, run)| run.kind == kind) {
            let invocation = run.invocation.as_ref().filter(|_| by_invocation);
            let key = (invocation, &run.host, &run.hooks, run.uid);
            groups.entry(key).or_default().push((id, run));
        }
        groups.into_values().map(|mut group| {
            group.sort_by_key(|(id, run)| (run.started, *id));
            group
        })
    }

    fn settle_by(&mut self, mut parts: Partition) {
        for (id, run) in &self.runs {
            for other in &run.stands_for {
                parts.unite(id, other);
            }
        }
        if parts.is_empty() {
            return;
        }
        for (id, mut run) in std::mem::take(&mut self.runs) {
            run.stands_for.clear();
            let id = parts.least(&id).cloned().unwrap_or(id);
            match self.runs.entry(id) {
                Entry::Vacant(entry) => {
                    entry.insert(run);
                }
                Entry::Occupied(mut entry) => entry.get_mut().join(run),
            }
        }
        for (id, least) in parts.into_pairs() {
            if let Some(run) = self.runs.get_mut(&least).filter(|_| id != least) {
                run.stands_for.insert(id);
            }
        }
    }
}

/// Which of `old` are folded: those folded before, and those whose facts are all in others that
/// are kept.
fn told_elsewhere<'a>(old: &[(&'a Word, &Run)], new: &[(&Word, &Run)]) -> Vec<&'a Word> {
    if old.is_empty() {
        return Vec::new();
    }
    let mut told: HashSet<_> = new.iter().flat_map(|(_, run)| run.facts()).collect();
    let mut folded = Vec::new();
    for (id, run) in old {
        if !run.stands_for.is_empty() || run.facts().all(|fact| told.contains(&fact)) {
            folded.push(*id);
        } else {
            told.extend(run.facts());
        }
    }
    folded
}

/// Which identifiers are one: a forest of disjoint sets, in which the least of a set is its root.
#[derive(Default)]
struct Partition {
    numbers: BTreeMap<Word, usize>,
    names: Vec<Word>,
    parents: Vec<usize>,
}

impl Partition {
    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn unite_all<'a>(&mut self, ids: impl IntoIterator<Item = &'a Word>) {
        let mut ids = ids.into_iter();
        if let Some(first) = ids.next() {
            ids.for_each(|id| self.unite(first, id));
        }
    }

    fn unite(&mut self, one: &Word, other: &Word) {
        let (one, other) = (self.number(one), self.number(other));
        let (one, other) = (self.root(one), self.root(other));
        if self.names[one] <= self.names[other] {
            self.parents[other] = one;
        } else {
            self.parents[one] = other;
        }
    }

    fn number(&mut self, id: &Word) -> usize {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.names.len();
        self.numbers.insert(id.clone(), number);
        self.names.push(id.clone());
        self.parents.push(number);
        number
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            // Halves the way for the next look-up.
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    /// The least identifier that is one with `id`, if any is.
    fn least(&mut self, id: &Word) -> Option<&Word> {
        let number = *self.numbers.get(id)?;
        let root = self.root(number);
        Some(&self.names[root])
    }

    /// Each identifier with the least that is one with it.
    fn into_pairs(mut self) -> impl Iterator<Item = (Word, Word)> {
        let roots: Vec<_> = (0..self.names.len()).map(|at| self.root(at)).collect();
        let least: Vec<_> = roots.iter().map(|root| self.names[*root].clone()).collect();
        self.names.into_iter().zip(least)
    }
}

#[cfg(test)]
mod tests;
