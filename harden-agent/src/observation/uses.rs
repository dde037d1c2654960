//! What was done with a file, in little room: of most files it is one thing, or two.

use std::mem;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::join::Join;
use super::model::{Operation, Outcome};
use super::seen::Seen;
use super::strict::{self, Strict};

/// Operations, each with its outcomes, each of these with its evidence. In a file it is a map of maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses(Box<[Use]>);

/// In order.
type Use = (Operation, Outcome, Seen);

impl Uses {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, by operation and outcome.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, &Outcome, &Seen)> + Clone {
        let all = self.0.iter();
        all.map(|(operation, outcome, seen)| (*operation, outcome, seen))
    }

    /// The outcomes of `operation`.
    pub fn of(&self, operation: Operation) -> impl Iterator<Item = (&Outcome, &Seen)> {
        let all = self.iter().filter(move |(one, ..)| *one == operation);
        all.map(|(_, outcome, seen)| (outcome, seen))
    }

    /// Whether `operation` is among them.
    #[must_use]
    pub fn has(&self, operation: Operation) -> bool {
        self.of(operation).next().is_some()
    }

    /// Each operation.
    pub fn operations(&self) -> impl Iterator<Item = Operation> {
        self.groups().map(|group| group[0].0)
    }

    /// The outcomes of all operations.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.iter().map(|(_, outcome, _)| outcome)
    }

    /// The evidence of this one, which is added if it is not there.
    pub fn entry(&mut self, operation: Operation, outcome: Outcome) -> &mut Seen {
        let key = (operation, &outcome);
        let place = self
            .0
            .binary_search_by(|(one, result, _)| (*one, result).cmp(&key));
        let place = place.unwrap_or_else(|place| {
            let mut all = mem::take(&mut self.0).into_vec();
            all.reserve_exact(1);
            all.insert(place, (operation, outcome, Seen::default()));
            self.0 = all.into();
            place
        });
        &mut self.0[place].2
    }

    /// Adds one, or what is known of it.
    pub fn add(&mut self, operation: Operation, outcome: Outcome, seen: Seen) {
        self.entry(operation, outcome).join(seen);
    }

    /// Keeps those for which this holds.
    pub fn retain(&mut self, holds: impl Fn(&Self, Operation, &Outcome) -> bool) {
        let holds = |(operation, outcome, _): &Use| holds(self, *operation, outcome);
        if !self.0.iter().all(&holds) {
            self.0 = self.0.iter().filter(|one| holds(one)).cloned().collect();
        }
    }

    /// Those of each operation.
    fn groups(&self) -> impl Iterator<Item = &[Use]> {
        self.0.chunk_by(|(one, ..), (next, ..)| one == next)
    }
}

impl FromIterator<(Operation, Outcome, Seen)> for Uses {
    fn from_iter<I: IntoIterator<Item = (Operation, Outcome, Seen)>>(all: I) -> Self {
        let mut uses = Self::default();
        for (operation, outcome, seen) in all {
            uses.add(operation, outcome, seen);
        }
        uses
    }
}

impl IntoIterator for Uses {
    type Item = (Operation, Outcome, Seen);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl Join for Uses {
    fn join(&mut self, other: Self) {
        for (operation, outcome, seen) in other {
            self.add(operation, outcome, seen);
        }
    }
}

impl Serialize for Uses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.groups().map(|group| (group[0].0, Outcomes(group))))
    }
}

struct Outcomes<'a>(&'a [Use]);

impl Serialize for Outcomes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(_, outcome, seen)| (outcome, seen)))
    }
}

impl<'de> Deserialize<'de> for Uses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let maps: Vec<(Operation, Entries)> = strict::entries(deserializer)?;
        // As one list, with no room left over: there is one for each file.
        let mut all = Vec::with_capacity(maps.iter().map(|(_, map)| map.0.len()).sum());
        for (operation, Entries(outcomes)) in maps {
            let outcomes = outcomes.into_iter();
            all.extend(outcomes.map(|(outcome, seen)| (operation, outcome, seen)));
        }
        Ok(Self(all.into()))
    }
}

/// Outcomes, in order.
struct Entries(Vec<(Outcome, Seen)>);

impl<'de> Strict<'de> for Entries {
    fn strict<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict::entries(deserializer).map(Self)
    }
}
