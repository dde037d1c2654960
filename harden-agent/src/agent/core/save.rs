//! The files of units.

use std::{collections::BTreeMap, time::Instant};

use super::{Core, CoreError};
use crate::{
    agent::store::StoreError,
    collect::unit::Unit,
    observation::{Join as _, Observation, SCHEMA, Text},
};

impl Core {
    /// What is known of `unit`, on disk and in memory.
    pub(super) fn observation(&mut self, unit: &Text) -> Result<Observation, StoreError> {
        let mut observation = self.stored(unit)?;
        observation.join(Observation {
            schema: SCHEMA,
            name: unit.clone(),
            runs: self.state.open(unit),
        });
        Ok(observation)
    }

    fn stored(&mut self, unit: &Text) -> Result<Observation, StoreError> {
        let stored = self.store.load(unit);
        self.say_store();
        Ok(stored?.unwrap_or_else(|| Observation {
            schema: SCHEMA,
            name: unit.clone(),
            runs: BTreeMap::new(),
        }))
    }

    /// Writes what is known of `unit`.
    fn save(&mut self, unit: &Text) {
        let keep = self.config.state.keep_invocations as usize;
        let windows = self.config.state.keep_windows as usize;
        let key = self.key(unit);
        let open = self.state.open(unit);
        let written = self.stored(&key).and_then(|mut observation| {
            observation.join(Observation {
                schema: SCHEMA,
                name: key.clone(),
                runs: open,
            });
            observation.fold(keep, windows);
            self.store.save(&observation).map(|()| observation)
        });
        self.say_store();
        if let Some(observation) = self.note("state directory", written) {
            self.state.saved(unit);
            if key != *unit && self.state.forget(unit) {
                self.state.remember(&observation);
            }
        }
    }

    /// What the facts of `unit` are kept under: itself, or, where systemd-run made its name up, the program that
    /// it ran.
    fn key(&self, unit: &Text) -> Text {
        let Ok(parsed) = unit.to_string().parse::<Unit>() else {
            return unit.clone();
        };
        if !parsed.is_transient_random() {
            return unit.clone();
        }
        let runs = self.state.open(unit);
        let programs = runs.values().flat_map(|run| run.executables.iter());
        // That which was first seen to do anything.
        let first = programs.min_by_key(|(_, facts)| {
            let calls = facts.syscalls.values().flat_map(BTreeMap::values);
            calls.filter_map(|seen| seen.first).min()
        });
        match first {
            Some((program, _)) => Text::from(parsed.key(program).to_string()),
            None => unit.clone(),
        }
    }

    /// Writes what is not on disk.
    pub(super) fn save_all(&mut self) {
        for unit in self.state.dirty() {
            self.save(&unit);
        }
        self.state.forget_ended();
    }

    /// Writes the units of which a run has ended: that will not change any more.
    pub(super) fn save_ended(&mut self) {
        for unit in self.state.ended() {
            self.save(&unit);
        }
        self.state.forget_ended();
    }

    /// Writes everything, and begins a new journal.
    ///
    /// # Errors
    /// The kernel side cannot be used. What cannot be written is shown and stays in memory.
    pub fn compact(&mut self) -> Result<(), CoreError> {
        let slots: Vec<u32> = self.state.slots().collect();
        self.read_slots(&slots)?;
        self.save_all();
        self.compacted = Instant::now();
        let rotated = self.journal.rotate(self.state.tables().into_iter());
        let is_begun = self.note("journal", rotated).is_some();
        // The old files have what is not in the units' yet.
        if is_begun && !self.faults.contains_key("state directory") {
            let dropped = self.journal.drop_older();
            self.note("journal", dropped);
        }
        Ok(())
    }

    /// Says what the store did beside what it was asked for.
    pub(super) fn say_store(&mut self) {
        for notice in self.store.take_notices() {
            tracing::error!("{notice}");
        }
    }
}
