//! Which facts a word of a rendered file stands for.

use std::str::FromStr as _;

use crate::observation::{Deed, Fact, Observation};

/// A word: a call, a capability, a socket family, a path and what lies below it, a name in `private-bin` or
/// `private-etc`.
pub(super) struct Word {
    text: Vec<u8>,
    /// The call that `$NUMBER` is on the machines observed.
    calls: Vec<String>,
}

impl Word {
    pub(super) fn of(text: &[u8], observation: &Observation) -> Self {
        Self {
            text: text.to_owned(),
            calls: numbered(text, observation),
        }
    }

    /// Whether it stands for the fact.
    pub(super) fn is_about(&self, fact: &Fact<'_>) -> bool {
        match fact.what {
            Deed::Ran => is_file(fact.executable.as_bytes(), &self.text),
            Deed::Capability(name, _) | Deed::GrantedIn(name, _) | Deed::GrantedFor(name, _) => {
                self.named(name.as_str(), b"cap_")
            }
            Deed::Family(name) => self.named(name.as_str(), b"af_"),
            Deed::Syscall(_, name) => {
                self.named(name.as_str(), b"")
                    || self.calls.iter().any(|call| call == name.as_str())
            }
            Deed::SocketType(name) | Deed::Argument(name) => self.named(name.as_str(), b""),
            Deed::Socket(socket, _) => self.named(socket.family.as_str(), b"af_"),
            Deed::Address(_, address, _) => {
                let bytes = address.as_bytes();
                let unix = bytes.strip_prefix(b"unix ");
                bytes == self.text || unix.is_some_and(|path| self.below(path))
            }
            Deed::InvokedAs(name) => {
                self.below(name.as_bytes()) || is_file(name.as_bytes(), &self.text)
            }
            Deed::File(name, ..) => self.below(name.as_bytes()),
        }
    }

    fn named(&self, name: &str, prefix: &[u8]) -> bool {
        let lower = self.text.to_ascii_lowercase();
        lower.strip_prefix(prefix).unwrap_or(&lower) == name.as_bytes()
    }

    /// Whether `name` is the path, or lies below it.
    fn below(&self, name: &[u8]) -> bool {
        // `ReadWritePaths=-/run`
        let path = self.text.strip_prefix(b"-").unwrap_or(&self.text);
        let path = match path.first() {
            Some(b'/') => path.to_owned(),
            // `private-etc ssl`
            Some(_) => [b"/etc/", path].concat(),
            None => return false,
        };
        name.strip_prefix(&path[..]).is_some_and(|rest| {
            rest.is_empty() || rest.first() == Some(&b'/') || path.ends_with(b"/")
        })
    }
}

/// `private-bin nginx`
fn is_file(path: &[u8], name: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(name)
}

/// The names of the call `$NUMBER`.
fn numbered(text: &[u8], observation: &Observation) -> Vec<String> {
    let number = text.strip_prefix(b"$").map(String::from_utf8_lossy);
    let Some(number) = number.and_then(|number| usize::from_str(&number).ok()) else {
        return Vec::new();
    };
    let mut names = vec![format!("syscall-{number}"), format!("syscall_{number}")];
    for run in observation.runs.values() {
        let name = match run.host.architecture.as_bytes() {
            b"x86_64" => syscalls::x86_64::Sysno::new(number).map(|call| call.name()),
            b"aarch64" => syscalls::aarch64::Sysno::new(number).map(|call| call.name()),
            _ => None,
        };
        names.extend(name.map(str::to_owned));
    }
    names
}
