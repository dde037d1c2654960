//! The inodes behind one path: a few, however often the file was replaced.

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize};
use sorted_vec::SortedSet;

use super::{
    join::Join,
    model::{Acl, Inode},
};

/// So many of one kind are kept by number. A daemon that keeps its state in a file renames a new one to the name each time.
const NUMBERED: usize = 8;

/// The inodes of one path, sorted, each once. Where more than eight differ in nothing but their numbers, one represents them,
/// and further ones too: with number and generation 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Inodes(SortedSet<Inode>);

impl Inodes {
    /// None, with room for so many: by itself a list has room for four.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(SortedSet::with_capacity(capacity))
    }

    /// Adds one.
    pub fn insert(&mut self, inode: Inode) {
        if self.0.binary_search(&inode).is_ok() {
            return;
        }
        let any = inode.any_of_its_kind();
        if self.0.binary_search(&any).is_ok() {
            return;
        }
        let is_any = inode.is_one_of_many();
        let _ = self.0.find_or_insert(inode);
        let of_kind = |one: &&Inode| one.kind() == any.kind();
        if is_any || (self.len() > NUMBERED && self.iter().filter(of_kind).count() > NUMBERED) {
            self.0.retain(|one| one.kind() != any.kind());
            let _ = self.0.find_or_insert(any);
        }
    }

    /// All of these, in the time that sorting takes: a file may hold any number of them.
    fn of(mut all: Vec<Inode>) -> Self {
        all.sort_unstable();
        all.dedup();
        let mut kinds: BTreeMap<Kind<'_>, (usize, bool)> = BTreeMap::new();
        for inode in &all {
            let (count, has_any) = kinds.entry(inode.kind()).or_default();
            *count += 1;
            *has_any |= inode.is_one_of_many();
        }
        let is_folded = |inode: &Inode| {
            let (count, has_any) = kinds[&inode.kind()];
            has_any || count > NUMBERED
        };
        if !all.iter().any(is_folded) {
            drop(kinds);
            all.shrink_to_fit();
            return Self(SortedSet::from_unsorted(all));
        }
        let kept = all.iter().map(|inode| {
            if is_folded(inode) {
                inode.any_of_its_kind()
            } else {
                inode.clone()
            }
        });
        Self(SortedSet::from_unsorted(kept.collect()))
    }
}

/// All of an inode but its number and generation.
type Kind<'i> = (u64, u32, u32, u32, u64, u64, Option<&'i Acl>);

impl Inode {
    /// Any inode with the same owner, permissions and place.
    #[must_use]
    pub fn any_of_its_kind(&self) -> Self {
        Self {
            number: 0,
            generation: 0,
            ..self.clone()
        }
    }

    fn kind(&self) -> Kind<'_> {
        // Taken apart in full, so that a new field does not compile without a thought.
        let Self {
            device,
            number: _,
            generation: _,
            mode,
            uid,
            gid,
            rdev,
            filesystem,
            acl,
        } = self;
        (
            *device,
            *mode,
            *uid,
            *gid,
            *rdev,
            *filesystem,
            acl.as_deref(),
        )
    }

    /// Whether it represents several that differ in nothing but their numbers. No file has the number 0.
    #[must_use]
    pub fn is_one_of_many(&self) -> bool {
        self.number == 0
    }
}

impl Deref for Inodes {
    type Target = [Inode];

    fn deref(&self) -> &[Inode] {
        &self.0
    }
}

impl Extend<Inode> for Inodes {
    fn extend<I: IntoIterator<Item = Inode>>(&mut self, inodes: I) {
        let mut inodes = inodes.into_iter();
        let (Some(first), second) = (inodes.next(), inodes.next()) else {
            return;
        };
        let Some(second) = second else {
            return self.insert(first);
        };
        let mut all = std::mem::take(&mut self.0).into_vec();
        all.extend([first, second].into_iter().chain(inodes));
        *self = Self::of(all);
    }
}

impl FromIterator<Inode> for Inodes {
    fn from_iter<I: IntoIterator<Item = Inode>>(inodes: I) -> Self {
        Self::of(inodes.into_iter().collect())
    }
}

impl IntoIterator for Inodes {
    type Item = Inode;
    type IntoIter = std::vec::IntoIter<Inode>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<'i> IntoIterator for &'i Inodes {
    type Item = &'i Inode;
    type IntoIter = std::slice::Iter<'i, Inode>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Join for Inodes {
    fn join(&mut self, other: Self) {
        self.extend(other);
    }
}

impl<'de> Deserialize<'de> for Inodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(Vec::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(number: u64, mode: u32) -> Inode {
        Inode {
            device: 1,
            number,
            generation: 7,
            mode,
            uid: 0,
            gid: 0,
            rdev: 0,
            filesystem: 0,
            acl: None,
        }
    }

    #[test]
    fn many_of_one_kind_become_one() {
        let few: Inodes = (1..=8).map(|number| inode(number, 0o644)).collect();
        assert_eq!(few.len(), 8);
        let mut many: Inodes = (1..100_000).map(|number| inode(number, 0o644)).collect();
        assert_eq!(many[..], [inode(3, 0o644).any_of_its_kind()]);
        // Of another kind is another.
        many.insert(inode(3, 0o600));
        assert_eq!(many.len(), 2);
        many.join(few);
        assert_eq!(many.len(), 2);
        // One by one it is the same.
        let mut by_one = Inodes::default();
        for number in 1..100 {
            by_one.insert(inode(number, 0o644));
        }
        by_one.insert(inode(3, 0o600));
        assert_eq!(by_one, many);
    }
}
