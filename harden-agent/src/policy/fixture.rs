//! Small observations for the tests of the facets.

use std::collections::{BTreeMap, BTreeSet};

use harden_common::Argument;
use jiff::Timestamp;

use super::evidence::{Decision, Item};
use crate::observation::{
    Abi, AddressOperation, CapabilityCheck, Executable, Facet, FileCapabilities, Host, Inode,
    Observation, Operation, Outcome, Run, RunKind, SCHEMA, Seen, Socket, Text, Word,
};

pub(crate) struct Fixture {
    name: String,
    runs: Vec<Run>,
    executable: Text,
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn outcome(text: &str) -> Outcome {
    Outcome(word(text))
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            name: "test".to_owned(),
            runs: vec![],
            executable: Text::default(),
        }
        .next_run()
    }

    pub(crate) fn next_run(mut self) -> Self {
        let hooks = [Facet::Syscalls, Facet::Capabilities, Facet::Files]
            .map(|fact| (fact.name().to_owned(), "raw_tp".to_owned()));
        self.runs.push(Run {
            kind: RunKind::Command,
            label: None,
            invocation: None,
            stands_for: BTreeSet::new(),
            command: vec![],
            uid: 0,
            started: Timestamp::UNIX_EPOCH,
            ended: Timestamp::UNIX_EPOCH,
            status: Some(0),
            host: Host {
                name: "vm".into(),
                kernel: "6.1".into(),
                architecture: "x86_64".into(),
                libc: None,
            },
            hooks: BTreeMap::from(hooks),
            losses: BTreeMap::new(),
            filters: [].into(),
            symlinks: BTreeMap::new(),
            executables: BTreeMap::new(),
            control: BTreeMap::new(),
        });
        self
    }

    pub(crate) fn run(&mut self) -> &mut Run {
        self.runs.last_mut().unwrap()
    }

    fn current(&mut self) -> &mut Executable {
        let path = self.executable.clone();
        self.run().executables.entry(path).or_default()
    }

    pub(crate) fn executable(mut self, path: &str) -> Self {
        self.executable = path.into();
        self.current();
        self
    }

    pub(crate) fn command(mut self, words: &[&str]) -> Self {
        self.run().command = words.iter().map(Text::from).collect();
        self
    }

    pub(crate) fn link(mut self, link: &str, text: &str) -> Self {
        self.run().symlinks.insert(link.into(), text.into());
        self
    }

    pub(crate) fn invoked_as(mut self, name: &str) -> Self {
        self.current()
            .invoked_as
            .insert(name.into(), Seen::default());
        self
    }

    pub(crate) fn syscalls(self, names: &[&str]) -> Self {
        self.syscalls_of(Abi::Native, names)
    }

    pub(crate) fn syscalls_of(mut self, abi: Abi, names: &[&str]) -> Self {
        let calls = self.current().syscalls.entry(abi).or_default();
        calls.extend(names.iter().map(|name| (word(name), Seen::default())));
        self
    }

    pub(crate) fn capability(mut self, name: &str, check: CapabilityCheck) -> Self {
        let checks = self.current().capabilities.entry(word(name)).or_default();
        checks.insert(check, Seen::default());
        self
    }

    /// The program's file gives these at once.
    pub(crate) fn file_capabilities(mut self, names: &[&str]) -> Self {
        let given = FileCapabilities {
            permitted: names.iter().map(|name| word(name)).collect(),
            inheritable: [].into(),
            effective: true,
        };
        self.current().file_capabilities.insert(given);
        self
    }

    pub(crate) fn family(mut self, name: &str) -> Self {
        self.current().families.insert(word(name), Seen::default());
        self
    }

    pub(crate) fn argument(mut self, said: Argument) -> Self {
        let arguments = &mut self.current().arguments;
        arguments.insert(word(said.name()), Seen::default());
        self
    }

    pub(crate) fn socket(mut self, socket: &str, result: &str) -> Self {
        let socket = Socket::try_from(socket.to_owned()).unwrap();
        let outcomes = self.current().sockets.entry(socket).or_default();
        outcomes.insert(outcome(result), Seen::default());
        self
    }

    pub(crate) fn address(mut self, operation: AddressOperation, address: &str) -> Self {
        let addresses = self.current().addresses.entry(operation).or_default();
        let outcomes = addresses.entry(address.into()).or_default();
        outcomes.insert(outcome("ok"), Seen::default());
        self
    }

    pub(crate) fn file(self, path: impl AsRef<[u8]>, operation: Operation, result: &str) -> Self {
        self.file_asked(path, None, operation, result)
    }

    /// The same, of a file of root with this mode and group.
    pub(crate) fn file_of(mut self, path: &str, operation: Operation, mode: u32, gid: u32) -> Self {
        self = self.file(path, operation, "ok");
        let file = self.current().files.entry(path.into()).or_default();
        file.inodes.insert(Inode {
            device: 1,
            number: 3,
            generation: 0,
            mode,
            uid: 0,
            gid,
            rdev: 0,
            filesystem: 0,
            acl: None,
        });
        self
    }

    pub(crate) fn file_asked(
        mut self,
        path: impl AsRef<[u8]>,
        asked: Option<&str>,
        operation: Operation,
        result: &str,
    ) -> Self {
        let file = self.current().files.entry(path.into()).or_default();
        file.resolved = true;
        file.asked_as.extend(asked.map(Text::from));
        file.operations.entry(operation, outcome(result));
        self
    }

    /// Opened for reading, and a directory.
    pub(crate) fn listing(mut self, path: &str) -> Self {
        self = self.file(path, Operation::Read, "ok");
        let file = self.current().files.entry(path.into()).or_default();
        file.inodes.insert(Inode {
            device: 1,
            number: 2,
            generation: 0,
            mode: 0o040_755,
            uid: 0,
            gid: 0,
            rdev: 0,
            filesystem: 0,
            acl: None,
        });
        self
    }

    pub(crate) fn observation(self) -> Observation {
        Observation {
            schema: SCHEMA,
            name: self.name.into(),
            runs: self
                .runs
                .into_iter()
                .enumerate()
                .map(|(at, run)| (word(&format!("run-{at}")), run))
                .collect(),
        }
    }
}

/// The names that a rule lists, in order. Panics if there is no rule.
pub(crate) fn names(decision: &Decision<Vec<Item>>) -> Vec<&str> {
    let items = decision.given().unwrap();
    items.iter().map(|item| item.value.as_str()).collect()
}
