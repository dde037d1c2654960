//! The test, run for real: the unit under the files, one confinement after the other.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Plan, Record,
    search::{Confinement, Gate, Progress},
};
use crate::apply::{Session, trial_step};

/// What is said about a test run.
pub trait Report {
    /// It begins; so long has all taken.
    fn begins(
        &mut self,
        plan: &Plan<'_>,
        confinement: &Confinement,
        progress: Progress,
        time: Duration,
    );
    /// It has ended; and why it failed, if it did.
    fn ended(&mut self, failure: Option<&str>);
}

/// The gate of a real unit.
pub struct UnitGate<'a, 'd, R> {
    /// The unit, under its guard.
    pub session: &'a Session<'a>,
    /// What is tried.
    pub plan: &'a mut Plan<'d>,
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

impl<R: Report> Gate for UnitGate<'_, '_, R> {
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool> {
        let relaxed = match confinement {
            Confinement::None => None,
            Confinement::Except(set) => Some(self.plan.named(set)),
        };
        if let Some(passed) = self.record.replay(relaxed.as_deref()) {
            return Ok(passed);
        }
        let time = || self.before + self.since.elapsed();
        self.report.begins(self.plan, confinement, progress, time());
        let files = self.plan.files(confinement);
        let failure = self.session.attempt(&files, self.test)?;
        self.report.ended(failure.as_deref());
        let passed = failure.is_none();
        self.record.add(relaxed, passed, time())?;
        trial_step("trial-saved");
        Ok(passed)
    }

    fn weight(&self, candidate: usize) -> u32 {
        self.plan.weight(candidate)
    }

    fn narrower(&mut self, candidate: usize) -> Vec<usize> {
        self.plan.narrower(candidate)
    }
}
