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
    Outcome, Seen, Text, Word,
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

/// A fact of a program, as the observation has it.
type Key = (Option<ControlCommand>, Text, String);

/// A refusal in one run.
struct Refused {
    /// As the observation has it.
    was: String,
    wish: Wish,
    /// The refusal, and not what was let through in the same run.
    seen: Seen,
}

/// An observation in which nothing was refused.
pub struct Supposed {
    observation: Observation,
    /// What was refused, by the run and by what it would have been: the same may have been let through in other runs.
    turned: BTreeMap<(Word, Key), Vec<Refused>>,
}

impl Supposed {
    /// Turns every refusal round.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let mut supposed = Self {
            observation: observation.clone(),
            turned: BTreeMap::new(),
        };
        for (id, run) in &mut supposed.observation.runs {
            let main = run.executables.iter_mut().map(|program| (None, program));
            let others = run.control.iter_mut().flat_map(|(command, programs)| {
                let programs = programs.iter_mut();
                programs.map(|program| (Some(*command), program))
            });
            for (command, (path, facts)) in main.chain(others) {
                for (deed, refused) in turn(facts) {
                    let key = (id.clone(), (command, path.clone(), deed));
                    supposed.turned.entry(key).or_default().push(refused);
                }
            }
        }
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
            let key = |what| (fact.command, fact.executable.clone(), what);
            let turned = (case.run().clone(), key(fact.what.to_string()));
            let Some(refused) = self.turned.get(&turned) else {
                continue;
            };
            let judgement = judge.judge(&case);
            for one in refused {
                let denial = all.entry(key(one.was.clone()));
                let denial = denial.or_insert_with(|| Denial {
                    command: fact.command,
                    executable: fact.executable.clone(),
                    what: one.was.clone(),
                    wish: one.wish.clone(),
                    by: None,
                    evidence: Evidence::default(),
                });
                let may_explain =
                    case.may_have_capabilities() || !matches!(one.wish, Wish::Capability(_));
                if let (None, Judgement::Refused(by), true) = (&denial.by, &judgement, may_explain)
                {
                    denial.by = Some(by.clone());
                }
                let evidence = &mut denial.evidence;
                evidence.add(case.test(), fact.executable, &one.seen);
            }
        }
        all.into_values().collect()
    }
}

/// Turns the refusals of one program round. Returns each, with what it would have been.
fn turn(facts: &mut Executable) -> Vec<(String, Refused)> {
    let mut turned = Vec::new();
    for (abi, calls) in std::mem::take(&mut facts.refused) {
        for (call, seen) in calls {
            let (now, was) = (Deed::Syscall(abi, &call), Deed::Refused(abi, &call));
            turned.push(refusal(now, was, Wish::Call(call.clone()), &seen));
            let made = facts.syscalls.entry(abi).or_default();
            made.entry(call).or_insert(seen);
        }
    }
    for (name, checks) in &mut facts.capabilities {
        let Some(seen) = checks.remove(&CapabilityCheck::Denied) else {
            continue;
        };
        let was = Deed::Capability(name, CapabilityCheck::Denied);
        let now = Deed::Capability(name, CapabilityCheck::Granted);
        turned.push(refusal(now, was, Wish::Capability(name.clone()), &seen));
        checks.entry(CapabilityCheck::Granted).or_insert(seen);
    }
    turned.extend(turn_sockets(facts));
    turned.extend(turn_files(facts));
    turned
}

fn turn_sockets(facts: &mut Executable) -> Vec<(String, Refused)> {
    let mut turned = Vec::new();
    for (socket, outcomes) in &mut facts.sockets {
        for was in refused(outcomes.keys(), &[NO_FAMILY]) {
            let seen = outcomes.remove(&was).unwrap_or_default();
            let wish = Wish::Family(socket.family.clone());
            let (now, was) = (Deed::Socket(socket, &ok()), Deed::Socket(socket, &was));
            turned.push(refusal(now, was, wish, &seen));
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
                let seen = outcomes.remove(&was).unwrap_or_default();
                let wish = match operation {
                    AddressOperation::Bind => Wish::Write(path.clone()),
                    AddressOperation::Connect | AddressOperation::Send => Wish::Read(path.clone()),
                };
                let deed = |outcome| Deed::Address(*operation, address, outcome);
                turned.push(refusal(deed(&ok()), deed(&was), wish, &seen));
                outcomes.entry(ok()).or_insert(seen);
            }
        }
    }
    turned
}

fn turn_files(facts: &mut Executable) -> Vec<(String, Refused)> {
    let mut turned = Vec::new();
    for (path, file) in &mut facts.files {
        let uses: Vec<(Operation, Outcome, Seen)> = file
            .operations
            .iter()
            .filter(|(_, outcome, _)| REFUSED.contains(&outcome.0.as_str()))
            .map(|(operation, outcome, seen)| (operation, outcome.clone(), seen.clone()))
            .collect();
        for (operation, was, seen) in uses {
            let wish = if operation.writes() {
                Wish::Write(path.clone())
            } else {
                Wish::Read(path.clone())
            };
            let deed = |outcome| Deed::File(path, operation, outcome);
            turned.push(refusal(deed(&ok()), deed(&was), wish, &seen));
            *file.operations.entry(operation, ok()) = seen;
        }
    }
    turned
}

/// What it would have been, and what it was.
fn refusal(now: Deed<'_>, was: Deed<'_>, wish: Wish, seen: &Seen) -> (String, Refused) {
    let refused = Refused {
        was: was.to_string(),
        wish,
        seen: seen.clone(),
    };
    (now.to_string(), refused)
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
        // Another user's program has no capabilities that a line could take.
        for run in observation.runs.values_mut() {
            run.uid = 102;
        }
        let others = denials("[Service]\nCapabilityBoundingSet=CAP_CHOWN\n", &observation);
        let time = others.iter().find(|(what, ..)| what == "sys_time denied");
        assert_eq!(time.map(|(_, by, _)| by), Some(&None));
        let mut found = found;
        found.sort();
        let found: Vec<_> = found
            .iter()
            .map(|(what, by, wish)| (what.as_str(), by.as_deref(), wish.clone()))
            .collect();
        assert_eq!(found, expected);
    }

    /// A run in which all of it worked, and one in which it worked before it was refused.
    #[test]
    fn the_evidence_is_that_of_the_refusals() {
        let time = |second: i64| jiff::Timestamp::from_second(second).unwrap();
        let done = |fixture: Fixture| {
            let fixture = fixture.executable("/usr/sbin/d").syscalls(&["ptrace"]);
            let fixture = fixture.capability("chown", CapabilityCheck::Granted);
            let fixture = fixture.socket("inet stream 0", "ok");
            fixture.file("/srv/x", Operation::Write, "ok")
        };
        let word = |text: &str| Word::new(text).unwrap();
        let mut observation = done(done(Fixture::new()).next_run()).observation();
        let run = observation.runs.get_mut(&word("run-1")).unwrap();
        let facts = run.executables.values_mut().next().unwrap();
        let refused = |error: &str| Outcome(word(error));
        let late = Seen::at(time(2_000));
        let calls = facts.refused.entry(Abi::Native).or_default();
        calls.insert(word("ptrace"), late.clone());
        let checks = facts.capabilities.get_mut(&word("chown")).unwrap();
        checks.insert(CapabilityCheck::Denied, late.clone());
        let outcomes = facts.sockets.values_mut().next().unwrap();
        outcomes.insert(refused("EAFNOSUPPORT"), late.clone());
        outcomes.insert(refused("EPERM"), late.clone());
        let file = facts.files.values_mut().next().unwrap();
        *file.operations.entry(Operation::Write, refused("EROFS")) = late;
        let address = facts.addresses.entry(AddressOperation::Bind).or_default();
        let outcomes = address.entry("unix /run/d".into()).or_default();
        outcomes.insert(Outcome(Word::ok()), Seen::at(time(1_000)));
        outcomes.insert(refused("EACCES"), Seen::at(time(2_000)));

        let rules = systemd::read("").rules;
        let judge = Judge::new(&rules, &Surroundings::default());
        let supposed = Supposed::of(&observation);
        let all = supposed.denials(&judge);
        let names: Vec<&str> = all.iter().map(|one| one.what.as_str()).collect();
        let expected = [
            "bind EACCES unix /run/d",
            "chown denied",
            "inet stream 0 EAFNOSUPPORT",
            "inet stream 0 EPERM",
            "native ptrace refused",
            "write EROFS /srv/x",
        ];
        assert_eq!(names, expected);
        for one in all {
            let runs: Vec<&str> = one.evidence.runs.iter().map(Word::as_str).collect();
            assert_eq!(runs, ["run-1"], "{}", one.what);
            assert_eq!(one.evidence.first, Some(time(2_000)), "{}", one.what);
        }
    }
}
