//! `harden revert`: takes away what `harden apply` installed.

use anyhow::Result;

use super::{Backend, Unit, control::systemctl, files, guard, interruption, place, proof};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// A trial was ended.
    Trial,
    /// What had been kept is gone; and whether the unit was restarted.
    Kept {
        /// It ran.
        restarted: bool,
    },
    /// Nothing of harden's was there.
    Nothing,
}

/// Ends a trial, if there is one; else takes away what was kept, and restarts the unit if it runs.
///
/// # Errors
/// It cannot be done.
pub fn revert(unit: &Unit) -> Result<Reverted> {
    // Between the first file and the restart, a signal would leave the unit confined by files that are gone.
    interruption::watch()?;
    if guard::is_armed(unit) {
        let was_on_trial = guard::on_trial(unit)?.is_some();
        // One that was killed when it had kept the files left the timer.
        guard::put_back(unit)?;
        if was_on_trial {
            return Ok(Reverted::Trial);
        }
    }
    {
        let _lock = guard::Lock::take()?;
        let mut is_there = false;
        for backend in Backend::ALL {
            is_there |= files::remove(&place::trial(unit, backend))?;
            is_there |= files::remove(&place::lasting(unit, backend))?;
        }
        for profile in [place::trial_profile(unit), place::lasting_profile(unit)] {
            is_there |= files::remove(profile.as_ref())?;
        }
        proof::discard(unit);
        proof::clear(unit, None);
        if !is_there {
            return Ok(Reverted::Nothing);
        }
    }
    systemctl(&["daemon-reload"], guard::soon())?;
    let properties = unit.properties(&["ActiveState", "LoadState"])?;
    let property = |name: &str| properties.get(name).map_or("", String::as_str);
    let is_up = ["active", "activating", "reloading"].contains(&property("ActiveState"));
    let restarted = is_up && property("LoadState") == "loaded";
    if restarted {
        systemctl(&["restart", "--", unit.name()], guard::soon())?;
    }
    Ok(Reverted::Kept { restarted })
}
