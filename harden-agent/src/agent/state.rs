//! What the agent knows: records applied, in order.
//!
//! Nothing is known but through [`State::apply`], and every record is in the journal: so what one agent
//! knew another knows that reads it. To apply a record twice changes nothing but counts of losses,
//! which may then be too large.

mod forget;
mod invocation;
mod losses;
mod place;
mod run;
mod unit;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use harden_common::{ExecutableId, kind};
use jiff::Timestamp;

use self::{
    forget::Forgotten,
    invocation::Invocations,
    losses::Unowned,
    place::{Attribution, Cgroup},
    run::Mark,
    unit::Unit,
};
use super::{
    journal::{Owner, Record},
    request::{NewFact, Time},
};
use crate::{
    collect::{self, Clock, Event},
    observation::{Host, Join as _, Observation, Run, Text, Word},
};

/// The kernel side that records are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// A UUID.
    pub id: Word,
    /// The machine's boot.
    pub boot: Word,
    /// When it was loaded.
    pub started: Timestamp,
    /// The machine.
    pub host: Host,
    /// Which hook supplies which kind of fact.
    pub hooks: BTreeMap<String, String>,
}

/// All that the agent knows and has not written into the files of units.
#[derive(Default)]
pub(super) struct State {
    clock: Clock,
    instance: Option<Instance>,
    cgroups: BTreeMap<u64, Cgroup>,
    slots: HashMap<u32, Attribution>,
    /// Runs that began for more than one invocation, by the kernel side's number.
    marks: BTreeMap<u64, Mark>,
    /// By the id of the unit's own cgroup.
    invocations: BTreeMap<u64, Invocations>,
    units: BTreeMap<Text, Unit>,
    /// So many have records of their own; none: all of them.
    max_units: Option<usize>,
    /// Since this kernel side was loaded.
    forgotten: BTreeMap<Text, Forgotten>,
    /// All that was lost so far.
    losses: BTreeMap<Word, u64>,
    /// The part of it that may have been of any run.
    unowned: Unowned,
    /// What payers' units have lost that is in no slot's record, by the payer's cgroup.
    payers: BTreeMap<u64, Unowned>,
    /// Programs by what slots call them: a slot of which no exec event came has one of these, mostly.
    programs: HashMap<ExecutableId, Text>,
    news: Vec<NewFact>,
    /// Facts that are in no file yet, about.
    held: usize,
}

impl State {
    /// Takes in what a record says.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Instance {
                id,
                boot,
                started,
                host,
                hooks,
            } => self.begin(Instance {
                id,
                boot,
                started,
                host,
                hooks,
            }),
            Record::Cgroup {
                id,
                parent,
                born,
                path,
            } => self.cgroup(id, parent, born, path),
            Record::Gone { cgroup, time } => self.gone(cgroup, time),
            Record::Slot { slot, owner } => self.slot(slot, owner),
            // What could not be parsed was counted, and is in no journal; one of another layout is not read.
            Record::Item(item) => {
                if let Some(event) = collect::parse(&item) {
                    self.item(&event, &item);
                }
            }
            Record::Final { slot, facts } => self.known(slot, &facts),
            Record::Run {
                number,
                id,
                kind,
                label,
                unit,
                time,
            } => {
                let mark = Mark {
                    id,
                    kind,
                    label,
                    unit,
                    time,
                };
                self.mark(number, mark);
            }
            Record::Invocation {
                cgroup,
                id,
                invocation,
            } => {
                if let Some(known) = self.invocations.get_mut(&cgroup) {
                    known.present.name(id, invocation);
                }
            }
            Record::Again {
                cgroup,
                id,
                invocation,
                time,
                before,
            } => self.invoke_again(cgroup, id, invocation, time, before),
            Record::Command {
                cgroup,
                command,
                role,
                argv,
                uid,
            } => {
                if let Some(known) = self.invocations.get_mut(&cgroup) {
                    known.command(command, role, argv, uid);
                    self.touch(cgroup);
                    self.move_command(cgroup, command);
                }
            }
            Record::Ended { cgroup, status } => {
                if let Some(known) = self.invocations.get_mut(&cgroup) {
                    let present = &mut known.present;
                    present.status = status.or(present.status);
                    self.touch(cgroup);
                }
            }
            Record::Filtered { cgroup, filters } => {
                if let Some(known) = self.invocations.get_mut(&cgroup) {
                    known.present.filters.extend(filters);
                    self.touch(cgroup);
                }
            }
            Record::Forget { unit, run, is_over } => self.forgotten(unit, run, is_over),
            Record::Losses { all, unowned, time } => {
                self.losses = all;
                self.lost(unowned, time);
            }
            Record::Lost { slot, losses } => self.lost_in(slot, losses),
            Record::LostOf {
                payer,
                losses,
                time,
            } => self.lost_by(payer, losses, time),
        }
    }

    /// Another kernel side, or another boot: ids, slots and numbers of before mean nothing any more. What
    /// was open then has ended.
    fn begin(&mut self, instance: Instance) {
        if self
            .instance
            .as_ref()
            .is_some_and(|known| known.id == instance.id)
        {
            return;
        }
        let ended: Vec<_> = self.units.keys().map(|unit| self.open(unit)).collect();
        for (unit, runs) in self.units.values_mut().zip(ended) {
            unit.end_all(runs);
        }
        self.slots.clear();
        self.cgroups.clear();
        self.marks.clear();
        self.renew_forgotten();
        self.losses.clear();
        self.unowned = Unowned::default();
        self.payers.clear();
        self.invocations.clear();
        self.instance = Some(instance);
    }

    /// A fact of a slot, and the item that it was parsed from. Births and ends of cgroups, which have no slot, are
    /// records of their own.
    pub(super) fn item(&mut self, event: &Event<'_>, item: &[u8]) {
        let header = event.header();
        let Some(attribution) = self.slots.get_mut(&header.slot) else {
            return;
        };
        if header.kind == kind::EXEC {
            attribution.exec = Some(item.into());
        }
        let Some(unit) = self.units.get_mut(&attribution.unit) else {
            return;
        };
        let Some(run) = unit.open.get_mut(&attribution.run) else {
            return;
        };
        let time = self.clock.at(header.time);
        run.ended = run.ended.max(time);
        let collector = run.collector(attribution.command, self.clock);
        let id = attribution.owner.executable;
        collector.set_owner(header.slot, id, self.programs.get(&id));
        collector.take_event(event);
        let program = collector.program(header.slot).cloned().unwrap_or_default();
        if header.kind == kind::EXEC
            && !program.as_bytes().is_empty()
            && !collector.is_elsewhere(header.slot)
        {
            if self.programs.len() >= PROGRAMS {
                self.programs.clear();
            }
            self.programs.insert(id, program.clone());
        }
        let news = collector.take_news();
        unit.dirty = true;
        unit.changes += 1;
        unit.held += 1;
        self.held += 1;
        for (_, fact) in news {
            if unit.discover(&program, &fact, time) {
                self.news.push(NewFact {
                    unit: attribution.unit.clone(),
                    run: attribution.run.clone(),
                    executable: program.clone(),
                    kind: fact.kind.into(),
                    fact: fact.text.as_str().into(),
                    first: Some(Time(time)),
                    lagged: 0,
                    refused_by: None,
                });
            }
        }
    }

    /// Facts that the record of a slot has.
    fn known(&mut self, slot: u32, facts: &[u16]) {
        let Some(attribution) = self.slots.get_mut(&slot) else {
            return;
        };
        attribution.read = Some(digest(facts));
        let Some(unit) = self.units.get_mut(&attribution.unit) else {
            return;
        };
        let Some(run) = unit.open.get_mut(&attribution.run) else {
            return;
        };
        // Small beside an item's: a call takes no path.
        unit.held += facts.len() / 8;
        self.held += facts.len() / 8;
        let collector = run.collector(attribution.command, self.clock);
        let id = attribution.owner.executable;
        collector.set_owner(slot, id, self.programs.get(&id));
        collector.add_known(slot, facts.iter().copied().map(u32::from));
        let program = collector.program(slot).cloned().unwrap_or_default();
        let (news, time) = (collector.take_news(), run.ended);
        for (_, fact) in news {
            unit.discover(&program, &fact, time);
        }
        unit.dirty = true;
        unit.changes += 1;
    }

    /// The kernel side that there is.
    #[must_use]
    pub(super) fn instance(&self) -> Option<&Instance> {
        self.instance.as_ref()
    }

    /// What was lost so far, by kind.
    #[must_use]
    pub(super) fn losses(&self) -> &BTreeMap<Word, u64> {
        &self.losses
    }

    /// The names of all units.
    pub(super) fn units(&self) -> impl Iterator<Item = &Text> {
        self.units.keys()
    }

    /// Facts that no earlier run of their unit had, since this was last asked.
    pub(super) fn take_news(&mut self) -> Vec<NewFact> {
        std::mem::take(&mut self.news)
    }

    /// Remembers that there is a file of `unit`, whatever goes on in it.
    pub(super) fn register_file(&mut self, unit: Text) {
        let known = self.units.entry(unit).or_default();
        known.is_kept = true;
        known.unload();
    }

    /// Whether nothing goes on in `unit`, and what is known of it is in its file alone.
    #[must_use]
    pub(super) fn is_at_rest(&self, unit: &Text) -> bool {
        self.units.get(unit).is_some_and(|known| known.is_at_rest)
    }

    /// Remembers what an observation from disk holds, so that it is not taken for new.
    pub(super) fn remember(&mut self, observation: &Observation) {
        let unit = self.units.entry(observation.name.clone()).or_default();
        unit.is_at_rest = false;
        for run in observation.runs.values() {
            for fact in run.facts() {
                unit.add_known(fact.executable, &fact.what.into());
            }
            unit.last_new = unit.last_new.max(Some(run.started));
        }
    }

    /// When `unit` last had a new fact.
    #[must_use]
    pub(super) fn last_new(&self, unit: &Text) -> Option<Timestamp> {
        self.units.get(unit)?.last_new
    }

    /// What is known of `unit` and may not be on disk yet; empty if nothing is.
    #[must_use]
    pub(super) fn open(&self, unit: &Text) -> BTreeMap<Word, Run> {
        let Some(known) = self.units.get(unit) else {
            return BTreeMap::new();
        };
        let mut runs = known.ended.clone();
        if let Some(instance) = &self.instance {
            let open = known.open.iter().map(|(id, run)| {
                let invocations = self.invocations.get(&run.unit_cgroup);
                (id.clone(), run.run(id, instance, invocations))
            });
            runs.join(open.collect());
        }
        runs
    }

    /// The units of which a run has ended that is not on disk.
    #[must_use]
    pub(super) fn ended(&self) -> Vec<Text> {
        let units = self.units.iter();
        units
            .filter(|(_, unit)| unit.open.values().any(|run| run.has_ended))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The units of which there is more than on disk.
    #[must_use]
    pub(super) fn dirty(&self) -> Vec<Text> {
        let units = self.units.iter().filter(|(_, unit)| unit.dirty);
        units.map(|(name, _)| name.clone()).collect()
    }

    /// What was known of `unit` is on disk: its memory is needed for nothing any more, but for the runs that
    /// go on.
    pub(super) fn saved(&mut self, unit: &Text) {
        let Some(known) = self.units.get_mut(unit) else {
            return;
        };
        known.dirty = false;
        self.held = self.held.saturating_sub(std::mem::take(&mut known.held));
        known.ended.clear();
        known.open.retain(|_, run| !run.has_ended);
        known.open.values_mut().for_each(|run| run.forget());
        known.unload();
    }

    /// Forgets a unit of which nothing is open. Says whether that was so.
    pub(super) fn forget(&mut self, unit: &Text) -> bool {
        let is_over = self
            .units
            .get(unit)
            .is_some_and(|known| known.open.is_empty());
        if is_over {
            self.units.remove(unit);
        }
        is_over
    }

    /// Whether there is more of `unit` than on disk.
    #[must_use]
    pub(super) fn is_dirty(&self, unit: &Text) -> bool {
        self.units.get(unit).is_some_and(|known| known.dirty)
    }

    /// How often something came that no run of `unit` had before. Other numbers than before: something came since.
    #[must_use]
    pub(super) fn changes(&self, unit: &Text) -> u64 {
        self.units.get(unit).map_or(0, |known| known.changes)
    }

    /// The runs of `unit` that go on.
    pub(super) fn open_runs(&self, unit: &Text) -> impl Iterator<Item = &Word> {
        let open = self.units.get(unit).into_iter();
        let open = open.flat_map(|known| &known.open);
        open.filter(|(_, run)| !run.has_ended).map(|(id, _)| id)
    }

    /// So many units have records of their own.
    pub(super) fn limit_units(&mut self, most: usize) {
        self.max_units = Some(most);
    }

    /// How many facts are in no file yet, about.
    #[must_use]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether a slot's record, as a [`Record::Final`], says nothing that it did not when it was last read.
    #[must_use]
    pub(super) fn has_read(&self, finals: &Record) -> bool {
        let Record::Final { slot, facts } = finals else {
            return false;
        };
        let attribution = self.slots.get(slot);
        attribution.is_some_and(|attribution| attribution.read == Some(digest(facts)))
    }

    /// What was read of the slots of `unit` may be in no file any more.
    pub(super) fn forget_read(&mut self, unit: &Text) {
        let slots = self.slots.values_mut();
        for attribution in slots.filter(|attribution| attribution.unit == *unit) {
            attribution.read = None;
        }
    }

    /// The records that make up all that is not in the files of units, but for the facts of [`Self::dirty`]
    /// units: those are in the journal's older files.
    #[must_use]
    pub(super) fn tables(&self) -> Vec<Record> {
        let Some(instance) = self.instance.clone() else {
            return Vec::new();
        };
        let mut records = vec![Record::Instance {
            id: instance.id,
            boot: instance.boot,
            started: instance.started,
            host: instance.host,
            hooks: instance.hooks,
        }];
        records.extend(self.loss_records());
        records.extend(self.marks.iter().map(|(number, mark)| mark.record(*number)));
        records.extend(self.forgotten_records());
        // Parents before children: a unit is known by its own cgroup.
        let mut cgroups: Vec<_> = self.cgroups.iter().collect();
        cgroups.sort_by_key(|(_, cgroup)| cgroup.path.len());
        records.extend(cgroups.iter().map(|(id, cgroup)| cgroup.record(**id)));
        for (cgroup, invocations) in &self.invocations {
            records.extend(invocations.records(*cgroup));
        }
        for (slot, attribution) in &self.slots {
            records.push(Record::Slot {
                slot: *slot,
                owner: attribution.owner,
            });
            records.extend(
                attribution
                    .exec
                    .clone()
                    .map(|item| Record::Item(item.into_vec())),
            );
            let losses = attribution.losses.clone();
            records.extend((!losses.is_empty()).then_some(Record::Lost {
                slot: *slot,
                losses,
            }));
        }
        let gone = cgroups.iter().filter_map(|(id, cgroup)| {
            let time = cgroup.gone?;
            let cgroup = **id;
            Some(Record::Gone { cgroup, time })
        });
        records.extend(gone);
        records
    }

    /// Forgets a slot whose record was given away.
    pub(super) fn free(&mut self, slot: u32) {
        self.slots.remove(&slot);
    }

    /// Whether the owner of `slot` is known.
    #[must_use]
    pub(super) fn has_slot(&self, slot: u32) -> bool {
        self.slots.contains_key(&slot)
    }

    /// The slots of `unit`.
    pub(super) fn slots_of<'a>(&'a self, unit: &'a Text) -> impl Iterator<Item = u32> + 'a {
        let slots = self.slots.iter();
        slots
            .filter(move |(_, attribution)| attribution.unit == *unit)
            .map(|(slot, _)| *slot)
    }

    /// All slots whose owner is known.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.keys().copied()
    }

    /// Forgets cgroups that are gone and of which no slot is left: nothing comes of them any more. Returns
    /// their ids. The runs that were open in them have ended.
    ///
    /// Only those in `without_slots`, of which the kernel side has no slot either.
    pub(super) fn forget_gone(&mut self, without_slots: &BTreeSet<u64>) -> Vec<u64> {
        let used: BTreeSet<u64> = self
            .slots
            .values()
            .map(|attribution| attribution.owner.cgroup)
            .collect();
        let settled: Vec<u64> = self
            .cgroups
            .iter()
            .filter(|(id, cgroup)| {
                cgroup.gone.is_some() && without_slots.contains(id) && !used.contains(id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in &settled {
            self.cgroups.remove(id);
        }
        self.end_invocations();
        self.end_runs();
        settled
    }

    /// Takes an owner for `slot`.
    fn slot(&mut self, slot: u32, owner: Owner) {
        if self.slots.contains_key(&slot) {
            return;
        }
        let Some(mut attribution) = self.attribution(owner) else {
            return;
        };
        if self.is_forgotten(&attribution) {
            attribution.run = forget::nowhere();
        } else {
            self.open_run(&attribution);
        }
        self.slots.insert(slot, attribution);
    }
}

/// So many programs are known by name; then it begins with none.
const PROGRAMS: usize = 16_384;

/// The same for the same facts, in this process.
fn digest(facts: &[u16]) -> u64 {
    let mut hasher = DefaultHasher::new();
    facts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
