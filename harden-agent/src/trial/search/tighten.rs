//! The other way round: what can be taken away while the test passes.
//!
//! A candidate that is relaxed here is one that is left in its place. So the fewest that have to stay are looked for in the
//! same way; but what is not needed by the test may be needed by others, and a word too few costs more than one too many. So
//! a failure of the test is here held to be of the word, until the test has shown often enough that it is its own.

use anyhow::Result;

use super::{Confinement, Gate, Known, Limits, Outcome, Purpose, Search, Set, Stop};

/// How such a search ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tightened {
    /// These have to stay, and the test passes without the others.
    But(Set),
    /// More than the limit have to stay; these among them.
    TooMany(Set),
    /// Without what seemed not to be needed, the test fails more often than by itself.
    Unsteady,
    /// The runs are used up.
    OutOfRuns,
}

/// How often the test has to pass until that is believed, round by round: where the first one has ended with what does not hold,
/// the test needs a word in some of its runs.
const DEMANDS: [usize; 3] = [1, 3, 3];

/// Searches, after a search that has found that the test passes with all candidates in their place. Returns how many test
/// runs there were altogether, too.
///
/// # Errors
/// The gate's.
pub fn tighten(
    gate: &mut impl Gate,
    candidates: &[usize],
    before: &Outcome,
    limits: Limits,
) -> Result<(Tightened, usize)> {
    let mut search = Search {
        gate,
        limits: Limits {
            again: AGAIN,
            ..limits
        },
        known: Known::default(),
        flakes: before.flakes,
        done: before.runs,
        left: 0,
        found: Set::new(),
        demand: 1,
        learns: false,
    };
    let verdict = match search.fewest_left(candidates) {
        Ok(verdict) => verdict,
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::OutOfRuns) => Tightened::OutOfRuns,
        Err(Stop::TooMany) => Tightened::TooMany(search.found.clone()),
    };
    Ok((verdict, search.done))
}

/// So often has the result to pass: a test that needs a word in half of its runs passes so often in one of 128 cases.
const AGAIN: usize = 7;

impl<G: Gate> Search<'_, G> {
    fn fewest_left(&mut self, candidates: &[usize]) -> Result<Tightened, Stop> {
        let everything: Set = candidates.iter().copied().collect();
        for demand in DEMANDS {
            self.demand = demand;
            // A search has ended with that.
            self.known.pass(&everything);
            self.add_culprits(candidates)?;
            self.remove_needless()?;
            if self.holds()? {
                return Ok(Tightened::But(self.found.clone()));
            }
            self.known.distrust_passes();
        }
        Ok(Tightened::Unsteady)
    }

    /// Whether what is left passes as often as it has to, and fails no more often than the test does by itself.
    fn holds(&mut self) -> Result<bool, Stop> {
        let left = Confinement::Except(self.found.clone());
        let (mut passed, mut failed) = (0, 0);
        while passed < self.limits.again {
            self.left = self.limits.again - passed;
            if self.run(&left, Purpose::Again)? {
                passed += 1;
                continue;
            }
            failed += 1;
            self.known.fail(&self.found);
            if !self.flakes.explain(failed, self.limits.again + failed) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
