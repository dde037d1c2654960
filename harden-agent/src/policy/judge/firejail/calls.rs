//! System calls under a Firejail profile (`seccomp_filter_drop` and `seccomp_filter_keep` in src/firejail/seccomp.c).
//!
//! The list is one of native calls. A filter refuses x32 calls whatever is on the list (`HANDLE_X32` in
//! src/include/seccomp.h; that of `protocol` too), and lets all 32-bit calls pass, but for those that the default list
//! refuses; `seccomp.block-secondary` refuses both.

use std::{collections::HashMap, str::FromStr as _};

use crate::observation::Abi;

use super::super::{
    super::calls::unnumbered,
    groups::FIREJAIL,
    judgement::{Judgement, PASS, Step, against, all, by},
    line::{Line, Rules},
    list::{List, call},
    recorded::Case,
};

/// What Firejail needs itself, after its filter: on every list of what is allowed (`seccomp_filter_keep` in
/// src/firejail/seccomp.c).
pub(super) const ADDED: [&str; 3] = ["execve", "execveat", "prctl"];

pub(super) struct Calls<'r> {
    filter: Option<Filter<'r>>,
    /// Each call that a filter refuses ends the program.
    kills: bool,
    block_secondary: Option<&'r Line>,
    /// Another filter, which is about the arguments of socket(2).
    protocol: Option<&'r Line>,
    /// Another filter, which refuses one call whatever its arguments.
    memory: Option<&'r Line>,
    /// Another filter, which answers clone3 with ENOSYS, as its flags are out of a filter's sight
    /// (src/fseccomp/namespaces.c): clone is called instead.
    restricts_namespaces: bool,
}

enum Filter<'r> {
    Keep {
        list: List<'r>,
        /// `!CALL` and `CALL:ERRNO`: these come first (`seccomp_keep` in src/fseccomp/seccomp.c).
        refused: HashMap<&'r str, &'r Line>,
    },
    Default(Default<'r>),
    Drop {
        list: List<'r>,
        exceptions: HashMap<&'r str, &'r Line>,
    },
}

/// The default list, changed.
struct Default<'r> {
    line: &'r Line,
    more: List<'r>,
    exceptions: HashMap<&'r str, &'r Line>,
}

impl<'r> Calls<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        // A list of what is allowed beats the others.
        let keep = || {
            Some(Filter::Keep {
                list: List::of_calls(rules, KEEP, &FIREJAIL)?,
                refused: elements(rules, KEEP, |one| is_exception(one) || one.contains(':')),
            })
        };
        let drop = || {
            Some(Filter::Drop {
                list: refused(rules, DROP)?,
                exceptions: elements(rules, DROP, is_exception),
            })
        };
        let default = || {
            Some(Filter::Default(Default {
                line: rules.line(DEFAULT)?,
                more: refused(rules, DEFAULT)?,
                exceptions: elements(rules, DEFAULT, is_exception),
            }))
        };
        let action = rules.elements("seccomp-error-action").last();
        let action = action.map(|(action, _)| action);
        let filter = keep().or_else(drop).or_else(default);
        Self {
            // The call is made all the same, and the kernel says so in its log.
            filter: filter.filter(|_| action != Some("log")),
            kills: action == Some("kill"),
            block_secondary: rules.line("seccomp.block-secondary"),
            protocol: rules.line("protocol"),
            memory: rules.line("memory-deny-write-execute"),
            restricts_namespaces: rules.line("restrict-namespaces").is_some(),
        }
    }

    /// Whether a program cannot bear to be refused a call.
    pub(super) fn kills(&self) -> bool {
        self.kills && self.filter.is_some()
    }

    pub(super) fn judge(&self, abi: Abi, name: &str, case: &Case<'_, '_>) -> Judgement<'r> {
        all([match abi {
            Abi::Native => match name {
                "clone3" if self.restricts_namespaces && case.called(name) => {
                    self.native("clone", case.architecture())
                }
                _ => self.native(name, case.architecture()),
            },
            Abi::Ia32 => self
                .block_secondary
                .map_or_else(|| self.ia32(name), against),
            Abi::X32 => {
                let filter = self.filter.as_ref().map(Filter::line);
                let filters = self.block_secondary.or(filter).or(self.protocol);
                filters.map_or(PASS, against)
            }
        }])
    }

    fn native(&self, name: &str, architecture: &[u8]) -> Step<'r> {
        if let Some(line) = self.memory.filter(|_| name == "memfd_create") {
            return against(line);
        }
        let numbered = number(name, architecture).map(|number| format!("${number}"));
        let numbered = numbered.as_deref();
        match &self.filter {
            Some(Filter::Keep { list, refused }) => {
                let exception = refused.get(name).or_else(|| refused.get(numbered?));
                match exception {
                    Some(line) => against(line),
                    None if ADDED.contains(&name) => PASS,
                    None => {
                        let numbered = numbered.filter(|number| list.get(number).is_some());
                        list.allows(numbered.unwrap_or(name))
                    }
                }
            }
            Some(Filter::Default(default)) => default.native(name, numbered),
            Some(Filter::Drop { list, exceptions }) => {
                let is_excepted = both(name, numbered).any(|one| exceptions.contains_key(one));
                let line = both(name, numbered).find_map(|one| list.get(one));
                line.filter(|_| !is_excepted).map_or(PASS, against)
            }
            None => PASS,
        }
    }

    fn ia32(&self, name: &str) -> Step<'r> {
        match &self.filter {
            Some(Filter::Default(default)) if is_default(name) => against(default.line),
            _ => PASS,
        }
    }
}

impl<'r> Filter<'r> {
    fn line(&self) -> &'r Line {
        match self {
            Self::Keep { list, .. } | Self::Drop { list, .. } => list.line(),
            Self::Default(default) => default.line,
        }
    }
}

impl<'r> Default<'r> {
    fn native(&self, name: &str, numbered: Option<&str>) -> Step<'r> {
        let exception = both(name, numbered).find_map(|one| self.exceptions.get(one));
        let more = both(name, numbered).find_map(|one| self.more.get(one));
        match (exception, more) {
            (Some(line), _) if is_default(name) => by(line),
            (Some(_), _) => PASS,
            (None, _) if is_default(name) => against(self.line),
            (None, more) => more.map_or(PASS, against),
        }
    }
}

const KEEP: &str = "seccomp.keep";
const DROP: &str = "seccomp.drop";
const DEFAULT: &str = "seccomp";

fn is_default(call: &str) -> bool {
    let default = FIREJAIL.get("@default");
    default.is_some_and(|default| default.contains(call))
}

/// What a list refuses, without its exceptions.
fn refused<'r>(rules: &'r Rules, directive: &'static str) -> Option<List<'r>> {
    let elements = rules.elements(directive);
    let refused = elements.filter(|(element, _)| !is_exception(element));
    let calls = refused.flat_map(|(element, line)| {
        let named = FIREJAIL.named(call(element));
        named.map(move |call| (call, line))
    });
    Some(List::new(rules.line(directive)?, calls))
}

/// The calls that the elements of one kind name.
fn elements<'r>(
    rules: &'r Rules,
    directive: &'static str,
    is_wanted: impl Fn(&str) -> bool,
) -> HashMap<&'r str, &'r Line> {
    let elements = rules.elements(directive);
    let wanted = elements.filter(|(element, _)| is_wanted(element));
    let calls = wanted.flat_map(|(element, line)| {
        let named = FIREJAIL.named(call(element));
        named.map(move |call| (call, line))
    });
    calls.collect()
}

/// The names by which a list may have a call.
fn both<'n>(name: &'n str, numbered: Option<&'n str>) -> impl Iterator<Item = &'n str> {
    std::iter::once(name).chain(numbered)
}

fn is_exception(element: &str) -> bool {
    element.starts_with('!')
}

/// The number of a call, by which a list can name it too.
fn number(name: &str, architecture: &[u8]) -> Option<u32> {
    if let Some(number) = unnumbered(name) {
        return Some(number);
    }
    let id = match architecture {
        b"x86_64" => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
        b"aarch64" => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
        _ => return None,
    };
    u32::try_from(id).ok()
}
