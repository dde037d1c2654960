//! Answers to the control interface.

use std::collections::{BTreeMap, BTreeSet};

use super::{Core, CoreError, health::STATE_DIRECTORY};

use crate::{
    agent::{
        names,
        request::{MarkError, Marked, NameError, Request, Status, Time, UnitState, UnitSummary},
        shadow::Shadow,
        store::Version,
        summary::summarise,
    },
    observation::{Observation, Text},
    probe::Events,
};

/// The figures of units as they are on disk, of those that were asked for.
#[derive(Default)]
pub(super) struct Summaries(BTreeMap<Text, (Version, UnitSummary)>);

impl Core {
    /// Answers. What is told is what the kernel side has seen up to now.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(crate) fn serve(&mut self, events: &mut Events, request: Request) -> Result<(), CoreError> {
        // An answer that nobody waits for any more is no error.
        match request {
            Request::Units { reply } => {
                events.drain(|item| self.take(item));
                let slots: Vec<u32> = self.state.slots().collect();
                self.read_slots(&slots)?;
                let _ = reply.send(self.summaries(events));
            }
            Request::Status { reply } => {
                let status = self.status()?;
                let _ = reply.send(status);
            }
            Request::Resolve { units, reply } => {
                // A unit that has just begun is in the ring buffer, maybe, and known by name after that alone.
                events.drain(|item| self.take(item));
                let _ = reply.send(self.resolve(&units));
            }
            Request::Observation { unit, reply } => {
                events.drain(|item| self.take(item));
                let answer = match self.resolve_one(&unit) {
                    Ok(unit) => {
                        self.read_unit(&unit)?;
                        self.seen(&unit)
                    }
                    Err(missing) => Err(missing),
                };
                let _ = reply.send(answer);
            }
            Request::Mark { name, unit, reply } => {
                events.drain(|item| self.take(item));
                let unit = unit.map(|unit| self.resolve_one(&unit)).transpose();
                let answer = match unit {
                    Ok(unit) => {
                        let (id, units) = self.mark(events, name, unit.as_ref())?;
                        Ok(Marked { id, units })
                    }
                    Err(missing) => Err(MarkError::Name(missing)),
                };
                let _ = reply.send(answer);
            }
            Request::Forget { units, reply } => {
                let answer = self.forget(events, &units)?;
                let _ = reply.send(answer);
            }
            Request::Freeze {
                unit,
                profile,
                replace,
                reply,
            } => {
                events.drain(|item| self.take(item));
                let answer = self.freeze(&unit, *profile, replace)?;
                let _ = reply.send(answer);
            }
            Request::Unfreeze { unit, reply } => {
                let _ = reply.send(self.unfreeze(&unit));
            }
            Request::Shadows { unit, reply } => {
                events.drain(|item| self.take(item));
                let answer = self.shadows_of(unit.as_ref())?;
                let _ = reply.send(answer);
            }
            Request::Watch(watcher) => self.watchers.push(watcher),
        }
        Ok(())
    }

    /// Tells those who listen of new facts.
    pub(super) fn tell(&mut self) {
        let news = self.state.take_news();
        for fact in &news {
            self.watchers.retain_mut(|watcher| watcher.tell(fact));
        }
    }

    pub(super) fn seen(&mut self, unit: &Text) -> Result<Observation, NameError> {
        match self.observation(unit) {
            Ok(observation) => Ok(observation),
            Err(error) => {
                self.health.fails(STATE_DIRECTORY, &error);
                Err(self.missing(unit))
            }
        }
    }

    /// The figures of all units. Each is read from disk once, until something is new of it; meanwhile the ring buffer
    /// is read.
    fn summaries(&mut self, events: &mut Events) -> Vec<UnitSummary> {
        let living = self.state.living().filter_map(|(_, unit)| unit.cloned());
        let living: BTreeSet<Text> = living.collect();
        let mut summaries = Vec::new();
        let units = self.units();
        self.summaries.0.retain(|unit, _| units.contains(unit));
        for unit in units {
            events.drain(|item| self.take(item));
            summaries.extend(self.summary(&unit, living.contains(&unit)));
        }
        summaries
    }

    /// None if there is nothing to say of it.
    fn summary(&mut self, unit: &Text, is_living: bool) -> Option<UnitSummary> {
        let is_dirty = self.state.is_dirty(unit);
        let version = self.store.version(unit);
        let known = self.summaries.0.get(unit);
        let known = known.filter(|(of, _)| !is_dirty && *of == version);
        let summary = if let Some((_, known)) = known {
            known.clone()
        } else {
            let observation = self.seen(unit).ok()?;
            let summary = summarise(&observation, state(&observation));
            if !is_dirty {
                // Reading it may have moved something aside.
                let version = self.store.version(unit);
                let known = (version, summary.clone());
                self.summaries.0.insert(unit.clone(), known);
            }
            summary
        };
        let state = match summary.state {
            UnitState::Active if !is_living => UnitState::Inactive,
            UnitState::Silent if !is_living && summary.runs > 0 => UnitState::Inactive,
            UnitState::Silent if !is_living => return None,
            state => state,
        };
        let last_new = self.state.last_new(unit).map(Time);
        Some(UnitSummary {
            state,
            last_new: last_new.or(summary.last_new),
            denials: self.shadows.get(unit).map(Shadow::count),
            ..summary
        })
    }

    fn resolve(&self, units: &[Text]) -> Result<Vec<Text>, NameError> {
        if units.is_empty() {
            return Ok(self.units().into_iter().collect());
        }
        units.iter().map(|unit| self.resolve_one(unit)).collect()
    }

    /// The full name of a unit.
    pub(super) fn resolve_one(&self, unit: &Text) -> Result<Text, NameError> {
        names::resolve(unit, &self.units())
    }

    pub(super) fn missing(&self, unit: &Text) -> NameError {
        NameError::NotFound {
            unit: unit.clone(),
            near: names::suggest(unit, self.state.units()),
        }
    }

    fn status(&mut self) -> Result<Status, CoreError> {
        let instance = self.state.instance();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: Time(self.started),
            kernel_side: self.origin,
            since: Time(instance.map_or(self.started, |instance| instance.started)),
            units: self.state.units().count() as u64,
            slots_used: self.probe.slots()?.len() as u64,
            slots_total: u64::from(self.sizes.slots),
            cgroups_used: self.probe.observed()?.len() as u64,
            cgroups_total: u64::from(self.sizes.cgroups),
            events: self.events,
            journal_bytes: self.journal.size(),
            state_directory: Text::from(self.config.state.directory.as_os_str().as_encoded_bytes()),
            losses: self
                .state
                .losses()
                .iter()
                .map(|(kind, count)| (kind.to_string(), *count))
                .collect(),
            hooks: self.probe.hooks(),
            set_aside: [self.store.set_aside(), self.shadows.set_aside()].concat(),
            limits: self.health.limits().collect(),
            errors: self.health.errors().collect(),
            shadows: self.shadow_summaries(),
        })
    }
}

/// The state of a unit of which this was seen, if it is there.
fn state(observation: &Observation) -> UnitState {
    let mut runs = observation.runs.values();
    if runs.all(|run| run.executables.is_empty() && run.control.is_empty()) {
        UnitState::Silent
    } else {
        UnitState::Active
    }
}
