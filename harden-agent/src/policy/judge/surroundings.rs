//! What the meaning of a line depends on beside the line.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Observation, Text};

use super::super::paths::{Links, below};

/// Links of every distribution with a merged /usr (file-hierarchy(7)): a program that is called by its name in /usr meets none.
const MERGED: [&str; 6] = ["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"];

/// Whether something was found there that is not below a link.
fn is_directory(observation: &Observation, directory: &str) -> bool {
    let programs = observation.runs.values().flat_map(|run| &run.executables);
    let mut files = programs.flat_map(|(program, facts)| {
        let files = facts.files.iter().filter(|(_, file)| file.resolved);
        files.map(|(path, _)| path).chain([program])
    });
    files.any(|path| below(path.as_bytes(), directory.as_bytes()).is_some())
}

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
        let merged = MERGED
            .iter()
            .filter(|name| !is_directory(observation, name));
        let merged = merged.map(|name| {
            (
                Text::from(*name),
                Text::from(&name.replacen('/', "usr/", 1)),
            )
        });
        Self {
            homes,
            links: merged.chain(links).collect(),
        }
    }

    /// Where a path of a line leads: what is mounted over a symbolic link is mounted over what it names.
    pub(super) fn real(&self, path: &[u8]) -> Vec<u8> {
        let walk = Links::new(&self.links).walk(path);
        walk.map_or_else(|| path.to_vec(), |walk| walk.path)
    }
}
