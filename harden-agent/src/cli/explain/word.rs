//! Which facts a word of a rendered file is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
};

use harden_common::Argument;

use crate::{
    collect::{is_capability, is_family, is_socket_type},
    observation::{Deed, Executable, Fact, Observation, Text, Word as Name},
    policy::{Links, is_call, of_any_process},
};

/// A word: a call, a capability, a socket family, a path and what lies below it, a name in `private-bin` or
/// `private-etc`.
pub(super) struct Word {
    /// As it was typed, and what is shown like that.
    spellings: Vec<Vec<u8>>,
    /// The call that `$NUMBER` is on the machines observed.
    calls: Vec<String>,
    /// The paths that it may be.
    named: BTreeSet<Vec<u8>>,
    /// These, and where they lead.
    paths: BTreeSet<Vec<u8>>,
    /// Recorded path → its other name, which is at or below such a path.
    asked: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether a path of a process is one of any process.
    any_process: bool,
}

impl Word {
    pub(super) fn of(text: &[u8], observation: &Observation) -> Self {
        let mut spellings = vec![text.to_vec()];
        let shown = Text::as_typed(text);
        if shown.as_bytes() != text {
            spellings.push(shown.as_bytes().to_vec());
        }
        let named: BTreeSet<_> = spellings.iter().filter_map(|one| path(one)).collect();
        let links: Vec<_> = observation
            .runs
            .values()
            .map(|run| Links::new(&run.symlinks))
            .collect();
        let led = named
            .iter()
            .flat_map(|path| links.iter().filter_map(|links| links.walk(path)));
        let paths: BTreeSet<_> = named
            .iter()
            .cloned()
            .chain(led.map(|walk| walk.path))
            .collect();
        Self {
            calls: numbered(text, observation),
            asked: asked(&paths, observation, &links),
            any_process: paths.iter().any(|path| path.starts_with(b"/proc/PID")),
            spellings,
            named,
            paths,
        }
    }

    /// The same word about every process, if it is about one.
    pub(super) fn of_any_process(&self) -> Option<Self> {
        let paths: BTreeSet<_> = self
            .paths
            .iter()
            .filter_map(|at| of_any_process(at))
            .collect();
        (!self.any_process && !paths.is_empty()).then(|| Self {
            spellings: self.spellings.clone(),
            calls: Vec::new(),
            named: self.named.clone(),
            paths,
            asked: BTreeMap::new(),
            any_process: true,
        })
    }

    /// Which other names were looked up, a line each.
    pub(super) fn remarks(&self) -> String {
        /// More of them make no reader wiser.
        const NAMED: usize = 5;
        let name = |path: &[u8]| Text::from(path);
        let first = self.named.first().into_iter();
        let led = self.paths.iter().filter(|path| !self.named.contains(*path));
        let led = first.flat_map(|named| {
            led.clone()
                .map(|path| format!("{} is looked up as {}", name(named), name(path)))
        });
        let asked = self.asked.iter().take(NAMED);
        let asked = asked.map(|(path, by)| format!("{} is recorded as {}", name(by), name(path)));
        let more = self.asked.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("and {more} more"));
        let mut text = String::new();
        for line in led.chain(asked).chain(more) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Whether it is about the fact.
    pub(super) fn is_about(&self, fact: &Fact<'_>) -> bool {
        match fact.what {
            Deed::Ran => self.is_file(fact.executable.as_bytes()),
            Deed::Capability(name, _) | Deed::GrantedIn(name, _) | Deed::GrantedFor(name, _) => {
                self.is(name.as_str(), "cap_")
            }
            Deed::Family(name) => self.is(name.as_str(), "af_"),
            Deed::Syscall(_, name) | Deed::Refused(_, name) => {
                self.is(name.as_str(), "") || self.calls.iter().any(|call| call == name.as_str())
            }
            Deed::SocketType(name) | Deed::Argument(name) => self.is(name.as_str(), ""),
            Deed::Socket(socket, _) => self.is(socket.family.as_str(), "af_"),
            Deed::Address(_, address, _) => {
                let bytes = address.as_bytes();
                let unix = bytes.strip_prefix(b"unix ");
                self.spellings.iter().any(|one| one == bytes)
                    || unix.is_some_and(|path| self.holds(path))
            }
            Deed::InvokedAs(name) => self.holds(name.as_bytes()) || self.is_file(name.as_bytes()),
            Deed::File(name, ..) => {
                self.holds(name.as_bytes()) || self.asked.contains_key(name.as_bytes())
            }
        }
    }

    /// Whether an element of a file's line is the word: `CAP_CHOWN`, `-/run`, `!chroot`.
    pub(super) fn is_element(&self, element: &str) -> bool {
        let element = element.trim_start_matches(['-', '!', '~']);
        self.spellings.iter().any(|one| {
            let one = one.strip_prefix(b"-").unwrap_or(one);
            bare(one) == bare(element.as_bytes())
        }) || self.calls.iter().any(|call| call == element)
    }

    /// Whether it is a path in `directory`, and not that itself.
    pub(super) fn is_in(&self, directory: &[u8]) -> bool {
        let mut paths = self.paths.iter().filter(|path| *path != directory);
        paths.any(|path| is_at(path, directory))
    }

    /// Whether harden knows such a word, seen or not.
    pub(super) fn is_known(&self) -> bool {
        let mut spellings = self.spellings.iter();
        !self.calls.is_empty()
            || spellings.any(|one| {
                let path = one.strip_prefix(b"-").unwrap_or(one);
                path.starts_with(b"/") || is_address(one) || is_name(one)
            })
    }

    fn is(&self, name: &str, prefix: &str) -> bool {
        self.spellings.iter().any(|one| {
            let lower = one.to_ascii_lowercase();
            let bare = lower.strip_prefix(prefix.as_bytes()).unwrap_or(&lower);
            bare == name.as_bytes()
        })
    }

    /// Whether `path` is one of the paths, or lies below one.
    fn holds(&self, path: &[u8]) -> bool {
        let process = self.any_process.then(|| of_any_process(path)).flatten();
        let path = process.as_deref().unwrap_or(path);
        self.paths.iter().any(|at| is_at(path, at))
    }

    /// `private-bin nginx`
    fn is_file(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next();
        self.spellings.iter().any(|one| name == Some(one))
    }
}

/// The path that a word may be: itself, `-/run` of `ReadWritePaths`, `ssl` of `private-etc`.
fn path(word: &[u8]) -> Option<Vec<u8>> {
    let path = word.strip_prefix(b"-").unwrap_or(word);
    match path.first()? {
        b'/' => Some(path.to_vec()),
        _ => Some([b"/etc/", path].concat()),
    }
}

/// Whether `path` is `at`, or lies below it.
fn is_at(path: &[u8], at: &[u8]) -> bool {
    path.strip_prefix(at)
        .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/') || at.ends_with(b"/"))
}

/// The recorded paths that are not at or below `paths` themselves, but by a name that a program used, or by where they
/// lead. `links` are those of the runs.
fn asked(
    paths: &BTreeSet<Vec<u8>>,
    observation: &Observation,
    links: &[Links<'_>],
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let is_meant = |name: &[u8]| paths.iter().any(|at| is_at(name, at));
    let mut found = BTreeMap::new();
    for (run, links) in observation.runs.values().zip(links) {
        let others = run.control.values().flat_map(|programs| programs.values());
        let programs = run.executables.values().chain(others);
        for (path, file) in programs.flat_map(|program: &Executable| &program.files) {
            if is_meant(path.as_bytes()) {
                continue;
            }
            // The kernel walked a resolved one: the links, as they were at the end of the run, cannot be in it.
            let led = || {
                let walk = (!file.resolved).then(|| links.walk(path.as_bytes()));
                Some(walk.flatten()?.path)
            };
            let names = file.asked_as.iter().map(|name| name.as_bytes().to_vec());
            let mut names = names.chain(std::iter::once_with(led).flatten());
            if let Some(name) = names.find(|name| is_meant(name)) {
                found.insert(path.as_bytes().to_vec(), name);
            }
        }
    }
    found
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

/// Without what systemd puts before the names of capabilities and socket families.
fn bare(name: &[u8]) -> Vec<u8> {
    let lower = name.to_ascii_lowercase();
    let mut prefixes = [&b"cap_"[..], b"af_"].into_iter();
    let bare = prefixes.find_map(|prefix| lower.strip_prefix(prefix));
    bare.map_or_else(|| lower.clone(), <[u8]>::to_vec)
}

/// `inet 127.0.0.1:80`, `unix @name`
fn is_address(word: &[u8]) -> bool {
    let family = word.split(|byte| *byte == b' ').next();
    let family = family.filter(|family| family.len() < word.len());
    family
        .and_then(name)
        .is_some_and(|family| is_family(&family))
}

fn name(word: &[u8]) -> Option<Name> {
    Name::new(std::str::from_utf8(word).ok()?).ok()
}

/// Whether a call, a capability, a socket family or type, or a fact about arguments has the name.
fn is_name(word: &[u8]) -> bool {
    let lower = word.to_ascii_lowercase();
    if let Some(capability) = lower.strip_prefix(b"cap_") {
        return name(capability).is_some_and(|name| is_capability(&name));
    }
    if let Some(family) = lower.strip_prefix(b"af_") {
        return name(family).is_some_and(|name| is_family(&name));
    }
    let is_argument = |name: &Name| Argument::ALL.iter().any(|(_, one)| *one == name.as_str());
    name(&lower).is_some_and(|name| {
        is_call(&name)
            || is_capability(&name)
            || is_family(&name)
            || is_socket_type(&name)
            || is_argument(&name)
    })
}
