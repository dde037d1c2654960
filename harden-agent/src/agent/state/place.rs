//! Cgroups and slots: which unit and run a slot's facts are of.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    super::journal::{Owner, Record},
    State,
};
use crate::{
    collect::unit,
    observation::{Text, Word},
};

/// A cgroup that is there, or of which something may still come.
pub(super) struct Cgroup {
    parent: u64,
    born: u64,
    pub path: Vec<u8>,
    /// When it went, nanoseconds of `CLOCK_MONOTONIC`.
    pub gone: Option<u64>,
    /// The unit, and the id of the unit's own cgroup.
    place: Option<(Text, u64)>,
}

impl Cgroup {
    pub(super) fn record(&self, id: u64) -> Record {
        Record::Cgroup {
            id,
            parent: self.parent,
            born: self.born,
            path: self.path.clone(),
        }
    }
}

/// Where the facts of a slot go.
pub(super) struct Attribution {
    pub owner: Owner,
    pub unit: Text,
    pub unit_cgroup: u64,
    pub run: Word,
    pub command: u32,
    /// The exec event by which its program is known.
    pub exec: Option<Box<[u8]>>,
    /// Stands for what was last read of its record.
    pub read: Option<u64>,
    /// What was lost of it, as its run knows.
    pub losses: BTreeMap<Word, u64>,
}

impl State {
    /// Takes in a cgroup.
    pub(super) fn cgroup(&mut self, id: u64, parent: u64, born: u64, path: Vec<u8>) {
        if self.cgroups.contains_key(&id) {
            return;
        }
        let place = unit::place(&path).map(|place| {
            let unit = Text::from(place.unit.to_string());
            let is_own = place.directory.len() == path.len();
            // A unit's own cgroup is told before what is below it. If it was not, the first that is
            // takes its place.
            let unit_cgroup = if is_own {
                id
            } else {
                self.unit_cgroup_of(parent, &unit).unwrap_or(id)
            };
            (unit, unit_cgroup)
        });
        if let Some((unit, unit_cgroup)) = &place
            && *unit_cgroup == id
        {
            self.invoke(id, unit, born);
        }
        self.cgroups.insert(
            id,
            Cgroup {
                parent,
                born,
                path,
                gone: None,
                place,
            },
        );
    }

    fn unit_cgroup_of(&self, cgroup: u64, unit: &Text) -> Option<u64> {
        let (known, unit_cgroup) = self.cgroups.get(&cgroup)?.place.as_ref()?;
        (known == unit).then_some(*unit_cgroup)
    }

    /// Whether `cgroup` is `above`, or lies below it.
    pub(super) fn is_below(&self, cgroup: u64, above: u64) -> bool {
        let parent = |id: &u64| self.cgroups.get(id).map(|cgroup| cgroup.parent);
        // As deep as a tree may be (`cgroup.max.depth` has no limit; a cycle must end).
        let mut line = std::iter::successors(Some(cgroup), parent).take(256);
        line.any(|id| id == above)
    }

    /// The cgroups that are known of `above` and below.
    pub(super) fn below(&self, above: u64) -> impl Iterator<Item = u64> + '_ {
        let cgroups = self.cgroups.keys().copied();
        cgroups.filter(move |cgroup| self.is_below(*cgroup, above))
    }

    /// A cgroup is no more.
    pub(super) fn gone(&mut self, id: u64, time: u64) {
        if let Some(cgroup) = self.cgroups.get_mut(&id) {
            cgroup.gone.get_or_insert(time);
        }
    }

    /// Whether the cgroup with this id is known.
    #[must_use]
    pub(crate) fn has_cgroup(&self, id: u64) -> bool {
        self.cgroups.contains_key(&id)
    }

    /// Whether the cgroup with this id is known to be no more.
    #[must_use]
    pub(crate) fn is_gone(&self, id: u64) -> bool {
        let cgroup = self.cgroups.get(&id);
        cgroup.is_none_or(|cgroup| cgroup.gone.is_some())
    }

    /// The unit that a cgroup belongs to.
    #[must_use]
    pub(crate) fn unit_of(&self, cgroup: u64) -> Option<&Text> {
        let (unit, _) = self.cgroups.get(&cgroup)?.place.as_ref()?;
        Some(unit)
    }

    /// The cgroups that are there, with the unit of each.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u64, Option<&Text>)> {
        let cgroups = self.cgroups.iter();
        cgroups
            .filter(|(_, cgroup)| cgroup.gone.is_none())
            .map(|(id, cgroup)| (*id, cgroup.place.as_ref().map(|(unit, _)| unit)))
    }

    /// The units that are there and have no open run: nothing was recorded of them.
    #[must_use]
    pub(crate) fn silent(&self) -> BTreeSet<Text> {
        let is_open = |unit: &Text| {
            self.units
                .get(unit)
                .is_some_and(|unit| !unit.open.is_empty())
        };
        let units = self.living().filter_map(|(_, unit)| unit);
        units.filter(|unit| !is_open(unit)).cloned().collect()
    }

    /// The cgroups that are gone and not forgotten.
    #[must_use]
    pub(crate) fn gone_cgroups(&self) -> Vec<u64> {
        let gone = self.cgroups.iter();
        gone.filter(|(_, cgroup)| cgroup.gone.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The units' own cgroups that are not gone for good, with all that was below them.
    pub(super) fn unit_cgroups(&self) -> HashSet<u64> {
        let places = self.cgroups.values().flat_map(|cgroup| &cgroup.place);
        places.map(|(_, unit_cgroup)| *unit_cgroup).collect()
    }

    /// Where the facts of `owner` go. `None` for what belongs to no unit.
    pub(super) fn attribution(&self, owner: Owner) -> Option<Attribution> {
        let (unit, unit_cgroup) = self.cgroups.get(&owner.cgroup)?.place.clone()?;
        let run = self.run_of(unit_cgroup, owner.run, owner.command)?;
        Some(Attribution {
            owner,
            unit,
            unit_cgroup,
            run,
            command: owner.command,
            exec: None,
            read: None,
            losses: BTreeMap::new(),
        })
    }
}
