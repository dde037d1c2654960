//! Dropping what was recorded of units.

use std::collections::BTreeSet;

use super::{Core, CoreError, word};
use crate::{
    agent::{
        journal::Record,
        names::{self, Names},
        request::{ForgetError, Forgotten, NameError},
    },
    observation::{RunKind, Text},
    probe::Events,
};

impl Core {
    /// Forgets what was recorded of the units of these names, or in these patterns. Runs that are open go on from zero:
    /// calls count again from the moment this returns.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(super) fn forget(
        &mut self,
        events: &mut Events,
        asked: &[Text],
    ) -> Result<Result<Forgotten, ForgetError>, CoreError> {
        // Whatever was done before is forgotten too.
        events.drain(|item| self.take(item));
        let units = match self.all_meant(asked) {
            Ok(units) => units,
            Err(error) => return Ok(Err(error)),
        };
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        for unit in &units {
            for unit in self.state.kept_as(unit) {
                if self.state.is_living(&unit) {
                    open.push(unit.clone());
                }
                self.begin_from_zero(&unit)?;
            }
            let removed = self.store.forget(unit);
            self.give_up_shadow(unit);
            self.say_store();
            self.health.forget_limits();
            if let Err(error) = removed {
                // The next start tries again, and until then its file is there.
                self.state.register_file(unit.clone());
                tracing::error!("{unit}: {error}");
                refused.push(format!("{unit} is not forgotten as a whole: {error}"));
                continue;
            }
            self.state.take_forgotten();
            tracing::info!("{unit}: what was recorded of it is dropped, as root asked");
            events.drain(|item| self.take(item));
        }
        self.compact()?;
        if !refused.is_empty() {
            return Ok(Err(ForgetError::Refused(refused.join("; "))));
        }
        let units = units.into_iter().collect();
        Ok(Ok(Forgotten { units, open }))
    }

    /// The units that are meant, if all of it can be done now.
    fn all_meant(&self, asked: &[Text]) -> Result<BTreeSet<Text>, ForgetError> {
        if asked.is_empty() {
            let reason = "no unit is named".to_owned();
            return Err(ForgetError::Refused(reason));
        }
        // What is in memory alone would come back.
        if let Some(error) = self.health.errors().next() {
            let reason = format!("the agent cannot write at this moment: {error}");
            return Err(ForgetError::Refused(reason));
        }
        let known = self.units();
        let mut units = BTreeSet::new();
        for name in asked {
            units.extend(self.meant(name, &known)?);
        }
        Ok(units)
    }

    fn meant(&self, asked: &Text, known: &BTreeSet<Text>) -> Result<Vec<Text>, ForgetError> {
        let found = match names::resolve(asked, known) {
            Ok(unit) => return Ok(vec![unit]),
            // Nothing may be left of it but a file that could not be read.
            Err(NameError::NotFound { .. }) if self.store.has_aside(asked) => {
                return Ok(vec![asked.clone()]);
            }
            Err(error) => error,
        };
        if !Names::is_pattern(asked) {
            return Err(found.into());
        }
        let pattern = Names::new(asked).map_err(|error| {
            ForgetError::Refused(format!("{asked} is no pattern of names: {error}"))
        })?;
        let units: Vec<Text> = known
            .iter()
            .filter(|unit| pattern.has(unit))
            .cloned()
            .collect();
        if units.is_empty() {
            return Err(found.into());
        }
        Ok(units)
    }

    /// Has the unit begin a run, by which what comes of it from now on is told from what is forgotten. By its identifier
    /// and its name it is the one that goes on.
    fn begin_from_zero(&mut self, unit: &Text) -> Result<(), CoreError> {
        let new = || word(&uuid::Uuid::new_v4().to_string());
        let present = self.state.present_mark(unit);
        let (id, kind, label) = present.unwrap_or_else(|| (new(), RunKind::Invocation, None));
        self.begin_run(id, kind, label, Some(unit), |_| true)?;
        self.record(Record::Forget {
            unit: unit.clone(),
            run: self.state.last_run(),
            is_over: false,
        });
        self.saving.forget(unit);
        Ok(())
    }

    /// Removes files that an agent would have removed if it had not been killed.
    pub(super) fn forget_rest(&mut self) {
        for unit in self.state.take_forgotten() {
            if let Err(error) = self.store.forget(&unit) {
                tracing::error!("{unit}: {error}");
            }
            self.give_up_shadow(&unit);
        }
    }
}
