//! What test runs have shown.

use super::Set;

/// What has passed, and what has failed how often.
#[derive(Debug, Default)]
pub(super) struct Known {
    passed: Vec<Set>,
    failed: Vec<Set>,
}

impl Known {
    /// Whether something with no more relaxed has passed.
    pub(super) fn passes(&self, relaxed: &Set) -> bool {
        self.passed.iter().any(|one| one.is_subset(relaxed))
    }

    /// How often it has failed, with this or more relaxed.
    pub(super) fn failures(&self, relaxed: &Set) -> usize {
        let failed = self.failed.iter();
        failed.filter(|one| one.is_superset(relaxed)).count()
    }

    pub(super) fn fail(&mut self, relaxed: &Set) {
        self.failed.push(relaxed.clone());
    }

    /// Returns how many failures have come by chance: with as much relaxed, or more.
    pub(super) fn pass(&mut self, relaxed: &Set) -> usize {
        let before = self.failed.len();
        self.failed.retain(|one| !one.is_superset(relaxed));
        self.passed.push(relaxed.clone());
        before - self.failed.len()
    }

    /// What has passed may have passed by chance.
    pub(super) fn distrust_passes(&mut self) {
        self.passed.clear();
    }
}
