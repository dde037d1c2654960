//! What happened, by unit and program.

use std::collections::BTreeMap;

use serde::Serialize;

use super::action::Action;
use super::architecture::Call;
use super::intake::{Event, Events, Times};
use super::record::Process;
use crate::observation::Text;

/// How it is known of which unit a process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Joint {
    /// The journal has its cgroup with the record.
    Record,
    /// The process has logged to the journal, or systemd-coredump has of it.
    Journal,
    /// It is still running.
    Running,
    /// The observation that was named has its program.
    Observation,
    /// By its program alone: the unit is the only one with a command that runs it.
    Command,
}

impl Joint {
    /// Where that is from.
    #[must_use]
    pub fn said(self) -> &'static str {
        match self {
            Self::Record => "the journal has its cgroup",
            Self::Journal => "other entries of the process in the journal",
            Self::Running => "the process is still running",
            Self::Observation => "the observation has this program",
            Self::Command => "no other unit has a command with this program",
        }
    }
}

/// The unit of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Joined {
    /// Its name, as `harden units` has it.
    pub unit: Text,
    /// How that is known.
    pub how: Joint,
}

/// The program that made a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The file that it was.
    File(Text),
    /// Nothing but the name of its thread is known.
    Thread(Text),
    /// Nothing is.
    Unknown,
}

impl Program {
    pub(super) fn of(process: &Process) -> Self {
        match (&process.executable, &process.name) {
            (Some(path), _) => Self::File(present(path)),
            (None, Some(name)) => Self::Thread(name.clone()),
            (None, None) => Self::Unknown,
        }
    }
}

/// The path of a file, which may have been replaced since (`prepend_path`, `fs/d_path.c`).
pub(super) fn present(path: &Text) -> Text {
    let bytes = path.as_bytes();
    Text::from(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes))
}

/// Calls of one program of one unit.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Of which unit, if that is known.
    pub joined: Option<Joined>,
    /// By which program.
    pub program: Program,
    /// Which call.
    pub call: Call,
    /// What happened to it.
    pub action: Action,
    /// When, and how often.
    pub times: Times,
}

/// All of them, by unit; those of no known unit first.
#[derive(Clone, Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Of what happened, with the unit of each process.
    #[must_use]
    pub fn new(events: &Events, unit: impl Fn(&Event, &Times) -> Option<Joined>) -> Self {
        let mut all: BTreeMap<_, Times> = BTreeMap::new();
        for (event, times) in events {
            let program = Program::of(&event.process);
            let key = (
                unit(event, times),
                program,
                event.call.clone(),
                event.action,
            );
            all.entry(key).or_default().add(times);
        }
        let findings = all.into_iter().map(|(key, times)| {
            let (joined, program, call, action) = key;
            Finding {
                joined,
                program,
                call,
                action,
                times,
            }
        });
        Self(findings.collect())
    }
}
