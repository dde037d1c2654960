//! The test, run for real: the unit under the files, one confinement after the other.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Plan, Record, Tighter,
    search::{Confinement, Gate, Progress},
};
use crate::apply::{Ended, Files, Session, trial_step};

/// What is tried in a test run.
#[derive(Clone, Copy)]
pub enum Tried<'t, 'd> {
    /// The files with some of it relaxed.
    Relaxed(&'t Plan<'d>, &'t Confinement),
    /// The files with some of it taken away.
    Tighter(&'t Tighter, &'t Confinement),
}

/// What is said about a test run.
pub trait Report {
    /// It begins; so long has all taken.
    fn begins(&mut self, tried: Tried<'_, '_>, progress: Progress, time: Duration);
    /// It has ended.
    fn ended(&mut self, ended: &Ended);
}

/// What test runs have in common.
pub struct Runner<'a, R> {
    /// The unit, under its guard.
    pub session: &'a Session<'a>,
    /// What a shell runs.
    pub test: &'a str,
    /// What came of it.
    pub record: &'a mut Record,
    /// Who is told.
    pub report: R,
    /// When this began.
    pub since: Instant,
    /// How long it had taken before.
    pub before: Duration,
}

impl<R: Report> Runner<'_, R> {
    /// Runs the test under the files, unless it is recorded what comes of that. `names` is what the record calls it.
    fn run(
        &mut self,
        names: Option<Vec<String>>,
        files: impl FnOnce() -> Files,
        (tried, progress): (Tried<'_, '_>, Progress),
    ) -> Result<bool> {
        if let Some(passed) = self.record.replay(names.as_deref()) {
            return Ok(passed);
        }
        let time = || self.before + self.since.elapsed();
        self.report.begins(tried, progress, time());
        let ended = self.session.attempt(&files(), self.test)?;
        self.report.ended(&ended);
        let passed = ended.failure.is_none();
        self.record.add(names, passed, time())?;
        trial_step("trial-saved");
        Ok(passed)
    }
}

/// The gate of a real unit.
pub struct UnitGate<'g, 'a, 'd, R> {
    /// What is tried.
    pub plan: &'g mut Plan<'d>,
    /// How.
    pub runner: &'g mut Runner<'a, R>,
}

impl<R: Report> Gate for UnitGate<'_, '_, '_, R> {
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool> {
        let names = match confinement {
            Confinement::None => None,
            Confinement::Except(set) => Some(self.plan.named(set)),
        };
        let plan = &*self.plan;
        let tried = Tried::Relaxed(plan, confinement);
        let files = || plan.files(confinement);
        self.runner.run(names, files, (tried, progress))
    }

    fn weight(&self, candidate: usize) -> u32 {
        self.plan.weight(candidate)
    }

    fn narrower(&mut self, candidate: usize) -> Vec<usize> {
        self.plan.narrower(candidate)
    }
}

/// The same, where something is taken away.
pub struct TighterGate<'g, 'a, R> {
    /// What is tried.
    pub tighter: &'g Tighter,
    /// How.
    pub runner: &'g mut Runner<'a, R>,
}

impl<R: Report> Gate for TighterGate<'_, '_, R> {
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool> {
        let gone = match confinement {
            Confinement::None => Vec::new(),
            Confinement::Except(left) => self.tighter.all_but(left),
        };
        let names = gone.iter().map(|one| format!("taken away: {one}"));
        let tried = Tried::Tighter(self.tighter, confinement);
        let files = || self.tighter.files(confinement);
        self.runner
            .run(Some(names.collect()), files, (tried, progress))
    }

    /// What only lookups rest on is needed the least.
    fn weight(&self, candidate: usize) -> u32 {
        if self.tighter.removal(candidate).proof.is_lookup {
            1
        } else {
            2
        }
    }

    fn narrower(&mut self, _: usize) -> Vec<usize> {
        Vec::new()
    }
}
