//! What a Firejail profile means for a fact, as Firejail 0.9.72 enforces it.
//!
//! Firejail wraps the main process alone, so facts of a unit's other commands are not judged. Directives about which
//! nothing is known here never come this far: the reader hands them back.

mod arguments;
mod calls;
mod capabilities;
mod devices;
mod files;
mod hidden;
mod network;
mod read;
mod said;
mod syntax;
mod traps;

use std::collections::BTreeSet;

use crate::observation::{Deed, Text, argument};

use self::{calls::Calls, files::Files};
pub use self::{
    files::UNLESS_LIFTED,
    read::{is_ignored, read, read_lines, statement},
    said::said,
    traps::{hides_shell, traps},
};
use super::{
    super::places::socket_path,
    capability,
    judgement::{Judgement, Unjudged, all},
    line::{Line, Rules},
    list::List,
    recorded::Case,
    surroundings::Surroundings,
    uses::Use,
};

/// The directory that `whitelist PATH` hides but for the path (`extract_topdir` in `src/firejail/fs_whitelist.c`).
fn top(path: &str, homes: &BTreeSet<Text>) -> String {
    let homes = homes.iter().map(ToString::to_string);
    for top in homes.chain(std::iter::once("/sys/module".to_owned())) {
        if super::super::paths::below(path.as_bytes(), top.as_bytes()).is_some() {
            return top;
        }
    }
    let depth = match path {
        _ if path.starts_with("/run/user/") => 3,
        _ if path.starts_with("/usr/") => 2,
        _ => 1,
    };
    let parts = path.split('/').filter(|name| !name.is_empty()).take(depth);
    parts.fold(String::new(), |top, part| format!("{top}/{part}"))
}

/// A profile, ready to judge.
pub struct Firejail<'r> {
    calls: Calls<'r>,
    capabilities: capabilities::Capabilities<'r>,
    arguments: arguments::Arguments<'r>,
    network: network::Network<'r>,
    protocols: Option<List<'r>>,
    files: Files<'r>,
}

impl<'r> Firejail<'r> {
    /// Of a profile, for those who start it: `private` empties their home directories too.
    #[must_use]
    pub fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        Self {
            calls: Calls::new(rules),
            capabilities: capabilities::Capabilities::new(rules),
            arguments: arguments::Arguments::new(rules),
            network: network::Network::new(rules),
            protocols: List::of(rules, "protocol"),
            files: Files::new(rules, around),
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
        // What a call that was refused does not bear is to be killed for it.
        let kills = matches!(case.fact.what, Deed::Syscall(..)) && self.calls.kills();
        if let Some(why) = case.vain(false).filter(|_| !kills) {
            return Judgement::asks_for_nothing(why);
        }
        let beyond = |why| Judgement::Unjudged(Unjudged::NotExpressible(why));
        match case.fact.what {
            Deed::Syscall(abi, name) => self.calls.judge(abi, name.as_str(), case),
            Deed::Refused(..) => Judgement::REFUSED,
            Deed::Capability(..) | Deed::GrantedIn(..) | Deed::GrantedFor(..) => {
                self.capability(case)
            }
            Deed::Family(family) => self.family(family.as_str()),
            Deed::Socket(socket, _) => self.family(socket.family.as_str()),
            Deed::SocketType(_) => beyond("Firejail cannot tell socket types apart"),
            Deed::Argument(name) => self.arguments.judge(argument(name)),
            Deed::Address(_, address, _) if socket_path(address).is_none() => {
                self.network.judge(address, case)
            }
            Deed::Ran | Deed::InvokedAs(_) | Deed::File(..) | Deed::Address(..) => self.path(case),
        }
    }

    fn capability(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let name = match capability::needed(case) {
            Ok(name) => name,
            Err(judgement) => return judgement,
        };
        self.capabilities.judge(name)
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

/// Whether a line allows something that would be refused without it.
pub(super) fn grants(line: &Line) -> bool {
    const LISTS: [&str; 10] = [
        "caps.keep",
        "noblacklist",
        "private-bin",
        "private-etc",
        "private-opt",
        "private-srv",
        "protocol",
        "read-write",
        "seccomp.keep",
        "whitelist",
    ];
    const FLAGS: [&str; 6] = [
        "allow-debuggers",
        "keep-dev-shm",
        "keep-var-tmp",
        "writable-etc",
        "writable-var",
        "writable-var-log",
    ];
    match &line.element {
        None => FLAGS.contains(&line.directive),
        Some(element) if line.directive.starts_with("seccomp") && element.starts_with('!') => true,
        Some(element) if line.directive == "seccomp.keep" => {
            !calls::ADDED.contains(&element.as_str())
        }
        Some(_) => LISTS.contains(&line.directive),
    }
}
