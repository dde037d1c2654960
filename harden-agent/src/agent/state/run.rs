//! Runs: invocations, what somebody marked, and what the clock cut.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Display,
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    super::journal::Record,
    Instance, State,
    invocation::{Invocation, Invocations},
    losses::add,
    place::Attribution,
    unit::Unit,
};
use crate::{
    collect::{self, Clock, Collector, Facts},
    observation::{Join as _, Run, RunKind, Text, Word},
};

/// The beginning of a run of more than one invocation, or of a part of one.
pub(super) struct Mark {
    pub id: Word,
    /// [`RunKind::Invocation`] ends what was marked.
    pub kind: RunKind,
    pub label: Option<Text>,
    /// Of this unit, or of all.
    pub unit: Option<Text>,
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
}

impl Mark {
    pub(super) fn record(&self, number: u64) -> Record {
        Record::Run {
            number,
            id: self.id.clone(),
            kind: self.kind,
            label: self.label.clone(),
            unit: self.unit.clone(),
            time: self.time,
        }
    }

    fn is_of(&self, unit: &Text) -> bool {
        self.unit.as_ref().is_none_or(|own| own == unit)
    }
}

/// A run of a unit to which facts may still come.
pub(super) struct OpenRun {
    pub kind: RunKind,
    pub label: Option<Text>,
    /// The own cgroup of the unit's invocation that it began in.
    pub unit_cgroup: u64,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub has_ended: bool,
    pub losses: BTreeMap<Word, u64>,
    /// What each of the unit's commands did since it was last saved.
    /// Boxed: a node of the tree has room for eleven, and most units have one.
    commands: BTreeMap<u32, Box<Collector>>,
}

impl OpenRun {
    /// Takes what `process` and its children did.
    pub(super) fn collector(&mut self, process: u32, clock: Clock) -> &mut Collector {
        self.commands
            .entry(process)
            .or_insert_with(|| Box::new(Collector::with_news(clock)))
    }

    /// Whether a command entered by `process`.
    pub(super) fn has_command(&self, process: u32) -> bool {
        self.commands.contains_key(&process)
    }

    /// The processes by which commands entered.
    pub(super) fn commands(&self) -> impl Iterator<Item = u32> + '_ {
        self.commands.keys().copied()
    }

    /// Gives away what `process` and its children did.
    pub(super) fn give(&mut self, process: u32) -> Option<Box<Collector>> {
        self.commands.remove(&process)
    }

    /// Takes what another run had of `process`, whose facts have not come here yet.
    pub(super) fn receive(&mut self, process: u32, facts: Box<Collector>) {
        self.commands.entry(process).or_insert(facts);
    }

    /// The facts are on disk.
    pub(super) fn forget(&mut self) {
        for collector in self.commands.values_mut() {
            collector.forget_facts();
        }
    }

    /// As it is written, under the identifier `id`.
    pub(super) fn run(
        &self,
        id: &Word,
        instance: &Instance,
        invocations: Option<&Invocations>,
    ) -> Run {
        let invocation = invocations.map(|known| known.of_run(id));
        let main = invocation.and_then(Invocation::main);
        let mut run = Run {
            kind: self.kind,
            label: self.label.clone(),
            invocation: invocation.and_then(|known| known.systemd_id.clone()),
            stands_for: BTreeSet::new(),
            command: main.map(|main| main.argv.clone()).unwrap_or_default(),
            uid: main.and_then(|main| main.uid).unwrap_or_default(),
            started: self.started,
            ended: self.ended,
            status: invocation.and_then(|known| known.status),
            host: instance.host.clone(),
            hooks: instance.hooks.clone(),
            losses: self.losses.clone(),
            filters: invocation
                .map(|known| known.filters.clone())
                .unwrap_or_default(),
            symlinks: BTreeMap::new(),
            executables: BTreeMap::new(),
            control: BTreeMap::new(),
        };
        for (process, collector) in &self.commands {
            let Facts {
                executables: mut facts,
                withheld,
                ..
            } = collector.facts();
            add(&mut run.losses, &collect::withheld(withheld));
            facts.retain(|program, _| !is_before_exec(program));
            let role = invocations.and_then(|known| known.of_command(*process).role(*process));
            match role {
                None => run.executables.join(facts),
                Some(_) if facts.is_empty() => {}
                Some(role) => run.control.entry(role).or_default().join(facts),
            }
        }
        run
    }
}

/// What systemd runs in a unit's cgroup before it becomes the unit's own program: itself, where a task was
/// made before its parent was known, and since 255 a program that does nothing but get there.
fn is_before_exec(program: &Text) -> bool {
    let programs: [&[u8]; 2] = [b"/lib/systemd/systemd-executor", b"/lib/systemd/systemd"];
    programs
        .iter()
        .any(|name| program.as_bytes().ends_with(name))
}

impl State {
    /// A run began.
    pub(super) fn mark(&mut self, number: u64, mark: Mark) {
        self.marks.entry(number).or_insert(mark);
    }

    /// Runs of which no slot is left have ended: another one has begun. If one goes on all the same, it is
    /// opened again.
    pub(super) fn end_runs(&mut self) {
        let used: HashSet<(&Text, &Word)> = self
            .slots
            .values()
            .map(|attribution| (&attribution.unit, &attribution.run))
            .collect();
        for (name, unit) in &mut self.units {
            for (id, run) in &mut unit.open {
                if !used.contains(&(name, id)) {
                    run.has_ended = true;
                    unit.dirty = true;
                }
            }
        }
    }

    /// Forgets windows that are over: neither among the numbers of `present` runs nor among those of slots. The
    /// last few stay, for slots that are not known yet.
    pub(crate) fn forget_windows(&mut self, present: &BTreeSet<u64>) {
        const KEPT: usize = 4;
        let used: HashSet<u64> = self
            .slots
            .values()
            .map(|attribution| attribution.owner.run)
            .collect();
        let windows = self.marks.iter();
        let windows = windows.filter(|(_, mark)| mark.kind == RunKind::Window);
        let last: Vec<u64> = windows
            .map(|(number, _)| *number)
            .rev()
            .skip(KEPT)
            .collect();
        for number in last {
            if !present.contains(&number) && !used.contains(&number) {
                self.marks.remove(&number);
            }
        }
    }

    /// The highest number of a run so far.
    #[must_use]
    pub(crate) fn last_run(&self) -> u64 {
        let mark = self.marks.keys().next_back();
        mark.copied().unwrap_or(0)
    }

    /// The number of the last run that began for all units.
    #[must_use]
    pub(crate) fn last_run_of_all(&self) -> u64 {
        let mut marks = self.marks.iter().rev();
        let of_all = marks.find(|(_, mark)| mark.unit.is_none());
        of_all.map_or(0, |(number, _)| *number)
    }

    /// The run that is marked for `unit`, or for all units.
    #[must_use]
    pub(crate) fn is_marked(&self, unit: &Text) -> bool {
        self.marked_by(unit, u64::MAX).is_some()
    }

    /// The run that had been marked for `unit` at `time`.
    pub(super) fn marked_by(&self, unit: &Text, time: u64) -> Option<u64> {
        let marks = self.marks.iter();
        let (number, mark) = marks.rev().find(|(_, mark)| {
            mark.kind != RunKind::Window && mark.time <= time && mark.is_of(unit)
        })?;
        (mark.kind == RunKind::Mark).then_some(*number)
    }

    /// A run's identifier: the same for all who ask, so that facts that come again go to the same run.
    pub(super) fn identifier(&self, cgroup: u64, number: impl Display) -> Word {
        let instance = self.instance.as_ref().map(|instance| instance.id.as_str());
        let text = format!("{} {cgroup} {number}", instance.unwrap_or_default());
        let digest = Sha256::digest(text);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        // A UUID is 36 hexadecimal digits and dashes: always a word.
        Word::new(uuid.to_string()).unwrap_or_else(|_| Word::numbered("run", 0))
    }

    /// The run for `number` and `command` in the cgroup `unit_cgroup` of a unit.
    pub(super) fn run_of(&self, unit_cgroup: u64, number: u64, command: u32) -> Option<Word> {
        let invocation = self.invocations.get(&unit_cgroup)?.of_command(command);
        Some(match self.begun(invocation, number) {
            Some((_, mark)) if mark.kind == RunKind::Mark => mark.id.clone(),
            Some((number, mark)) if mark.kind == RunKind::Window => {
                self.identifier(unit_cgroup, number)
            }
            _ => invocation.id.clone(),
        })
    }

    /// What began the run `number` of `invocation`. An invocation that is younger than that has
    /// inherited the number from the slice, which knows nothing of what is marked for the unit alone.
    fn begun(&self, invocation: &Invocation, number: u64) -> Option<(u64, &Mark)> {
        let of = |number: u64| Some((number, self.marks.get(&number)?));
        match of(number) {
            Some((number, mark)) if mark.time > invocation.born => Some((number, mark)),
            _ => of(invocation.marked?),
        }
    }

    /// Makes the run that `attribution` leads to, unless it is there.
    pub(super) fn open_run(&mut self, attribution: &Attribution) {
        let Some(invocations) = self.invocations.get(&attribution.unit_cgroup) else {
            return;
        };
        let invocation = invocations.of_command(attribution.command);
        let begun = self.begun(invocation, attribution.owner.run);
        let (kind, label, time) = match begun {
            Some((_, mark)) if mark.kind != RunKind::Invocation => (
                mark.kind,
                mark.label.clone(),
                mark.time.max(invocation.born),
            ),
            _ => (RunKind::Invocation, None, invocation.born),
        };
        let time = time.max(self.forgotten_at(&attribution.unit));
        let started = self.clock.at(time);
        let is_known = |unit: &Unit| unit.open.contains_key(&attribution.run);
        let lost = match self.units.get(&attribution.unit) {
            Some(unit) if is_known(unit) => BTreeMap::new(),
            Some(_) => self.lost_since(time, attribution.unit_cgroup),
            None => return,
        };
        let Some(unit) = self.units.get_mut(&attribution.unit) else {
            return;
        };
        let run = unit.open.entry(attribution.run.clone()).or_insert_with(|| {
            Box::new(OpenRun {
                kind,
                label,
                unit_cgroup: attribution.unit_cgroup,
                started,
                ended: started,
                has_ended: false,
                // Its beginning may have been lost with the rest.
                losses: lost,
                commands: BTreeMap::new(),
            })
        });
        // A marked run goes on in the next invocation.
        run.unit_cgroup = attribution.unit_cgroup;
        run.has_ended = false;
    }
}
