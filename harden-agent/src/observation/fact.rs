//! Facts one by one, as lines of text: to tell which are new, and to show them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    model::{
        Abi, AddressOperation, CapabilityCheck, Executable, File, Operation, Outcome, Seen, Socket,
    },
    text::{Text, Word},
};

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A system call.
    Syscall,
    /// A capability check.
    Capability,
    /// A socket family.
    Family,
    /// A socket type.
    SocketType,
    /// A socket made or refused.
    Socket,
    /// A socket address used.
    Address,
    /// What the argument of a call said.
    Argument,
    /// Something done with a file.
    Path,
    /// A program run.
    Program,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Syscall => "syscall",
            Self::Capability => "capability",
            Self::Family => "family",
            Self::SocketType => "socket-type",
            Self::Socket => "socket",
            Self::Address => "address",
            Self::Argument => "argument",
            Self::Path => "path",
            Self::Program => "program",
        })
    }
}

/// One fact of a program, without its evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about.
    pub kind: Kind,
    /// What was seen, in the words of the observation: `native openat`, `read ok /etc/passwd`.
    pub text: String,
}

impl Fact {
    /// A call.
    #[must_use]
    pub fn syscall(abi: Abi, name: &Word) -> Self {
        Self::of(Kind::Syscall, format_args!("{} {name}", word(&abi)))
    }

    /// A capability check.
    #[must_use]
    pub fn capability(name: &Word, check: CapabilityCheck) -> Self {
        Self::of(Kind::Capability, format_args!("{name} {}", word(&check)))
    }

    /// A fact that is one word: a family, a socket type, an argument.
    #[must_use]
    pub fn word(kind: Kind, name: &Word) -> Self {
        Self::of(kind, format_args!("{name}"))
    }

    /// A socket.
    #[must_use]
    pub fn socket(socket: &Socket, outcome: &Outcome) -> Self {
        let text = String::from(socket.clone());
        Self::of(Kind::Socket, format_args!("{text} {}", outcome.0))
    }

    /// An address.
    #[must_use]
    pub fn address(operation: AddressOperation, address: &Text, outcome: &Outcome) -> Self {
        let operation = word(&operation);
        Self::of(
            Kind::Address,
            format_args!("{operation} {} {address}", outcome.0),
        )
    }

    /// Something done with the file at `path`.
    #[must_use]
    pub fn path(operation: Operation, path: &Text, outcome: &Outcome) -> Self {
        let operation = word(&operation);
        Self::of(Kind::Path, format_args!("{operation} {} {path}", outcome.0))
    }

    /// A program, by the name that exec was given.
    #[must_use]
    pub fn program(name: &Text) -> Self {
        Self::of(Kind::Program, format_args!("{name}"))
    }

    fn of(kind: Kind, text: fmt::Arguments<'_>) -> Self {
        Self {
            kind,
            text: text.to_string(),
        }
    }
}

/// The name that the JSON has for a value without fields.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

impl Executable {
    /// Every fact.
    pub fn facts(&self) -> impl Iterator<Item = Fact> {
        let calls = self.syscalls.iter().flat_map(|(abi, calls)| {
            let names = calls.keys();
            names.map(|name| Fact::syscall(*abi, name))
        });
        let capabilities = self.capabilities.iter().flat_map(|(name, checks)| {
            let checks = checks.keys();
            checks.map(|check| Fact::capability(name, *check))
        });
        let sockets = self.sockets.iter().flat_map(|(socket, outcomes)| {
            let outcomes = outcomes.keys();
            outcomes.map(|outcome| Fact::socket(socket, outcome))
        });
        let addresses = self.addresses.iter().flat_map(|(operation, addresses)| {
            addresses.iter().flat_map(|(address, outcomes)| {
                let outcomes = outcomes.keys();
                outcomes.map(|outcome| Fact::address(*operation, address, outcome))
            })
        });
        let words = |kind, names: &std::collections::BTreeMap<Word, Seen>| -> Vec<Fact> {
            names.keys().map(|name| Fact::word(kind, name)).collect()
        };
        calls
            .chain(capabilities)
            .chain(words(Kind::Family, &self.families))
            .chain(words(Kind::SocketType, &self.socket_types))
            .chain(sockets)
            .chain(addresses)
            .chain(words(Kind::Argument, &self.arguments))
            .chain(self.files.iter().flat_map(|(path, file)| file.facts(path)))
            .chain(self.invoked_as.keys().map(Fact::program))
    }
}

impl File {
    fn facts(&self, path: &Text) -> impl Iterator<Item = Fact> {
        self.operations
            .iter()
            .flat_map(move |(operation, outcomes)| {
                let outcomes = outcomes.keys();
                outcomes.map(move |outcome| Fact::path(*operation, path, outcome))
            })
    }
}
