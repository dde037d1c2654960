//! Answers to the control interface.

use super::{Core, CoreError};
use crate::{
    agent::{
        near::near,
        request::{MarkError, Marked, NotFound, Request, Status, Time, UnitSummary},
        summary::summarise,
    },
    collect::unit::Unit,
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
                    Err(missing) => Err(MarkError::NotFound(missing)),
                };
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

    fn seen(&mut self, unit: &Text) -> Result<Observation, NotFound> {
        match self.observation(unit) {
            Ok(observation) => Ok(observation),
            Err(error) => {
                self.fails("state directory", &error);
                Err(self.missing(unit))
            }
        }
    }

    fn summaries(&mut self) -> Vec<UnitSummary> {
        let units = self.units();
        units
            .iter()
            .filter_map(|unit| {
                let observation = self.seen(unit).ok()?;
                let last_new = self.state.last_new(unit).map(Time);
                let summary = summarise(&observation);
                (summary.runs > 0).then(|| UnitSummary {
                    last_new: last_new.or(summary.last_new),
                    ..summary
                })
            })
            .collect()
    }

    fn resolve(&self, units: &[Text]) -> Result<Vec<Text>, NotFound> {
        if units.is_empty() {
            return Ok(self.units().into_iter().collect());
        }
        units.iter().map(|unit| self.resolve_one(unit)).collect()
    }

    /// The full name of a unit: `foo` is `foo.service` where there is one. One of many that has ended is what it was one of.
    fn resolve_one(&self, unit: &Text) -> Result<Text, NotFound> {
        let units = self.units();
        let service = Text::from(format!("{unit}.service"));
        let parsed = unit.to_string().parse::<Unit>().ok();
        let kind = parsed.and_then(|unit| unit.kind());
        let kind = kind.map(|kind| Text::from(kind.to_string()));
        [Some(unit), Some(&service), kind.as_ref()]
            .into_iter()
            .flatten()
            .find(|name| units.contains(*name))
            .cloned()
            .ok_or_else(|| self.missing(unit))
    }

    fn missing(&self, unit: &Text) -> NotFound {
        NotFound {
            unit: unit.clone(),
            near: near(unit, self.state.units()),
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
            errors: self
                .faults
                .iter()
                .map(|(what, text)| format!("{what}: {text}"))
                .collect(),
        })
    }
}
