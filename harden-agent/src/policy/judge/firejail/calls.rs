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
    Keep(List<'r>),
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
        let keep = || Some(Filter::Keep(List::of_calls(rules, KEEP, &FIREJAIL)?));
        let drop = || {
            Some(Filter::Drop {
                list: refused(rules, DROP)?,
                exceptions: exceptions(rules, DROP),
            })
        };
        let default = || {
            Some(Filter::Default(Default {
                line: rules.line(DEFAULT)?,
                more: refused(rules, DEFAULT)?,
                exceptions: exceptions(rules, DEFAULT),
            }))
        };
        Self {
            filter: keep().or_else(drop).or_else(default),
            block_secondary: rules.line("seccomp.block-secondary"),
            protocol: rules.line("protocol"),
            memory: rules.line("memory-deny-write-execute"),
            restricts_namespaces: rules.line("restrict-namespaces").is_some(),
        }
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
        match &self.filter {
            Some(Filter::Keep(_)) if ADDED.contains(&name) => PASS,
            Some(Filter::Keep(list)) => {
                let numbered = number(name, architecture).map(|number| format!("${number}"));
                let numbered = numbered.filter(|number| list.get(number).is_some());
                list.allows(numbered.as_deref().unwrap_or(name))
            }
            Some(Filter::Default(default)) => default.native(name),
            Some(Filter::Drop { list, exceptions }) => {
                let line = list.get(name).filter(|_| !exceptions.contains_key(name));
                line.map_or(PASS, against)
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
            Self::Keep(list) | Self::Drop { list, .. } => list.line(),
            Self::Default(default) => default.line,
        }
    }
}

impl<'r> Default<'r> {
    fn native(&self, name: &str) -> Step<'r> {
        match (self.exceptions.get(name), self.more.get(name)) {
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

fn exceptions<'r>(rules: &'r Rules, directive: &'static str) -> HashMap<&'r str, &'r Line> {
    let elements = rules.elements(directive);
    let exceptions = elements.filter(|(element, _)| is_exception(element));
    let calls = exceptions.flat_map(|(element, line)| {
        let named = FIREJAIL.named(call(element));
        named.map(move |call| (call, line))
    });
    calls.collect()
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
