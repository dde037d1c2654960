//! `harden revert`: takes away what `harden apply` installed.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{Backend, Unit, control::systemctl, files, guard, interruption, place, proof};
use crate::crash_point;

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
        // It puts the unit back itself.
        let was_tried = guard::stop_holder(unit)?;
        if guard::is_armed(unit) || guard::on_trial(unit)?.is_some() {
            // One that was killed when it had kept the files left the timer.
            guard::put_back(unit)?;
        }
        if was_on_trial || was_tried {
            return Ok(Reverted::Trial);
        }
    }
    {
        let _lock = guard::Lock::take()?;
        // One that was killed before the restart left this.
        let mut is_there = place::reverting(unit).exists();
        if !is_there && is_kept(unit)? {
            files::write_data(&place::reverting(unit), b"{}\n".to_vec())?;
        }
        for path in all_files(unit) {
            is_there |= files::remove(&path)?;
        }
        crash_point::pass("revert-removed");
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
    let reverting = place::reverting(unit);
    fs::remove_file(&reverting).with_context(|| reverting.display().to_string())?;
    Ok(Reverted::Kept { restarted })
}

/// Whether a file is there that is to be taken away.
fn is_kept(unit: &Unit) -> Result<bool> {
    for path in all_files(unit) {
        if files::read(&path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where something may be installed: the drop-ins first, which name the profiles.
fn all_files(unit: &Unit) -> Vec<PathBuf> {
    let drop_ins =
        Backend::ALL.map(|backend| [place::trial(unit, backend), place::lasting(unit, backend)]);
    let profiles = [place::trial_profile(unit), place::lasting_profile(unit)];
    let drop_ins = drop_ins.into_iter().flatten();
    drop_ins.chain(profiles.map(PathBuf::from)).collect()
}
