//! Units whose record somebody wanted dropped: what goes on in them goes on from zero.

use super::{State, place::Attribution, run::Mark};
use crate::{
    collect::unit::{self, OF_ALL},
    observation::{RunKind, Seen, Text, Word},
};

/// From where on a unit's facts count again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgotten {
    /// Slots of runs with lower numbers have what is forgotten,
    run: u64,
    /// if their invocation had begun by then, nanoseconds of `CLOCK_MONOTONIC`: a later one has the number of the
    /// slice, which may be low.
    time: u64,
    /// The unit's file is known to be gone.
    is_over: bool,
}

impl State {
    /// Takes in that a unit was forgotten when the run of this number began in it.
    pub(super) fn forgotten(&mut self, unit: Text, run: u64, is_over: bool) {
        if is_over {
            self.was_forgotten(unit, run);
            return;
        }
        let time = self.marks.get(&run).map_or(0, |mark| mark.time);
        // Of an agent that was killed, the journal has units too whose facts are in the file by now.
        for unit in self.kept_as(&unit) {
            self.drop_facts(&unit);
            let forgotten = Forgotten { run, time, is_over };
            self.forgotten.insert(unit, forgotten);
        }
    }

    /// The same from a younger journal: what the older ones have since then is not forgotten.
    fn was_forgotten(&mut self, unit: Text, run: u64) {
        let time = self.marks.get(&run).map_or(0, |mark| mark.time);
        let forgotten = Forgotten {
            run,
            time,
            is_over: true,
        };
        let known = self.forgotten.entry(unit).or_insert(forgotten);
        known.is_over |= known.run == run;
    }

    /// Another kernel side has other slots.
    pub(super) fn renew_forgotten(&mut self) {
        self.forgotten.retain(|_, forgotten| {
            (forgotten.run, forgotten.time) = (0, 0);
            !forgotten.is_over
        });
    }

    /// `unit`, and those that will be kept under its name once they have ended.
    #[must_use]
    pub(crate) fn kept_as(&self, unit: &Text) -> Vec<Text> {
        let others = self.units.keys().filter(|name| *name != unit);
        let others = others.filter(|name| self.key(name) == *unit);
        [unit].into_iter().chain(others).cloned().collect()
    }

    fn drop_facts(&mut self, unit: &Text) {
        for attribution in self
            .slots
            .values_mut()
            .filter(|attribution| attribution.unit == *unit)
        {
            attribution.run = nowhere();
        }
        let Some(known) = self.units.get_mut(unit) else {
            return;
        };
        self.held = self.held.saturating_sub(known.held);
        *known = super::unit::Unit::default();
        let mut invocations = self.invocations.values();
        if !invocations.any(|known| known.present.unit == *unit) {
            self.units.remove(unit);
        }
    }

    /// Whether what `attribution` has is forgotten.
    pub(super) fn is_forgotten(&self, attribution: &Attribution) -> bool {
        let Some(forgotten) = self.forgotten.get(&attribution.unit) else {
            return false;
        };
        let invocations = self.invocations.get(&attribution.unit_cgroup);
        let born = invocations.map_or(0, |known| known.of_command(attribution.command).born);
        attribution.owner.run < forgotten.run && born <= forgotten.time
    }

    /// When the unit was forgotten, nanoseconds of `CLOCK_MONOTONIC`: no run of it began earlier.
    pub(super) fn forgotten_at(&self, unit: &Text) -> u64 {
        self.forgotten.get(unit).map_or(0, |known| known.time)
    }

    /// The units that were forgotten and whose files may be there still; from now on they are taken to be gone.
    pub(crate) fn take_forgotten(&mut self) -> Vec<Text> {
        let mut units = Vec::new();
        for (unit, forgotten) in &mut self.forgotten {
            if !forgotten.is_over {
                forgotten.is_over = true;
                units.push(unit.clone());
            }
        }
        units
    }

    /// The records of what was forgotten, for [`Self::tables`].
    pub(super) fn forgotten_records(&self) -> impl Iterator<Item = super::Record> + '_ {
        let units = self.forgotten.iter();
        units.map(|(unit, forgotten)| super::Record::Forget {
            unit: unit.clone(),
            run: forgotten.run,
            is_over: true,
        })
    }

    /// The run that goes on in `unit` by name, if any: its identifier, its kind and its name.
    #[must_use]
    pub(crate) fn present_mark(&self, unit: &Text) -> Option<(Word, RunKind, Option<Text>)> {
        let number = self.marked_by(unit, u64::MAX)?;
        let Mark {
            id, kind, label, ..
        } = self.marks.get(&number)?;
        Some((id.clone(), *kind, label.clone()))
    }

    /// Whether `unit` has a cgroup: whether a run of it is open.
    #[must_use]
    pub(crate) fn is_living(&self, unit: &Text) -> bool {
        self.living().any(|(_, of)| of == Some(unit))
    }

    /// What the facts of `unit` are kept under: itself; what it is one of, as one of many connections is of its
    /// template, or an instance of a template that has many already; or, where its name was made up, the program that it ran.
    ///
    /// Beyond [`Self::limit_units`], all of them under [`OF_ALL`].
    #[must_use]
    pub(crate) fn key(&self, unit: &Text) -> Text {
        let Ok(parsed) = unit.to_string().parse::<unit::Unit>() else {
            return unit.clone();
        };
        let own = self.own_key(unit, &parsed);
        if self.has_room(&own, &parsed) {
            return own;
        }
        let of_manager = Text::from(parsed.of_all().to_string());
        if parsed.is_of_system() || self.is_kept(&of_manager) || self.kept("") < self.most() {
            return of_manager;
        }
        Text::from(OF_ALL)
    }

    fn own_key(&self, unit: &Text, parsed: &unit::Unit) -> Text {
        if let Some(kind) = parsed.kind() {
            return Text::from(kind.to_string());
        }
        if let Some((template, start)) = parsed.template()
            && self.is_one_too_many(unit, &start)
        {
            return Text::from(template.to_string());
        }
        if !parsed.is_transient_random() {
            return unit.clone();
        }
        let runs = self.open(unit);
        let programs = runs.values().flat_map(|run| run.executables.iter());
        // That which was first seen to do anything.
        let first = programs.min_by_key(|(_, facts)| {
            let calls = facts
                .syscalls
                .values()
                .flat_map(std::collections::BTreeMap::values);
            calls.filter_map(Seen::first).min()
        });
        match first {
            Some((program, _)) => Text::from(parsed.key(program).to_string()),
            None => unit.clone(),
        }
    }
}

/// A user's manager, or a container's, may have this part of the units: who makes them there without end leaves as many
/// to the others.
const OF_ONE_MANAGER: usize = 2;

/// So many instances of a template have files of their own. Who names one for each customer, device or job has the rest
/// of them in the template's.
const INSTANCES: usize = 100;

impl State {
    /// Whether `unit`, of which `parsed` is one, may have a record of its own.
    fn has_room(&self, unit: &Text, parsed: &unit::Unit) -> bool {
        if self.is_kept(unit) {
            return true;
        }
        let of_manager = parsed.of_all().to_string();
        let manager = of_manager.strip_suffix(OF_ALL).unwrap_or_default();
        let is_few = parsed.is_of_system() || self.kept(manager) < self.most() / OF_ONE_MANAGER;
        is_few && self.kept("") < self.most()
    }

    fn most(&self) -> usize {
        self.max_units.unwrap_or(usize::MAX)
    }

    fn is_kept(&self, unit: &Text) -> bool {
        self.units.get(unit).is_some_and(|known| known.is_kept)
    }

    /// How many units whose names begin with `start` have a file.
    fn kept(&self, start: &str) -> usize {
        let units = self.units.range(Text::from(start)..);
        let units = units.take_while(|(name, _)| name.as_bytes().starts_with(start.as_bytes()));
        units
            .filter(|(name, known)| known.is_kept && !name.as_bytes().ends_with(OF_ALL.as_bytes()))
            .count()
    }

    /// Whether `unit` has no file yet, and as many of those have one whose names begin with `start`.
    fn is_one_too_many(&self, unit: &Text, start: &str) -> bool {
        if self.is_kept(unit) {
            return false;
        }
        let instances = self.units.range(Text::from(start)..);
        let instances =
            instances.take_while(|(name, _)| name.as_bytes().starts_with(start.as_bytes()));
        let template = |name: &Text| name.as_bytes()[start.len()..].starts_with(b".");
        let kept = instances.filter(|(name, known)| known.is_kept && !template(name));
        kept.count() >= INSTANCES
    }
}

/// The run of slots whose facts go nowhere: none of this name is ever opened.
pub(super) fn nowhere() -> Word {
    Word::numbered("forgotten", 0)
}
