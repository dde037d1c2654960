//! The search for the fewest relaxations under which a test passes. It knows nothing of profiles: candidates are numbers,
//! and a [`Gate`] says whether the test passes with some of them relaxed.
//!
//! More relaxation never breaks a test, so a set that passes says that every larger set does, and a set that fails that
//! every smaller one does. A test may fail by itself, but it does not pass by itself: one pass is believed. A failure is
//! believed when it has come so often in a row that the measured rate of such failures does not explain it
//! ([`Flakes::repeats`]).
//!
//! The candidates are in an order of preference. Of those that replace each other the first is found.

mod flakes;
mod known;
mod tighten;

use std::collections::BTreeSet;

use anyhow::Result;

pub use flakes::Flakes;
use known::Known;
pub use tighten::{Tightened, tighten};

/// Candidates, by number.
pub type Set = BTreeSet<usize>;

/// What a test is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// Nothing is confined.
    None,
    /// All is confined, except these.
    Except(Set),
}

/// What a test run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// How often the test fails by itself.
    Flakes,
    /// Whether all passes as it is.
    AsItIs,
    /// Whether the profile is at fault at all.
    AllRelaxed,
    /// Which of so many candidates it is.
    Bisect(usize),
    /// Whether the found ones are all.
    Enough,
    /// Whether this one is needed.
    Needed(usize),
    /// Whether something narrower than this one is enough.
    Narrower(usize),
    /// Whether the result passes again.
    Again,
}

/// How far the search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What comes now.
    pub purpose: Purpose,
    /// Test runs so far.
    pub done: usize,
    /// How many are left at most, this one among them.
    pub left: usize,
}

/// What the search asks.
pub trait Gate {
    /// Runs the test once.
    ///
    /// # Errors
    /// It could not be run, which is no failure of the test.
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool>;

    /// How likely a candidate is, beside the others.
    fn weight(&self, candidate: usize) -> u32;

    /// Candidates that together relax most of what this one does, each less than it. None if there are none.
    fn narrower(&mut self, candidate: usize) -> Vec<usize>;
}

/// Limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often the unconfined test is run.
    pub unconfined: usize,
    /// How often the result has to pass.
    pub again: usize,
    /// A profile with more faults than this is not the right one to begin with.
    pub culprits: usize,
    /// Test runs in all.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unconfined: 5,
            again: 3,
            culprits: 8,
            runs: 200,
        }
    }
}

/// How a search ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With these relaxed it passes, and with one less it does not.
    Found(Set),
    /// It fails by itself, in so many of so many runs.
    FailsByItself(usize, usize),
    /// It fails even if all candidates are relaxed.
    Elsewhere,
    /// More candidates than the limit are needed; these among them.
    TooMany(Set),
    /// The runs are used up; these were found.
    OutOfRuns(Set),
}

/// So deep is looked for something narrower.
const DEPTH: usize = 6;
/// How often the search is begun again where what it has found does not pass again.
const ROUNDS: usize = 3;

/// Searches.
///
/// # Errors
/// The gate's.
pub fn search(gate: &mut impl Gate, candidates: &[usize], limits: Limits) -> Result<Outcome> {
    let mut search = Search {
        gate,
        limits,
        known: Known::default(),
        flakes: Flakes::default(),
        done: 0,
        left: 0,
        found: Set::new(),
        demand: 1,
        learns: true,
    };
    let verdict = match search.whole(candidates) {
        Ok(verdict) => verdict,
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::OutOfRuns) => Verdict::OutOfRuns(search.found.clone()),
        Err(Stop::TooMany) => Verdict::TooMany(search.found.clone()),
    };
    Ok(Outcome {
        verdict,
        runs: search.done,
        flakes: search.flakes,
    })
}

/// What a search has found, and what it cost.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// How many test runs that took.
    pub runs: usize,
    /// How often the test failed by itself.
    pub flakes: Flakes,
}

enum Stop {
    Fault(anyhow::Error),
    OutOfRuns,
    TooMany,
}

struct Search<'g, G> {
    gate: &'g mut G,
    limits: Limits,
    known: Known,
    flakes: Flakes,
    done: usize,
    /// At most, from here on.
    left: usize,
    found: Set,
    /// How often the test has to pass until that is believed.
    demand: usize,
    /// Whether a failure before a pass is one of the test itself.
    learns: bool,
}

impl<G: Gate> Search<'_, G> {
    fn whole(&mut self, candidates: &[usize]) -> Result<Verdict, Stop> {
        self.left = self.limits.unconfined + self.bound(candidates, 0, 0);
        for _ in 0..self.limits.unconfined {
            let passed = self.run(&Confinement::None, Purpose::Flakes)?;
            self.flakes.count(passed);
        }
        if self.flakes.failed * 2 > self.flakes.runs {
            return Ok(Verdict::FailsByItself(self.flakes.failed, self.flakes.runs));
        }
        let everything: Set = candidates.iter().copied().collect();
        let repeats = self.flakes.repeats();
        self.left = self.bound(candidates, 0, 0);
        if !self.ask(&Set::new(), Purpose::AsItIs, repeats)?
            && !self.ask(&everything, Purpose::AllRelaxed, repeats)?
        {
            return Ok(Verdict::Elsewhere);
        }
        for _ in 0..ROUNDS {
            self.add_culprits(candidates)?;
            self.remove_needless()?;
            self.narrow()?;
            if self.passes_again()? {
                return Ok(Verdict::Found(self.found.clone()));
            }
        }
        Err(Stop::TooMany)
    }

    /// Adds to what is found until that passes.
    fn add_culprits(&mut self, candidates: &[usize]) -> Result<(), Stop> {
        let mut pool: Vec<usize> = candidates.to_vec();
        pool.retain(|one| !self.found.contains(one));
        loop {
            self.left = self.bound(&pool, 0, self.found.len());
            let found = self.found.clone();
            if self.ask(&found, Purpose::Enough, self.flakes.repeats_in_bisection())? {
                return Ok(());
            }
            if self.found.len() >= self.limits.culprits {
                self.remove_needless()?;
            }
            if self.found.len() >= self.limits.culprits || pool.is_empty() {
                return Err(Stop::TooMany);
            }
            // With `low` of them it fails, with `high` of them it passes.
            let (mut low, mut high) = (0, pool.len());
            while high - low > 1 {
                let middle = self.middle(&pool, low, high);
                let mut tried = found.clone();
                tried.extend(&pool[..middle]);
                self.left = self.bound(&pool[..high], low, found.len());
                let repeats = self.flakes.repeats_in_bisection();
                if self.ask(&tried, Purpose::Bisect(high - low), repeats)? {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            self.found.insert(pool[high - 1]);
            pool.truncate(high - 1);
        }
    }

    /// Where the candidates after `low`, of which the last may be at `high`, are halved by their weight.
    fn middle(&self, pool: &[usize], low: usize, high: usize) -> usize {
        let weights: Vec<u64> = pool[low..high]
            .iter()
            .map(|one| u64::from(self.gate.weight(*one)).max(1))
            .collect();
        let half = weights.iter().sum::<u64>().div_ceil(2);
        let mut sum = 0;
        let before = weights.iter().take_while(|weight| {
            sum += **weight;
            sum < half
        });
        (low + before.count() + 1).min(high - 1)
    }

    /// Takes away what a failure by chance has put among what is found.
    fn remove_needless(&mut self) -> Result<(), Stop> {
        for one in self.found.clone() {
            let mut rest = self.found.clone();
            rest.remove(&one);
            let repeats = self.flakes.repeats();
            self.left = self.bound_of_rest(self.found.len());
            // It is here because of a failure, which may have come by chance: that one proves nothing.
            if self.ask(&rest, Purpose::Needed(one), repeats + 1)? {
                self.found = rest;
            }
        }
        Ok(())
    }

    /// Replaces what is found by something narrower where that is enough.
    fn narrow(&mut self) -> Result<(), Stop> {
        let mut open: Vec<(usize, usize)> = self.found.iter().map(|one| (*one, DEPTH)).collect();
        while let Some((wide, depth)) = open.pop() {
            let parts = self.gate.narrower(wide);
            if depth == 0 || parts.is_empty() {
                continue;
            }
            let mut others = self.found.clone();
            others.remove(&wide);
            let mut tried = others.clone();
            tried.extend(&parts);
            let repeats = self.flakes.repeats();
            self.left = self.bound_of_narrowing(&parts, depth) + self.limits.again;
            if !self.ask(&tried, Purpose::Narrower(wide), repeats)? {
                continue;
            }
            let before = std::mem::replace(&mut self.found, others.clone());
            if let Err(stop) = self.add_culprits(&parts) {
                self.found = before;
                return Err(stop);
            }
            self.remove_needless()?;
            let narrower = self.found.difference(&others);
            open.extend(narrower.map(|one| (*one, depth - 1)));
        }
        Ok(())
    }

    /// Whether what is found passes as often as it has to. If not, no pass is believed any more.
    fn passes_again(&mut self) -> Result<bool, Stop> {
        let (mut passed, mut failed) = (0, 0);
        let found = Confinement::Except(self.found.clone());
        while passed < self.limits.again {
            self.left = self.limits.again - passed + self.flakes.repeats();
            if self.run(&found, Purpose::Again)? {
                passed += 1;
                self.flakes.count(true);
                (0..failed).for_each(|_| self.flakes.count(false));
                failed = 0;
            } else {
                failed += 1;
            }
            if failed >= self.flakes.repeats() {
                self.known.distrust_passes();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the test passes. A failure counts when it has come `repeats` times in a row; failures with more relaxed
    /// are among them.
    fn ask(&mut self, relaxed: &Set, purpose: Purpose, repeats: usize) -> Result<bool, Stop> {
        if self.known.passes(relaxed) {
            return Ok(true);
        }
        let mut passes = 0;
        while self.known.failures(relaxed) < repeats {
            if !self.run(&Confinement::Except(relaxed.clone()), purpose)? {
                self.known.fail(relaxed);
                continue;
            }
            passes += 1;
            if passes == self.demand {
                let by_chance = self.known.pass(relaxed);
                if self.learns {
                    self.flakes.count(true);
                    (0..by_chance).for_each(|_| self.flakes.count(false));
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run(&mut self, confinement: &Confinement, purpose: Purpose) -> Result<bool, Stop> {
        let budget = self.limits.runs.saturating_sub(self.done);
        if budget == 0 {
            return Err(Stop::OutOfRuns);
        }
        let progress = Progress {
            purpose,
            done: self.done,
            left: self.left.clamp(1, budget),
        };
        let passed = self.gate.passes(confinement, progress);
        let passed = passed.map_err(Stop::Fault)?;
        self.done += 1;
        self.left = self.left.saturating_sub(1);
        Ok(passed)
    }

    /// How many runs there are left at most, if each is at its worst, while one is looked for among those after `low`
    /// of `pool`. Failures by chance can make it more, and what is looked for in directories.
    fn bound(&self, pool: &[usize], low: usize, found: usize) -> usize {
        let more = self.limits.culprits.saturating_sub(found).min(pool.len());
        let repeats = self.flakes.repeats_in_bisection();
        let first = self.halvings(&pool[low..]);
        let others = more.saturating_sub(1) * (self.halvings(pool) + 1);
        2 * self.flakes.repeats()
            + (first + others + 1) * (repeats + self.demand - 1)
            + self.bound_of_rest(more + found)
    }

    /// How often these can be halved by their weight.
    fn halvings(&self, pool: &[usize]) -> usize {
        let weights = pool
            .iter()
            .map(|one| self.gate.weight(*one).max(1) as usize);
        pool.len().min(logarithm(weights.sum()) + 1)
    }

    /// The same, once this many are found.
    fn bound_of_rest(&self, found: usize) -> usize {
        found * (self.flakes.repeats() + self.demand) + self.limits.again
    }

    /// The same, for one that may have something narrower.
    fn bound_of_narrowing(&self, parts: &[usize], depth: usize) -> usize {
        let each = (self.halvings(parts) + 1) * self.flakes.repeats_in_bisection();
        depth * (each + 2 * self.flakes.repeats())
    }
}

/// How often it can be halved, rounded up.
fn logarithm(count: usize) -> usize {
    count.next_power_of_two().ilog2() as usize
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
