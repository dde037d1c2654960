//! A look at runs: what the frozen profile means for each of their facts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{
    super::request::{Denial, FactKind, Time},
    Frozen,
};
use crate::{
    observation::{ControlCommand, Fact, Observation, Run, Seen, Text, Told, Word},
    policy::{
        Generalisation, adapt,
        judge::{Case, Judgement, Recorded, Refusal},
    },
};

/// What was found.
#[derive(Default)]
pub(super) struct Looked {
    /// By run.
    pub(super) runs: BTreeMap<Word, Found>,
    /// What is refused, each once, by the run that had it first.
    pub(super) refused: BTreeMap<Key, Denial>,
}

/// What was found in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// All facts, as hashes.
    pub(super) facts: HashSet<u64>,
    /// Those that are not judged, by the reason.
    pub(super) unjudged: HashMap<String, HashSet<u64>>,
}

/// What distinguishes a denial from others.
pub(super) type Key = (Option<String>, Text, FactKind, Text);

impl Looked {
    /// Looks at the runs in `new`. The others are asked for what was made in the same invocation.
    pub(super) fn at(frozen: &Frozen, observation: &Observation, new: &BTreeSet<&Word>) -> Self {
        let mut looked = Self::default();
        let mut around = around(observation, new);
        frozen.add_links(&mut around);
        let adapted = adapt(&around, Generalisation::Exact, &frozen.overrides);
        let adapted = &adapted.exact.recorded;
        let judge = frozen.judge(adapted);
        for case in Recorded::of(adapted).cases() {
            if !new.contains(case.run()) {
                continue;
            }
            let found = looked.runs.entry(case.run().clone()).or_default();
            let hash = hash(&case.fact);
            found.facts.insert(hash);
            match judge.judge(&case) {
                Judgement::Allowed(_) => {}
                Judgement::Unjudged(why) => {
                    let facts = found.unjudged.entry(why.to_string());
                    facts.or_default().insert(hash);
                }
                Judgement::Refused(by) => looked.refuse(frozen, &case, &by),
            }
        }
        looked
    }

    fn refuse(&mut self, frozen: &Frozen, case: &Case<'_, '_>, by: &Refusal<'_>) {
        let (line, at) = match by {
            Refusal::Line(line) => (line.to_string(), frozen.position(line)),
            Refusal::Always(why) => (
                format!("the sandbox, whatever the profile says ({why})"),
                None,
            ),
        };
        let test = case.test();
        let denial = Denial {
            line: line.into(),
            at,
            first: case.seen.and_then(Seen::first).map(Time),
            run: case.run().clone(),
            mark: test.label.cloned(),
            ..denial(&case.fact)
        };
        match self.refused.entry(key(&denial)) {
            Entry::Vacant(entry) => {
                entry.insert(denial);
            }
            Entry::Occupied(mut entry) => {
                let is_earlier = match (denial.first, entry.get().first) {
                    (Some(one), Some(other)) => one < other,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if is_earlier {
                    entry.insert(denial);
                }
            }
        }
    }
}

/// The runs in `new`, and those of the same invocations.
fn around(observation: &Observation, new: &BTreeSet<&Word>) -> Observation {
    let runs = || observation.runs.iter();
    let wanted = runs().filter(|(id, _)| new.contains(id));
    let invocations: BTreeSet<&Word> = wanted
        .filter_map(|(_, run)| run.invocation.as_ref())
        .collect();
    let is_around = |id: &Word, run: &Run| {
        let invocation = run.invocation.as_ref();
        new.contains(id) || invocation.is_some_and(|one| invocations.contains(one))
    };
    let runs = runs().filter(|(id, run)| is_around(id, run));
    Observation {
        schema: observation.schema,
        name: observation.name.clone(),
        runs: runs.map(|(id, run)| (id.clone(), run.clone())).collect(),
    }
}

/// A fact, without what is known of its refusal.
fn denial(fact: &Fact<'_>) -> Denial {
    let told = Told::from(fact.what);
    Denial {
        command: fact.command.map(ControlCommand::name),
        executable: fact.executable.clone(),
        kind: told.kind.into(),
        fact: told.text.as_str().into(),
        line: Text::from(""),
        at: None,
        first: None,
        run: Word::numbered("run", 0),
        mark: None,
    }
}

/// What distinguishes it.
pub(super) fn key(denial: &Denial) -> Key {
    let Denial {
        command,
        executable,
        kind,
        fact,
        ..
    } = denial;
    (command.clone(), executable.clone(), *kind, fact.clone())
}

/// What distinguishes the facts of a run, whichever command they are of.
pub(super) fn facts(run: &Run) -> HashSet<(Text, FactKind, Text)> {
    let facts = run.facts().map(|fact| {
        let (_, executable, kind, text) = key(&denial(&fact));
        (executable, kind, text)
    });
    facts.collect()
}

fn hash(fact: &Fact<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    fact.hash(&mut hasher);
    hasher.finish()
}
