//! What every sandbox's decisions rest on, derived from one observation once, when it is first asked for.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    rc::Rc,
};

use super::{
    calls::Asked,
    capabilities::{Needs, needs},
    coverage::Coverage,
    equivalents::Compatibility,
    evidence::Evidence,
    places::{Places, places},
    renames::{Crossing, crossings},
    sockets::{Families, families},
    unasked::unasked,
};
use crate::observation::{Abi, Join, Observation, Text, Word};

/// An observation, with what is derived from it.
pub struct Basis<'a> {
    observation: &'a Observation,
    /// Calls that somebody has denied, whatever was seen.
    denied: &'a [Word],
    asked: OnceCell<Asked<'a>>,
    calls: OnceCell<BTreeMap<&'a Word, Evidence>>,
    coverage: OnceCell<Coverage>,
    places: OnceCell<Places<'a>>,
    crossings: OnceCell<Vec<Crossing>>,
    needs: OnceCell<Needs<'a>>,
    families: OnceCell<Families<'a>>,
}

impl<'a> Basis<'a> {
    /// Of what was observed.
    #[must_use]
    pub fn of(observation: &'a Observation) -> Self {
        Self {
            observation,
            denied: &[],
            asked: OnceCell::new(),
            calls: OnceCell::new(),
            coverage: OnceCell::new(),
            places: OnceCell::new(),
            crossings: OnceCell::new(),
            needs: OnceCell::new(),
            families: OnceCell::new(),
        }
    }

    /// What it is derived from.
    #[must_use]
    pub fn observation(&self) -> &'a Observation {
        self.observation
    }

    /// The calls that can happen beside those `seen`, but for those that somebody has denied.
    pub(super) fn unasked(
        &self,
        seen: &BTreeSet<&str>,
        conventions: &BTreeSet<(&Text, Abi)>,
        compatibility: Compatibility,
    ) -> BTreeMap<&'static str, String> {
        let mut unasked = unasked(seen, conventions, compatibility);
        unasked.retain(|name, _| !self.denied.iter().any(|denied| denied.as_str() == *name));
        unasked
    }

    /// Over what decisions are made, and what could not be seen.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        let derive = || Coverage::of(self.observation, self.asked());
        self.coverage.get_or_init(derive)
    }

    /// What was called.
    pub(super) fn asked(&self) -> &Asked<'a> {
        self.asked.get_or_init(|| Asked::of(self.observation))
    }

    /// The same calls by name, whatever the convention.
    pub(super) fn calls(&self) -> &BTreeMap<&'a Word, Evidence> {
        self.calls.get_or_init(|| self.asked().names())
    }

    /// Every path that was used or looked for.
    pub(super) fn places(&self) -> &Places<'a> {
        self.places.get_or_init(|| places(self.observation))
    }

    /// The directories between which files were moved or linked.
    pub(super) fn crossings(&self) -> &[Crossing] {
        self.crossings.get_or_init(|| crossings(self.places()))
    }

    /// The capabilities.
    pub(super) fn needs(&self) -> &Needs<'a> {
        self.needs.get_or_init(|| needs(self.observation))
    }

    /// The socket families.
    pub(super) fn families(&self) -> &Families<'a> {
        self.families.get_or_init(|| families(self.observation))
    }
}

/// An observation for what holds for all commands of a unit, `ExecStartPre=` to `ExecStopPost=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commands<'o> {
    /// What was recorded, each command by itself.
    pub recorded: Cow<'o, Observation>,
    denied: Vec<Word>,
    /// The same, as if the other commands were part of the main process; none, if there are no others.
    all: OnceCell<Option<Observation>>,
}

/// What [`Commands`] are decided over. Another type, so that no other command is forgotten.
pub struct UnitBasis<'a> {
    /// What was recorded, each command by itself.
    pub(super) recorded: &'a Observation,
    all: Rc<Basis<'a>>,
}

impl<'o> Commands<'o> {
    /// The commands in what was recorded.
    #[must_use]
    pub fn of(recorded: Observation) -> Self {
        Self::but(Cow::Owned(recorded), Vec::new())
    }

    /// The same, without the calls that somebody has denied: they are not added either.
    #[must_use]
    pub fn but(recorded: Cow<'o, Observation>, denied: Vec<Word>) -> Self {
        Self {
            recorded,
            denied,
            all: OnceCell::new(),
        }
    }

    /// Of the main process alone.
    #[must_use]
    pub fn basis(&self) -> Basis<'_> {
        self.over(&self.recorded)
    }

    fn over<'a>(&'a self, observation: &'a Observation) -> Basis<'a> {
        Basis {
            denied: &self.denied,
            ..Basis::of(observation)
        }
    }

    /// Of all commands.
    #[must_use]
    pub fn unit_basis(&self) -> UnitBasis<'_> {
        self.unit_basis_beside(&Rc::new(self.basis()))
    }

    /// Of all commands. Without others it is `main`, which is then not derived again.
    #[must_use]
    pub fn unit_basis_beside<'a>(&'a self, main: &Rc<Basis<'a>>) -> UnitBasis<'a> {
        let all = self.all.get_or_init(|| joined(&self.recorded)).as_ref();
        UnitBasis {
            recorded: &self.recorded,
            all: all.map_or_else(|| Rc::clone(main), |all| Rc::new(self.over(all))),
        }
    }
}

impl<'a> Deref for UnitBasis<'a> {
    type Target = Basis<'a>;

    fn deref(&self) -> &Basis<'a> {
        &self.all
    }
}

/// The observation with the other commands in its main process.
pub(super) fn joined(recorded: &Observation) -> Option<Observation> {
    if recorded.runs.values().all(|run| run.control.is_empty()) {
        return None;
    }
    let mut observation = recorded.clone();
    for run in observation.runs.values_mut() {
        for programs in run.control.values() {
            run.executables.join(programs.clone());
        }
    }
    Some(observation)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::ControlCommand;

    #[test]
    fn without_other_commands_nothing_is_derived_twice() {
        let program = || Fixture::new().executable("/bin/d").syscalls(&["read"]);
        let alone = Commands::of(program().observation());
        let main = Rc::new(alone.basis());
        let unit = alone.unit_basis_beside(&main);
        assert!(std::ptr::eq(unit.coverage(), main.coverage()));
        let mut fixture = program();
        let programs = fixture.run().executables.clone();
        let control = &mut fixture.run().control;
        control.insert(ControlCommand::Reload, programs);
        let several = Commands::of(fixture.observation());
        let main = Rc::new(several.basis());
        let unit = several.unit_basis_beside(&main);
        assert!(!std::ptr::eq(unit.coverage(), main.coverage()));
    }
}
