//! Processes of a run that have left its cgroup: whom to wait for once that is empty.
//!
//! The kernel side follows tasks, and each of its events says which process it is of. What a process starts without an
//! event of its own is found as its child.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use harden_common::SLOT_EXCLUDED;

use crate::{
    collect,
    machine::proc::{self, Stat},
};

/// How often they are looked for: that reads a file of every process on the machine.
const ROUND: Duration = Duration::from_millis(100);
/// `PROC_PID_INIT_INO` in `include/linux/proc_ns.h`, as `proc_pid_ns(5)` shows it.
const INITIAL: &str = "pid:[4026531836]";

/// The processes of a run.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Those that events are of, with the time of the last.
    seen: HashMap<u32, u64>,
    /// Those that were there when they were last looked for, with their starts.
    there: HashMap<u32, u64>,
    looked: Option<Instant>,
}

impl Elsewhere {
    /// Takes note of whom an item of the ring buffer is of.
    pub(super) fn see(&mut self, item: &[u8]) {
        let Some(header) = collect::header(item).filter(|header| header.slot != SLOT_EXCLUDED)
        else {
            return;
        };
        let last = self.seen.entry(header.pid).or_default();
        *last = header.time.max(*last);
    }

    /// Whether any process of the run is there. To be asked when its cgroup is empty.
    pub(super) fn is_any(&mut self) -> bool {
        if self.looked.is_none_or(|looked| looked.elapsed() >= ROUND) {
            self.look();
            self.looked = Some(Instant::now());
        }
        !self.there.is_empty()
    }

    fn look(&mut self) {
        // The kernel side counts in the initial namespace: elsewhere its numbers are others'.
        let own = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        if own.as_os_str() != INITIAL {
            return;
        }
        let suspended = proc::suspended();
        let all = proc::all().into_iter();
        let all: HashMap<u32, Stat> = all
            .filter_map(|pid| Some((pid, proc::stat(pid)?)))
            .filter(|(_, stat)| !stat.is_over)
            .collect();
        self.there = self.among(&all, suspended);
    }

    /// Those of the run among `all`, by number and start.
    fn among(&self, all: &HashMap<u32, Stat>, suspended: u64) -> HashMap<u32, u64> {
        // A process with a number that was used again began after the last event of the former one.
        let is_known = |pid: u32, stat: &Stat| {
            let began = stat.start.saturating_sub(suspended);
            self.seen.get(&pid).is_some_and(|last| began <= *last)
                || self.there.get(&pid) == Some(&stat.start)
        };
        let known = all.iter().filter(|(pid, stat)| is_known(**pid, stat));
        let mut found: HashMap<u32, u64> = known.map(|(pid, stat)| (*pid, stat.start)).collect();
        loop {
            let children = all.iter().filter(|(pid, stat)| {
                found.contains_key(&stat.parent) && !found.contains_key(*pid)
            });
            let children: Vec<_> = children.map(|(pid, stat)| (*pid, stat.start)).collect();
            if children.is_empty() {
                return found;
            }
            found.extend(children);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_events_its_parent_and_its_start() {
        let mut run = Elsewhere {
            seen: [(10, 500), (20, 500)].into(),
            ..Elsewhere::default()
        };
        let stat = |parent, start| Stat {
            parent,
            start,
            is_over: false,
        };
        // 20 is another process by now; 12 is a grandchild of 10.
        let all = [
            (1, stat(0, 0)),
            (10, stat(1, 400)),
            (11, stat(10, 600)),
            (12, stat(11, 700)),
            (20, stat(1, 900)),
        ];
        let pids = |found: HashMap<u32, u64>| {
            let mut pids: Vec<u32> = found.into_keys().collect();
            pids.sort_unstable();
            pids
        };
        run.there = run.among(&all.into(), 0);
        assert_eq!(pids(run.there.clone()), [10, 11, 12]);
        // One that was found goes on being known when its parent is gone.
        let orphan = [(12, stat(1, 700)), (20, stat(1, 900))];
        assert_eq!(pids(run.among(&orphan.into(), 0)), [12]);
        // The machine slept for as long, which the events' clock does not count.
        let woken = [(10, stat(1, 1400))];
        assert_eq!(pids(run.among(&woken.into(), 1000)), [10]);
    }
}
