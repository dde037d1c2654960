//! The merge laws: every type of the model is a join semilattice.
//!
//! For any values, however they contradict each other, joining is associative, commutative and
//! idempotent. So the observations of runs, machines and fleets add up in any order, and adding
//! one twice changes nothing.
//!
//! A fact joins with itself by its evidence: the earliest sight, the greatest count (two snapshots
//! of one run count the same calls, so a sum would count them twice). What describes a run is the
//! same in every copy of it; should copies differ all the same, the lesser or greater value is
//! taken, whichever says more, only so that the order of merging cannot matter.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::model::{Executable, File, Host, Observation, Run};
use super::text::Text;

/// The least upper bound of two values.
pub trait Join {
    /// Takes in all that `other` says. Associative, commutative and idempotent.
    fn join(&mut self, other: Self);
}

impl<K: Ord, V: Join> Join for BTreeMap<K, V> {
    fn join(&mut self, other: Self) {
        for (key, value) in other {
            match self.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => entry.get_mut().join(value),
            }
        }
    }
}

impl<T: Ord> Join for BTreeSet<T> {
    fn join(&mut self, other: Self) {
        // `append` would build all of it again, for one element too (`BTreeSet::append`, library/alloc of Rust 1.85).
        let less = if self.len() < other.len() {
            std::mem::replace(self, other)
        } else {
            other
        };
        self.extend(less);
    }
}

/// Totally ordered values of which the greatest wins.
macro_rules! join_by_max {
    ($($type:ty)*) => {$(
        impl Join for $type {
            fn join(&mut self, other: Self) {
                keep_max(self, other);
            }
        }
    )*};
}

join_by_max!(u64 String Text Host);

/// Structs that join field by field.
macro_rules! join_by_field {
    ($type:ident { $($field:ident: $join:expr),* $(,)? }) => {
        impl Join for $type {
            fn join(&mut self, other: Self) {
                // Taken apart in full, so that a new field without a law does not compile.
                let Self { $($field),* } = other;
                $($join(&mut self.$field, $field);)*
            }
        }
    };
}

impl Join for Observation {
    fn join(&mut self, other: Self) {
        let Self { schema, name, runs } = other;
        keep_max(&mut self.schema, schema);
        keep_min(&mut self.name, name);
        self.runs.join(runs);
        self.settle();
    }
}

join_by_field!(Run {
    kind: keep_max,
    label: keep_max,
    invocation: keep_max,
    stands_for: Join::join,
    command: keep_max,
    uid: keep_max,
    started: keep_min,
    ended: keep_max,
    status: keep_max,
    host: Join::join,
    hooks: Join::join,
    losses: Join::join,
    filters: Join::join,
    symlinks: Join::join,
    executables: Join::join,
    control: Join::join,
});

join_by_field!(Executable {
    inodes: Join::join,
    interpreters: Join::join,
    file_capabilities: Join::join,
    invoked_as: Join::join,
    syscalls: Join::join,
    refused: Join::join,
    capabilities: Join::join,
    capability_calls: Join::join,
    capability_objects: Join::join,
    families: Join::join,
    socket_types: Join::join,
    sockets: Join::join,
    addresses: Join::join,
    arguments: Join::join,
    files: Join::join,
});

join_by_field!(File {
    // One walk in the kernel that reached this very path proves it.
    resolved: keep_max,
    operations: Join::join,
    inodes: Join::join,
    asked_as: Join::join,
    names: keep_max,
});

fn keep_max<T: Ord>(mine: &mut T, other: T) {
    if other > *mine {
        *mine = other;
    }
}

fn keep_min<T: Ord>(mine: &mut T, other: T) {
    if other < *mine {
        *mine = other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary::observation;
    use super::*;

    fn joined(mut left: Observation, right: &Observation) -> Observation {
        left.join(right.clone());
        left
    }

    proptest! {
        #[test]
        fn joining_is_commutative(a in observation(), b in observation()) {
            prop_assert_eq!(joined(a.clone(), &b), joined(b, &a));
        }

        #[test]
        fn joining_is_associative(a in observation(), b in observation(), c in observation()) {
            let left = joined(joined(a.clone(), &b), &c);
            let right = joined(a, &joined(b, &c));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn joining_is_idempotent(a in observation(), b in observation()) {
            prop_assert_eq!(joined(a.clone(), &a), a.clone());
            let both = joined(a.clone(), &b);
            prop_assert_eq!(joined(both.clone(), &a), both.clone());
            prop_assert_eq!(joined(both.clone(), &b), both);
        }
    }
}
