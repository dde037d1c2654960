//! Units in shadow: a profile is frozen for each, and what it would refuse from then on is noted. Nothing is enforced.
//!
//! A shadow is no part of the state of the units: it has a file of its own, which is written when something changes, and what
//! that file lacks is judged again from the record of the unit. A fact is judged with its run, which gives it the links,
//! outcomes and files on which its meaning depends ([`crate::policy::judge`]); a run that has ended is judged once.

mod frozen;
mod judged;
mod kept;
mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use self::{
    frozen::{Frozen, LARGEST},
    kept::{Side, Sight},
};
use self::{judged::Judged, kept::Kept, look::Looked};
use super::{
    quarantine,
    request::{Denial, ShadowProfile, ShadowSummary},
};
use crate::observation::{Observation, Run, RunKind, Text, Word};

/// So many units may be in shadow.
const MOST: usize = 256;

/// Looking takes no more than one part in so many of a processor.
const SHARE: u32 = 50;

/// All units in shadow.
pub struct Shadows {
    directory: PathBuf,
    units: BTreeMap<Text, Shadow>,
    notices: Vec<String>,
}

/// A unit in shadow.
pub struct Shadow {
    frozen: Frozen,
    kept: Kept,
    judged: Judged,
    /// What [`super::state::State::changes`] said when it was last looked at.
    changes: Option<u64>,
    /// Not before.
    next: Instant,
    is_unsaved: bool,
}

/// What the agent knows of a unit when it is looked at.
pub struct Present<'a> {
    /// What was recorded.
    pub observation: &'a Observation,
    /// The runs that go on.
    pub open: BTreeSet<Word>,
    /// The marked one of them.
    pub mark: Option<Word>,
    /// How often something came.
    pub changes: u64,
    /// When the agent began to read it.
    pub began: Instant,
}

impl Shadows {
    /// Reads what is frozen in the state directory. What cannot be used is moved aside.
    #[must_use]
    pub fn open(state: &Path) -> Self {
        let directory = state.join("shadows");
        let mut notices = Vec::new();
        let units = kept::all(&directory, &mut notices).into_iter();
        let units = units.filter_map(|kept| match Frozen::new(&kept.profile) {
            Ok(frozen) => Some((kept.unit.clone(), Shadow::new(frozen, kept))),
            Err(error) => {
                notices.push(format!("the shadow of {} is given up: {error}", kept.unit));
                None
            }
        });
        let units = units.collect();
        Self {
            directory,
            units,
            notices,
        }
    }

    /// What was wrong with files, since this was last asked.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// The files that were moved aside.
    #[must_use]
    pub fn set_aside(&self) -> Vec<Text> {
        let aside = quarantine::all(&self.directory).unwrap_or_default();
        let paths = aside.into_iter();
        paths
            .map(|path| path.as_os_str().as_encoded_bytes().into())
            .collect()
    }

    /// Freezes a profile for the unit, in which these runs are over or begun by now, and which `side` records.
    ///
    /// # Errors
    /// It cannot be used, or not be kept, as a sentence.
    pub fn freeze(
        &mut self,
        unit: &Text,
        profile: ShadowProfile,
        before: BTreeSet<Word>,
        side: Option<&Side>,
    ) -> Result<(), String> {
        if !self.units.contains_key(unit) && self.units.len() >= MOST {
            return Err(format!("{MOST} units are in shadow already"));
        }
        let frozen = Frozen::new(&profile)?;
        let kept = Kept::new(unit.clone(), profile, before, side);
        kept.write(&self.directory)
            .map_err(|error| error.to_string())?;
        self.units.insert(unit.clone(), Shadow::new(frozen, kept));
        Ok(())
    }

    /// Gives the unit up. Says whether it was in shadow.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&mut self, unit: &Text) -> std::io::Result<bool> {
        kept::remove(&self.directory, unit)?;
        Ok(self.units.remove(unit).is_some())
    }

    /// The units, in the order of their names.
    pub fn units(&self) -> impl Iterator<Item = &Text> {
        self.units.keys()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, unit: &Text) -> Option<&Shadow> {
        self.units.get(unit)
    }

    /// Those that have to be looked at now.
    pub fn due(&self, changes: impl Fn(&Text) -> u64) -> Vec<Text> {
        let now = Instant::now();
        let due = self
            .units
            .iter()
            .filter(|(unit, shadow)| shadow.next <= now && shadow.changes != Some(changes(unit)));
        due.map(|(unit, _)| unit.clone()).collect()
    }

    /// Something was written of the unit that never was open under its name.
    pub fn touch(&mut self, unit: &Text) {
        if let Some(shadow) = self.units.get_mut(unit) {
            shadow.changes = None;
        }
    }

    /// Looks at what there is of the unit. Returns what its profile would refuse and was not known.
    pub fn look(&mut self, unit: &Text, present: &Present<'_>) -> Vec<Denial> {
        let shadow = self.units.get_mut(unit);
        shadow.map_or_else(Vec::new, |shadow| shadow.look(present))
    }

    /// An agent begins, and finds this of the unit. Says whether the unit may have done something that was not recorded.
    pub fn begin(&mut self, unit: &Text, side: &Side, sight: Sight) -> bool {
        self.units.get_mut(unit).is_some_and(|shadow| {
            shadow.is_unsaved = true;
            shadow.kept.begin(side, sight)
        })
    }

    /// The agent ends. Which units are there then, `is_there` says.
    pub fn end(&mut self, is_there: impl Fn(&Text) -> bool) {
        for (unit, shadow) in &mut self.units {
            shadow.kept.end(is_there(unit));
        }
    }

    /// Counts the time in which this kernel side has recorded.
    pub fn count_time(&mut self, side: &Side) {
        for shadow in self.units.values_mut() {
            shadow.kept.count_time(side);
        }
    }

    /// Writes what has changed, or, with `all`, everything.
    ///
    /// # Errors
    /// The first file that cannot be written; it is tried again the next time.
    pub fn save(&mut self, all: bool) -> std::io::Result<()> {
        let mut result = Ok(());
        for shadow in self.units.values_mut() {
            if !shadow.is_unsaved && !all {
                continue;
            }
            match shadow.kept.write(&self.directory) {
                Ok(()) => shadow.is_unsaved = false,
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

impl Shadow {
    fn new(frozen: Frozen, kept: Kept) -> Self {
        Self {
            frozen,
            kept,
            judged: Judged::default(),
            changes: None,
            next: Instant::now(),
            is_unsaved: false,
        }
    }

    fn look(&mut self, present: &Present<'_>) -> Vec<Denial> {
        let since = |(id, run): &(&Word, &Run)| self.kept.is_since(id, run);
        let runs = || present.observation.runs.iter().filter(since);
        let new = runs().filter(|(id, _)| !self.judged.is_settled(id));
        let new: BTreeSet<&Word> = new.map(|(id, _)| id).collect();
        let tests = runs().filter(|(id, run)| {
            let did = !run.executables.is_empty() || !run.control.is_empty();
            run.kind == RunKind::Mark && did && present.mark.as_ref() != Some(id)
        });
        let tests = tests.count() as u64;
        let mut losses: BTreeMap<Word, u64> = BTreeMap::new();
        for (kind, count) in runs().flat_map(|(_, run)| &run.losses) {
            let sum = losses.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        let looked = Looked::at(&self.frozen, present.observation, &new);
        self.is_unsaved |= self.kept.count(tests, losses);
        let (news, is_changed) = self.kept.note(&looked, present.observation, &new);
        self.is_unsaved |= is_changed;
        self.judged.take(looked, |run| present.open.contains(run));
        self.changes = Some(present.changes);
        self.next = Instant::now() + (present.began.elapsed() * SHARE).min(Duration::from_mins(10));
        news
    }

    /// In short.
    #[must_use]
    pub fn summary(&self) -> ShadowSummary {
        let (facts, unjudged) = self.judged.counts();
        ShadowSummary {
            facts,
            unjudged,
            unread: self.frozen.unread().collect(),
            refuses_nothing: self.frozen.refuses_nothing(),
            ..self.kept.summary()
        }
    }

    /// What the profile would refuse.
    #[must_use]
    pub fn denials(&self) -> &[Denial] {
        &self.kept.denials
    }

    /// How many facts it would refuse.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kept.count_denials()
    }
}

#[cfg(test)]
mod tests;
