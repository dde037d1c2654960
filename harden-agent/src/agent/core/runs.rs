//! Marked runs and windows.

use std::time::{Duration, Instant};

use harden_common::RUN_PASSES;

use super::{Core, CoreError, monotonic, word};
use crate::{
    agent::journal::Record,
    observation::{RunKind, Text, Word},
    probe::Events,
};

/// When what goes on was last cut into windows.
pub(super) struct Windows {
    cut: Instant,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            cut: Instant::now(),
        }
    }
}

impl Windows {
    /// Whether a window of this length is over; then another begins.
    fn is_over(&mut self, length: Duration) -> bool {
        let is_over = self.cut.elapsed() >= length;
        if is_over {
            self.cut = Instant::now();
        }
        is_over
    }
}

impl Core {
    /// Begins a run of `unit`, or of all units: calls count for it from the moment this returns. Without a
    /// name what was marked ends. Returns the run's identifier, and the units in which it began.
    ///
    /// # Errors
    /// The kernel side cannot be used.
    pub(super) fn mark(
        &mut self,
        events: &mut Events,
        label: Option<Text>,
        unit: Option<&Text>,
    ) -> Result<(Word, Vec<Text>), CoreError> {
        // Whatever was born before the mark is known then.
        events.drain(|item| self.take(item));
        let kind = match label {
            Some(_) => RunKind::Mark,
            None => RunKind::Invocation,
        };
        let id = word(&uuid::Uuid::new_v4().to_string());
        let units = self.begin_run(id.clone(), kind, label, unit, |_| true)?;
        Ok((id, units))
    }

    /// Cuts what goes on into windows, once it is time.
    pub(super) fn cut_window(&mut self) -> Result<(), CoreError> {
        let window = self.config.runs.window;
        if !window.is_some_and(|window| self.windows.is_over(window)) {
            return Ok(());
        }
        let id = word(&uuid::Uuid::new_v4().to_string());
        let mut marked = self.units();
        marked.retain(|unit| self.state.is_marked(unit));
        self.begin_run(id, RunKind::Window, None, None, |unit: &Text| {
            !marked.contains(unit)
        })?;
        Ok(())
    }

    pub(super) fn begin_run(
        &mut self,
        id: Word,
        kind: RunKind,
        label: Option<Text>,
        unit: Option<&Text>,
        is_wanted: impl Fn(&Text) -> bool,
    ) -> Result<Vec<Text>, CoreError> {
        let observed = self.probe.observed()?;
        // The journal of the last number may be lost, and a number is given once.
        let given = observed.values().map(|run| run & !RUN_PASSES).max();
        let number = self.state.last_run().max(given.unwrap_or(0)).max(1) + 1;
        self.record(Record::Run {
            number,
            id,
            kind,
            label,
            unit: unit.cloned(),
            time: monotonic(),
        });
        let mut runs = Vec::new();
        let mut units = Vec::new();
        for (cgroup, run) in &observed {
            let (cgroup, run) = (*cgroup, *run);
            // What is no unit hands the number down to those that are born in it.
            let of = self.state.unit_of(cgroup);
            let takes_part = match (of, unit) {
                (Some(of), Some(unit)) => of == unit,
                (Some(of), None) => is_wanted(of),
                (None, unit) => unit.is_none(),
            };
            if takes_part {
                runs.push((cgroup, number | run & RUN_PASSES));
                units.extend(of.cloned());
            }
        }
        self.probe.set_runs(&runs)?;
        self.retirement.later();
        let present = observed.values().map(|run| run & !RUN_PASSES).collect();
        self.state.forget_windows(&present);
        units.sort();
        units.dedup();
        Ok(units)
    }
}
