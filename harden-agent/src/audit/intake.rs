//! Lines of logs → what happened, each record once, whichever logs hold it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use jiff::Timestamp;

use super::action::Action;
use super::architecture::Call;
use super::finding;
use super::loss::Losses;
use super::piece::Piece;
use super::record::{Line, Process, Record};
use crate::observation::Text;

/// One process's calls of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Who.
    pub process: Process,
    /// Which call.
    pub call: Call,
    /// What happened to it.
    pub action: Action,
}

impl Event {
    /// The file that the process ran, under the name that it had before it was replaced.
    #[must_use]
    pub fn present(&self) -> Option<Text> {
        self.process.executable.as_ref().map(finding::present)
    }
}

/// When, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many records.
    pub count: u64,
    /// The first, if its log has the kernel's own time.
    pub first: Option<Timestamp>,
    /// The last.
    pub last: Option<Timestamp>,
    /// The cgroup that the journal has with one of them.
    pub cgroup: Option<Text>,
}

/// What happened.
pub type Events = BTreeMap<Event, Times>;

/// What one log gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Records, those that came twice and those that are too old left out.
    pub records: u64,
    /// Records that another log, or the same, had already given.
    pub duplicates: u64,
    /// Records in which no call could be made out.
    pub unclear: u64,
    /// Lines that read like a record, and are another program's.
    pub not_the_kernels: u64,
    /// What is missing.
    pub losses: Losses,
}

/// What has been read.
#[derive(Debug, Default)]
pub struct Intake {
    since: Option<Timestamp>,
    hasher: RandomState,
    seen: HashSet<u64>,
    events: Events,
    /// Of lines that do not tell which record they are.
    unstamped: Events,
}

impl Intake {
    /// Nothing yet. What is known to be older than `since` is left out.
    #[must_use]
    pub fn new(since: Option<Timestamp>) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Takes one piece of a log.
    pub fn piece(&mut self, taken: &mut Taken, piece: Piece<'_>) {
        for line in Line::all(piece) {
            match line {
                Line::Record(record) => self.record(taken, *record),
                Line::Loss(loss) => taken.losses.add(loss),
                Line::Unclear => taken.unclear += 1,
                Line::NotTheKernels => taken.not_the_kernels += 1,
            }
        }
    }

    fn record(&mut self, taken: &mut Taken, record: Record) {
        let is_older = |since| record.time.is_some_and(|time| time < since);
        if self.since.is_some_and(is_older) {
            return;
        }
        let events = match &record.stamp {
            Some(stamp) => {
                // One log may hold records of several machines, each with a count of its own.
                let id = (stamp, record.process.pid, &record.call);
                if !self.seen.insert(self.hasher.hash_one(id)) {
                    taken.duplicates += 1;
                    return;
                }
                &mut self.events
            }
            None => &mut self.unstamped,
        };
        taken.records += 1;
        let event = Event {
            process: record.process,
            call: record.call,
            action: record.action,
        };
        events.entry(event).or_default().add(&Times {
            count: 1,
            first: record.time,
            last: record.time,
            cgroup: record.cgroup,
        });
    }

    /// All that happened. What a log without stamps has is left out if another log has the same of the same process.
    #[must_use]
    pub fn finish(mut self) -> Events {
        let stamped: HashSet<_> = self.events.keys().map(likeness).collect();
        self.unstamped
            .retain(|event, _| !stamped.contains(&likeness(event)));
        let unstamped = std::mem::take(&mut self.unstamped);
        self.events.extend(unstamped);
        self.events
    }
}

fn likeness(event: &Event) -> (Option<u32>, Option<Text>, Call, Action) {
    let Event {
        process,
        call,
        action,
    } = event.clone();
    (process.pid, process.executable, call, action)
}

impl Times {
    pub(super) fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = match (self.first, other.first) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.last = self.last.max(other.last);
        if self.cgroup.is_none() {
            self.cgroup.clone_from(&other.cgroup);
        }
    }
}
