//! The facets for which a run names a hook, and the facts about arguments: by type where an observation has names.

use std::fmt;

use harden_common::Argument;
use serde::{Serialize, Serializer};

use super::{Executable, Run, Word};

/// A kind of fact for which there is a hook, in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// Socket addresses.
    Addresses,
    /// Capability checks.
    Capabilities,
    /// Programs that were run.
    Exec,
    /// Opened files.
    Files,
    /// Paths as they were asked for: lookups that fail, stat, access.
    Lookups,
    /// What else is done to paths.
    PathOperations,
    /// Signals to processes of other cgroups.
    Signals,
    /// Calls, arguments, socket families and types.
    Syscalls,
}

impl Facet {
    /// Its name, the key of a run's hooks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Capabilities => "capabilities",
            Self::Exec => "exec",
            Self::Files => "files",
            Self::Lookups => "lookups",
            Self::PathOperations => "path-operations",
            Self::Signals => "signals",
            Self::Syscalls => "syscalls",
        }
    }
}

impl fmt::Display for Facet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Serialize for Facet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Run {
    /// The hook for a kind of fact, as the run names it: `none (REASON)` is one that could not be had.
    #[must_use]
    pub fn hook(&self, facet: Facet) -> Option<&str> {
        self.hooks.get(facet.name()).map(String::as_str)
    }

    /// Whether files were seen where calls come back, and not by a security hook. It was `raw_tp:sys_exit` at first.
    #[must_use]
    pub fn sees_files_at_exit(&self) -> bool {
        let hook = self.hook(Facet::Files);
        hook.is_some_and(|hook| hook.ends_with(":sys_exit"))
    }
}

impl Executable {
    /// What the arguments of its calls said, as far as this version knows the names.
    pub fn said(&self) -> impl Iterator<Item = Argument> {
        self.arguments.keys().filter_map(argument)
    }
}

/// The fact about arguments with this name, if this version knows it.
pub(crate) fn argument(name: &Word) -> Option<Argument> {
    let mut known = Argument::ALL.into_iter();
    known
        .find(|(_, one)| *one == name.as_str())
        .map(|(argument, _)| argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Fact;

    /// What the probe means by it.
    const fn supplied(facet: Facet) -> Fact {
        match facet {
            Facet::Addresses => Fact::Addresses,
            Facet::Capabilities => Fact::Capabilities,
            Facet::Exec => Fact::Exec,
            Facet::Files => Fact::Files,
            Facet::Lookups => Fact::Lookups,
            Facet::PathOperations => Fact::PathOperations,
            Facet::Signals => Fact::Signals,
            Facet::Syscalls => Fact::Syscalls,
        }
    }

    #[test]
    fn a_facet_has_the_name_that_the_probe_gives_it_and_the_order_of_the_names() {
        let facets = [
            Facet::Addresses,
            Facet::Capabilities,
            Facet::Exec,
            Facet::Files,
            Facet::Lookups,
            Facet::PathOperations,
            Facet::Signals,
            Facet::Syscalls,
        ];
        for facet in facets {
            assert_eq!(facet.name(), supplied(facet).name());
        }
        assert!(facets.is_sorted_by_key(|facet| facet.name()) && facets.is_sorted());
    }
}
