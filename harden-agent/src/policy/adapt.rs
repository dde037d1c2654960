//! What is decided over: what was seen, as overrides and generalisation have it.
//!
//! Both change facts, not decisions: whatever the sandbox, what somebody allows counts like what was seen, what
//! somebody denies as if nobody had seen it, and a directory replaces what is in it.

mod accept;
mod contradiction;
mod generalise;
mod overrides;
mod under_firejail;

use std::borrow::Cow;

use super::Commands;
use crate::observation::{Observation, RunKind};

pub use accept::{AcceptError, Accepted, accept};
pub use contradiction::Contradiction;
pub use generalise::Generalisation;
pub use overrides::{Overrides, OverridesError, is_call};

/// An observation to decide over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted<'o> {
    /// For decisions about accounts: who owns a file is a fact of that file.
    pub exact: Commands<'o>,
    /// For all others.
    pub general: Commands<'o>,
    /// What was changed, a sentence each without its full stop.
    pub remarks: Vec<String>,
}

/// Applies `overrides`, then puts directories in the place of files: as far as `paths` says, and where the overrides
/// ask for it.
///
/// What is not changed is not copied: it may be a million files.
#[must_use]
pub fn adapt<'o>(
    observation: &'o Observation,
    paths: Generalisation,
    overrides: &Overrides,
) -> Adapted<'o> {
    let mut exact = Cow::Borrowed(observation);
    let mut remarks: Vec<String> = under_firejail::leave_out(&mut exact).into_iter().collect();
    if *overrides != Overrides::default() {
        remarks.extend(overrides.apply(exact.to_mut()));
    }
    remarks.extend(generalise::folded(&exact));
    let mut general = exact.clone();
    let rule = generalise::Rule {
        level: paths,
        asked: &overrides.generalise,
        denied: &overrides.deny.paths,
    };
    if generalise::is_changed(&exact, rule) {
        remarks.extend(generalise::generalise(general.to_mut(), rule));
    }
    let commands = |recorded| Commands::but(recorded, overrides.deny.syscalls.clone());
    Adapted {
        exact: commands(exact),
        general: commands(general),
        remarks,
    }
}

impl Adapted<'_> {
    /// Whether all decisions are about the same facts.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let (exact, general): (&Observation, &Observation) =
            (&self.exact.recorded, &self.general.recorded);
        std::ptr::eq(exact, general)
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
