//! Groups of system calls: `@clock` in a list is each call of the group. What is in a group depends on the version of who
//! reads the list.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

/// The groups of one version.
pub struct Groups(HashMap<&'static str, BTreeSet<&'static str>>);

/// Firejail 0.9.72 (`sysgroups` in src/lib/syscall.c), for all architectures.
pub static FIREJAIL: LazyLock<Groups> =
    LazyLock::new(|| Groups::of(include_str!("groups/firejail-0.9.72.txt")));

/// systemd 252 (`systemd-analyze syscall-filter`).
pub static SYSTEMD: LazyLock<Groups> =
    LazyLock::new(|| Groups::of(include_str!("groups/systemd-252.txt")));

impl Groups {
    /// Of lines such as `@default: @clock acct`, where a group may hold others.
    fn of(text: &'static str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let lists: HashMap<&str, &str> = lines.collect();
        let groups = lists.keys().map(|group| {
            let mut calls = BTreeSet::new();
            let mut todo = vec![*group];
            let mut known = BTreeSet::from([*group]);
            while let Some(next) = todo.pop() {
                let members = lists.get(next).copied().unwrap_or_default();
                for member in members.split(' ') {
                    if !member.starts_with('@') {
                        calls.insert(member);
                    } else if known.insert(member) {
                        todo.push(member);
                    }
                }
            }
            (*group, calls)
        });
        Self(groups.collect())
    }

    /// The calls of a group, if there is one of this name.
    #[must_use]
    pub fn get(&self, group: &str) -> Option<&BTreeSet<&'static str>> {
        self.0.get(group)
    }

    /// What an element of a list names: a group's calls, or the call itself.
    pub fn named<'n>(&'n self, element: &'n str) -> impl Iterator<Item = &'n str> {
        let group = self.get(element);
        let one = group.is_none().then_some(element);
        group.into_iter().flatten().copied().chain(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{firejail::default_list, systemd::default_list::DEFAULT};

    #[test]
    fn groups_hold_those_of_their_groups() {
        let default = FIREJAIL.get("@default").unwrap();
        assert!(default.contains("settimeofday") && default.contains("acct"));
        assert!(!default.iter().any(|call| call.starts_with('@')));
        assert_eq!(FIREJAIL.named("read").collect::<Vec<_>>(), ["read"]);
        assert_eq!(
            SYSTEMD.named("@swap").collect::<Vec<_>>(),
            ["swapoff", "swapon"]
        );
        assert!(FIREJAIL.get("@nothing").is_none());
    }

    #[test]
    fn the_default_lists_are_those_of_the_decisions() {
        let default = FIREJAIL.get("@default").unwrap();
        assert!(
            default_list::REFUSED
                .iter()
                .all(|call| default.contains(call))
        );
        let decided: BTreeSet<&str> = DEFAULT.into();
        assert_eq!(SYSTEMD.get("@default"), Some(&decided));
    }
}
