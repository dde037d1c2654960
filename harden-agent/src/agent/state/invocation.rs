//! Invocations of units: from the birth of a unit's own cgroup to its end, or to the next start in the same one.
//!
//! With `KillMode=process`, which sshd and cron have, processes may be left when a unit stops, and then it is started
//! again in the cgroup that is still there. Only systemd knows: it is told apart by the commands that it started.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::journal::{Owner, Record},
    State,
    place::Attribution,
};
use crate::observation::{ControlCommand, Text, Word};

/// So many invocations before the present one are remembered in any case: what is left of them may do something again.
const KEPT: usize = 16;

/// All invocations of one cgroup.
pub(super) struct Invocations {
    /// In order.
    former: Vec<Invocation>,
    pub present: Invocation,
}

impl Invocations {
    fn all(&self) -> impl DoubleEndedIterator<Item = &Invocation> {
        self.former.iter().chain([&self.present])
    }

    /// The invocation that a command is of.
    pub(super) fn of_command(&self, process: u32) -> &Invocation {
        let mut former = self.former.iter();
        former
            .find(|former| former.has(process))
            .unwrap_or(&self.present)
    }

    /// The one whose run has this identifier; the present one for a run of several.
    pub(super) fn of_run(&self, id: &Word) -> &Invocation {
        let mut former = self.former.iter();
        former
            .find(|former| former.id == *id)
            .unwrap_or(&self.present)
    }

    /// Whether it is known which command `process` is, or that this is not to be known.
    fn is_explained(&self, process: u32) -> bool {
        self.all().any(|known| known.has(process))
    }

    /// Which command of the present invocation a process is.
    pub(super) fn command(
        &mut self,
        process: u32,
        role: Option<ControlCommand>,
        argv: Vec<Text>,
        uid: Option<u32>,
    ) {
        let command = Command { role, argv, uid };
        self.present.commands.insert(process, command);
    }

    /// As records.
    pub(super) fn records(&self, cgroup: u64) -> impl Iterator<Item = Record> + '_ {
        let mut before = None;
        self.all().flat_map(move |known| {
            let first = known.first(cgroup, before.take());
            before = Some(&known.left);
            [first].into_iter().chain(known.records(cgroup))
        })
    }

    /// Forgets the oldest of those whose runs are in none of `open`.
    fn forget(&mut self, open: &BTreeSet<&Word>) {
        let surplus = self.former.len().saturating_sub(KEPT);
        let mut number = 0;
        self.former.retain(|former| {
            number += 1;
            number > surplus || open.contains(&former.id)
        });
    }
}

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
    /// What confined it already.
    pub filters: BTreeSet<Word>,
    /// Commands that had entered when the next one began.
    left: BTreeSet<u32>,
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
    pub(super) fn name(&mut self, id: Word, invocation: Option<Word>) {
        self.id = id;
        self.systemd_id = invocation.or(self.systemd_id.take());
    }

    fn has(&self, process: u32) -> bool {
        self.commands.contains_key(&process) || self.left.contains(&process)
    }

    /// The main command, once it is known.
    pub(super) fn main(&self) -> Option<&Command> {
        self.commands
            .values()
            .find(|command| command.role.is_none())
    }

    /// Which command's facts those of `process` are; `None`: the main one's.
    ///
    /// 0 is a process that was there before it could be seen to enter: most are main processes. The same goes
    /// for what has no other commands, such as a scope.
    pub(super) fn role(&self, process: u32) -> Option<ControlCommand> {
        match self.commands.get(&process) {
            Some(command) => command.role,
            None if process == 0 || self.main().is_none() => None,
            None => Some(ControlCommand::Other),
        }
    }

    /// The record of its beginning, where one went `before` that left these.
    fn first(&self, cgroup: u64, before: Option<&BTreeSet<u32>>) -> Record {
        match (before, &self.systemd_id) {
            (Some(before), Some(invocation)) => Record::Again {
                cgroup,
                id: self.id.clone(),
                invocation: invocation.clone(),
                time: self.born,
                before: before.clone(),
            },
            (_, invocation) => Record::Invocation {
                cgroup,
                id: self.id.clone(),
                invocation: invocation.clone(),
            },
        }
    }

    /// What is known of it besides, as records.
    fn records(&self, cgroup: u64) -> impl Iterator<Item = Record> + '_ {
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
        let ended = self.status.map(|status| Record::Ended {
            cgroup,
            status: Some(status),
        });
        let filtered = (!self.filters.is_empty()).then(|| Record::Filtered {
            cgroup,
            filters: self.filters.clone(),
        });
        commands.chain(ended).chain(filtered)
    }
}

impl State {
    /// A unit's own cgroup was made.
    pub(super) fn invoke(&mut self, cgroup: u64, unit: &Text, born: u64) {
        let marked = self.marked_by(unit, born);
        let id = self.identifier(cgroup, 0);
        self.units.entry(unit.clone()).or_default();
        let present = Invocation {
            unit: unit.clone(),
            id,
            systemd_id: None,
            born,
            marked,
            commands: BTreeMap::new(),
            status: None,
            filters: BTreeSet::new(),
            left: BTreeSet::new(),
        };
        let former = Vec::new();
        self.invocations
            .insert(cgroup, Invocations { former, present });
    }

    /// The unit was started again in the cgroup that it had.
    pub(super) fn invoke_again(
        &mut self,
        cgroup: u64,
        id: Word,
        invocation: Word,
        time: u64,
        before: BTreeSet<u32>,
    ) {
        let Some(unit) = self.invoked(cgroup).cloned() else {
            return;
        };
        let marked = self.marked_by(&unit, time);
        let Some(known) = self.invocations.get_mut(&cgroup) else {
            return;
        };
        if known.all().any(|known| known.id == id) {
            return;
        }
        let next = Invocation {
            unit,
            id,
            systemd_id: Some(invocation),
            born: time,
            marked,
            commands: BTreeMap::new(),
            status: None,
            filters: BTreeSet::new(),
            left: BTreeSet::new(),
        };
        let mut last = std::mem::replace(&mut known.present, next);
        last.left = before;
        known.former.push(last);
    }

    /// What a command did before it was known to be of the present invocation is taken out of the one before.
    pub(super) fn move_command(&mut self, cgroup: u64, command: u32) {
        let Some(known) = self.invocations.get(&cgroup) else {
            return;
        };
        let Some(last) = known.former.last().map(|last| last.id.clone()) else {
            return;
        };
        let unit = self.units.get_mut(&known.present.unit);
        let run = unit.and_then(|unit| unit.open.get_mut(&last));
        let facts = run.and_then(|run| Some((run.give(command)?, run.ended)));
        let of_command = |attribution: &Attribution| {
            attribution.unit_cgroup == cgroup && attribution.command == command
        };
        let moved: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, attribution)| of_command(attribution) && attribution.run == last)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in moved {
            let Some(attribution) = self.slots.remove(&slot) else {
                continue;
            };
            // What its record has counts for another run.
            if let Some(attribution) = self.attribution(attribution.owner).map(|new| Attribution {
                exec: attribution.exec,
                ..new
            }) {
                self.open_run(&attribution);
                self.slots.insert(slot, attribution);
            }
        }
        let owner = Owner {
            cgroup,
            command,
            ..Owner::default()
        };
        let Some(((facts, time), attribution)) = facts.zip(self.attribution(owner)) else {
            return;
        };
        self.open_run(&attribution);
        let unit = self.units.get_mut(&attribution.unit);
        if let Some(run) = unit.and_then(|unit| unit.open.get_mut(&attribution.run)) {
            run.receive(command, facts);
            run.ended = run.ended.max(time);
        }
    }

    /// Something became known of the invocation in `cgroup` that its runs show.
    pub(super) fn touch(&mut self, cgroup: u64) {
        let known = self.invocations.get(&cgroup);
        if let Some(unit) = known.and_then(|known| self.units.get_mut(&known.present.unit)) {
            unit.dirty = true;
        }
    }

    /// Invocations of which no cgroup is left have ended, and so have their runs.
    pub(super) fn end_invocations(&mut self) {
        let present = self.unit_cgroups();
        let over = self.invocations.keys().copied();
        let over: Vec<u64> = over
            .filter(|unit_cgroup| !present.contains(unit_cgroup))
            .collect();
        for unit_cgroup in over {
            let Some(known) = self.invocations.get(&unit_cgroup) else {
                continue;
            };
            let unit = known.present.unit.clone();
            if let Some(known) = self.units.get_mut(&unit) {
                known.end(unit_cgroup);
            }
        }
    }

    /// Forgets invocations whose runs are all on disk.
    pub(crate) fn forget_ended(&mut self) {
        let present = self.unit_cgroups();
        let over = self.invocations.iter();
        let over: Vec<u64> = over
            .filter(|(unit_cgroup, invocation)| {
                let unit = self.units.get(&invocation.present.unit);
                let mut runs = unit.into_iter().flat_map(|unit| unit.open.values());
                !present.contains(*unit_cgroup) && !runs.any(|run| run.unit_cgroup == **unit_cgroup)
            })
            .map(|(unit_cgroup, _)| *unit_cgroup)
            .collect();
        for unit_cgroup in over {
            self.invocations.remove(&unit_cgroup);
        }
        for known in self.invocations.values_mut() {
            let unit = self.units.get(&known.present.unit);
            let open = unit.into_iter().flat_map(|unit| unit.open.keys()).collect();
            known.forget(&open);
        }
    }
}

/// What the core asks about invocations.
impl State {
    /// The unit whose own cgroup this is.
    #[must_use]
    pub(crate) fn invoked(&self, cgroup: u64) -> Option<&Text> {
        Some(&self.invocations.get(&cgroup)?.present.unit)
    }

    /// The identifier of the invocation in `cgroup`.
    #[must_use]
    pub(crate) fn invocation_id(&self, cgroup: u64) -> Option<Word> {
        Some(self.invocations.get(&cgroup)?.present.id.clone())
    }

    /// systemd's identifier of it, if it is known.
    #[must_use]
    pub(crate) fn invocation(&self, cgroup: u64) -> Option<&Word> {
        let known = self.invocations.get(&cgroup)?;
        known.present.systemd_id.as_ref()
    }

    /// Whether the unit has been invoked again since it was in `cgroup`.
    #[must_use]
    pub(crate) fn is_succeeded(&self, cgroup: u64) -> bool {
        let Some(known) = self.invocations.get(&cgroup) else {
            return true;
        };
        let known = &known.present;
        let mut others = self.invocations.values().map(|other| &other.present);
        others.any(|other| other.unit == known.unit && other.born > known.born)
    }

    /// Whether it is known which command `process` is.
    #[must_use]
    pub(crate) fn is_explained(&self, cgroup: u64, process: u32) -> bool {
        let invocation = self.invocations.get(&cgroup);
        invocation.is_some_and(|known| known.is_explained(process))
    }

    /// Whether a command entered the unit whose own cgroup this is by `process`.
    #[must_use]
    pub(crate) fn has_command(&self, cgroup: u64, process: u32) -> bool {
        let Some(invocation) = self.invocations.get(&cgroup) else {
            return false;
        };
        let unit = self.units.get(&invocation.present.unit);
        let mut runs = unit.into_iter().flat_map(|unit| unit.open.values());
        runs.any(|run| run.unit_cgroup == cgroup && run.has_command(process))
    }

    /// Whether it is known already that all of `filters` confine the unit whose own cgroup this is.
    #[must_use]
    pub(crate) fn is_confined_by(&self, cgroup: u64, filters: &BTreeSet<Word>) -> bool {
        let known = self.invocations.get(&cgroup);
        known.is_none_or(|known| known.present.filters.is_superset(filters))
    }

    /// The own cgroup of the unit of `slot`.
    #[must_use]
    pub(crate) fn cgroup_of(&self, slot: u32) -> Option<u64> {
        Some(self.slots.get(&slot)?.unit_cgroup)
    }

    /// The identifier of the invocation that systemd calls `invocation`.
    #[must_use]
    pub(crate) fn identify(&self, cgroup: u64, invocation: &Word) -> Word {
        self.identifier(cgroup, invocation)
    }

    /// The commands that have entered the unit whose own cgroup this is.
    #[must_use]
    pub(crate) fn commands(&self, cgroup: u64) -> BTreeSet<u32> {
        let known = self.invocations.get(&cgroup);
        let unit = known.and_then(|known| self.units.get(&known.present.unit));
        let runs = unit.into_iter().flat_map(|unit| unit.open.values());
        let runs = runs.filter(|run| run.unit_cgroup == cgroup);
        runs.flat_map(|run| run.commands()).collect()
    }

    /// The own cgroup of the unit of `slot`, if it is not known which command the slot's is.
    #[must_use]
    pub(crate) fn unexplained(&self, slot: u32) -> Option<u64> {
        let attribution = self.slots.get(&slot)?;
        (!self.is_explained(attribution.unit_cgroup, attribution.command))
            .then_some(attribution.unit_cgroup)
    }
}
