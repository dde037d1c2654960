//! Invocations of units: from the birth of a unit's own cgroup to its end.

use std::collections::BTreeMap;

use super::{super::journal::Record, State};
use crate::observation::{ControlCommand, Text, Word};

/// One invocation.
pub(super) struct Invocation {
    pub unit: Text,
    /// Its identifier among the runs of the unit.
    pub id: Word,
    /// systemd's.
    pub systemd_id: Option<Word>,
    /// When its cgroup was made, nanoseconds of `CLOCK_MONOTONIC`.
    pub born: u64,
    /// The run that had been marked for the unit by then.
    pub marked: Option<u64>,
    /// Its commands, by the process that entered.
    pub commands: BTreeMap<u32, Command>,
    /// How the main process ended.
    pub status: Option<i32>,
}

/// A command of a unit.
#[derive(Clone, Default)]
pub(super) struct Command {
    /// `None`: the main one.
    pub role: Option<ControlCommand>,
    pub argv: Vec<Text>,
    pub uid: Option<u32>,
}

impl Invocation {
    /// What systemd calls it. Facts may have been filed under the first identifier already, which stays.
    pub fn name(&mut self, id: Word, invocation: Option<Word>) {
        self.id = id;
        self.systemd_id = invocation.or(self.systemd_id.take());
    }

    /// Which command a process is.
    pub fn command(
        &mut self,
        process: u32,
        role: Option<ControlCommand>,
        argv: Vec<Text>,
        uid: Option<u32>,
    ) {
        self.commands.insert(process, Command { role, argv, uid });
    }

    /// The main command, once it is known.
    pub fn main(&self) -> Option<&Command> {
        self.commands
            .values()
            .find(|command| command.role.is_none())
    }

    /// Which command's facts those of `process` are; `None`: the main one's.
    ///
    /// 0 is a process that was there before it could be seen to enter: most are main processes. The same goes
    /// for what has no other commands, such as a scope.
    pub fn role(&self, process: u32) -> Option<ControlCommand> {
        match self.commands.get(&process) {
            Some(command) => command.role,
            None if process == 0 || self.main().is_none() => None,
            None => Some(ControlCommand::Other),
        }
    }

    /// As records.
    pub fn records(&self, cgroup: u64) -> impl Iterator<Item = Record> + '_ {
        let commands = self.commands.iter().map(move |(process, command)| {
            let Command { role, argv, uid } = command.clone();
            Record::Command {
                cgroup,
                command: *process,
                role,
                argv,
                uid,
            }
        });
        let named = Record::Invocation {
            cgroup,
            id: self.id.clone(),
            invocation: self.systemd_id.clone(),
        };
        let ended = self.status.map(|status| Record::Ended {
            cgroup,
            status: Some(status),
        });
        [named].into_iter().chain(commands).chain(ended)
    }
}

impl State {
    /// A unit's own cgroup was made.
    pub(super) fn invoke(&mut self, cgroup: u64, unit: &Text, born: u64) {
        let marked = self.marked_by(unit, born);
        let id = self.identifier(cgroup, 0);
        self.units.entry(unit.clone()).or_default();
        self.invocations.insert(
            cgroup,
            Invocation {
                unit: unit.clone(),
                id,
                systemd_id: None,
                born,
                marked,
                commands: BTreeMap::new(),
                status: None,
            },
        );
    }

    /// Something became known of the invocation in `cgroup` that its runs show.
    pub(super) fn touch(&mut self, cgroup: u64) {
        let invocation = self.invocations.get(&cgroup);
        if let Some(unit) = invocation.and_then(|known| self.units.get_mut(&known.unit)) {
            unit.dirty = true;
        }
    }

    /// Invocations of which no cgroup is left have ended, and so have their runs.
    pub(super) fn end_invocations(&mut self) {
        let over = self.invocations.keys().copied();
        let over: Vec<u64> = over.filter(|top| self.is_over(*top)).collect();
        for top in over {
            let Some(invocation) = self.invocations.get(&top) else {
                continue;
            };
            let unit = invocation.unit.clone();
            if let Some(known) = self.units.get_mut(&unit) {
                known.end(top);
            }
        }
    }

    /// Forgets invocations whose runs are all on disk.
    pub fn forget_ended(&mut self) {
        let over = self.invocations.iter();
        let over: Vec<u64> = over
            .filter(|(top, invocation)| {
                let unit = self.units.get(&invocation.unit);
                let mut runs = unit.into_iter().flat_map(|unit| unit.open.values());
                self.is_over(**top) && !runs.any(|run| run.top == **top)
            })
            .map(|(top, _)| *top)
            .collect();
        for top in over {
            self.invocations.remove(&top);
        }
    }
}

/// What the core asks about invocations.
impl State {
    /// The unit whose own cgroup this is.
    #[must_use]
    pub fn invoked(&self, cgroup: u64) -> Option<&Text> {
        Some(&self.invocations.get(&cgroup)?.unit)
    }

    /// The identifier of the invocation in `cgroup`.
    #[must_use]
    pub fn invocation_id(&self, cgroup: u64) -> Option<Word> {
        Some(self.invocations.get(&cgroup)?.id.clone())
    }

    /// systemd's identifier of it, if it is known.
    #[must_use]
    pub fn invocation(&self, cgroup: u64) -> Option<&Word> {
        self.invocations.get(&cgroup)?.systemd_id.as_ref()
    }

    /// Whether the unit has been invoked again since it was in `cgroup`.
    #[must_use]
    pub fn is_succeeded(&self, cgroup: u64) -> bool {
        let Some(known) = self.invocations.get(&cgroup) else {
            return true;
        };
        let mut others = self.invocations.values();
        others.any(|other| other.unit == known.unit && other.born > known.born)
    }

    /// Whether it is known which command `process` is.
    #[must_use]
    pub fn is_explained(&self, cgroup: u64, process: u32) -> bool {
        let invocation = self.invocations.get(&cgroup);
        invocation.is_some_and(|known| known.commands.contains_key(&process))
    }

    /// Whether a command entered the unit whose own cgroup this is by `process`.
    #[must_use]
    pub fn has_command(&self, cgroup: u64, process: u32) -> bool {
        let Some(invocation) = self.invocations.get(&cgroup) else {
            return false;
        };
        let unit = self.units.get(&invocation.unit);
        let mut runs = unit.into_iter().flat_map(|unit| unit.open.values());
        runs.any(|run| run.top == cgroup && run.has_command(process))
    }

    /// The own cgroup of the unit of `slot`, if it is not known which command the slot's is.
    #[must_use]
    pub fn unexplained(&self, slot: u32) -> Option<u64> {
        let home = self.slots.get(&slot)?;
        (!self.is_explained(home.top, home.command)).then_some(home.top)
    }
}
