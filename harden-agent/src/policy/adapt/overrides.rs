//! Overrides: what somebody has decided about a unit, whatever was seen of it. A small TOML file, which outlives every
//! profile.

use std::{collections::BTreeMap, str::FromStr as _};

use serde::{Deserialize, Deserializer, de};

use super::contradiction::{self, Contradiction};
use crate::collect::{is_capability, is_family};
use crate::observation::{
    Abi, CapabilityCheck, Executable, File, Observation, Operation, Outcome, Run, RunKind, Seen,
    Text, Word,
};
use crate::policy::calls::unnumbered;
use crate::policy::denials::Wish;
use crate::policy::paths::is_within;

/// A whole file. `docs/overrides.md` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Why, for people who read the files that are made with it.
    pub comment: Option<String>,
    /// What is allowed, seen or not.
    pub allow: Allow,
    /// What is not, seen or not.
    pub deny: Deny,
    /// Directories that replace all that is in them.
    #[serde(deserialize_with = "paths")]
    pub generalise: Vec<Text>,
}

/// `[allow]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Allow {
    /// Calls by name.
    #[serde(deserialize_with = "syscalls")]
    pub syscalls: Vec<Word>,
    /// Capabilities, without `CAP_`.
    #[serde(deserialize_with = "capabilities")]
    pub capabilities: Vec<Word>,
    /// Socket families (`inet6`).
    #[serde(deserialize_with = "families")]
    pub families: Vec<Word>,
    /// Files and directories that may be read.
    #[serde(deserialize_with = "paths")]
    pub read: Vec<Text>,
    /// Files and directories that may be changed.
    #[serde(deserialize_with = "paths")]
    pub write: Vec<Text>,
}

/// `[deny]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Deny {
    /// Calls by name.
    #[serde(deserialize_with = "syscalls")]
    pub syscalls: Vec<Word>,
    /// Capabilities, without `CAP_`.
    #[serde(deserialize_with = "capabilities")]
    pub capabilities: Vec<Word>,
    /// Socket families.
    #[serde(deserialize_with = "families")]
    pub families: Vec<Word>,
    /// Files and directories with all that is in them.
    #[serde(deserialize_with = "paths")]
    pub paths: Vec<Text>,
}

/// The text is no file of overrides.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// It is no TOML, or has what no file of overrides has.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// It allows what it denies.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

/// The name of the run that has what is allowed.
const RUN: &str = "override";

impl Overrides {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is no TOML, has what no file of overrides has, or a name or path that is none; or it allows what it denies. The
    /// error says where.
    pub fn parse(text: &str) -> Result<Self, OverridesError> {
        let overrides: Self = toml::from_str(text)?;
        contradiction::check(&overrides, text)?;
        Ok(overrides)
    }

    /// Changes the facts. Returns what that comes to.
    pub(super) fn apply(&self, observation: &mut Observation) -> Vec<String> {
        for executable in super::executables(observation) {
            self.deny.take(executable);
        }
        if !self.allow.is_empty() {
            self.allow.add(observation);
        }
        self.remarks()
    }

    fn remarks(&self) -> Vec<String> {
        let (allow, deny) = (&self.allow, &self.deny);
        let mut lines: Vec<String> = self
            .comment
            .iter()
            .map(|one| one.trim().to_owned())
            .collect();
        for (what, words) in [
            ("allowed calls", &allow.syscalls),
            ("allowed capabilities", &allow.capabilities),
            ("allowed socket families", &allow.families),
            ("denied calls", &deny.syscalls),
            ("denied capabilities", &deny.capabilities),
            ("denied socket families", &deny.families),
        ] {
            lines.extend(listed(what, words));
        }
        for (what, paths) in [
            ("may be read", &allow.read),
            ("may be changed", &allow.write),
            ("denied", &deny.paths),
        ] {
            lines.extend(listed(what, paths));
        }
        lines
            .iter()
            .map(|line| format!("Override: {line}"))
            .collect()
    }
}

fn listed(what: &str, names: &[impl ToString]) -> Option<String> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
}

impl Deny {
    /// Whether the wish is for what is denied, or for a directory with something in it that is.
    pub(super) fn denies(&self, wish: &Wish) -> bool {
        match wish {
            Wish::Call(name) => self.syscalls.contains(name),
            Wish::Capability(name) => self.capabilities.contains(name),
            Wish::Family(name) => self.families.contains(name),
            Wish::Read(path) | Wish::Write(path) => self.paths.iter().any(|denied| {
                let (path, denied) = (path.as_bytes(), denied.as_bytes());
                is_within(path, denied) || is_within(denied, path)
            }),
        }
    }

    fn take(&self, executable: &mut Executable) {
        for calls in executable.syscalls.values_mut() {
            calls.retain(|name, _| !self.syscalls.contains(name));
        }
        let is_denied = |family: &Word| self.families.contains(family);
        executable
            .capabilities
            .retain(|name, _| !self.capabilities.contains(name));
        executable
            .capability_calls
            .retain(|name, _| !self.capabilities.contains(name));
        executable
            .capability_objects
            .retain(|name, _| !self.capabilities.contains(name));
        executable.families.retain(|family, _| !is_denied(family));
        executable
            .sockets
            .retain(|socket, _| !is_denied(&socket.family));
        let is_hidden = |path: &[u8]| self.paths.iter().any(|one| is_within(path, one.as_bytes()));
        executable
            .files
            .retain(|path, _| !is_hidden(path.as_bytes()));
        for addresses in executable.addresses.values_mut() {
            addresses.retain(|address, _| {
                let (family, rest) = split(address.as_bytes());
                !is_hidden(rest)
                    && !self
                        .families
                        .iter()
                        .any(|one| one.as_str().as_bytes() == family)
            });
        }
    }
}

/// `unix /path` in two.
fn split(address: &[u8]) -> (&[u8], &[u8]) {
    match address.iter().position(|byte| *byte == b' ') {
        Some(at) => (&address[..at], &address[at + 1..]),
        None => (address, b""),
    }
}

impl Allow {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a run in which all of it was seen, of a program that was. Where none was, there is nothing to confine.
    fn add(&self, observation: &mut Observation) {
        let run = observation.runs.values().find_map(|run| {
            let program = run.executables.keys().next()?;
            Some((run, program.clone()))
        });
        let (Some((run, program)), Ok(id)) = (run, Word::new(RUN)) else {
            return;
        };
        let run = Run {
            kind: RunKind::Override,
            label: Some(RUN.into()),
            invocation: None,
            stands_for: [].into(),
            losses: BTreeMap::new(),
            filters: [].into(),
            executables: [(program, self.facts())].into(),
            control: BTreeMap::new(),
            status: None,
            ..run.clone()
        };
        observation.runs.insert(id, run);
    }

    fn facts(&self) -> Executable {
        let seen = |names: &[Word]| {
            names
                .iter()
                .map(|name| (name.clone(), Seen::default()))
                .collect()
        };
        let mut facts = Executable {
            syscalls: [(Abi::Native, seen(&self.syscalls))].into(),
            families: seen(&self.families),
            ..Executable::default()
        };
        for name in &self.capabilities {
            let granted = [(CapabilityCheck::Granted, Seen::default())].into();
            facts.capabilities.insert(name.clone(), granted);
        }
        for (operation, paths) in [
            (Operation::Read, &self.read),
            (Operation::Write, &self.write),
        ] {
            for path in paths {
                let file = facts.files.entry(path.clone()).or_default();
                file.add(operation);
            }
        }
        facts
    }
}

impl File {
    fn add(&mut self, operation: Operation) {
        self.resolved = true;
        if let Ok(ok) = Word::new("ok") {
            self.operations.entry(operation, Outcome(ok));
        }
    }
}

/// Names of calls that some kernel has, by whatever convention.
fn syscalls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Word>, D::Error> {
    words(deserializer, is_call, "system call")
}

fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Word>, D::Error> {
    words(
        deserializer,
        is_capability,
        "capability, as `chown` without CAP_",
    )
}

fn families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Word>, D::Error> {
    words(
        deserializer,
        is_family,
        "socket family, as `inet6` without AF_",
    )
}

fn words<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_one: fn(&Word) -> bool,
    what: &str,
) -> Result<Vec<Word>, D::Error> {
    let words = Vec::<Word>::deserialize(deserializer)?;
    match words.iter().find(|word| !is_one(word)) {
        Some(word) => Err(de::Error::custom(format!("{word} is no {what}"))),
        None => Ok(words),
    }
}

/// Whether some kernel has a call of this name, by whatever convention.
#[must_use]
pub fn is_call(name: &Word) -> bool {
    let name = name.as_str();
    syscalls::x86_64::Sysno::from_str(name).is_ok()
        || syscalls::x86::Sysno::from_str(name).is_ok()
        || syscalls::aarch64::Sysno::from_str(name).is_ok()
        || unnumbered(name).is_some()
}

/// Absolute paths, with no `.` or `..` in them.
fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Text>, D::Error> {
    let paths = Vec::<Text>::deserialize(deserializer)?;
    for path in &paths {
        let bytes = path.as_bytes();
        let mut parts = bytes.split(|byte| *byte == b'/').skip(1);
        let is_plain = bytes.len() < 4096
            && bytes.first() == Some(&b'/')
            && !bytes.contains(&0)
            && parts.all(|part| !part.is_empty() && part != b"." && part != b"..");
        if !is_plain {
            return Err(de::Error::custom(format!(
                "{path}: an absolute path is wanted, without a slash at its end and without `.` and `..`"
            )));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Basis;
    use crate::policy::fixture::Fixture;

    fn observation() -> Observation {
        Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "ptrace"])
            .family("inet")
            .capability("sys_ptrace", CapabilityCheck::Granted)
            .file("/home/a/x", Operation::Read, "ok")
            .observation()
    }

    fn applied(text: &str) -> (Observation, Vec<String>) {
        let mut observation = observation();
        let remarks = Overrides::parse(text).unwrap().apply(&mut observation);
        (observation, remarks)
    }

    #[test]
    fn a_denied_call_is_not_added_either() {
        let on_the_list = |text: &str| {
            let overrides = Overrides::parse(text).unwrap();
            let observation = observation();
            let adapted = crate::policy::adapt(
                &observation,
                crate::policy::Generalisation::Exact,
                &overrides,
            );
            let decision_options = crate::policy::DecisionOptions::default();
            let basis = adapted.general.basis();
            let list = crate::policy::oci::Seccomp::decide(&basis, &decision_options).allowed;
            let names = list.given().map(|allowed| allowed.unasked.clone());
            names.unwrap_or_default()
        };
        let before = on_the_list("");
        let added = &before.first().expect("a call that was not seen").value;
        let after = on_the_list(&format!("[deny]\nsyscalls = ['{added}']\n"));
        assert_eq!(after.len() + 1, before.len());
        assert!(after.iter().all(|item| item.value != *added));
    }

    #[test]
    fn what_is_denied_was_never_seen_and_what_is_allowed_was() {
        let (observation, remarks) = applied(
            "comment = 'agreed in May'\n[allow]\nsyscalls = ['getrandom']\nfamilies = ['inet6']\nwrite = ['/var/lib/d']\n\
             [deny]\nsyscalls = ['ptrace']\ncapabilities = ['sys_ptrace']\npaths = ['/home']\n",
        );
        let basis = Basis::of(&observation);
        let calls = basis.calls();
        let names: Vec<&str> = calls.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["getrandom", "read"]);
        let facts: Vec<&Executable> = observation
            .runs
            .values()
            .flat_map(|run| run.executables.values())
            .collect();
        let files: Vec<String> = facts
            .iter()
            .flat_map(|one| one.files.keys())
            .map(ToString::to_string)
            .collect();
        assert_eq!(files, ["/var/lib/d"]);
        assert!(facts.iter().all(|one| one.capabilities.is_empty()));
        assert_eq!(
            remarks,
            [
                "Override: agreed in May",
                "Override: allowed calls: getrandom",
                "Override: allowed socket families: inet6",
                "Override: denied calls: ptrace",
                "Override: denied capabilities: sys_ptrace",
                "Override: may be changed: /var/lib/d",
                "Override: denied: /home",
            ]
        );
    }

    #[test]
    fn what_somebody_allows_is_no_test() {
        let (overridden, _) = applied("[allow]\nsyscalls = ['getrandom']\n");
        let coverage = |observation| Basis::of(observation).coverage().clone();
        let (before, after) = (coverage(&observation()), coverage(&overridden));
        assert_eq!((before.runs, before.windows), (after.runs, after.windows));
        assert_eq!(after.completeness, before.completeness);
    }

    #[test]
    fn a_program_that_was_never_seen_is_given_nothing() {
        let mut empty = Fixture::new().observation();
        let overrides = Overrides::parse("[allow]\nsyscalls = ['bpf']\n").unwrap();
        overrides.apply(&mut empty);
        assert_eq!(empty.runs.len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for bad in [
            "[alow]\n",
            "[allow]\nsyscalls = ['a b']\n",
            "[allow]\nsyscalls = ['frob']\n",
            "[allow]\ncapabilities = ['CAP_CHOWN']\n",
            "[deny]\nfamilies = ['AF_UNIX']\n",
            "[allow]\nread = ['etc']\n",
            "[allow]\nread = ['/etc/']\n",
            "[deny]\npaths = ['/etc/../root']\n",
            "generalise = ['/']\n",
        ] {
            let error = Overrides::parse(bad).unwrap_err().to_string();
            assert!(error.contains("line "), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_no_table_is_said() {
        for bad in ["allow = 'x'", "deny = 1", "allow = true"] {
            let error = Overrides::parse(bad).unwrap_err().to_string();
            assert!(
                error.contains("line 1") && error.contains("expected a table"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>()) {
            let _ = Overrides::parse(&text);
        }
    }
}
