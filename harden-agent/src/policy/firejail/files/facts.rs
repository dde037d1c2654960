//! What the rules about files are derived from.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::super::Generalisation;
use super::super::super::basis::Basis;
use super::super::super::evidence::{Evidence, Item};
use super::super::super::paths::{components, is_within, parent};
use super::super::super::places::{Place, Places, distinct, passes};
use super::super::super::renames::Crossing;
use super::super::super::shared::{SITES, lasting, many_owners, own_directory};
use super::super::defaults::EMPTIED;
use super::super::line::as_argument;
use super::Context;
use super::roots::{CROWD, has_within, items, several, spread};
use crate::observation::{Operation, Text};

/// What the rules are derived from.
pub(super) struct Facts<'p, 'a> {
    places: &'p Places<'a>,
    /// Paths that may be absent, or others, when the program starts.
    made: HashSet<&'p [u8]>,
    crossings: &'p [Crossing],
    /// Links: rules about what lies behind belong to where they lead.
    links: HashSet<&'p [u8]>,
    /// Directories that Firejail mounts empty: nothing below is there at the start.
    emptied: Vec<&'static [u8]>,
    private_tmp: bool,
    /// Paths are named as they were used.
    exact: bool,
}

impl<'p, 'a> Facts<'p, 'a> {
    pub(super) fn new(basis: &'p Basis<'a>, context: &Context<'_>) -> Self {
        let places = basis.places();
        let mut emptied = EMPTIED.to_vec();
        if context.defaults.keep_var_tmp.is_none() {
            emptied.push(b"/var/tmp");
        }
        Self {
            places,
            made: distinct(
                places
                    .iter()
                    .filter(|place| place.made() && !place.founded()),
            ),
            crossings: basis.crossings(),
            links: basis
                .observation()
                .runs
                .values()
                .flat_map(|run| run.symlinks.keys().map(Text::as_bytes))
                .collect(),
            emptied,
            private_tmp: context.private_tmp,
            exact: context.generalisation == Generalisation::Exact,
        }
    }

    /// What is named so that a change at `place` lasts.
    fn root<'b>(&self, place: &'b Place<'_>) -> &'b [u8] {
        let anchor = self.anchor(&place.path);
        if self.exact {
            anchor
        } else {
            lasting(place, anchor)
        }
    }

    /// What is named so that `path`, which `place` used, is shown, and what will lie beside it as well.
    fn shown<'b>(&self, path: &'b [u8]) -> &'b [u8] {
        let anchor = self.anchor(path);
        if self.exact {
            return anchor;
        }
        many_owners(anchor)
            .or_else(|| own_directory(anchor))
            .unwrap_or(anchor)
    }

    /// The innermost path at or above `path` that a rule can name: there at the start, never
    /// replaced, and of characters that a line can hold.
    fn anchor<'b>(&self, path: &'b [u8]) -> &'b [u8] {
        let mut anchor = path;
        let mut at = path;
        // Where a line can hold the whole path, it can hold its directories.
        let is_plain = as_argument(path).is_some();
        let is_nameable = |at: &[u8]| is_plain || as_argument(at).is_some();
        while at != b"/" {
            if let Some(empty) = self.emptied.iter().find(|empty| **empty == at) {
                return &path[..empty.len()];
            }
            if self.made.contains(at) || !is_nameable(at) {
                anchor = parent(at);
            }
            at = parent(at);
        }
        anchor
    }

    /// The places below each top-level directory that rules are made for.
    pub(super) fn by_top(&self) -> BTreeMap<Vec<u8>, Vec<&'p Place<'a>>> {
        let mut tops: BTreeMap<Vec<u8>, Vec<&Place<'_>>> = BTreeMap::new();
        for place in self.places.iter().filter(|place| place.found()) {
            let mut names = components(&place.path);
            let (Some(top), second) = (names.next(), names.next()) else {
                continue;
            };
            let top = [b"/", top].concat();
            let skipped = match top.as_slice() {
                // From /bin on: read-only under every profile, and often links into /usr.
                b"/dev" | b"/proc" | b"/sys" | b"/bin" | b"/sbin" | b"/lib" | b"/lib32"
                | b"/lib64" | b"/libx32" => true,
                b"/tmp" => self.private_tmp,
                _ => self.links.contains(top.as_slice()),
            };
            // A file in the root directory is no directory to make read-only.
            if !skipped && (second.is_some() || place.listed() || place.wrote() || place.is_folded)
            {
                tops.entry(top).or_default().push(place);
            }
        }
        tops
    }

    /// What was changed below `top`, as paths that a rule can name.
    pub(super) fn changed(&self, top: &[u8], places: &[&Place<'_>]) -> Result<Vec<Item>, String> {
        let mut roots: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        for place in places
            .iter()
            .filter(|place| place.wrote() || self.makes_again(place))
        {
            // Another user's files are in another home the next time.
            let root = if top == b"/home" && !self.exact {
                top
            } else {
                self.root(place)
            };
            if !is_within(root, top) || root == top {
                return Err(format!(
                    "{} was changed, whose nearest lasting directory is {}",
                    Text::from(&place.path),
                    Text::from(root)
                ));
            }
            place.tell(roots.entry(root.to_vec()).or_default());
        }
        self.join(top, &mut roots)?;
        if !self.exact {
            spread(&mut roots);
        }
        items(top, roots)
    }

    /// Whether it is a directory that the program would have made if it had not been there: in one that Firejail mounts
    /// empty, it is not.
    fn makes_again(&self, place: &Place<'_>) -> bool {
        let mut uses = place.uses.iter();
        let tried = uses.any(|one| one.operation == Operation::Mkdir);
        let mut emptied = self.emptied.iter();
        tried && emptied.any(|empty| is_within(&place.path, empty))
    }

    /// Puts what files were moved between into one root.
    fn join(&self, top: &[u8], roots: &mut BTreeMap<Vec<u8>, Evidence>) -> Result<(), String> {
        for crossing in self.crossings {
            let Some(one) = crossing
                .directories
                .iter()
                .find(|directory| is_within(directory, top))
            else {
                continue;
            };
            let root = self.anchor(&crossing.common);
            if !is_within(root, top) || root == top {
                let other = crossing.directories.iter().find(|other| *other != one);
                return Err(format!(
                    "files were moved or linked between {} and {}, which has to stay one mount",
                    Text::from(one),
                    Text::from(other.unwrap_or(one))
                ));
            }
            roots.entry(root.to_vec()).or_default();
        }
        Ok(())
    }

    /// All that has to stay visible below `top`.
    pub(super) fn visible(&self, top: &[u8]) -> Result<Vec<Item>, String> {
        let mut roots: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        // Files that lie in a directory that programs share.
        let mut alone: BTreeSet<&[u8]> = BTreeSet::new();
        let mut looked_for: BTreeMap<&str, Evidence> = BTreeMap::new();
        // Directories that were only passed through or looked at: there without a rule of their
        // own, if something below them is shown.
        let mut passed: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        // The links that were passed are names of a place.
        for place in self.places.touching(&[top]) {
            let links = place.links.iter().map(Vec::as_slice);
            let paths = std::iter::once(&*place.path)
                .chain(links)
                .filter(|path| is_within(path, top));
            for path in paths {
                if !place.found() {
                    if let Some(name) = as_argument(path).filter(|_| path != top) {
                        let evidence = looked_for.entry(name).or_default();
                        for one in &place.uses {
                            evidence.add(place.run, place.executable, one.seen);
                        }
                    }
                    continue;
                }
                let light = *path == *place.path && place.done().all(passes);
                if light {
                    place.tell(passed.entry(path.to_vec()).or_default());
                    continue;
                }
                let root = self.shown(path);
                if root == top || !is_within(root, top) {
                    let path = Text::from(path);
                    return Err(format!("{path} can only be shown with the whole directory"));
                }
                if *root == *place.path && !place.is_directory() && !self.exact {
                    alone.insert(root);
                }
                place.tell(roots.entry(root.to_vec()).or_default());
            }
        }
        for directory in several(&alone) {
            if directory == top {
                return Err(format!(
                    "several files were used that lie in {} itself, where the next would be hidden",
                    Text::from(top)
                ));
            }
            roots.entry(directory).or_default();
        }
        let sites = roots.keys().filter(|root| parent(root) == SITES);
        if !self.exact && sites.count() > 1 {
            roots.entry(SITES.to_vec()).or_default();
        }
        self.join(top, &mut roots)?;
        for (path, evidence) in passed.into_iter().rev() {
            if path == top || has_within(&roots, &path) {
                continue;
            }
            let root = self.shown(&path);
            if root == top || !is_within(root, top) {
                let path = Text::from(path);
                return Err(format!("{path} can only be shown with the whole directory"));
            }
            roots.entry(root.to_vec()).or_default().merge(&evidence);
        }
        if roots.is_empty() {
            // Hidden altogether, or nothing to say. But what was looked for in vain may be there at the next start, and to
            // name it hides the rest.
            if looked_for.len() > CROWD {
                return Err(format!(
                    "{} names were looked for in vain, and nothing else was used",
                    looked_for.len()
                ));
            }
            let item = |(name, evidence): (&str, Evidence)| Item {
                evidence,
                ..Item::noted(
                    name,
                    "looked for in vain; nothing else in the directory was used",
                )
            };
            return Ok(looked_for.into_iter().map(item).collect());
        }
        items(top, roots)
    }
}
