//! What is decided over: what was seen, as overrides and generalisation have it.
//!
//! Both change facts, not decisions: whatever the sandbox, what somebody allows counts like what was seen, what
//! somebody denies as if nobody had seen it, and a directory stands for what is in it.

mod generalise;
mod overrides;

use super::Commands;
use crate::observation::{Observation, RunKind};

pub use generalise::Paths;
pub use overrides::{Overrides, OverridesError};

/// An observation to decide over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// For decisions about accounts: who owns a file is a fact of that file.
    pub exact: Commands,
    /// For all others.
    pub general: Commands,
    /// What was changed, a sentence each without its full stop.
    pub remarks: Vec<String>,
}

/// Applies `overrides`, then puts directories in the place of files: as far as `paths` says, and where the overrides
/// ask for it.
#[must_use]
pub fn adapt(observation: &Observation, paths: Paths, overrides: &Overrides) -> Adapted {
    let mut exact = observation.clone();
    let mut remarks = overrides.apply(&mut exact);
    remarks.extend(generalise::folded(&exact));
    let mut general = exact.clone();
    remarks.extend(generalise::generalise(
        &mut general,
        paths,
        &overrides.generalise,
    ));
    let commands = |recorded| Commands::but(recorded, overrides.deny.syscalls.clone());
    Adapted {
        exact: commands(exact),
        general: commands(general),
        remarks,
    }
}

/// The executables of every run, also of the unit's other commands, that were seen at work.
fn executables(
    observation: &mut Observation,
) -> impl Iterator<Item = &mut crate::observation::Executable> {
    let runs = observation.runs.values_mut();
    let seen = runs.filter(|run| run.kind != RunKind::Override);
    seen.flat_map(|run| {
        let others = run.control.values_mut().flat_map(|one| one.values_mut());
        run.executables.values_mut().chain(others)
    })
}
