//! System calls under a Firejail profile.
//!
//! The list is one of native calls. A filter refuses x32 calls whatever is on the list (`HANDLE_X32` in
//! src/include/seccomp.h; that of `protocol` too), and lets all 32-bit calls pass; `seccomp.block-secondary` refuses both.

use std::str::FromStr as _;

use crate::observation::Abi;

use super::super::{
    super::{calls::unnumbered, firejail::default_list::is_refused},
    judgement::{Judgement, PASS, Step, against, all, by},
    line::{Line, Rules},
    list::List,
};

/// What Firejail needs itself, after its filter: on every list of what is allowed (`seccomp_filter_keep` in
/// src/firejail/seccomp.c).
const ADDED: [&str; 3] = ["execve", "execveat", "prctl"];

pub(super) struct Calls<'r> {
    filter: Option<Filter<'r>>,
    block_secondary: Option<&'r Line>,
    /// Another filter, which is about the arguments of socket(2).
    protocol: Option<&'r Line>,
}

enum Filter<'r> {
    Keep(List<'r>),
    Default(List<'r>),
    Drop(List<'r>),
}

impl<'r> Calls<'r> {
    pub(super) fn new(rules: &'r Rules) -> Self {
        let list = |name| List::of(rules, name);
        // A list of what is allowed beats the others.
        let filter = list("seccomp.keep").map(Filter::Keep);
        let filter = filter.or_else(|| list("seccomp.drop").map(Filter::Drop));
        Self {
            filter: filter.or_else(|| list("seccomp").map(Filter::Default)),
            block_secondary: rules.line("seccomp.block-secondary"),
            protocol: rules.line("protocol"),
        }
    }

    pub(super) fn judge(&self, abi: Abi, name: &str, architecture: &[u8]) -> Judgement<'r> {
        all([match abi {
            Abi::Native => self.native(name, architecture),
            Abi::Ia32 => self.block_secondary.map_or(PASS, against),
            Abi::X32 => {
                let filter = self.filter.as_ref().map(|filter| filter.list().line());
                let filters = self.block_secondary.or(filter).or(self.protocol);
                filters.map_or(PASS, against)
            }
        }])
    }

    fn native(&self, name: &str, architecture: &[u8]) -> Step<'r> {
        match &self.filter {
            Some(Filter::Keep(_)) if ADDED.contains(&name) => PASS,
            Some(Filter::Keep(list)) => {
                let numbered = || {
                    let number = number(name, architecture)?;
                    list.get(&format!("${number}"))
                };
                let line = list.get(name).or_else(numbered);
                line.map_or(against(list.line()), by)
            }
            Some(Filter::Default(list)) if is_refused(name) => list.allows(&format!("!{name}")),
            Some(Filter::Drop(list)) => list.get(name).map_or(PASS, against),
            Some(Filter::Default(_)) | None => PASS,
        }
    }
}

impl<'r> Filter<'r> {
    fn list(&self) -> &List<'r> {
        match self {
            Self::Keep(list) | Self::Default(list) | Self::Drop(list) => list,
        }
    }
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
