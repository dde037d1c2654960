//! The paths that a rule names, each with those that it covers.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::evidence::{Evidence, Item};
use super::super::super::paths::parent;
use super::super::super::shared::{outermost, siblings};
use super::super::line::as_argument;
use crate::observation::Text;

/// Directories with more than this many entries in a list are listed whole.
pub(super) const CROWD: usize = 8;

/// Rules with more paths than this are not given: each is a mount.
const LIMIT: usize = 128;

/// Directories of which more than one of these files is.
pub(super) fn several(files: &BTreeSet<&[u8]>) -> BTreeSet<Vec<u8>> {
    let mut above: BTreeMap<&[u8], usize> = BTreeMap::new();
    for file in files {
        *above.entry(parent(file)).or_default() += 1;
    }
    let several = above.into_iter().filter(|(_, count)| *count > 1);
    several.map(|(directory, _)| directory.to_vec()).collect()
}

/// Puts the directory in the place of those that lie side by side in it.
pub(super) fn spread(roots: &mut BTreeMap<Vec<u8>, Evidence>) {
    loop {
        let above = siblings(roots.keys().map(Vec::as_slice));
        if above.is_empty() {
            break;
        }
        for directory in above {
            roots.entry(directory).or_default();
        }
        outermost(roots);
    }
}

/// The roots as items: none below another, crowds as their directory.
pub(super) fn items(
    top: &[u8],
    mut roots: BTreeMap<Vec<u8>, Evidence>,
) -> Result<Vec<Item>, String> {
    outermost(&mut roots);
    disperse(top, &mut roots);
    if roots.len() > LIMIT {
        return Err(format!(
            "{} paths would have to be named, more than {LIMIT}",
            roots.len()
        ));
    }
    roots
        .into_iter()
        .map(|(root, evidence)| match as_argument(&root) {
            Some(path) => Ok(Item::new(path, evidence)),
            None => Err(format!(
                "{} holds a character that a line cannot",
                Text::from(root)
            )),
        })
        .collect()
}

/// Puts each directory in the place of a crowd in it, those further down first: it may be one of a crowd itself then.
pub(super) fn disperse(top: &[u8], roots: &mut BTreeMap<Vec<u8>, Evidence>) {
    // What lies below a directory has a longer path.
    let key = |directory: &[u8]| (directory.len(), directory.to_vec());
    let mut above: BTreeMap<(usize, Vec<u8>), usize> = BTreeMap::new();
    for root in roots.keys() {
        *above.entry(key(parent(root))).or_default() += 1;
    }
    while let Some(((_, directory), count)) = above.pop_last() {
        if count <= CROWD || directory == top {
            continue;
        }
        let mut evidence = Evidence::default();
        let below = prefix(&directory);
        let crowd = roots.range(below.clone()..).map(|(root, _)| root);
        let crowd = crowd.take_while(|root| root.starts_with(&below));
        let crowd: Vec<Vec<u8>> = crowd.cloned().collect();
        for root in crowd {
            evidence.merge(&roots.remove(&root).unwrap_or_default());
        }
        *above.entry(key(parent(&directory))).or_default() += 1;
        roots.insert(directory, evidence);
    }
}

/// Whether one of the roots lies at or below `path`.
pub(super) fn has_within(roots: &BTreeMap<Vec<u8>, Evidence>, path: &[u8]) -> bool {
    let below = prefix(path);
    let mut from = roots.range(below.clone()..);
    roots.contains_key(path)
        || from
            .next()
            .is_some_and(|(root, _)| root.starts_with(&below))
}

/// What the paths below a directory begin with.
fn prefix(directory: &[u8]) -> Vec<u8> {
    match directory {
        b"/" => b"/".to_vec(),
        directory => [directory, b"/"].concat(),
    }
}
