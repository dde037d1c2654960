//! Answers to the control interface.

use std::collections::BTreeSet;

use super::{Core, CoreError};
use crate::{
    agent::{
        names,
        request::{MarkError, Marked, NameError, Request, Status, Time, UnitState, UnitSummary},
        summary::summarise,
    },
    observation::{Observation, Text},
    probe::Events,
};

impl Core {
    /// Answers. What is told is what the kernel side has seen up to now.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub fn serve(&mut self, events: &mut Events, request: Request) -> Result<(), CoreError> {
        // An answer that nobody waits for any more is no error.
        match request {
            Request::Units { reply } => {
                events.drain(|item| self.take(item));
                let slots: Vec<u32> = self.state.slots().collect();
                self.read_slots(&slots)?;
                let _ = reply.send(self.summaries());
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

    fn seen(&mut self, unit: &Text) -> Result<Observation, NameError> {
        match self.observation(unit) {
            Ok(observation) => Ok(observation),
            Err(error) => {
                self.fails("state directory", &error);
                Err(self.missing(unit))
            }
        }
    }

    fn summaries(&mut self) -> Vec<UnitSummary> {
        let living = self.state.living().filter_map(|(_, unit)| unit.cloned());
        let living: BTreeSet<Text> = living.collect();
        let units = self.units();
        units
            .iter()
            .filter_map(|unit| {
                let observation = self.seen(unit).ok()?;
                let last_new = self.state.last_new(unit).map(Time);
                let state = state(&observation, living.contains(unit))?;
                let summary = summarise(&observation, state);
                Some(UnitSummary {
                    last_new: last_new.or(summary.last_new),
                    ..summary
                })
            })
            .collect()
    }

    fn resolve(&self, units: &[Text]) -> Result<Vec<Text>, NameError> {
        if units.is_empty() {
            return Ok(self.units().into_iter().collect());
        }
        units.iter().map(|unit| self.resolve_one(unit)).collect()
    }

    /// The full name of a unit.
    fn resolve_one(&self, unit: &Text) -> Result<Text, NameError> {
        names::resolve(unit, &self.units())
    }

    fn missing(&self, unit: &Text) -> NameError {
        NameError::NotFound {
            unit: unit.clone(),
            near: names::near(unit, self.state.units()),
        }
    }

    fn status(&self) -> Result<Status, CoreError> {
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
            set_aside: self.store.set_aside(),
            errors: self
                .faults
                .iter()
                .map(|(what, text)| format!("{what}: {text}"))
                .collect(),
        })
    }
}

/// The state of a unit of which this was seen; none if there is nothing to tell of it.
fn state(observation: &Observation, is_living: bool) -> Option<UnitState> {
    let mut runs = observation.runs.values();
    if is_living && runs.all(|run| run.executables.is_empty() && run.control.is_empty()) {
        return Some(UnitState::Silent);
    }
    if is_living {
        return Some(UnitState::Active);
    }
    (!observation.runs.is_empty()).then_some(UnitState::Inactive)
}
