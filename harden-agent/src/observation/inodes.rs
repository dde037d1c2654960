//! The inodes behind one path: a few, however often the file was replaced.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};
use sorted_vec::SortedSet;

use super::{join::Join, model::Inode};

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
        let is_any = any == inode;
        let _ = self.0.find_or_insert(inode);
        if is_any || (self.len() > NUMBERED && self.of_kind(&any).count() > NUMBERED) {
            self.0.retain(|one| one.any_of_its_kind() != any);
            let _ = self.0.find_or_insert(any);
        }
    }

    fn of_kind<'i>(&'i self, any: &'i Inode) -> impl Iterator<Item = &'i Inode> {
        self.iter().filter(move |one| one.any_of_its_kind() == *any)
    }
}

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
        for inode in inodes {
            self.insert(inode);
        }
    }
}

impl FromIterator<Inode> for Inodes {
    fn from_iter<I: IntoIterator<Item = Inode>>(inodes: I) -> Self {
        let mut all = Self::default();
        all.extend(inodes);
        all
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
        let all = Vec::<Inode>::deserialize(deserializer)?;
        let mut inodes = Self::with_capacity(all.len().min(1));
        inodes.extend(all);
        Ok(inodes)
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
    }
}
