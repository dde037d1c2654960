//! An observation in short, for the list of units.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Time, UnitState, UnitSummary};
use crate::{
    observation::{CapabilityCheck, Executable, Observation, Seen},
    policy::Verdict,
};

/// The figures of `observation`, of a unit in this state.
#[must_use]
pub fn summarise(observation: &Observation, state: UnitState) -> UnitSummary {
    let (verdict, tests) = Verdict::of(observation);
    let facts = || {
        observation
            .runs
            .values()
            .flat_map(|run| run.executables.values())
    };
    let mut losses: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in observation.runs.values().flat_map(|run| &run.losses) {
        let sum = losses.entry(kind.to_string()).or_default();
        *sum = sum.saturating_add(*count);
    }
    let executables: BTreeSet<_> = observation
        .runs
        .values()
        .flat_map(|run| run.executables.keys().cloned())
        .collect();
    let calls: BTreeSet<_> = facts()
        .flat_map(|executable| &executable.syscalls)
        .flat_map(|(abi, calls)| calls.keys().map(move |call| (*abi, call)))
        .collect();
    let paths: BTreeSet<_> = facts()
        .flat_map(|executable| executable.files.keys())
        .collect();
    let capabilities: BTreeSet<_> = facts()
        .flat_map(|executable| &executable.capabilities)
        .filter(|(_, checks)| checks.contains_key(&CapabilityCheck::Granted))
        .map(|(name, _)| name.clone())
        .collect();
    let families: BTreeSet<_> = facts()
        .flat_map(|executable| executable.families.keys().cloned())
        .collect();
    UnitSummary {
        unit: observation.name.clone(),
        state,
        verdict: verdict.into(),
        tests: tests as u64,
        executables: executables.into_iter().collect(),
        runs: observation.runs.len() as u64,
        calls: calls.len() as u64,
        capabilities: capabilities.into_iter().collect(),
        paths: paths.len() as u64,
        families: families.into_iter().collect(),
        last_new: facts()
            .flat_map(evidence)
            .filter_map(Seen::first)
            .max()
            .map(Time),
        losses,
        denials: None,
    }
}

fn evidence(executable: &Executable) -> impl Iterator<Item = &Seen> {
    let files = executable.files.values();
    let addresses = executable.addresses.values().flat_map(BTreeMap::values);
    (executable.invoked_as.values())
        .chain(executable.syscalls.values().flat_map(BTreeMap::values))
        .chain(executable.capabilities.values().flat_map(BTreeMap::values))
        .chain(executable.families.values())
        .chain(executable.socket_types.values())
        .chain(executable.sockets.values().flat_map(BTreeMap::values))
        .chain(addresses.flat_map(BTreeMap::values))
        .chain(executable.arguments.values())
        .chain(files.flat_map(|file| file.operations.iter().map(|(.., seen)| seen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_example_is_counted() {
        let json = include_bytes!("../../tests/fixtures/observation.json");
        let observation = crate::observation::from_json(json).unwrap();
        let summary = summarise(&observation, UnitState::Active);
        let whole = serde_json::to_value(&observation).unwrap();
        let mut firsts = Vec::new();
        collect_firsts(&whole, &mut firsts);
        let last = serde_json::to_value(summary.last_new).unwrap();
        assert_eq!(last.as_str().map(str::to_owned), firsts.into_iter().max());
        assert_eq!(summary.unit, observation.name);
        assert_eq!(summary.runs, observation.runs.len() as u64);
        assert!(summary.calls > 0 && summary.paths > 0);
        assert!(!summary.executables.is_empty() && !summary.families.is_empty());
    }

    /// Every `first` in the file, wherever it is: none is forgotten above.
    fn collect_firsts(value: &serde_json::Value, firsts: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(text) if key == "first" => firsts.push(text.to_owned()),
                        _ => collect_firsts(value, firsts),
                    }
                }
            }
            serde_json::Value::Array(values) => {
                for value in values {
                    collect_firsts(value, firsts);
                }
            }
            _ => {}
        }
    }
}
