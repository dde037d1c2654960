//! Many attempts, one after the other, under one guard: each begins its time again.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;

use super::{
    Backend, Files, NotPutBack, Unit,
    attempt::{self, Attempt},
    control::systemctl,
    files, guard,
    holder::Holder,
    interruption, place,
    trial::step,
    unit::Before,
};

/// So much longer than an attempt does the guard wait: an attempt ends by itself, with what came of it.
const SLACK: Duration = Duration::from_secs(5);

/// What came of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The daemon did not stop under what was tried before, and was killed after this time.
    pub killed: Option<Duration>,
}

/// A unit on trial, time after time.
pub struct Session<'a> {
    unit: &'a Unit,
    before: Before,
    within: Duration,
    settle: Duration,
    is_closed: bool,
    _holder: Holder,
}

impl Drop for Session<'_> {
    /// After a panic; whatever cannot be put back here is left to the timer.
    fn drop(&mut self) {
        if !self.is_closed {
            let _ = guard::put_back(self.unit);
        }
    }
}

impl<'a> Session<'a> {
    /// Has systemd put the unit back when an attempt has taken longer than `within` allows. The unit has to stay up for
    /// `settle`.
    ///
    /// # Errors
    /// The unit does not run, something is installed already, or systemd refuses. Nothing was changed.
    pub fn open(
        unit: &'a Unit,
        backend: Backend,
        within: Duration,
        settle: Duration,
    ) -> Result<Self> {
        let before = unit.running()?;
        interruption::watch()?;
        let holder = {
            let _lock = guard::Lock::take()?;
            attempt::is_free(unit, backend)?;
            guard::arm(unit, within + SLACK)?
        };
        step("apply-armed");
        Ok(Self {
            unit,
            before,
            within,
            settle,
            is_closed: false,
            _holder: holder,
        })
    }

    /// Runs the test with these files in force.
    ///
    /// # Errors
    /// It could not be run.
    pub fn attempt(&self, files: &Files, test: &str) -> Result<Ended> {
        guard::extend(self.unit)?;
        step("trial-extended");
        for other in Backend::ALL {
            if other != files.backend {
                files::remove(&place::trial(self.unit, other))?;
            }
        }
        let deadline = Instant::now() + self.within;
        // Many starts in a row are what systemd would stop at.
        let _ = systemctl(&["reset-failed", "--", self.unit.name()], deadline);
        let attempt = Attempt {
            unit: self.unit,
            files,
            runtime: false,
            test: Some(test),
            settle: self.settle,
            killed: Cell::default(),
        };
        let until = Timestamp::now() + self.within + SLACK;
        let tried = attempt.run(self.before, until, deadline)?;
        // Then it says nothing about the files.
        interruption::check()?;
        Ok(Ended {
            failure: tried.err().map(|reason| format!("{reason:#}")),
            killed: attempt.killed.get(),
        })
    }

    /// Puts the unit back.
    ///
    /// # Errors
    /// It cannot be put back, which is [`NotPutBack`].
    pub fn close(mut self) -> Result<()> {
        self.is_closed = true;
        let put_back = guard::put_back(self.unit);
        put_back.map_err(|error| {
            let reason = "the trial".to_owned();
            anyhow::Error::new(NotPutBack { reason }).context(format!("{error:#}"))
        })
    }
}
