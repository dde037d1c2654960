//! What a drop-in means for a fact, as systemd 252 enforces it on all commands of the unit.

mod absent;
mod calls;
mod files;
mod lists;
mod network;
mod read;
mod said;
mod sets;
mod syntax;
#[cfg(test)]
mod tests;
mod traps;
mod user;
mod words;

use std::collections::HashMap;

use harden_common::Argument;

use crate::observation::{Deed, argument};

pub use self::{
    absent::absent,
    read::{read, read_lines},
    said::said,
    traps::traps,
};
use self::{calls::Calls, files::Files, lists::Lines, sets::NAMESPACES, user::User};
use super::{
    super::{places::socket_path, systemd::default_list::DEFAULT},
    capability,
    judgement::{Judgement, PASS, Step, Unjudged, against, all},
    line::{Line, REFUSED, Rules},
    recorded::Case,
    surroundings::Surroundings,
    uses::Use,
};

/// A drop-in, ready to judge.
pub struct Systemd<'r> {
    yes: Yes<'r>,
    calls: Calls<'r>,
    capabilities: Option<Lines<'r>>,
    families: Option<Lines<'r>>,
    namespaces: Option<Lines<'r>>,
    user: User<'r>,
    files: Files<'r>,
    network: network::Network<'r>,
}

/// The directives that are turned on.
struct Yes<'r>(HashMap<&'r str, &'r Line>);

impl<'r> Yes<'r> {
    fn of(rules: &'r Rules) -> Self {
        let is_yes = |line: &&Line| line.element.as_deref() == Some("yes");
        let lines = rules.lines().iter().filter(is_yes);
        Self(lines.map(|line| (line.directive, line)).collect())
    }

    fn get(&self, directive: &str) -> Option<&'r Line> {
        self.0.get(directive).copied()
    }

    /// Refuses if one of the directives is on.
    fn against(&self, directives: &[&str]) -> Step<'r> {
        let mut lines = directives.iter().filter_map(|name| self.get(name));
        lines.next().map_or(PASS, against)
    }
}

/// The capabilities that each takes away, beside what it is named after (systemd.exec(5)).
const TAKEN: [(&str, &[&str]); 6] = [
    ("mknod", &["PrivateDevices"]),
    ("sys_module", &["ProtectKernelModules"]),
    ("sys_rawio", &["PrivateDevices"]),
    ("sys_time", &["ProtectClock"]),
    ("syslog", &["ProtectKernelLogs"]),
    ("wake_alarm", &["ProtectClock"]),
];

/// The word for a namespace in a list of `RestrictNamespaces=`.
fn namespace(argument: Argument) -> Option<&'static str> {
    use Argument as A;
    Some(match argument {
        A::NamespaceMount => "mnt",
        A::NamespaceCgroup => "cgroup",
        A::NamespaceUts => "uts",
        A::NamespaceIpc => "ipc",
        A::NamespaceUser => "user",
        A::NamespacePid => "pid",
        A::NamespaceNet => "net",
        _ => return None,
    })
}

/// What refuses each fact about arguments.
fn against_argument(argument: Argument) -> Option<&'static [&'static str]> {
    use Argument as A;
    Some(match argument {
        A::MmapWriteExec | A::MprotectExec | A::ShmatExec => &["MemoryDenyWriteExecute"],
        A::ModeSetid => &["RestrictSUIDSGID"],
        A::SchedulerRealtime => &["RestrictRealtime"],
        A::PersonalitySet => &["LockPersonality"],
        A::MknodDevice => &["PrivateDevices"],
        A::NamespaceMount
        | A::NamespaceCgroup
        | A::NamespaceUts
        | A::NamespaceIpc
        | A::NamespaceUser
        | A::NamespacePid
        | A::NamespaceNet
        | A::NamespaceTime
        | A::NamespaceAny => &["RestrictNamespaces"],
        _ => return None,
    })
}

impl<'r> Systemd<'r> {
    /// Of a drop-in.
    #[must_use]
    pub fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        let yes = Yes::of(rules);
        Self {
            calls: Calls::new(rules),
            capabilities: Lines::of(rules, "CapabilityBoundingSet"),
            families: Lines::of(rules, "RestrictAddressFamilies"),
            namespaces: Lines::of(rules, NAMESPACES).filter(|_| yes.get(NAMESPACES).is_none()),
            user: User::new(rules, &yes),
            files: Files::new(rules, &yes, around),
            network: network::Network::new(rules, &yes),
            yes,
        }
    }

    /// What it means for a fact.
    #[must_use]
    pub fn judge(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        if let Some(why) = case.vain(true) {
            return match case.fact.what {
                Deed::Syscall(abi, name) => self.calls.judge_in_vain(abi, name.as_str(), why),
                _ => Judgement::asks_for_nothing(why),
            };
        }
        let beyond = |why| Judgement::Unjudged(Unjudged::NotExpressible(why));
        match case.fact.what {
            Deed::Syscall(abi, name) => self.calls.judge(abi, name.as_str(), &self.yes, case),
            Deed::Refused(..) => Judgement::REFUSED,
            Deed::Capability(..) | Deed::GrantedIn(..) | Deed::GrantedFor(..) => {
                self.capability(case)
            }
            Deed::Family(family) => self.family(family.as_str()),
            Deed::Socket(socket, _) => self.family(socket.family.as_str()),
            Deed::SocketType(_) => beyond("no directive that harden writes is about socket types"),
            Deed::Argument(name) => self.argument(argument(name)),
            Deed::Address(_, address, _) if socket_path(address).is_none() => {
                self.network.judge(address, case)
            }
            // systemd runs the unit's commands under its filters, and a program others.
            Deed::Ran => match self.calls.runs() {
                Judgement::Allowed(_) => self.path(case),
                refused => refused,
            },
            Deed::InvokedAs(_) | Deed::File(..) | Deed::Address(..) => self.path(case),
        }
    }

    fn capability(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        let name = match capability::needed(case) {
            Ok(name) => name,
            Err(judgement) => return judgement,
        };
        let word = format!("CAP_{}", name.to_ascii_uppercase());
        let list = self.capabilities.as_ref().map(|list| list.judge(&word));
        let taken = TAKEN.iter().filter(|(taken, _)| *taken == name);
        let taken = taken.map(|(_, directives)| self.yes.against(directives));
        let steps = list.into_iter().chain(taken);
        all(steps.chain([
            self.user.has(&word, case),
            self.yes.against(&["PrivateUsers"]),
        ]))
    }

    /// It filters socket(2) alone, and whether a fact is of that or of socketpair(2) is not known.
    fn family(&self, name: &str) -> Judgement<'r> {
        let word = format!("AF_{}", name.to_ascii_uppercase());
        all(self.families.iter().map(|list| list.judge(&word)))
    }

    fn argument(&self, argument: Option<Argument>) -> Judgement<'r> {
        let namespace = argument.and_then(namespace);
        if let (Some(name), Some(list)) = (namespace, &self.namespaces) {
            return all([list.judge(name)]);
        }
        // Of which kind it is cannot be told: it is refused where any is (`seccomp_restrict_namespaces`).
        if let (Some(Argument::NamespaceAny), Some(list)) = (argument, &self.namespaces) {
            return if list.is_idle() {
                Judgement::FREE
            } else {
                all([against(list.line())])
            };
        }
        let makes_device = argument == Some(Argument::MknodDevice);
        if makes_device && self.yes.get("PrivateDevices").is_none() && self.files.is_closed() {
            return Judgement::Unjudged(Unjudged::NotSaid(
                "only listed devices can be made, and which one it was is not known",
            ));
        }
        match (argument, argument.and_then(against_argument)) {
            (_, Some(directives)) => all([self.yes.against(directives)]),
            (Some(Argument::ExecSetid), None) => Judgement::Unjudged(Unjudged::NotKnown(
                "with NoNewPrivileges= such a program runs, without what its bits would give",
            )),
            (None, None) => Judgement::UNKNOWN_ARGUMENT,
            (Some(_), None) => Judgement::Unjudged(Unjudged::NotExpressible(
                "no directive that harden writes is about it",
            )),
        }
    }

    fn path(&self, case: &Case<'_, '_>) -> Judgement<'r> {
        match Use::of(case, true) {
            Some(one) => match self.files.judge(&one) {
                Judgement::Allowed(_) if self.user.is_another(case) => {
                    Judgement::Unjudged(Unjudged::NotSaid(
                        "another user did it, and whether the user of the unit may is not known",
                    ))
                }
                judgement => judgement,
            },
            None => Judgement::Unjudged(Unjudged::NotKnown("the path is of another root")),
        }
    }
}

/// Whether a line allows something that would be refused without it.
pub(super) fn grants(line: &Line) -> bool {
    const LISTS: [&str; 9] = [
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "DeviceAllow",
        "IPAddressAllow",
        "ReadWritePaths",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "SystemCallArchitectures",
        "SystemCallFilter",
    ];
    // What is allowed anyway.
    let is_filter = line.directive == "SystemCallFilter";
    let is_default = |element: &str| is_filter && DEFAULT.contains(&element);
    let is_own = |element: &str| element == "native" || element == "none" || element == "yes";
    let element = line.element.as_deref().filter(|element| !is_own(element));
    let element = element.filter(|element| !is_default(element));
    element.is_some_and(|element| !element.starts_with(REFUSED) && LISTS.contains(&line.directive))
}
