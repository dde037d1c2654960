//! Cgroups that were born into observation and are not wanted.

use std::mem::take;

use harden_common::RUN_PASSES;

use crate::collect::unit;

/// Those that are to be observed no more.
#[derive(Default)]
pub(super) struct Unwanted {
    /// The agent's own cgroup, from the root of the tree.
    own: Vec<u8>,
    /// Cgroups below which births are still told, and nothing else.
    passing: Vec<u64>,
    /// Cgroups of the agent's.
    of_agent: Vec<u64>,
}

impl Unwanted {
    /// None yet, for an agent in this cgroup.
    pub(super) fn new(own: Vec<u8>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Whether the cgroup is the agent's own, or below it.
    pub(super) fn is_own(&self, path: &[u8]) -> bool {
        let below = path.strip_prefix(self.own.as_slice());
        self.own.len() > 1 && below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// What is not wanted may hold another systemd whose units are: births are told of there, and nothing else.
    /// `run` is the number that it has, if any.
    pub(super) fn ignore_cgroup(&mut self, id: u64, run: Option<u64>, path: &[u8]) {
        if self.is_own(path) {
            self.of_agent.extend(run.map(|_| id));
        } else if run.is_none_or(|run| run & RUN_PASSES == 0) {
            self.passing.push(id);
        }
    }

    /// What is no unit's, as the root of a container, is observed for the sake of what is below: a slot of its own
    /// would tell nobody anything, and stay. `run` is the number that it has.
    pub(super) fn observe_children_only(&mut self, id: u64, run: u64, path: &[u8]) {
        if unit::unit(path).is_none() && run & RUN_PASSES == 0 {
            self.passing.push(id);
        }
    }

    /// The cgroups below which births are still told, and those of the agent's, of which nothing is.
    pub(super) fn take(&mut self) -> (Vec<u64>, Vec<u64>) {
        (take(&mut self.passing), take(&mut self.of_agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_told_from_what_begins_like_it() {
        let mut unwanted = Unwanted::new(b"/system.slice/harden.service".to_vec());
        assert!(unwanted.is_own(b"/system.slice/harden.service/below"));
        assert!(!unwanted.is_own(b"/system.slice/harden.service2"));
        unwanted.ignore_cgroup(1, Some(7), b"/system.slice/harden.service");
        // The agent's, but not observed: nothing is to be done.
        unwanted.ignore_cgroup(2, None, b"/system.slice/harden.service");
        unwanted.ignore_cgroup(3, None, b"/system.slice/other.service");
        unwanted.ignore_cgroup(4, Some(7 | RUN_PASSES), b"/system.slice/another.service");
        assert_eq!(unwanted.take(), (vec![3], vec![1]));
        assert_eq!(unwanted.take(), (vec![], vec![]));
    }

    #[test]
    fn an_agent_in_the_root_is_not_everything() {
        assert!(!Unwanted::new(b"/".to_vec()).is_own(b"/system.slice/a.service"));
    }
}
