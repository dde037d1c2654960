//! The files of units.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Core, CoreError, health::STATE_DIRECTORY};
use crate::{
    agent::{journal::JournalError, memory, store::StoreError},
    collect::unit::OF_ALL,
    observation::{Join as _, Observation, SCHEMA, Text},
};

/// So many bytes each unit may take, however many there are.
const LEAST: u64 = 64 << 10;

/// How long files are written whole at the end.
const TIDY: Duration = Duration::from_secs(10);

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

    /// Reads what the file of `unit` has, so that none of it is taken for new.
    pub(super) fn load_known(&mut self, unit: &Text) {
        match self.stored(unit) {
            Ok(observation) => self.state.remember(&observation),
            // It says so again when it cannot be written either.
            Err(error) => tracing::debug!("{unit}: {error}"),
        }
    }

    fn stored(&mut self, unit: &Text) -> Result<Observation, StoreError> {
        let stored = self.store.load(unit);
        self.say_store();
        let stored = stored?;
        if stored.is_none() {
            // It may have been there: what the slots have is to be written again.
            self.state.forget_read(unit);
        }
        Ok(stored.unwrap_or_else(|| Observation {
            schema: SCHEMA,
            name: unit.clone(),
            runs: BTreeMap::new(),
        }))
    }

    /// Writes what is new of `units`, all of which are kept under `key`.
    fn save(&mut self, key: &Text, units: &[Text]) -> Result<(), StoreError> {
        let mut new = Observation {
            schema: SCHEMA,
            name: key.clone(),
            runs: BTreeMap::new(),
        };
        for unit in units {
            new.runs.join(self.state.open(unit));
        }
        new.settle();
        new.forget_empty();
        new.fold_names();
        let written = match self.store.add(&new) {
            Ok(true) => self.keep_within_total(),
            Ok(false) => self.save_whole(new),
            Err(error) => Err(error),
        };
        self.say_store();
        written?;
        // At rest a unit's facts are not known, but for its file.
        let is_at_rest = self.state.is_at_rest(key);
        for unit in units {
            self.state.saved(unit);
            if key != unit {
                self.state.forget(unit);
                // What came of it is known under no other name before.
                self.shadows.touch(key);
            }
        }
        if is_at_rest && units.contains(key) {
            self.load_known(key);
        }
        self.state.register_file(key.clone());
        Ok(())
    }

    /// Writes the file of a unit whole, with what is new.
    fn save_whole(&mut self, new: Observation) -> Result<(), StoreError> {
        let mut whole = self.stored(&new.name)?;
        whole.join(new);
        self.write_whole(whole, self.store.whole_limit())?;
        self.keep_within_total()
    }

    fn write_whole(&mut self, mut whole: Observation, limit: u64) -> Result<(), StoreError> {
        let keep = self.config.state.keep_invocations as usize;
        let windows = self.config.state.keep_windows as usize;
        whole.fold(keep, windows);
        whole.fold_names();
        whole.forget_folded();
        if whole.shrink(limit) {
            self.health.was_shrunk(&whole.name);
        }
        self.store.save(&whole)
    }

    /// Makes the largest units smaller until all of them have room together.
    fn keep_within_total(&mut self) -> Result<(), StoreError> {
        let limits = &self.config.state;
        let total = limits.max_total;
        // So much each unit may have in any case.
        let least = (total / u64::from(limits.max_units)).max(LEAST);
        while self.store.size() > total {
            let before = self.store.size();
            match self.store.largest() {
                Some((unit, size)) if size > least => {
                    let whole = self.stored(&unit)?;
                    self.write_whole(whole, (size / 2).max(least))?;
                    if self.store.size() >= before {
                        let what = format!("{unit} could not be made smaller");
                        self.health.limited("max_total", what);
                        break;
                    }
                }
                _ => {
                    self.health.limited(
                        "max_total",
                        format!(
                            "all units together take more than {total} bytes, and none of them much"
                        ),
                    );
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes the files whole to which something was added, as long as that does not take long: a reader finds one file
    /// for each unit while no agent runs.
    pub(crate) fn tidy(&mut self) {
        let began = Instant::now();
        for unit in self.store.added_to() {
            if began.elapsed() > TIDY {
                return;
            }
            let whole = self.stored(&unit);
            let written = whole.and_then(|whole| self.write_whole(whole, self.store.whole_limit()));
            if let Err(error) = written {
                tracing::warn!("{unit}: {error}");
                return;
            }
        }
    }

    /// Writes what is not on disk. Says whether all of it is now.
    pub(super) fn save_all(&mut self) -> bool {
        let is_whole = self.save_these(self.state.dirty());
        if is_whole {
            self.health.works(STATE_DIRECTORY);
        }
        is_whole
    }

    /// Has the units written of which a run has ended: that will not change any more.
    pub(super) fn save_ended(&mut self) {
        // While it fails for some units, to find that out for each every second is of no use.
        if self.health.can_store() {
            for unit in self.state.ended() {
                self.saving.add(unit);
            }
        }
    }

    /// Writes `units`, those that are kept under one key at once: of a thousand connections, the file of their template
    /// is not read and written a thousand times.
    fn save_these(&mut self, units: Vec<Text>) -> bool {
        let mut kept: BTreeMap<Text, Vec<Text>> = BTreeMap::new();
        for unit in units {
            kept.entry(self.state.key(&unit)).or_default().push(unit);
        }
        let mut first = None;
        for (key, units) in kept {
            if key.as_bytes().ends_with(OF_ALL.as_bytes()) {
                let most = self.config.state.max_units;
                self.health.limited("max_units", format!("no room for a record of each unit ({most} of them, half for one manager): what else begins is kept together, as {key}; harden forget makes room"));
            }
            if let Err(error) = self.save(&key, &units) {
                first.get_or_insert(error);
            }
        }
        // It goes over all units: not once for each of those that are written one after the other.
        if !self.saving.has_more() {
            self.state.forget_ended();
        }
        if let Some(error) = &first {
            self.health.fails(STATE_DIRECTORY, error);
        }
        first.is_none()
    }

    /// Begins a new journal, and has everything written that the older ones have; then they go. One unit is
    /// written at a time, by [`Self::save_next`]: all of them may take seconds, and the ring buffer does not
    /// wait.
    ///
    /// # Errors
    /// The kernel side cannot be used. What cannot be written is shown and stays in memory.
    pub(crate) fn compact(&mut self) -> Result<(), CoreError> {
        if self.saving.is_folding() {
            return Ok(());
        }
        let slots: Vec<u32> = self.state.slots().collect();
        self.read_slots(&slots)?;
        self.saving.compacts();
        let is_ill = self.is_ill();
        if !is_ill && self.saving.has_folded(self.journal.size()) {
            // Nothing came since.
            return Ok(());
        }
        if is_ill && !self.save_all() && !self.saving.is_behind() {
            // Another file would free nothing as long as this one has what is not in the units' yet.
            return Ok(());
        }
        if let Err(error) = self.fold() {
            self.health.fails("journal", &error);
        } else if is_ill {
            self.save_rest();
        }
        Ok(())
    }

    /// Begins a new journal; the older ones have facts that are nowhere else until all units are written.
    pub(super) fn fold(&mut self) -> Result<(), JournalError> {
        self.journal.rotate(self.state.tables().into_iter())?;
        self.saving.fold(self.state.dirty(), self.journal.size());
        Ok(())
    }

    /// Whether there is something to be written.
    #[must_use]
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_active()
    }

    /// Writes all of it.
    pub(crate) fn save_rest(&mut self) {
        while self.is_saving() {
            self.save_next();
        }
    }

    /// Writes the next unit, or takes the last step.
    pub(crate) fn save_next(&mut self) {
        let state = &self.state;
        if let Some(units) = self.saving.next(|unit| state.key(unit)) {
            let is_written = self.save_these(units);
            self.saving.was_written(is_written);
        } else if self.saving.end_folding() {
            match self.journal.drop_older() {
                Ok(()) => {
                    self.saving.caught_up();
                    self.keep_unwritten(0);
                    self.health.works("journal");
                }
                Err(error) => self.health.fails("journal", &error),
            }
            memory::give_back();
        }
    }

    /// Writes what is in memory alone, once that may work: the journal's file or its directory is gone, or there
    /// was no room.
    pub(super) fn catch_up(&mut self) -> Result<(), CoreError> {
        if let Err(error) = self.journal.check() {
            self.journal_fails(&error);
        }
        if self.is_ill() && self.saving.tries_again() {
            self.compact()?;
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
