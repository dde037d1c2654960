//! Units in shadow: what their frozen profiles would refuse.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Core, CoreError, word};
use crate::{
    agent::{
        request::{Denial, NewFact, Shadow, ShadowError, ShadowProfile, ShadowSummary},
        shadow::{self, Present, Side, Sight},
    },
    collect::unit::Unit,
    observation::{RunKind, Text, Word},
};

/// What the files of shadows are called in errors.
const FILES: &str = "shadows";

/// How often the time that was observed is written.
const TIME: Duration = Duration::from_mins(10);

/// When that was done last.
pub(super) struct Written(Instant);

impl Default for Written {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Core {
    /// Freezes a profile for a unit. What goes on in the unit is a run of its own from then on: so everything that it does
    /// is recorded once more, also what was known before.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(super) fn freeze(
        &mut self,
        unit: &Text,
        profile: ShadowProfile,
        replace: bool,
    ) -> Result<Result<ShadowSummary, ShadowError>, CoreError> {
        let unit = match self.resolve_one(unit) {
            Ok(unit) => unit,
            Err(missing) => return Ok(Err(missing.into())),
        };
        if !replace && self.shadows.get(&unit).is_some() {
            let reason = format!("a profile is frozen for {unit} already; --replace replaces it");
            return Ok(Err(ShadowError::Refused(reason)));
        }
        self.read_unit(&unit)?;
        let before = match self.seen(&unit) {
            Ok(observation) => observation.runs.into_keys(),
            Err(missing) => return Ok(Err(missing.into())),
        };
        let present = self.state.present_mark(&unit);
        let mut before: BTreeSet<Word> = before.collect();
        before.extend(self.state.open_runs(&unit).cloned());
        before.extend(present.as_ref().map(|(id, ..)| id.clone()));
        if let Err(reason) = self
            .shadows
            .freeze(&unit, profile, before, self.side().as_ref())
        {
            return Ok(Err(ShadowError::Refused(reason)));
        }
        let (kind, label) =
            present.map_or((RunKind::Window, None), |(_, kind, label)| (kind, label));
        let id = word(&uuid::Uuid::new_v4().to_string());
        self.begin_run(id, kind, label, Some(&unit), |_| true)?;
        self.count_shadow_time();
        tracing::info!("{unit}: a profile is frozen, and what it would refuse is noted");
        let summary = self.shadows.get(&unit).map(shadow::Shadow::summary);
        Ok(summary.ok_or_else(|| ShadowError::Name(self.missing(&unit))))
    }

    /// Gives up what is frozen for a unit.
    pub(super) fn unfreeze(&mut self, unit: &Text) -> Result<Text, ShadowError> {
        let unit = self.shadow_named(unit)?;
        let removed = self.shadows.remove(&unit);
        removed.map_err(|error| ShadowError::Refused(error.to_string()))?;
        tracing::info!("{unit}: its profile is no longer frozen");
        Ok(unit)
    }

    /// The shadow of this unit, or of all, with all that was seen up to now.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(super) fn shadows_of(
        &mut self,
        unit: Option<&Text>,
    ) -> Result<Result<Vec<Shadow>, ShadowError>, CoreError> {
        let units = match unit.map(|unit| self.shadow_named(unit)).transpose() {
            Ok(Some(unit)) => vec![unit],
            Ok(None) => self.shadows.units().cloned().collect(),
            Err(error) => return Ok(Err(error)),
        };
        for unit in &units {
            self.look_at(unit)?;
        }
        self.save_shadows(false);
        self.count_shadow_time();
        let shadows = units.iter().filter_map(|unit| self.shadows.get(unit));
        let shadows = shadows.map(|shadow| Shadow {
            summary: shadow.summary(),
            denials: shadow.denials().to_vec(),
        });
        Ok(Ok(shadows.collect()))
    }

    /// The unit of which this may be short, if it is in shadow.
    fn shadow_named(&self, unit: &Text) -> Result<Text, ShadowError> {
        // Its record may be gone, and its shadow is there.
        if self.shadows.get(unit).is_some() {
            return Ok(unit.clone());
        }
        let unit = self.resolve_one(unit)?;
        match self.shadows.get(&unit) {
            Some(_) => Ok(unit),
            None => Err(ShadowError::Refused(format!("{unit} is not in shadow"))),
        }
    }

    /// All of them, in short, as they were when they were last looked at.
    pub(super) fn shadow_summaries(&mut self) -> Vec<ShadowSummary> {
        self.count_shadow_time();
        let shadows = self.shadows.units();
        let shadows = shadows.filter_map(|unit| self.shadows.get(unit));
        shadows.map(shadow::Shadow::summary).collect()
    }

    /// Looks at the units of which something came.
    pub(super) fn look_at_shadows(&mut self) -> Result<(), CoreError> {
        let due = self.shadows.due(|unit| self.state.changes(unit));
        for unit in &due {
            self.look_at(unit)?;
        }
        let is_time = self.shadows_written.0.elapsed() >= TIME;
        if is_time {
            self.shadows_written = Written::default();
            self.count_shadow_time();
        }
        self.save_shadows(is_time);
        Ok(())
    }

    /// Units in shadow that may have done something unseen, as no agent observed them, cannot become ready.
    pub(super) fn begin_shadows(&mut self) {
        let Some(side) = self.side() else {
            return;
        };
        let units: Vec<Text> = self.shadows.units().cloned().collect();
        for unit in &units {
            let sight = self.sight(unit);
            if self.shadows.begin(unit, &side, sight) {
                tracing::warn!(
                    "{unit}: it may have done something that was not recorded since its profile was frozen; `harden shadow --replace` freezes one again"
                );
            }
        }
        self.save_shadows(false);
    }

    fn sight(&self, unit: &Text) -> Sight {
        let named = unit.to_string().parse::<Unit>();
        if named.is_ok_and(|named| !self.config.units.matches(named.name())) {
            Sight::Excluded
        } else if self.is_there(unit) {
            Sight::There
        } else {
            Sight::Absent
        }
    }

    /// Whether the unit has a cgroup; of what is kept under one name, whether any has.
    fn is_there(&self, unit: &Text) -> bool {
        let mut living = self.state.living().filter_map(|(_, unit)| unit);
        living.any(|living| {
            let named = || living.to_string().parse::<Unit>().ok();
            let kept_as = || Some(Text::from(named()?.kind()?.to_string()));
            living == unit || kept_as().is_some_and(|kept_as| kept_as == *unit)
        })
    }

    /// The kernel side that records.
    fn side(&self) -> Option<Side> {
        let instance = self.state.instance()?;
        Some(Side {
            id: instance.id.clone(),
            boot: instance.boot.clone(),
            started: instance.started,
        })
    }

    /// Writes all of it: the agent ends.
    pub(crate) fn end_shadows(&mut self) {
        self.count_shadow_time();
        let units = self.shadows.units().cloned();
        let there: BTreeSet<Text> = units.filter(|unit| self.is_there(unit)).collect();
        self.shadows.end(|unit| there.contains(unit));
        self.save_shadows(true);
    }

    fn look_at(&mut self, unit: &Text) -> Result<(), CoreError> {
        let began = Instant::now();
        self.read_unit(unit)?;
        let Ok(observation) = self.seen(unit) else {
            return Ok(());
        };
        let present = Present {
            observation: &observation,
            open: self.state.open_runs(unit).cloned().collect(),
            mark: self.state.present_mark(unit).map(|(id, ..)| id),
            changes: self.state.changes(unit),
            began,
        };
        for denial in self.shadows.look(unit, &present) {
            self.tell_denial(unit, denial);
        }
        Ok(())
    }

    fn tell_denial(&mut self, unit: &Text, denial: Denial) {
        let line = match denial.at {
            Some(at) => format!("{} ({at})", denial.line),
            None => denial.line.to_string(),
        };
        let fact = NewFact {
            unit: unit.clone(),
            run: denial.run,
            executable: denial.executable,
            kind: denial.kind,
            fact: denial.fact,
            first: denial.first,
            lagged: 0,
            refused_by: Some(line.into()),
        };
        self.watchers.retain_mut(|watcher| watcher.tell(&fact));
    }

    /// Counts how long units in shadow could be observed.
    fn count_shadow_time(&mut self) {
        if let Some(side) = self.side() {
            self.shadows.count_time(&side);
        }
    }

    fn save_shadows(&mut self, all: bool) {
        match self.shadows.save(all) {
            Ok(()) => self.health.works(FILES),
            Err(error) => self.health.fails(FILES, &error),
        }
    }

    /// The unit is forgotten, and its shadow with it.
    pub(super) fn give_up_shadow(&mut self, unit: &Text) {
        if let Err(error) = self.shadows.remove(unit) {
            tracing::error!("{unit}: its shadow is not removed: {error}");
        }
    }

    /// Says what was wrong with files.
    pub(super) fn say_shadows(&mut self) {
        for notice in self.shadows.take_notices() {
            tracing::error!("{notice}");
        }
    }
}
