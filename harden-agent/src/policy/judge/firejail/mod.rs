//! What a Firejail profile means for a fact, as Firejail 0.9.72 enforces it.
//!
//! Firejail wraps the main process alone, so facts of a unit's other commands are not judged. Directives about which
//! nothing is known here never come this far: the reader hands them back.

mod calls;
mod files;
mod read;
mod said;

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Deed, Text, argument};

use self::{calls::Calls, files::Files};
pub use self::{
    files::UNLESS_LIFTED,
    read::{FLAGS, read},
    said::said,
};
use super::{
    super::places::socket_path,
    capability,
    judgement::{Judgement, Refusal, Unjudged, against, all},
    line::{Line, Rules},
    list::List,
    recorded::Case,
    uses::Use,
};

/// The directory that `whitelist PATH` hides but for the path (`whitelist` in firejail(1)).
pub(super) fn top(path: &str) -> String {
    for top in ["/usr/share", "/sys/module"] {
        if super::super::paths::is_within(path.as_bytes(), top.as_bytes()) {
            return top.to_owned();
        }
    }
    let first = path.split('/').find(|name| !name.is_empty());
    format!("/{}", first.unwrap_or_default())
}

/// A profile, ready to judge.
pub struct Firejail<'r> {
    calls: Calls<'r>,
    no_capability: Option<&'r Line>,
    capabilities: Option<List<'r>>,
    protocols: Option<List<'r>>,
    files: Files<'r>,
}

impl<'r> Firejail<'r> {
    /// Of a profile, for those who start it: `private` empties their home directories too.
    #[must_use]
    pub fn new(rules: &'r Rules, homes: &BTreeSet<Text>) -> Self {
        let mut drops = rules.elements("caps.drop");
        Self {
            calls: Calls::new(rules),
            no_capability: drops.find(|(what, _)| *what == "all").map(|(_, line)| line),
            capabilities: List::of(rules, "caps.keep"),
            protocols: List::of(rules, "protocol"),
            files: Files::new(rules, homes),
        }
    }

    /// What it means for a fact.
    #[must_use]
    pub fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        if case.fact.command.is_some() {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "Firejail wraps ExecStart= alone, and this is of another command of the unit",
            ));
        }
        if let Some(why) = case.vain(false) {
            return Judgement::asks_for_nothing(why);
        }
        let beyond = |why| Judgement::Unjudged(Unjudged::NotExpressible(why));
        match case.fact.what {
            Deed::Syscall(abi, name) => self.calls.judge(abi, name.as_str(), case.architecture()),
            Deed::Capability(..) | Deed::GrantedIn(..) | Deed::GrantedFor(..) => {
                self.capability(case)
            }
            Deed::Family(family) => self.family(family.as_str()),
            Deed::Socket(socket, _) => self.family(socket.family.as_str()),
            Deed::SocketType(_) => beyond("Firejail cannot tell socket types apart"),
            Deed::Argument(name) => about(argument(name)),
            Deed::Address(_, address, _) if socket_path(address).is_none() => {
                beyond("no line that harden writes is about addresses")
            }
            Deed::Ran | Deed::InvokedAs(_) | Deed::File(..) | Deed::Address(..) => self.path(case),
        }
    }

    fn capability(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let name = match capability::needed(case) {
            Ok(name) => name,
            Err(judgement) => return judgement,
        };
        if let Some(line) = self.no_capability {
            return all([against(line)]);
        }
        all(self.capabilities.iter().map(|list| list.allows(name)))
    }

    fn family(&self, name: &str) -> Judgement<'r> {
        all(self.protocols.iter().map(|list| list.allows(name)))
    }

    fn path(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        match Use::of(case, false) {
            Some(one) => self.files.judge(&one),
            None => Judgement::Unjudged(Unjudged::NotKnown("the path is of another root")),
        }
    }
}

fn about(argument: Option<Argument>) -> Judgement<'static> {
    match argument {
        Some(Argument::SignalOtherCgroup) => Judgement::Refused(Refusal::Always(
            "Firejail always makes a PID namespace, in which there is no process of another cgroup",
        )),
        None => Judgement::UNKNOWN_ARGUMENT,
        Some(_) => Judgement::Unjudged(Unjudged::NotExpressible(
            "no line that harden writes is about arguments",
        )),
    }
}
