//! One attempt: files are installed on trial, the unit is restarted, looked at, and tested. The guard is there already.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::{
    Applied, Backend, Files, Unit,
    control::{self, systemctl, try_systemctl},
    files, guard, interruption, look, place,
    trial::step,
    unit::Before,
};

/// Whether nothing is installed that this would be mixed with.
///
/// # Errors
/// What is.
pub fn is_free(unit: &Unit, wanted: Backend) -> Result<()> {
    let name = unit.name();
    ensure!(
        !guard::is_armed(unit),
        "a trial of {name} is under way, or waits for harden confirm {name} or harden revert {name}"
    );
    for backend in Backend::ALL {
        let (trial, lasting) = (place::trial(unit, backend), place::lasting(unit, backend));
        let is_there = |path: &std::path::Path| path.symlink_metadata().is_ok();
        ensure!(
            !is_there(&trial),
            "{} is there already: first harden revert {name}",
            trial.display()
        );
        // The new drop-in hides an older one of the same name. Firejail's edit is made for the unit without it.
        let may_replace = backend == Backend::Systemd && wanted == Backend::Systemd;
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

/// What is attempted.
pub(super) struct Attempt<'a> {
    pub(super) unit: &'a Unit,
    pub(super) files: &'a Files,
    /// It stays below /run.
    pub(super) runtime: bool,
    /// What a shell runs, and has to succeed.
    pub(super) test: Option<&'a str>,
    /// How long the unit has to stay up.
    pub(super) settle: Duration,
    /// So long was waited for the daemon to stop, before it was killed.
    pub(super) killed: Cell<Option<Duration>>,
}

impl Attempt<'_> {
    /// Installs, restarts, looks, and tests. Returns what is in force, or why the unit does not work so.
    ///
    /// # Errors
    /// The files could not be installed, which says nothing about them.
    pub(super) fn run(
        &self,
        before: Before,
        until: Timestamp,
        deadline: Instant,
    ) -> Result<Result<String>> {
        let drop_in = self.install(until)?;
        systemctl(&["daemon-reload"], deadline)?;
        step("apply-reloaded");
        Ok(self.works(&drop_in, before, deadline))
    }

    fn install(&self, until: Timestamp) -> Result<std::path::PathBuf> {
        let unit = self.unit;
        let applied = Applied {
            backend: self.files.backend,
            since: seconds(Timestamp::now()),
            observation: self.files.observation.clone(),
            runtime: self.runtime,
            until: Some(seconds(until)),
            proof: None,
        };
        if let Some(profile) = &self.files.profile {
            let path = place::trial_profile(unit);
            files::write(path.as_ref(), &applied.over(profile))?;
        }
        step("apply-profile");
        let drop_in = place::trial(unit, self.files.backend);
        files::write(&drop_in, &applied.over(&self.files.on_trial(unit)))?;
        step("apply-installed");
        Ok(drop_in)
    }

    fn works(
        &self,
        drop_in: &std::path::Path,
        before: Before,
        deadline: Instant,
    ) -> Result<String> {
        let unit = self.unit;
        if let Err(error) = self.restart(deadline) {
            if Instant::now() >= deadline || interruption::came() {
                return Err(error);
            }
            bail!(look::why_not_up(unit)?);
        }
        step("apply-restarted");
        let found = look::look(unit, self.files, drop_in, before, self.settle)?;
        step("apply-looked");
        if let Some(test) = self.test {
            let tested = control::test(test, deadline);
            interruption::check()?;
            tested.with_context(|| format!("the test fails: {test}"))?;
            // It may have survived the test, or not.
            look::look(unit, self.files, drop_in, before, Duration::ZERO)
                .context("after the test")?;
        }
        step("apply-tested");
        interruption::check()?;
        Ok(found)
    }

    /// Restarts the unit. What was on trial before may refuse the daemon what it needs to stop: after half of the time it is
    /// killed, and what is on trial now gets the other half.
    fn restart(&self, deadline: Instant) -> Result<()> {
        let name = self.unit.name();
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        let restarted = try_systemctl(&["restart", "--", name], half);
        if restarted.is_ok() || Instant::now() < half || interruption::came() {
            return restarted;
        }
        let found = self.unit.properties(&["ActiveState"])?;
        if found.get("ActiveState").map(String::as_str) == Some("deactivating") {
            systemctl(&["kill", "--signal=KILL", "--", name], deadline)?;
            self.killed.set(Some(now.elapsed()));
        }
        // The job is still there, and this waits for it.
        try_systemctl(&["start", "--", name], deadline)
    }
}

/// Without what nobody reads.
fn seconds(time: Timestamp) -> Timestamp {
    time.round(jiff::Unit::Second).unwrap_or(time)
}
