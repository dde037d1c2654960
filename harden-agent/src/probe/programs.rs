//! The programs that are attached, and how often the kernel skipped each.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

/// The programs on a call's two ends.
const ENTRY_PROGRAMS: [&str; 2] = ["sys_enter", "sys_enter_again"];
const EXIT_PROGRAMS: [&str; 2] = ["sys_exit", "sys_exit_again"];

/// Descriptors of attached programs, by name.
pub(super) struct Programs {
    descriptors: BTreeMap<String, OwnedFd>,
    may_skip: bool,
}

impl Programs {
    /// None yet. `may_skip`: they were loaded for a kernel that may skip some, and so those at a call's end look whether its
    /// entry was seen. Else they look at most calls no more.
    pub(super) fn new(may_skip: bool) -> Self {
        Self {
            descriptors: BTreeMap::new(),
            may_skip,
        }
    }

    /// Adds one.
    pub(super) fn insert(&mut self, name: &str, descriptor: OwnedFd) {
        self.descriptors.insert(name.to_owned(), descriptor);
    }

    /// Adds one that somebody else holds too.
    ///
    /// # Errors
    /// The process has too many descriptors.
    pub(super) fn insert_copy(&mut self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        let copy = descriptor.as_fd().try_clone_to_owned()?;
        self.insert(name, copy);
        Ok(())
    }

    /// How often the kernel skipped `name`; 0 for a program that is not attached.
    pub(super) fn skipped(&self, name: &str) -> u64 {
        self.descriptors.get(name).map_or(0, recursion_misses)
    }

    /// What was skipped, by the name of the loss.
    pub(super) fn losses(&self) -> BTreeMap<String, u64> {
        let others = self.descriptors.iter();
        let others = others.filter(|(name, _)| !is_of_call(name));
        let mut losses: BTreeMap<_, _> = others
            .map(|(name, program)| (format!("skipped-{name}"), recursion_misses(program)))
            .collect();
        losses.insert("skipped-sys_enter".to_owned(), self.skipped_calls());
        losses
    }

    /// How many calls may have been seen by no program: at most as many as that was skipped for which was skipped the least,
    /// of those that make up for each other.
    fn skipped_calls(&self) -> u64 {
        let exits = EXIT_PROGRAMS.iter().filter(|_| self.may_skip);
        let attached = ENTRY_PROGRAMS
            .iter()
            .chain(exits)
            .filter_map(|name| self.descriptors.get(*name));
        attached.map(recursion_misses).min().unwrap_or(0)
    }
}

fn is_of_call(name: &str) -> bool {
    ENTRY_PROGRAMS
        .iter()
        .chain(&EXIT_PROGRAMS)
        .any(|known| *known == name)
}

/// `recursion_misses` of a loaded program, from its descriptor's fdinfo (5.12); 0 where unknown.
fn recursion_misses(program: &OwnedFd) -> u64 {
    let info = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let text = fs::read_to_string(info).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        .unwrap_or(0)
}
