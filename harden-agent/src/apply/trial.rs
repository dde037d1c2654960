//! A trial, step by step. A kill between any two of them leaves the unit to the guard.

use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::{
    Backend, Files, Unit,
    attempt::{self, Attempt},
    control::systemctl,
    files, guard, interruption, place, proof,
};
use crate::{crash_point, observation::Text};

/// What a trial has done when it passes each of these, in their order.
pub const STEPS: [&str; 12] = [
    "apply-armed",
    "apply-profile",
    "apply-installed",
    "apply-reloaded",
    "apply-restarted",
    "apply-looked",
    "apply-tested",
    "apply-proved",
    "apply-kept-proof",
    "apply-kept-profile",
    "apply-kept",
    "apply-cleared",
];

/// What a session of `harden trial` has done when it passes each of these.
pub const TRIAL_STEPS: [&str; 8] = [
    "apply-armed",
    "trial-extended",
    "apply-installed",
    "apply-reloaded",
    "apply-restarted",
    "apply-looked",
    "apply-tested",
    "trial-saved",
];

pub(crate) fn step(name: &'static str) {
    debug_assert!(
        STEPS.contains(&name) || TRIAL_STEPS.contains(&name),
        "{name} is in no list"
    );
    crash_point::pass(name);
}

/// What is tried, and how.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// What is installed.
    pub files: &'a Files,
    /// It stays below /run, until a reboot.
    pub runtime: bool,
    /// What a shell runs, and has to succeed.
    pub test: Option<&'a str>,
    /// The programs that it was seen to run.
    pub programs: &'a BTreeSet<Text>,
    /// It is put back in this time, unless somebody confirms it.
    pub confirm: Option<Duration>,
    /// How long all of the trial may take.
    pub within: Duration,
    /// How long the unit has to stay up.
    pub settle: Duration,
}

/// How a trial ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is installed; and what is in force.
    Kept(String),
    /// It is put back at this time, unless it is confirmed; and what is in force.
    Waiting(Timestamp, String),
    /// The unit is as it was; and why.
    PutBack(String),
}

impl Trial<'_> {
    /// Tries.
    ///
    /// # Errors
    /// Nothing was changed; or the unit could not be put back, which is [`NotPutBack`].
    pub fn run(&self) -> Result<Outcome> {
        let limit = self.confirm.unwrap_or(self.within);
        let before = self.unit.running()?;
        let deadline = Instant::now() + limit;
        let until = Timestamp::now() + limit;
        interruption::watch()?;
        let _holder = {
            let _lock = guard::Lock::take()?;
            attempt::is_free(self.unit, self.files.backend)?;
            guard::arm(self.unit, limit)?
        };
        step("apply-armed");
        let attempt = Attempt {
            unit: self.unit,
            files: self.files,
            runtime: self.runtime,
            test: self.test,
            settle: self.settle,
            killed: Cell::default(),
        };
        let tried = attempt.run(before, until, deadline).flatten();
        let tried = tried.and_then(|found| {
            self.prove(&found)?;
            interruption::check()?;
            if self.confirm.is_none() {
                keep(self.unit, self.files.backend)?;
            }
            Ok(found)
        });
        match tried {
            Ok(found) if self.confirm.is_some() => Ok(Outcome::Waiting(until, found)),
            Ok(found) => Ok(Outcome::Kept(found)),
            Err(reason) => {
                guard::put_back(self.unit).map_err(|error| {
                    let reason = format!("{reason:#}");
                    anyhow::Error::new(NotPutBack { reason }).context(format!("{error:#}"))
                })?;
                Ok(Outcome::PutBack(format!("{reason:#}")))
            }
        }
    }
}

impl Trial<'_> {
    /// Writes what is known of it now.
    fn prove(&self, in_force: &str) -> Result<()> {
        let installed = if self.runtime {
            self.files.of_runtime(self.unit)
        } else {
            let lasting = self.files.lasting(self.unit).into_iter();
            lasting
                .map(|(path, text)| (path, text.to_owned()))
                .collect()
        };
        let proof = proof::gather(&proof::Tried {
            unit: self.unit,
            files: self.files,
            installed,
            programs: self.programs,
            test: self.test,
            in_force,
        });
        proof::stage(self.unit, &proof)?;
        step("apply-proved");
        Ok(())
    }
}

/// The unit could not be put back.
#[derive(Debug, thiserror::Error)]
#[error("the unit could not be put back, after: {reason}")]
pub struct NotPutBack {
    pub(super) reason: String,
}

/// Keeps what is on trial, which somebody has looked at. Returns `false` where nothing is, or it was put back already.
///
/// # Errors
/// It cannot be kept.
pub fn confirm(unit: &Unit) -> Result<bool> {
    if !guard::is_armed(unit) {
        return Ok(false);
    }
    let Some(backend) = guard::on_trial(unit)? else {
        return Ok(false);
    };
    // Every attempt of harden trial is on trial too, and none of them is to be kept.
    ensure!(
        proof::is_staged(unit),
        "the test of what is on trial is not over, or did not succeed; to put {name} back: harden revert {name}",
        name = unit.name()
    );
    keep(unit, backend)?;
    Ok(true)
}

/// Makes what is on trial lasting: its drop-in gets its place in /etc at once, or does not.
fn keep(unit: &Unit, backend: Backend) -> Result<()> {
    let lock = guard::Lock::take()?;
    let trial = place::trial(unit, backend);
    let Some((applied, text)) = files::read(&trial)? else {
        bail!("it took too long, and was put back (--within)");
    };
    let proof = proof::keep(unit, applied.runtime)?;
    step("apply-kept-proof");
    let kept = applied.kept(proof.as_ref());
    if applied.runtime {
        files::write(&trial, &kept.over(&text))?;
    } else {
        let (from, to) = (place::trial_profile(unit), place::lasting_profile(unit));
        if backend == Backend::Firejail {
            let profile = files::read(from.as_ref())?;
            let (_, profile) = profile.context("the profile on trial is gone")?;
            files::write(to.as_ref(), &kept.over(&profile))?;
        }
        step("apply-kept-profile");
        let text = files::with_profile(&text, &from, &to);
        files::write(&place::lasting(unit, backend), &kept.over(&text))?;
        step("apply-kept");
        // It is kept now, whatever comes. What fails from here on is left to the timer, which takes away what was on trial.
        let _ = files::remove(&trial);
        let _ = files::remove(from.as_ref());
        proof::discard(unit);
        proof::clear(unit, proof.as_ref());
        step("apply-cleared");
    }
    let _ = guard::disarm(unit);
    drop(lock);
    // systemd has read the same text from the other place.
    let _ = systemctl(&["daemon-reload"], guard::soon());
    Ok(())
}
