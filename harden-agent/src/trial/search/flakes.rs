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
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are not as many runs as a f64 can count"
        )]
        let (failed, runs) = (self.failed as f64, self.runs as f64);
        (failed + 0.5) / (runs + 10.0)
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

    /// The same where a mistake is found out later.
    #[must_use]
    pub(super) fn repeats_in_bisection(&self) -> usize {
        if self.rate() < OFTEN { 1 } else { 2 }
    }
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
}
