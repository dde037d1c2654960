//! From facts to decisions, each with what asks for it, or with why it is not made.
//!
//! Plain data in, plain data out: no file, no kernel, no sandbox is touched here. One module for each
//! sandbox that a policy is made for; what they share lies beside them.
//!
//! A rule is given only if everything observed can live with it. Facts that could not be seen are
//! never taken for absent ([`Coverage`]).

pub mod account;
mod adapt;
mod basis;
mod calls;
mod capabilities;
mod completeness;
mod coverage;
pub mod denials;
mod elsewhere;
mod equivalents;
mod evidence;
pub mod firejail;
#[cfg(test)]
pub(crate) mod fixture;
mod folded;
mod given_away;
mod homes;
mod in_vain;
pub mod judge;
mod launchers;
pub mod login;
mod mode;
mod mounts;
pub mod oci;
mod paths;
mod places;
mod processes;
mod reasons;
mod refused;
mod renames;
mod set_id;
mod shared;
mod shells;
mod sockets;
pub mod systemd;
mod tmp;
mod unasked;
mod unchecked;
mod verdict;
mod warnings;

pub use adapt::{
    AcceptError, Accepted, Adapted, Contradiction, Generalisation, Overrides, OverridesError,
    accept, adapt, is_call,
};
pub use basis::{Basis, Commands, UnitBasis};
pub use completeness::{Completeness, Estimate};
pub use coverage::Coverage;
pub use equivalents::Compatibility;
pub use evidence::{Decision, Evidence, Item};
pub use in_vain::{InVain, Proof};
pub use mode::{Advice, Mode};
pub use paths::Links;
pub use processes::of_any_process;
pub use reasons::Reasons;
pub use verdict::Verdict;
pub use warnings::{Id, Warning, is_lost};

use crate::observation::Host;

impl Id {
    /// Every kind: those that all sandboxes have, and those of each.
    pub fn all() -> impl Iterator<Item = Self> {
        let all = [warnings::GENERAL, firejail::WARNINGS, account::WARNINGS];
        all.into_iter().flatten().copied()
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|id| id.name() == name)
    }
}

/// What is asked of a policy, whatever the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionOptions {
    /// The machine that it is for, where that is known.
    pub host: Option<Host>,
    /// How far the calls go beyond what was seen.
    pub compatibility: Compatibility,
    /// Which kind of list of calls; none: what is recommended.
    pub mode: Option<Mode>,
    /// How far directories replace what is in them.
    pub generalisation: Generalisation,
}
