//! What a neighbour did, and what is recorded of it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use harden_agent::observation::Observation;
use harden_tests::{deeds::Workshop, observed};

/// What a neighbour does.
pub const DEEDS: usize = 10;

/// The numbers of the deeds that `observation` has.
fn deeds(observation: &Observation, workshop: &Workshop) -> BTreeSet<usize> {
    let directory = workshop.files();
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let files = programs.flat_map(|facts| facts.files.keys());
    let names = files.filter_map(|path| {
        let name = path.as_path().strip_prefix(&directory).ok()?;
        name.to_str()?.parse().ok()
    });
    names.collect()
}

/// Whether `observation` has all deeds from `first` on.
pub fn has_all(observation: &Observation, workshop: &Workshop, first: usize) -> bool {
    let found = deeds(observation, workshop);
    (first..first + DEEDS).all(|number| found.contains(&number))
}

/// What became of a neighbour that did the deeds from `first` on.
pub fn is_marked_or_whole(
    observation: &Observation,
    workshop: &Workshop,
    first: usize,
) -> Result<bool> {
    let lost = observation
        .runs
        .values()
        .any(|run| !observed::losses(run).is_empty());
    let is_whole = has_all(observation, workshop, first);
    ensure!(
        is_whole || lost,
        "{} lost deeds in silence: {:?} of {first} and those after it",
        observation.name,
        deeds(observation, workshop)
    );
    Ok(is_whole && !lost)
}
