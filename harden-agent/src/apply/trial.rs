//! A trial, step by step. A kill between any two of them leaves the unit to the guard.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::{
    Applied, Backend, Files, Unit,
    control::{finish, systemctl},
    files, guard, look, place,
    unit::Before,
};
use crate::crash_point;

/// What a trial has done when it passes each of these, in their order.
pub const STEPS: [&str; 10] = [
    "apply-armed",
    "apply-profile",
    "apply-installed",
    "apply-reloaded",
    "apply-restarted",
    "apply-looked",
    "apply-tested",
    "apply-kept-profile",
    "apply-kept",
    "apply-cleared",
];

fn step(name: &'static str) {
    debug_assert!(STEPS.contains(&name), "{name} is in no list");
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
        {
            let _lock = guard::Lock::take()?;
            self.is_free()?;
            guard::arm(self.unit, limit)?;
        }
        step("apply-armed");
        let tried = self.tried(before, until, deadline);
        let tried = tried.and_then(|found| {
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

    /// Whether nothing is installed that this would be mixed with.
    fn is_free(&self) -> Result<()> {
        let name = self.unit.name();
        ensure!(
            !guard::is_armed(self.unit),
            "a trial of {name} is under way, or waits for harden confirm {name} or harden revert {name}"
        );
        for backend in Backend::ALL {
            let (trial, lasting) = (
                place::trial(self.unit, backend),
                place::lasting(self.unit, backend),
            );
            let is_there = |path: &std::path::Path| path.symlink_metadata().is_ok();
            ensure!(
                !is_there(&trial),
                "{} is there already: first harden revert {name}",
                trial.display()
            );
            // The new drop-in hides an older one of the same name. Firejail's edit is made for the unit without it.
            let may_replace = backend == Backend::Systemd && self.files.backend == Backend::Systemd;
            ensure!(
                may_replace || !is_there(&lasting),
                "{} is there already: first harden revert {name}, or remove the file if harden apply did not install it",
                lasting.display()
            );
            if may_replace && is_there(&lasting) {
                ensure!(
                    files::is_ours(&lasting)?,
                    "harden did not write {}: move it away first",
                    lasting.display()
                );
            }
        }
        Ok(())
    }

    /// Installs, restarts, looks, and tests. Returns what is in force.
    fn tried(&self, before: Before, until: Timestamp, deadline: Instant) -> Result<String> {
        let unit = self.unit;
        let applied = Applied {
            backend: self.files.backend,
            since: seconds(Timestamp::now()),
            observation: self.files.observation.clone(),
            runtime: self.runtime,
            until: Some(seconds(until)),
        };
        if let Some(profile) = &self.files.profile {
            let path = place::trial_profile(unit);
            files::write(path.as_ref(), &applied.over(profile))?;
        }
        step("apply-profile");
        let drop_in = place::trial(unit, self.files.backend);
        files::write(&drop_in, &applied.over(&self.files.on_trial(unit)))?;
        step("apply-installed");
        systemctl(&["daemon-reload"], deadline)?;
        step("apply-reloaded");
        if let Err(error) = systemctl(&["restart", "--", unit.name()], deadline) {
            if Instant::now() >= deadline {
                return Err(error);
            }
            bail!(look::why_not_up(unit)?);
        }
        step("apply-restarted");
        let found = look::look(unit, self.files, &drop_in, before, self.settle)?;
        step("apply-looked");
        if let Some(test) = self.test {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", test]);
            finish(&mut shell, deadline).with_context(|| format!("the test fails: {test}"))?;
            // It may have survived the test, or not.
            look::look(unit, self.files, &drop_in, before, Duration::ZERO)
                .context("after the test")?;
        }
        step("apply-tested");
        Ok(found)
    }
}

/// The unit could not be put back.
#[derive(Debug, thiserror::Error)]
#[error("the unit could not be put back, after: {reason}")]
pub struct NotPutBack {
    reason: String,
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
    let kept = applied.kept();
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
        step("apply-cleared");
    }
    let _ = guard::disarm(unit);
    drop(lock);
    // systemd has read the same text from the other place.
    let _ = systemctl(&["daemon-reload"], guard::soon());
    Ok(())
}

/// Without what nobody reads.
fn seconds(time: Timestamp) -> Timestamp {
    time.round(jiff::Unit::Second).unwrap_or(time)
}
