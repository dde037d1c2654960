//! What the control interface asks of the agent's core, and what it gets back.
//!
//! One channel of [`Request`]s leads to the core. A request is answered at once and without
//! waiting for anybody: the core's time belongs to the ring buffer. What takes long on the way to
//! a slow client waits in the client's own task, never in the core.

mod shadow;

use std::collections::BTreeMap;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use zlink::{
    idl,
    introspect::{CustomType, Type},
};

pub use self::shadow::{
    Denial, Link, ProfilePart, Shadow, ShadowError, ShadowProfile, ShadowSummary,
};
use crate::{
    observation::{Kind, Observation, Text, Word},
    policy,
};

/// A question or an order to the core. An answer that nobody waits for any more is no error.
#[derive(Debug)]
pub enum Request {
    /// Every unit known, in the order of their names.
    Units {
        /// Where the answer goes.
        reply: oneshot::Sender<Vec<UnitSummary>>,
    },
    /// How the agent does.
    Status {
        /// Where the answer goes.
        reply: oneshot::Sender<Status>,
    },
    /// The full names of these units.
    Resolve {
        /// As somebody gave them; none: all.
        units: Vec<Text>,
        /// The names, or the first of which it is not known what it means.
        reply: oneshot::Sender<Result<Vec<Text>, NameError>>,
    },
    /// What was seen of one unit: asked for one by one, so that no more of them lie in memory than
    /// the client takes.
    Observation {
        /// Its full name.
        unit: Text,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Observation, NameError>>,
    },
    /// Begin a named run, or end the one that was begun.
    Mark {
        /// Its name, at most [`MARK_LENGTH`] bytes, not empty; none: what was begun ends.
        name: Option<Text>,
        /// Of this unit; none: of every unit.
        unit: Option<Text>,
        /// Where the answer goes, once calls count for the new run.
        reply: oneshot::Sender<Result<Marked, MarkError>>,
    },
    /// Drop what was recorded of units.
    Forget {
        /// Their names, or patterns.
        units: Vec<Text>,
        /// Where the answer goes, once it is gone.
        reply: oneshot::Sender<Result<Forgotten, ForgetError>>,
    },
    /// Freeze a profile for a unit: what it would refuse from now on is noted.
    Freeze {
        /// The unit.
        unit: Text,
        /// The profile.
        profile: Box<ShadowProfile>,
        /// Whether one that is frozen already is replaced.
        replace: bool,
        /// Where the answer goes, once it is on disk.
        reply: oneshot::Sender<Result<ShadowSummary, ShadowError>>,
    },
    /// Give up what was frozen for a unit.
    Unfreeze {
        /// The unit.
        unit: Text,
        /// Where the answer goes: the unit's full name.
        reply: oneshot::Sender<Result<Text, ShadowError>>,
    },
    /// The units in shadow, with what was noted up to now.
    Shadows {
        /// This unit; none: all.
        unit: Option<Text>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Vec<Shadow>, ShadowError>>,
    },
    /// Tell of every new fact from now on, until [`Watcher::tell`] says that nobody listens.
    Watch(Watcher),
}

/// The longest name of a marked run, in bytes.
pub const MARK_LENGTH: usize = 256;

/// One unit in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct UnitSummary {
    /// Its name.
    pub unit: Text,
    /// Whether it is there, and whether anything was recorded of it.
    pub state: UnitState,
    /// Whether a profile that rests on this would hold.
    pub verdict: Verdict,
    /// On how many tests that rests: runs and marked cases in which something was done.
    pub tests: u64,
    /// The programs seen.
    pub executables: Vec<Text>,
    /// Runs recorded.
    pub runs: u64,
    /// Different calls.
    pub calls: u64,
    /// Capabilities that were used: asked for the unit itself, and granted.
    pub capabilities: Vec<Word>,
    /// Different paths.
    pub paths: u64,
    /// Socket families.
    pub families: Vec<Word>,
    /// When the last new fact came.
    pub last_new: Option<Time>,
    /// What could not be recorded, by kind.
    pub losses: BTreeMap<String, u64>,
    /// How many facts the profile that is frozen for it would refuse; none: nothing is frozen.
    pub denials: Option<u64>,
}

/// Whether a unit is there.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    CustomType,
    ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum UnitState {
    /// systemd has its cgroup, and something was recorded of it
    Active,
    /// It has ended, and something was recorded of it
    Inactive,
    /// systemd has its cgroup, and nothing was recorded of it
    Silent,
}

/// Whether a profile that rests on what was recorded would hold. The first that applies, from the last one on.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    CustomType,
    ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum Verdict {
    /// Enough tests, and they show nothing new
    Ready,
    /// The tests still differ: the next one would show something new
    Growing,
    /// Fewer than five tests
    FewTests,
    /// Some of its facts were lost
    Lossy,
}

impl From<policy::Verdict> for Verdict {
    fn from(verdict: policy::Verdict) -> Self {
        match verdict {
            policy::Verdict::Ready => Self::Ready,
            policy::Verdict::Growing => Self::Growing,
            policy::Verdict::FewTests => Self::FewTests,
            policy::Verdict::Lossy => Self::Lossy,
        }
    }
}

/// How the agent does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When this process began.
    pub started: Time,
    /// Whether it loaded the kernel side or found it recording.
    pub kernel_side: KernelSide,
    /// Since when the kernel side has been recording.
    pub since: Time,
    /// Units known.
    pub units: u64,
    /// Records of programs in use.
    pub slots_used: u64,
    /// Records of programs there are.
    pub slots_total: u64,
    /// Cgroups observed.
    pub cgroups_used: u64,
    /// Cgroups that can be observed at one time.
    pub cgroups_total: u64,
    /// Events taken by this process.
    pub events: u64,
    /// Bytes in the journals.
    pub journal_bytes: u64,
    /// Where the observations are kept.
    pub state_directory: Text,
    /// What could not be recorded, by kind.
    pub losses: BTreeMap<String, u64>,
    /// Which kernel hook supplies which kind of fact.
    pub hooks: BTreeMap<String, String>,
    /// Files that could not be used and were kept under another name, until somebody removes them.
    pub set_aside: Vec<Text>,
    /// Which limits of `[state]` have had an effect, as sentences: until units are forgotten, or the agent restarts.
    pub limits: Vec<String>,
    /// What is wrong at this moment, as sentences.
    pub errors: Vec<String>,
    /// The units in shadow.
    pub shadows: Vec<ShadowSummary>,
}

/// Where the kernel side came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum KernelSide {
    /// This process loaded it.
    Loaded,
    /// An earlier process loaded it; this one took it over.
    Adopted,
}

/// A run that was begun by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Marked {
    /// The run's identifier, the same in every unit.
    pub id: Word,
    /// The units in which it began.
    pub units: Vec<Text>,
}

/// Units of which nothing is recorded any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Forgotten {
    /// Their full names.
    pub units: Vec<Text>,
    /// Those with an open run, which goes on from zero.
    pub open: Vec<Text>,
}

/// Why nothing, or not everything, was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgetError {
    /// It is not known what.
    Name(NameError),
    /// As a sentence.
    Refused(String),
}

impl From<NameError> for ForgetError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

/// Why no run was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkError {
    /// It is not known of which unit.
    Name(NameError),
    /// As a sentence.
    Refused(String),
}

/// It is not known which unit a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// None.
    NotFound {
        /// What was asked for.
        unit: Text,
        /// Names like it, see [`super::names::suggest`].
        near: Vec<Text>,
    },
    /// One of several.
    Ambiguous {
        /// What was asked for.
        unit: Text,
        /// Those.
        candidates: Vec<Text>,
    },
}

/// A fact that was not known before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct NewFact {
    /// Of which unit.
    pub unit: Text,
    /// In which run.
    pub run: Word,
    /// By which program.
    pub executable: Text,
    /// What kind of fact.
    pub kind: FactKind,
    /// The fact: `openat`, `net_bind_service`, `read /etc/passwd`.
    pub fact: Text,
    /// When it was first seen, where that is known.
    pub first: Option<Time>,
    /// How many facts before this one were left out, because the client was slow.
    pub lagged: u64,
    /// Which line of the profile that is frozen for the unit would refuse it. Such a fact comes a second time, once it is
    /// judged.
    pub refused_by: Option<Text>,
}

/// The kinds of facts.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, CustomType,
)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum FactKind {
    /// A call.
    Syscall,
    /// A capability check.
    Capability,
    /// An operation on a path.
    Path,
    /// A socket family, type or socket.
    Family,
    /// A socket address.
    Address,
    /// Something about arguments.
    Argument,
    /// A program that was run.
    Program,
}

impl FactKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Syscall,
        Self::Capability,
        Self::Path,
        Self::Family,
        Self::Address,
        Self::Argument,
        Self::Program,
    ];

    /// The kind as its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Capability => "capability",
            Self::Path => "path",
            Self::Family => "family",
            Self::Address => "address",
            Self::Argument => "argument",
            Self::Program => "program",
        }
    }
}

impl From<Kind> for FactKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Syscall => Self::Syscall,
            Kind::Capability => Self::Capability,
            Kind::Path => Self::Path,
            Kind::Family => Self::Family,
            Kind::Address => Self::Address,
            Kind::Argument => Self::Argument,
            Kind::Program => Self::Program,
        }
    }
}

/// Somebody who wants to hear of new facts. What does not fit into its queue is left out and
/// counted: a client that does not read costs a queue and nothing more.
#[derive(Debug)]
pub struct Watcher {
    unit: Option<Text>,
    queue: mpsc::Sender<NewFact>,
    lagged: u64,
}

impl Watcher {
    /// One for the facts of `unit`, or of all. `length` of them may wait.
    #[must_use]
    pub fn new(unit: Option<Text>, length: usize) -> (Self, mpsc::Receiver<NewFact>) {
        let (queue, receiver) = mpsc::channel(length);
        let lagged = 0;
        (
            Self {
                unit,
                queue,
                lagged,
            },
            receiver,
        )
    }

    /// Whether anybody still listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Tells of `fact`, if it is wanted; never waits. Returns whether anybody still listens.
    pub fn tell(&mut self, fact: &NewFact) -> bool {
        if self.unit.as_ref().is_some_and(|unit| *unit != fact.unit) {
            return self.is_there();
        }
        match self.queue.try_reserve() {
            Ok(place) => {
                let lagged = std::mem::take(&mut self.lagged);
                place.send(NewFact {
                    lagged,
                    ..fact.clone()
                });
                true
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                self.lagged += 1;
                true
            }
            Err(mpsc::error::TrySendError::Closed(())) => false,
        }
    }
}

/// A time, RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub Timestamp);

impl Type for Time {
    const TYPE: &'static idl::Type<'static> = &idl::Type::String;
}

impl Type for Text {
    const TYPE: &'static idl::Type<'static> = &idl::Type::String;
}

impl Type for Word {
    const TYPE: &'static idl::Type<'static> = &idl::Type::String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(unit: &str, number: usize) -> NewFact {
        NewFact {
            unit: unit.into(),
            run: Word::new("r").unwrap(),
            executable: "/bin/a".into(),
            kind: FactKind::Path,
            fact: format!("read /{number}").as_bytes().into(),
            first: None,
            lagged: 0,
            refused_by: None,
        }
    }

    #[test]
    fn who_does_not_read_misses_facts_and_is_told_how_many() {
        let (mut watcher, mut queue) = Watcher::new(None, 2);
        for number in 0..10 {
            assert!(watcher.tell(&fact("a.service", number)));
        }
        assert_eq!(queue.try_recv().unwrap(), fact("a.service", 0));
        assert!(watcher.tell(&fact("a.service", 10)));
        assert_eq!(queue.try_recv().unwrap(), fact("a.service", 1));
        let late = queue.try_recv().unwrap();
        assert_eq!((late.fact, late.lagged), ("read /10".into(), 8));
        drop(queue);
        assert!(!watcher.tell(&fact("a.service", 11)));
    }

    #[test]
    fn one_unit_is_told_of_alone() {
        let (mut watcher, mut queue) = Watcher::new(Some("a.service".into()), 8);
        assert!(watcher.tell(&fact("b.service", 0)));
        assert!(watcher.tell(&fact("a.service", 1)));
        assert_eq!(queue.try_recv().unwrap(), fact("a.service", 1));
        assert!(queue.try_recv().is_err());
    }

    #[test]
    fn kinds_are_named_as_in_json() {
        for kind in FactKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
