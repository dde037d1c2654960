//! What test runs have shown.

use super::Set;

/// What has passed, and what has failed how often.
#[derive(Debug, Default)]
pub(super) struct Known {
    passed: Vec<Bits>,
    failed: Vec<Bits>,
}

/// A set that is compared quickly: a bit for each candidate.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(set: &Set) -> Self {
        let words = set.last().map_or(0, |last| last / 64 + 1);
        let mut bits = vec![0; words];
        for one in set {
            bits[one / 64] |= 1 << (one % 64);
        }
        Self(bits)
    }

    fn is_within(&self, other: &Self) -> bool {
        let more = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0
            .iter()
            .zip(more)
            .all(|(one, other)| one & !other == 0)
    }
}

impl Known {
    /// Whether something with no more relaxed has passed.
    pub(super) fn passes(&self, relaxed: &Set) -> bool {
        let relaxed = Bits::of(relaxed);
        self.passed.iter().any(|one| one.is_within(&relaxed))
    }

    /// How often it has failed, with this or more relaxed.
    pub(super) fn failures(&self, relaxed: &Set) -> usize {
        let relaxed = Bits::of(relaxed);
        let failed = self.failed.iter();
        failed.filter(|one| relaxed.is_within(one)).count()
    }

    pub(super) fn fail(&mut self, relaxed: &Set) {
        self.failed.push(Bits::of(relaxed));
    }

    /// Returns how many failures have come by chance: with as much relaxed, or more.
    pub(super) fn pass(&mut self, relaxed: &Set) -> usize {
        let relaxed = Bits::of(relaxed);
        let before = self.failed.len();
        self.failed.retain(|one| !relaxed.is_within(one));
        self.passed.push(relaxed);
        before - self.failed.len()
    }

    /// What has passed may have passed by chance.
    pub(super) fn distrust_passes(&mut self) {
        self.passed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_speaks_for_more_and_a_failure_for_less() {
        let set = |numbers: &[usize]| numbers.iter().copied().collect::<Set>();
        let mut known = Known::default();
        known.fail(&set(&[1, 70]));
        known.fail(&set(&[1, 70, 200]));
        assert_eq!(known.failures(&set(&[70])), 2);
        assert_eq!(known.failures(&set(&[])), 2);
        assert_eq!(known.failures(&set(&[200])), 1);
        assert_eq!(known.failures(&set(&[2])), 0);
        // The one with more relaxed has failed by chance.
        assert_eq!(known.pass(&set(&[1, 200])), 1);
        assert!(known.passes(&set(&[1, 70, 200])));
        assert!(!known.passes(&set(&[1, 70])));
        known.distrust_passes();
        assert!(!known.passes(&set(&[1, 200])));
    }
}
