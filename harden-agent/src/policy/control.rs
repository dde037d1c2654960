//! A unit's commands other than `ExecStart=`, for what holds for all of them.

use crate::observation::{Join, Observation};

/// The same observation, as if the unit's other commands were part of its main process.
pub(super) fn with_control_commands(observation: &Observation) -> Observation {
    let mut observation = observation.clone();
    for run in observation.runs.values_mut() {
        for programs in run.control.values() {
            run.executables.join(programs.clone());
        }
    }
    observation
}
