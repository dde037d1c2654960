//! What the files of a plan mean for facts: see [`crate::policy::judge`].

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod laws;

use std::collections::BTreeSet;

use super::Plan;
use crate::{
    observation::Text,
    policy::judge::{Judge, Recorded, Rules, Said, Sandbox, Surroundings, firejail, oci, systemd},
};

impl Plan<'_> {
    /// What was decided for a sandbox, directive by directive.
    #[must_use]
    pub fn said(&self, sandbox: Sandbox) -> Vec<Said> {
        match sandbox {
            Sandbox::Firejail => firejail::said(self.firejail()),
            Sandbox::Systemd => systemd::said(self.systemd()),
            Sandbox::Oci => oci::said(self.oci()),
        }
    }

    /// The lines of its file.
    #[must_use]
    pub fn rules(&self, sandbox: Sandbox) -> Rules {
        Rules::of(sandbox, self.said(sandbox))
    }

    /// The lines of a file, ready to judge facts: its own, or others for the same machine.
    #[must_use]
    pub fn judge<'f>(&self, rules: &'f Rules) -> Judge<'f> {
        let observation = &self.adapted().exact.recorded;
        Judge::new(rules, &Surroundings::of(observation, self.homes()))
    }

    /// What it was decided over, as facts to judge.
    #[must_use]
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded::of(&self.adapted().general.recorded)
    }

    /// The home directories of those who start Firejail, as far as they are known.
    fn homes(&self) -> BTreeSet<Text> {
        let homes = &self.firejail().target.homes;
        homes.given().cloned().unwrap_or_default()
    }
}
