//! How often a test fails by itself, and how often a failure has to come before it is believed.

/// What is known of a test's failures by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flakes {
    /// Failures where nothing was refused.
    pub failed: usize,
    /// Runs where nothing was refused.
    pub runs: usize,
}

/// A failure by chance is taken for a real one in so few cases.
const MISTAKES: f64 = 0.002;
/// Bisection repeats its failures from this rate on. One that comes by chance costs it another bisection, and is
/// found out at the end; below this rate that is less than to repeat each of them.
const OFTEN: f64 = 0.06;
/// A failure is never believed at once, nor asked for more often than this.
const FEWEST: usize = 2;
const MOST: usize = 8;

impl Flakes {
    /// Counts a run in which nothing was refused.
    pub fn count(&mut self, passed: bool) {
        self.runs += 1;
        self.failed += usize::from(!passed);
    }

    /// The estimate: of few runs without a failure it is not nothing.
    #[must_use]
    pub fn rate(&self) -> f64 {
        (exact(self.failed) + 0.5) / (exact(self.runs) + 10.0)
    }

    /// How often in a row a failure has to come before it is believed.
    #[must_use]
    pub fn repeats(&self) -> usize {
        let mut repeats = 1;
        let mut chance = self.rate();
        while chance > MISTAKES && repeats < MOST {
            chance *= self.rate();
            repeats += 1;
        }
        repeats.max(FEWEST)
    }

    /// Whether so many failures in so many runs are no more than the test has by itself.
    #[must_use]
    pub(super) fn explain(&self, failed: usize, runs: usize) -> bool {
        /// As seldom as that, they are not.
        const SELDOM: f64 = 0.2;
        let rate = self.rate();
        // The chance of exactly so many, from none on: each follows from the one before.
        let mut chance = (0..runs).fold(1.0, |chance, _| chance * (1.0 - rate));
        let mut fewer = 0.0;
        for (number, left) in (1..=failed).zip((0..=runs).rev()) {
            fewer += chance;
            chance *= ratio(left, number) * rate / (1.0 - rate);
        }
        1.0 - fewer >= SELDOM
    }

    /// How often a failure has to come where a mistake is found out later.
    #[must_use]
    pub(super) fn repeats_in_bisection(&self) -> usize {
        if self.rate() < OFTEN { 1 } else { 2 }
    }
}

fn ratio(one: usize, other: usize) -> f64 {
    exact(one) / exact(other)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are not as many runs as a f64 can count"
)]
fn exact(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_a_test_fails_by_itself_the_more_often_a_failure_has_to_come() {
        let repeats = |failed, runs| Flakes { failed, runs }.repeats();
        assert_eq!(repeats(0, 5), 2);
        assert_eq!(repeats(0, 1000), 2);
        assert_eq!(repeats(1, 5), 3);
        assert_eq!(repeats(10, 100), 3);
        assert_eq!(repeats(50, 100), MOST);
    }
    #[test]
    fn failures_are_explained_as_far_as_the_test_has_them_by_itself() {
        let explain = |known: (usize, usize), failed, runs| {
            let (of_itself, all) = known;
            let flakes = Flakes {
                failed: of_itself,
                runs: all,
            };
            flakes.explain(failed, runs)
        };
        assert!(explain((0, 100), 0, 5));
        assert!(!explain((0, 100), 1, 6));
        // Of few runs it is not known that it never does.
        assert!(explain((0, 3), 1, 6));
        assert!(!explain((0, 5), 1, 6));
        assert!(explain((10, 100), 1, 6));
        assert!(!explain((10, 100), 2, 7));
        assert!(explain((60, 100), 3, 4));
    }
}
