//! What was refused while it was recorded, and by which line.
//!
//! A filter answers before a call is made, and the kernel gives one error for many reasons: what was recorded does not say who
//! refused. So each refusal is turned round: it is supposed that it had been let through, and the matcher says which line of
//! what is in force would have refused that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Evidence,
    judge::{Judge, Judgement, Recorded, Refusal},
};
use crate::observation::{
    AddressOperation, CapabilityCheck, ControlCommand, Deed, Executable, Observation, Operation,
    Outcome, Text, Word,
};

/// Errors of a refusal. A path that is hidden may look as if it was never there (`ENOENT`), as many paths that a program looks
/// for do: these are not among them.
const REFUSED: [&str; 3] = ["EACCES", "EPERM", "EROFS"];
/// Of a socket too: systemd answers so for a family (`RestrictAddressFamilies=`).
const NO_FAMILY: &str = "EAFNOSUPPORT";

/// What would have been done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// A call.
    Call(Word),
    /// A capability.
    Capability(Word),
    /// A socket of this family.
    Family(Word),
    /// A path that is only read, looked at or run.
    Read(Text),
    /// A path that is changed.
    Write(Text),
}

impl Wish {
    /// The list of `[allow]` in a file of overrides that it belongs to.
    #[must_use]
    pub fn list(&self) -> &'static str {
        match self {
            Self::Call(_) => "syscalls",
            Self::Capability(_) => "capabilities",
            Self::Family(_) => "families",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
        }
    }
}

/// As a file of overrides has it: `syscalls = ["ptrace"]`.
impl fmt::Display for Wish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Call(name) | Self::Capability(name) | Self::Family(name) => name.to_string(),
            Self::Read(path) | Self::Write(path) => path.to_string(),
        };
        write!(out, "{} = [{name:?}]", self.list())
    }
}

/// Something refused.
#[derive(Clone, Debug)]
pub struct Denial<'r> {
    /// The unit's command, none for the main process.
    pub command: Option<ControlCommand>,
    /// The program.
    pub executable: Text,
    /// As the observation has it: `native ptrace`, `write EROFS /srv/x`.
    pub what: String,
    /// What to allow.
    pub wish: Wish,
    /// What explains it; none: no line does.
    pub by: Option<Refusal<'r>>,
    /// When, in which runs, how often.
    pub evidence: Evidence,
}

/// A refusal, and what it would have been.
type Key = (Option<ControlCommand>, Text, String);

/// An observation in which nothing was refused.
pub struct Supposed {
    observation: Observation,
    /// What was refused, by what it would have been.
    turned: BTreeMap<Key, (String, Wish)>,
}

impl Supposed {
    /// Turns every refusal round.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let mut supposed = Self {
            observation: observation.clone(),
            turned: BTreeMap::new(),
        };
        let mut turned = BTreeMap::new();
        for run in supposed.observation.runs.values_mut() {
            let main = run.executables.iter_mut().map(|program| (None, program));
            let others = run.control.iter_mut().flat_map(|(command, programs)| {
                let programs = programs.iter_mut();
                programs.map(|program| (Some(*command), program))
            });
            for (command, (path, facts)) in main.chain(others) {
                for (deed, was, wish) in turn(facts) {
                    turned.insert((command, path.clone(), deed), (was, wish));
                }
            }
        }
        supposed.turned = turned;
        supposed
    }

    /// The observation.
    #[must_use]
    pub fn observation(&self) -> &Observation {
        &self.observation
    }

    /// Each refusal, with the line that explains it.
    #[must_use]
    pub fn denials<'r>(&self, judge: &Judge<'r>) -> Vec<Denial<'r>> {
        let recorded = Recorded::of(&self.observation);
        let mut all: BTreeMap<Key, Denial<'r>> = BTreeMap::new();
        for case in recorded.cases() {
            let fact = case.fact;
            let key = (fact.command, fact.executable.clone(), fact.what.to_string());
            let Some((was, wish)) = self.turned.get(&key) else {
                continue;
            };
            let by = match judge.judge(&case) {
                Judgement::Refused(by) => Some(by),
                _ => None,
            };
            let denial = all.entry(key).or_insert_with(|| Denial {
                command: fact.command,
                executable: fact.executable.clone(),
                what: was.clone(),
                wish: wish.clone(),
                by: None,
                evidence: Evidence::default(),
            });
            denial.by = denial.by.take().or(by);
            let seen = case.seen.cloned().unwrap_or_default();
            denial.evidence.add(case.test(), fact.executable, &seen);
        }
        all.into_values().collect()
    }
}

/// Turns the refusals of one program round. Returns what each would have been, what it was, and what to allow.
fn turn(facts: &mut Executable) -> Vec<(String, String, Wish)> {
    let mut turned = Vec::new();
    for (abi, calls) in std::mem::take(&mut facts.refused) {
        for (call, seen) in calls {
            let (now, was) = (Deed::Syscall(abi, &call), Deed::Refused(abi, &call));
            turned.push((now.to_string(), was.to_string(), Wish::Call(call.clone())));
            let made = facts.syscalls.entry(abi).or_default();
            made.insert(call, seen);
        }
    }
    for (name, checks) in &mut facts.capabilities {
        let Some(seen) = checks.remove(&CapabilityCheck::Denied) else {
            continue;
        };
        let was = Deed::Capability(name, CapabilityCheck::Denied).to_string();
        let now = Deed::Capability(name, CapabilityCheck::Granted).to_string();
        turned.push((now, was, Wish::Capability(name.clone())));
        checks.entry(CapabilityCheck::Granted).or_insert(seen);
    }
    turned.extend(turn_sockets(facts));
    turned.extend(turn_files(facts));
    turned
}

fn turn_sockets(facts: &mut Executable) -> Vec<(String, String, Wish)> {
    let mut turned = Vec::new();
    for (socket, outcomes) in &mut facts.sockets {
        for was in refused(outcomes.keys(), &[NO_FAMILY]) {
            let now = Deed::Socket(socket, &ok()).to_string();
            let told = Deed::Socket(socket, &was).to_string();
            turned.push((now, told, Wish::Family(socket.family.clone())));
            let seen = outcomes.remove(&was).unwrap_or_default();
            outcomes.entry(ok()).or_insert(seen);
        }
    }
    for (operation, addresses) in &mut facts.addresses {
        for (address, outcomes) in addresses {
            let Some(path) = address.as_bytes().strip_prefix(b"unix /") else {
                continue;
            };
            let path = Text::from([b"/", path].concat());
            for was in refused(outcomes.keys(), &[]) {
                let now = Deed::Address(*operation, address, &ok()).to_string();
                let told = Deed::Address(*operation, address, &was).to_string();
                let wish = match operation {
                    AddressOperation::Bind => Wish::Write(path.clone()),
                    AddressOperation::Connect | AddressOperation::Send => Wish::Read(path.clone()),
                };
                turned.push((now, told, wish));
                let seen = outcomes.remove(&was).unwrap_or_default();
                outcomes.entry(ok()).or_insert(seen);
            }
        }
    }
    turned
}

fn turn_files(facts: &mut Executable) -> Vec<(String, String, Wish)> {
    let mut turned = Vec::new();
    for (path, file) in &mut facts.files {
        let uses: Vec<(Operation, Outcome)> = file
            .operations
            .iter()
            .filter(|(_, outcome, _)| REFUSED.contains(&outcome.0.as_str()))
            .map(|(operation, outcome, _)| (operation, outcome.clone()))
            .collect();
        for (operation, was) in uses {
            let wish = if operation.writes() {
                Wish::Write(path.clone())
            } else {
                Wish::Read(path.clone())
            };
            let now = Deed::File(path, operation, &ok()).to_string();
            turned.push((now, Deed::File(path, operation, &was).to_string(), wish));
            let seen = file.operations.of(operation).find(|(one, _)| **one == was);
            let seen = seen.map(|(_, seen)| seen.clone()).unwrap_or_default();
            *file.operations.entry(operation, ok()) = seen;
        }
    }
    turned
}

/// The outcomes that are refusals.
fn refused<'o>(outcomes: impl Iterator<Item = &'o Outcome>, more: &[&str]) -> BTreeSet<Outcome> {
    let is_one = |outcome: &&Outcome| {
        let name = outcome.0.as_str();
        REFUSED.contains(&name) || more.contains(&name)
    };
    outcomes.filter(is_one).cloned().collect()
}

fn ok() -> Outcome {
    Outcome(Word::ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observation::Abi,
        policy::{
            fixture::Fixture,
            judge::{Surroundings, systemd},
        },
    };

    fn denials(drop_in: &str, observation: &Observation) -> Vec<(String, Option<String>, Wish)> {
        let read = systemd::read(drop_in);
        let judge = Judge::new(&read.rules, &Surroundings::default());
        let supposed = Supposed::of(observation);
        let all = supposed.denials(&judge).into_iter();
        let line = |by: Refusal<'_>| match by {
            Refusal::Line(line) => line.to_string(),
            Refusal::Always(why) => why.to_owned(),
        };
        all.map(|one| (one.what, one.by.map(line), one.wish))
            .collect()
    }

    #[test]
    fn a_refusal_has_the_line_that_explains_it() {
        let word = |text: &str| Word::new(text).unwrap();
        let mut observation = Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read"])
            .capability("sys_time", CapabilityCheck::Denied)
            .capability("chown", CapabilityCheck::Denied)
            .file("/srv/x", Operation::Write, "EROFS")
            .file("/etc/shadow", Operation::Read, "EACCES")
            .file("/etc/passwd", Operation::Read, "ok")
            .observation();
        let run = observation.runs.values_mut().next().unwrap();
        let facts = run.executables.values_mut().next().unwrap();
        let calls = facts.refused.entry(Abi::Native).or_default();
        calls.insert(word("ptrace"), crate::observation::Seen::default());
        let found = denials(
            "[Service]\nSystemCallFilter=read\nCapabilityBoundingSet=CAP_CHOWN\nProtectSystem=strict\n",
            &observation,
        );
        let expected = [
            ("chown denied", None, Wish::Capability(word("chown"))),
            (
                "native ptrace refused",
                Some("SystemCallFilter="),
                Wish::Call(word("ptrace")),
            ),
            (
                "read EACCES /etc/shadow",
                None,
                Wish::Read("/etc/shadow".into()),
            ),
            (
                "sys_time denied",
                Some("CapabilityBoundingSet="),
                Wish::Capability(word("sys_time")),
            ),
            (
                "write EROFS /srv/x",
                Some("ProtectSystem=strict"),
                Wish::Write("/srv/x".into()),
            ),
        ];
        let mut found = found;
        found.sort();
        let found: Vec<_> = found
            .iter()
            .map(|(what, by, wish)| (what.as_str(), by.as_deref(), wish.clone()))
            .collect();
        assert_eq!(found, expected);
    }
}
