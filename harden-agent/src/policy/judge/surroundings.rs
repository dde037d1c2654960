//! What the meaning of a line depends on beside the line.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Observation, Text};

use super::super::paths::Links;

/// Where a file is enforced.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The home directories of those who start Firejail.
    pub homes: BTreeSet<Text>,
    links: BTreeMap<Text, Text>,
}

impl Surroundings {
    /// The machine of an observation, as far as that knows its symbolic links.
    #[must_use]
    pub fn of(observation: &Observation, homes: BTreeSet<Text>) -> Self {
        let links = observation.runs.values().flat_map(|run| &run.symlinks);
        let links = links.map(|(link, text)| (link.clone(), text.clone()));
        Self {
            homes,
            links: links.collect(),
        }
    }

    /// Where a path of a line leads: what is mounted over a symbolic link is mounted over what it names.
    pub(super) fn real(&self, path: &[u8]) -> Vec<u8> {
        let walk = Links::new(&self.links).walk(path);
        walk.map_or_else(|| path.to_vec(), |walk| walk.path)
    }
}
