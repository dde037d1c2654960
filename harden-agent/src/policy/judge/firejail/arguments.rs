//! What the arguments of calls say, under a Firejail profile.

use harden_common::Argument;

use super::super::{
    judgement::{Judgement, PASS, Refusal, Step, Unjudged, against, all},
    line::{Line, Rules},
    list::List,
};

pub(super) struct Arguments<'r> {
    memory: Option<&'r Line>,
    namespaces: Option<List<'r>>,
    no_new_privileges: Option<&'r Line>,
}

impl<'r> Arguments<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        Self {
            memory: rules.line("memory-deny-write-execute"),
            namespaces: List::of(rules, "restrict-namespaces"),
            no_new_privileges: rules.line("nonewprivs"),
        }
    }

    pub(super) fn judge(&self, argument: Option<Argument>) -> Judgement<'r> {
        use Argument as A;
        match argument {
            Some(A::SignalOtherCgroup) => Judgement::Refused(Refusal::Always(
                "Firejail always makes a PID namespace, in which there is no process of another cgroup",
            )),
            Some(A::MmapWriteExec | A::MprotectExec | A::ShmatExec) if self.memory.is_some() => {
                all(self.memory.map(against))
            }
            Some(A::ExecSetid) if self.no_new_privileges.is_some() => {
                Judgement::Unjudged(Unjudged::NotKnown(
                    "with nonewprivs such a program runs, without what its bits would give",
                ))
            }
            None => Judgement::UNKNOWN_ARGUMENT,
            _ => match (argument.and_then(namespace), &self.namespaces) {
                (Some(name), Some(list)) => all([refuses(list, name)]),
                _ => Judgement::Unjudged(Unjudged::NotExpressible(
                    "no line that harden reads is about it",
                )),
            },
        }
    }
}

/// `restrict-namespaces` without a list refuses all (src/fseccomp/namespaces.c).
fn refuses<'r>(list: &List<'r>, name: &str) -> Step<'r> {
    match list.get(name) {
        Some(line) => against(line),
        None if list.is_empty() || name == ANY => against(list.line()),
        None => PASS,
    }
}

/// Asked for, and which one is not known.
const ANY: &str = "any";

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
        A::NamespaceTime => "time",
        A::NamespaceAny => ANY,
        _ => return None,
    })
}
