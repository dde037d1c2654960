//! The facts of a run, one by one and without their evidence: what can be counted, compared and
//! named.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::{
    Abi, AddressOperation, CapabilityCheck, ControlCommand, Executable, Operation, Outcome, Run,
    Socket,
};
use super::seen::Seen;
use super::text::{Text, Word};

/// One thing that one executable did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact<'a> {
    /// The unit's command that it belongs to, `None` for the main process.
    pub command: Option<ControlCommand>,
    /// The executable's path.
    pub executable: &'a Text,
    /// What it did.
    pub what: Deed<'a>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed<'a> {
    /// It ran.
    Ran,
    /// It was called by this name.
    InvokedAs(&'a Text),
    /// A call.
    Syscall(Abi, &'a Word),
    /// A call that was refused before it began.
    Refused(Abi, &'a Word),
    /// A capability check.
    Capability(&'a Word, CapabilityCheck),
    /// A capability was granted in a call.
    GrantedIn(&'a Word, &'a Word),
    /// A capability was granted in a call about this.
    GrantedFor(&'a Word, &'a Text),
    /// A socket family was asked for.
    Family(&'a Word),
    /// A socket type was asked for.
    SocketType(&'a Word),
    /// A socket made or refused.
    Socket(&'a Socket, &'a Outcome),
    /// A socket address used.
    Address(AddressOperation, &'a Text, &'a Outcome),
    /// What the arguments of a call said.
    Argument(&'a Word),
    /// Something done with a path.
    File(&'a Text, Operation, &'a Outcome),
}

/// What a deed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A call.
    Syscall,
    /// A capability check.
    Capability,
    /// A socket's family, type or the socket itself.
    Family,
    /// A socket address.
    Address,
    /// What the arguments of a call said.
    Argument,
    /// Something done with a path.
    Path,
    /// A program that was run.
    Program,
}

impl Deed<'_> {
    /// What it is about.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Ran | Self::InvokedAs(_) => Kind::Program,
            Self::Syscall(..) | Self::Refused(..) => Kind::Syscall,
            Self::Capability(..) | Self::GrantedIn(..) | Self::GrantedFor(..) => Kind::Capability,
            Self::Family(_) | Self::SocketType(_) | Self::Socket(..) => Kind::Family,
            Self::Address(..) => Kind::Address,
            Self::Argument(_) => Kind::Argument,
            Self::File(..) => Kind::Path,
        }
    }
}

/// In the words of the observation's file: `native openat`, `read ok /etc/passwd`.
impl fmt::Display for Deed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran => out.write_str("ran"),
            Self::InvokedAs(name) => write!(out, "{name}"),
            Self::Syscall(abi, name) => write!(out, "{} {name}", word(abi)),
            Self::Refused(abi, name) => write!(out, "{} {name} refused", word(abi)),
            Self::Capability(name, check) => write!(out, "{name} {}", word(check)),
            Self::GrantedIn(name, call) => write!(out, "{name} granted in {call}"),
            Self::GrantedFor(name, object) => write!(out, "{name} granted for {object}"),
            Self::Family(name) | Self::SocketType(name) | Self::Argument(name) => {
                write!(out, "{name}")
            }
            Self::Socket(socket, outcome) => {
                write!(out, "{} {}", String::from((*socket).clone()), outcome.0)
            }
            Self::Address(operation, address, outcome) => {
                write!(out, "{} {} {address}", word(operation), outcome.0)
            }
            Self::File(path, operation, outcome) => {
                write!(out, "{} {} {path}", word(operation), outcome.0)
            }
        }
    }
}

/// `/usr/sbin/nginx: native openat`; `start-pre /bin/mkdir: mkdir ok /run/d` for another command.
impl fmt::Display for Fact<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(command) = &self.command {
            write!(out, "{} ", word(command))?;
        }
        write!(out, "{}: {}", self.executable, self.what)
    }
}

impl Operation {
    /// The name that the file has for it.
    #[must_use]
    pub fn name(self) -> String {
        word(&self)
    }
}

impl ControlCommand {
    /// The name that the file has for it.
    #[must_use]
    pub fn name(self) -> String {
        word(&self)
    }
}

impl AddressOperation {
    /// The name that the file has for it.
    #[must_use]
    pub fn name(self) -> String {
        word(&self)
    }
}

/// The name that the file has for a value without fields.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// A deed that outlives the run it is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    /// What it is about.
    pub kind: Kind,
    /// The deed.
    pub text: String,
}

impl From<Deed<'_>> for Told {
    fn from(deed: Deed<'_>) -> Self {
        Self {
            kind: deed.kind(),
            text: deed.to_string(),
        }
    }
}

impl Run {
    /// Every fact of the run, each once.
    pub fn facts(&self) -> impl Iterator<Item = Fact<'_>> {
        self.sightings().map(|(fact, _)| fact)
    }

    /// Every fact of the run with what is known of when and how often.
    pub fn sightings(&self) -> impl Iterator<Item = (Fact<'_>, Option<&Seen>)> {
        let main = self.executables.iter().map(|program| (None, program));
        let control = self.control.iter().flat_map(|(command, programs)| {
            programs
                .iter()
                .map(move |program| (Some(*command), program))
        });
        main.chain(control)
            .flat_map(|(command, (executable, facts))| {
                facts.sightings().map(move |(what, seen)| {
                    let fact = Fact {
                        command,
                        executable,
                        what,
                    };
                    (fact, seen)
                })
            })
    }
}

impl Executable {
    /// Every fact of the executable, each once.
    pub fn deeds(&self) -> impl Iterator<Item = Deed<'_>> {
        self.sightings().map(|(deed, _)| deed)
    }

    /// Every fact of the executable with what is known of when and how often; that it ran has no more
    /// to it.
    pub fn sightings(&self) -> impl Iterator<Item = (Deed<'_>, Option<&Seen>)> {
        let calls = self.syscalls.iter().flat_map(|(abi, calls)| {
            let calls = calls.iter();
            calls.map(|(call, seen)| (Deed::Syscall(*abi, call), seen))
        });
        let refused = self.refused.iter().flat_map(|(abi, calls)| {
            let calls = calls.iter();
            calls.map(|(call, seen)| (Deed::Refused(*abi, call), seen))
        });
        let capabilities = self.capabilities.iter().flat_map(|(name, checks)| {
            let checks = checks.iter();
            checks.map(|(check, seen)| (Deed::Capability(name, *check), seen))
        });
        let granted_in = self.capability_calls.iter().flat_map(|(name, calls)| {
            let calls = calls.iter();
            calls.map(|(call, seen)| (Deed::GrantedIn(name, call), seen))
        });
        let granted_for = self.capability_objects.iter().flat_map(|(name, objects)| {
            let objects = objects.iter();
            objects.map(|(object, seen)| (Deed::GrantedFor(name, object), seen))
        });
        let sockets = self.sockets.iter().flat_map(|(socket, outcomes)| {
            let outcomes = outcomes.iter();
            outcomes.map(|(outcome, seen)| (Deed::Socket(socket, outcome), seen))
        });
        let addresses = self.addresses.iter().flat_map(|(operation, addresses)| {
            addresses.iter().flat_map(|(address, outcomes)| {
                let outcomes = outcomes.iter();
                outcomes.map(|(outcome, seen)| {
                    let deed = Deed::Address(*operation, address, outcome);
                    (deed, seen)
                })
            })
        });
        let files = self.files.iter().flat_map(|(path, file)| {
            let uses = file.operations.iter();
            uses.map(|(operation, outcome, seen)| (Deed::File(path, operation, outcome), seen))
        });
        let names = self.invoked_as.iter();
        let families = self.families.iter();
        let types = self.socket_types.iter();
        let arguments = self.arguments.iter();
        let seen = names
            .map(|(name, seen)| (Deed::InvokedAs(name), seen))
            .chain(calls)
            .chain(refused)
            .chain(capabilities)
            .chain(granted_in)
            .chain(granted_for)
            .chain(families.map(|(name, seen)| (Deed::Family(name), seen)))
            .chain(types.map(|(name, seen)| (Deed::SocketType(name), seen)))
            .chain(sockets)
            .chain(addresses)
            .chain(arguments.map(|(name, seen)| (Deed::Argument(name), seen)))
            .chain(files);
        std::iter::once((Deed::Ran, None)).chain(seen.map(|(deed, seen)| (deed, Some(seen))))
    }
}
