//! What the files of an OCI container mean for a fact: its list of calls, alone or in the runtime's `config.json` (config.md and
//! config-linux.md of the runtime specification, 1.0.2), as runc 1.1.5 enforces them.

mod arguments;
mod calls;
mod capabilities;
mod condition;
mod config;
mod files;
mod host;
mod mount;
mod read;
mod reader;
mod seccomp;
#[cfg(test)]
mod tests;

use harden_common::Argument;

use crate::observation::{Deed, argument};

use self::{calls::Calls, capabilities::Capabilities, files::Files};
pub use self::{
    host::Host,
    read::{read, read_file},
};
use super::{
    super::{
        evidence::{Decision, Evidence, Item},
        oci::Seccomp,
        places::socket_path,
    },
    judgement::{Judgement, Unjudged},
    line::{Line, Rules, Said, Shape},
    recorded::Case,
    surroundings::Surroundings,
    uses::Use,
};

/// What answers to all that is not allowed.
const ERRNO: &str = "SCMP_ACT_ERRNO";
/// The member that the runtime's file has and no other.
const CONFIG: &str = "ociVersion";

/// Each member with its elements and their evidence, or with why there is none.
#[must_use]
pub fn said(policy: &Seccomp) -> Vec<Said> {
    let allowed = match &policy.allowed {
        Decision::Given(allowed) => allowed,
        Decision::Withheld(reasons) => {
            return vec![Said {
                directive: "names",
                shape: Shape::List,
                value: Decision::Withheld(reasons.clone()),
            }];
        }
    };
    let bare = |value: String| Item::new(value, Evidence::default());
    let architectures = allowed.architectures.iter();
    let architectures = architectures.map(|name| bare(scmp(name))).collect();
    let names = allowed.program.iter().chain(&allowed.unasked);
    let names = names.chain(&allowed.runtime).cloned().collect();
    [
        ("defaultAction", Shape::Each, vec![bare(ERRNO.to_owned())]),
        ("architectures", Shape::List, architectures),
        ("names", Shape::List, names),
    ]
    .into_iter()
    .map(|(directive, shape, items)| Said {
        directive,
        shape,
        value: Decision::Given(items),
    })
    .collect()
}

fn scmp(architecture: &str) -> String {
    format!("SCMP_ARCH_{}", architecture.to_ascii_uppercase())
}

/// A file, ready to judge.
pub struct Oci<'r> {
    calls: Calls<'r>,
    /// Of the runtime's file, all else that is in it.
    config: Option<Config<'r>>,
}

struct Config<'r> {
    capabilities: Capabilities<'r>,
    files: Files<'r>,
    root: Vec<u8>,
    no_new_privileges: bool,
    has_own_network: bool,
}

impl<'r> Oci<'r> {
    /// Of a file.
    #[must_use]
    pub fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        let has = |directive, value| rules.elements(directive).any(|(one, _)| one == value);
        let root = rules.elements("root.path").next();
        let config = Config {
            capabilities: Capabilities::new(rules),
            files: Files::new(rules, around),
            root: root.map_or_else(Vec::new, |(path, _)| path.as_bytes().to_vec()),
            no_new_privileges: has("noNewPrivileges", "true"),
            has_own_network: has("namespaces", "network"),
        };
        Self {
            calls: Calls::new(rules),
            config: rules.line(CONFIG).map(|_| config),
        }
    }

    /// What it means for a fact.
    #[must_use]
    pub fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let is_call = matches!(case.fact.what, Deed::Syscall(..));
        if !is_call && self.config.is_none() {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "the object is about calls alone",
            ));
        }
        if case.fact.command.is_some() {
            return Judgement::Unjudged(Unjudged::NotExpressible(
                "the container is the main process, and this is of another command of the unit",
            ));
        }
        // What a call that was refused does not bear is to be killed for it.
        let kills = is_call && self.calls.kills();
        if let Some(why) = case.vain(false).filter(|_| !kills) {
            return Judgement::asks_for_nothing(why);
        }
        match (case.fact.what, &self.config) {
            (Deed::Syscall(abi, name), _) => self.calls.judge(abi, name.as_str(), case),
            (_, Some(config)) => config.judge(case),
            (_, None) => Judgement::FREE,
        }
    }
}

impl<'r> Config<'r> {
    fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        match case.fact.what {
            Deed::Refused(..) => Judgement::REFUSED,
            Deed::Capability(..) | Deed::GrantedIn(..) | Deed::GrantedFor(..) => {
                self.capabilities.judge(case)
            }
            Deed::Argument(name) => self.argument(argument(name)),
            Deed::Address(_, address, _) if socket_path(address).is_none() => {
                self.address(address.as_bytes())
            }
            Deed::Ran | Deed::InvokedAs(_) | Deed::File(..) | Deed::Address(..) => self.path(case),
            // What a filter does not refuse, the container does not either.
            Deed::Syscall(..) | Deed::Family(_) | Deed::Socket(..) | Deed::SocketType(_) => {
                Judgement::FREE
            }
        }
    }

    fn argument(&self, argument: Option<Argument>) -> Judgement<'r> {
        match argument {
            Some(Argument::ExecSetid) if self.no_new_privileges => {
                Judgement::Unjudged(Unjudged::NotKnown(
                    "with noNewPrivileges such a program runs, without what its bits would give",
                ))
            }
            Some(_) => Judgement::FREE,
            None => Judgement::UNKNOWN_ARGUMENT,
        }
    }

    fn address(&self, address: &[u8]) -> Judgement<'r> {
        let is_of_network = [&b"inet "[..], b"inet6 ", b"unix @"];
        let is_of_network = is_of_network.iter().any(|start| address.starts_with(start));
        if is_of_network && self.has_own_network {
            return Judgement::Unjudged(Unjudged::NotKnown(
                "the container has a network of its own, and who is reached through it is not in the file",
            ));
        }
        Judgement::FREE
    }

    fn path(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        match Use::inside(case, &self.root) {
            Some(one) => match self.files.judge(&one) {
                Judgement::Allowed(_) if self.capabilities.is_less_than(case) => {
                    Judgement::Unjudged(Unjudged::NotKnown(
                        "root did it, and whether the user of the container may is not known",
                    ))
                }
                judgement => judgement,
            },
            None => Judgement::Unjudged(Unjudged::NotKnown("the path is not known")),
        }
    }
}

/// Whether a line allows something that would be refused without it.
pub(super) fn grants(line: &Line) -> bool {
    const LISTS: [&str; 2] = ["bounding", "names"];
    line.element.is_some() && LISTS.contains(&line.directive)
}
