//! What a Firejail profile may say. What is known about the Firejail that will read it comes in as a
//! [`Target`].

mod capabilities;
pub(super) mod default_list;
mod defaults;
mod dev;
mod etc;
mod files;
mod home;
mod line;
mod name;
mod programs;
mod protocols;
pub mod service;
mod syscalls;
mod target;
mod warnings;

use serde::Serialize;

use crate::observation::Text;

use super::DecisionOptions;
use super::basis::Basis;
use super::coverage::Coverage;
use super::evidence::{Decision, Item};
use super::tmp;
use super::warnings::Warning;

pub use capabilities::Capabilities;
pub use defaults::Defaults;
pub(super) use defaults::{EMPTIED, HIDDEN, KERNEL};
pub(super) use dev::NODES;
pub use dev::PrivateDev;
pub use files::{Files, Rule, Withheld};
pub use home::HOMES;
pub use syscalls::{Filter, Syscalls};
pub(in crate::policy) use syscalls::{SHELL, SHELL_TRIES};
pub use target::{Launch, NotAVersion, Target, Version};
pub(super) use warnings::WARNINGS;

/// Everything decided for one observation and one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// What was observed: a unit or a command.
    pub subject: Text,
    /// For which Firejail, started how.
    pub target: Target,
    /// Over what, and what could not be seen.
    pub coverage: Coverage,
    /// `name`
    pub name: Decision<String>,
    /// `seccomp.keep`, `seccomp`, `seccomp.drop`, `seccomp.block-secondary`
    pub syscalls: Syscalls,
    /// `caps.keep`, `caps.drop all`
    pub capabilities: Capabilities,
    /// `protocol`
    pub protocols: Decision<Vec<Item>>,
    /// `private`: what of /home and /root was looked at, and is empty
    pub home: Decision<Vec<Item>>,
    /// `private-bin`
    pub programs: Decision<Vec<Item>>,
    /// `private-etc`
    pub etc: Decision<Vec<Item>>,
    /// `private-dev`
    pub dev: Decision<PrivateDev>,
    /// `private-tmp`
    pub tmp: Decision<()>,
    /// `shell none`: only where Firejail would otherwise start the program through a shell.
    pub shell_none: Decision<()>,
    /// `blacklist`, `whitelist`, `read-only`, `read-write`
    pub files: Files,
    /// What Firejail does unasked and the program cannot live with.
    pub defaults: Defaults,
    /// What the person who installs the profile must know.
    pub warnings: Vec<Warning>,
}

impl Profile {
    /// Decides. Any observation gives a profile; one that holds nothing gives no rule.
    #[must_use]
    pub fn decide(basis: &Basis<'_>, target: Target, decision_options: &DecisionOptions) -> Self {
        let subject = &basis.observation().name;
        let tmp = tmp::decide(b"/tmp", basis);
        let defaults = defaults::decide(basis);
        let context = files::Context {
            defaults: &defaults,
            private_tmp: tmp.given().is_some(),
            generalisation: decision_options.generalisation,
        };
        let files = files::decide(basis, &context);
        let syscalls = syscalls::decide(
            basis,
            &target,
            (decision_options.compatibility, decision_options.mode),
        );
        let capabilities = capabilities::decide(basis, &target);
        let mut profile = Self {
            subject: subject.clone(),
            name: name::decide(subject),
            protocols: protocols::decide(basis),
            programs: programs::decide(basis, &target),
            etc: etc::decide(basis),
            dev: dev::decide(basis),
            shell_none: shell_none(&target),
            home: home::decide(basis, &target, &files),
            warnings: Vec::new(),
            target,
            coverage: basis.coverage().clone(),
            syscalls,
            capabilities,
            tmp,
            files,
            defaults,
        };
        profile.warnings = warnings::collect(&profile, basis, decision_options.host.as_ref());
        profile
    }
}

fn shell_none(target: &Target) -> Decision<()> {
    if target.version < Version::NO_SHELL && target.launch == Launch::Direct {
        Decision::Given(())
    } else if target.version < Version::SHELL_NONE_FATAL {
        Decision::withheld("it changes nothing any more in this version, which only warns of it")
    } else {
        Decision::withheld("an error since Firejail 0.9.74")
    }
}
