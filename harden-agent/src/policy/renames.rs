//! Files moved or linked from one directory to another: both have to stay on one mount, since
//! rename(2) and link(2) fail with `EXDEV` across two, even of the same file system.

use std::collections::{BTreeMap, BTreeSet};

use crate::observation::{Operation, Text, Word};

use super::paths::{common, parent};
use super::places::Place;

/// Directories between which one executable moved or linked files in one run.
pub(super) struct Crossing {
    /// The directories.
    pub directories: BTreeSet<Vec<u8>>,
    /// What holds them all.
    pub common: Vec<u8>,
}

/// The crossings. An observation does not say which old name went with which new one. Where the
/// directories of the old and of the new names are the same set, each file is taken to have stayed
/// in its directory, as when a file is replaced by its new version.
pub(super) fn crossings(places: &[Place<'_>]) -> Vec<Crossing> {
    type Directories<'a> = BTreeSet<&'a [u8]>;
    let mut moves: BTreeMap<(&Word, &Text, bool), [Directories<'_>; 2]> = BTreeMap::new();
    for place in places {
        for operation in place.done() {
            let (link, side) = match operation {
                Operation::RenameFrom => (false, 0),
                Operation::RenameTo => (false, 1),
                Operation::LinkFrom => (true, 0),
                Operation::LinkTo => (true, 1),
                _ => continue,
            };
            moves
                .entry((place.run.id, place.executable, link))
                .or_default()[side]
                .insert(parent(&place.path));
        }
    }
    moves
        .into_values()
        .filter(|[from, to]| from != to)
        .map(|[from, to]| {
            let directories: BTreeSet<&[u8]> = from.union(&to).copied().collect();
            Crossing {
                common: common(directories.iter().copied()),
                directories: directories.into_iter().map(<[u8]>::to_vec).collect(),
            }
        })
        .collect()
}
