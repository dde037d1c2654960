//! Where the files of a unit lie, on trial and afterwards.

use std::path::PathBuf;

use super::{Backend, Unit};
use crate::{
    observation::Text,
    render::{firejail, service},
};

/// What lies here until a reboot: scripts that put units back, and profiles on trial. Not the agent's own directory,
/// which goes with the agent.
pub(super) const RUN: &str = "/run/harden-apply";

/// Drop-ins on trial. Of two of the same name, systemd reads the one here (systemd.unit(5)): one in /etc that was
/// applied before is not in force beside it, and is again when this one is gone.
pub(super) const TRIAL: &str = "/run/systemd/system.control";

/// Drop-ins that stay.
pub(super) const LASTING: &str = "/etc/systemd/system";

/// Proof records that stay. Not in the agent's state directory, which belongs to the agent's user.
pub(super) const PROOFS: &str = "/var/lib/harden-apply";

/// The drop-in on trial.
pub(super) fn trial(unit: &Unit, backend: Backend) -> PathBuf {
    drop_in(TRIAL, unit, backend)
}

/// The drop-in that stays.
pub(super) fn lasting(unit: &Unit, backend: Backend) -> PathBuf {
    drop_in(LASTING, unit, backend)
}

fn drop_in(above: &str, unit: &Unit, backend: Backend) -> PathBuf {
    PathBuf::from(format!("{above}/{}.d/{}", unit.name(), backend.drop_in()))
}

/// Firejail's profile on trial. Its name has no character that systemd or a shell looks at.
pub(super) fn trial_profile(unit: &Unit) -> String {
    format!("{RUN}/{}", firejail::file_name(&Text::from(unit.name())))
}

/// There while a unit is reverted: its files may be gone, and its processes still confined by them.
pub(super) fn reverting(unit: &Unit) -> PathBuf {
    PathBuf::from(format!("{RUN}/{}.reverting.json", unit.name()))
}

/// The proof of what is on trial, or stays until a reboot.
pub(super) fn trial_proof(unit: &Unit) -> PathBuf {
    PathBuf::from(format!("{RUN}/{}.proof.json", unit.name()))
}

/// The directory of the unit's proofs that stay.
pub(super) fn proofs(unit: &Unit) -> PathBuf {
    PathBuf::from(format!("{PROOFS}/{}", unit.name()))
}

/// A proof that stays, by the digest of its file: a new one never replaces that which a drop-in in force names.
pub(super) fn lasting_proof(unit: &Unit, sha256: &str) -> PathBuf {
    proofs(unit).join(format!("{sha256:.16}.json"))
}

/// Firejail's profile that stays, as the service edit names it.
pub(super) fn lasting_profile(unit: &Unit) -> String {
    service::profile(&Text::from(unit.name()))
}
