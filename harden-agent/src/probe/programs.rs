//! The programs that are attached, and how often the kernel skipped each.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

/// The programs on a call's two ends, which make up for each other.
const CALL_PROGRAMS: [&str; 4] = ["sys_enter", "sys_enter_again", "sys_exit", "sys_exit_again"];

/// Descriptors of attached programs, by name.
#[derive(Default)]
pub struct Programs(BTreeMap<String, OwnedFd>);

impl Programs {
    /// Adds one.
    pub fn insert(&mut self, name: &str, descriptor: OwnedFd) {
        self.0.insert(name.to_owned(), descriptor);
    }

    /// Adds one that somebody else holds too.
    ///
    /// # Errors
    /// The process has too many descriptors.
    pub fn insert_copy(&mut self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        let copy = descriptor.as_fd().try_clone_to_owned()?;
        self.insert(name, copy);
        Ok(())
    }

    /// How often the kernel skipped `name`; 0 for a program that is not attached.
    pub fn skipped(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, recursion_misses)
    }

    /// What was skipped, by the name of the loss.
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let others = self.0.iter();
        let others = others.filter(|(name, _)| !CALL_PROGRAMS.contains(&name.as_str()));
        let mut losses: BTreeMap<_, _> = others
            .map(|(name, program)| (format!("skipped-{name}"), recursion_misses(program)))
            .collect();
        losses.insert("skipped-sys_enter".to_owned(), self.skipped_calls());
        losses
    }

    /// How many calls may have been seen by no program: at most as many as that was skipped for which
    /// was skipped the least. An entry that was not seen is made up for at the call's end.
    fn skipped_calls(&self) -> u64 {
        let attached = CALL_PROGRAMS.iter().filter_map(|name| self.0.get(*name));
        attached.map(recursion_misses).min().unwrap_or(0)
    }
}

/// `recursion_misses` of a loaded program, from its descriptor's fdinfo (5.12); 0 where unknown.
fn recursion_misses(program: &OwnedFd) -> u64 {
    let info = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    let text = fs::read_to_string(info).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        .unwrap_or(0)
}
