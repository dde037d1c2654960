//! What is asked of every plan, whatever it is about.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    path::PathBuf,
};

use anyhow::Result;

use super::{
    Format, Plan, adapted,
    start::{self, Logins, Start},
};
use crate::{
    machine,
    observation::Observation,
    policy::{
        Adapted, DecisionOptions,
        firejail::{Target, service::UnitFile},
    },
    render::{Options, report, yocto},
};

/// What is written, what for, and how. The same for all observations.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What is written, in the order of [`super::FORMATS`].
    pub formats: Vec<&'static Format>,
    /// The Firejail that will read a profile.
    pub target: Target,
    /// How the program will be started under it; none: as fits who starts it.
    pub start: Option<Start>,
    /// What is asked of decisions.
    pub decision_options: DecisionOptions,
    /// The directory with what somebody has decided.
    pub overrides: PathBuf,
    /// Whether this machine's systemd will read a drop-in: then it is asked which calls it knows.
    pub asks_systemd: bool,
    /// The unit, where it is not one of this system's.
    pub unit: Option<UnitFile>,
    /// How a Yocto recipe is written.
    pub yocto_syntax: yocto::Syntax,
    /// How a report is written.
    pub report_syntax: report::Syntax,
    /// What the names of proposed accounts begin with.
    pub account_prefix: String,
    /// How pages are written.
    pub options: Options,
    /// A look-up reads files or asks a server, and a service of an agent has many runs.
    pub(crate) logins: RefCell<Logins>,
    /// What systemd said.
    pub(crate) calls: OnceCell<Option<BTreeSet<String>>>,
}

impl Request {
    /// What is decided over for an observation.
    ///
    /// # Errors
    /// The overrides cannot be read.
    pub fn adapt<'o>(&self, observation: &'o Observation) -> Result<Adapted<'o>> {
        adapted(
            observation,
            self.decision_options.generalisation,
            &self.overrides,
        )
    }

    /// The plan for an observation, and what is decided over for it.
    #[must_use]
    pub fn plan<'r>(&'r self, observation: &'r Observation, adapted: &'r Adapted<'r>) -> Plan<'r> {
        Plan::new(self, observation, adapted)
    }

    /// The calls that systemd knows, where it is asked.
    pub(super) fn calls(&self) -> Option<&BTreeSet<String>> {
        let ask = || self.asks_systemd.then(machine::systemd::calls).flatten();
        self.calls.get_or_init(ask).as_ref()
    }

    /// The Firejail, as those start it who did what `observation` shows.
    #[must_use]
    pub fn target(&self, observation: &Observation) -> Target {
        let logins = &mut self.logins.borrow_mut();
        start::started(&self.target, self.start, observation, logins)
    }
}
