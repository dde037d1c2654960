use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::arbitrary::observation;
use super::super::{Abi, ControlCommand, Executable, Fact, RunKind, SCHEMA, Seen, Text};
use super::*;
use crate::policy::fixture::Fixture;

const WINDOWS: usize = 24;

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// How many runs there were, folded or not.
fn count(observation: &Observation) -> usize {
    let runs = observation.runs.values();
    runs.map(|run| 1 + run.stands_for.len()).sum()
}

fn facts(observation: &Observation) -> BTreeSet<Fact<'_>> {
    observation.runs.values().flat_map(Run::facts).collect()
}

/// In how many runs, one of them folded at most, each fact is: whether in one alone.
fn singletons(observation: &Observation) -> BTreeSet<Fact<'_>> {
    let all = facts(observation).into_iter();
    all.filter(|fact| {
        let mut with = observation
            .runs
            .values()
            .filter(|run| run.facts().any(|other| other == *fact));
        with.next().is_some_and(|run| run.stands_for.is_empty()) && with.next().is_none()
    })
    .collect()
}

/// A run that made `calls`.
fn run(kind: RunKind, second: i64, calls: &[&str]) -> Run {
    let mut fixture = Fixture::new().executable("/bin/daemon").syscalls(calls);
    let mut run = fixture.run().clone();
    run.kind = kind;
    run.started = jiff::Timestamp::new(second, 0).unwrap();
    run.ended = run.started;
    run
}

fn of(runs: impl IntoIterator<Item = (String, Run)>) -> Observation {
    Observation {
        schema: SCHEMA,
        name: "unit.service".into(),
        runs: runs.into_iter().map(|(id, run)| (word(&id), run)).collect(),
    }
}

/// Invocations of which each made some calls of few.
fn invocations() -> impl Strategy<Value = Observation> {
    let calls = proptest::collection::btree_set("[a-e]", 0..3);
    let one = (0..50_i64, calls, any::<bool>());
    proptest::collection::vec(one, 0..12).prop_map(|runs| {
        of(runs
            .into_iter()
            .enumerate()
            .map(|(at, (second, calls, long))| {
                let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
                let kind = if long {
                    RunKind::Window
                } else {
                    RunKind::Invocation
                };
                (format!("run-{at}"), run(kind, second, &calls))
            }))
    })
}

proptest! {
    #[test]
    fn folding_loses_no_fact_and_no_count(
        before in prop_oneof![observation(), invocations()],
        limit in 0..5_usize,
    ) {
        let mut after = before.clone();
        after.fold(limit, WINDOWS);
        prop_assert_eq!(facts(&before), facts(&after));
        prop_assert_eq!(count(&before), count(&after));
    }

    #[test]
    fn what_was_folded_does_not_come_back(
        before in prop_oneof![observation(), invocations()],
        limit in 0..5_usize,
    ) {
        let mut folded = before.clone();
        folded.fold(limit, WINDOWS);
        let mut again = folded.clone();
        again.join(before.clone());
        prop_assert_eq!(&again, &folded);
        let mut turned = before;
        turned.join(folded.clone());
        prop_assert_eq!(turned, folded);
    }

    #[test]
    fn folding_keeps_what_one_invocation_alone_showed(
        before in invocations(),
        limit in 0..5_usize,
    ) {
        let mut after = before.clone();
        after.fold(limit, WINDOWS);
        prop_assert_eq!(singletons(&before), singletons(&after));
    }

    #[test]
    fn copies_folded_differently_agree(
        whole in invocations(),
        split in 0..12_usize,
        limits in (0..5_usize, 0..5_usize),
    ) {
        let (mut one, mut other) = (whole.clone(), whole.clone());
        one.runs = whole.runs.clone().into_iter().take(split).collect();
        one.fold(limits.0, WINDOWS);
        other.fold(limits.1, WINDOWS);
        let mut both = one.clone();
        both.join(other.clone());
        other.join(one);
        prop_assert_eq!(&both, &other);
        prop_assert_eq!(facts(&both), facts(&whole));
        prop_assert_eq!(count(&both), count(&whole));
    }
}

#[test]
fn a_day_of_windows_is_kept_and_the_rest_is_one() {
    let windows = |count: i64| {
        of((0..count).map(|hour| {
            let mut run = run(RunKind::Window, hour * 3600, &["read"]);
            run.invocation = Some(word("first"));
            (format!("w{hour:03}"), run)
        }))
    };
    let mut observation = windows(30);
    observation.fold(200, WINDOWS);
    assert_eq!(observation.runs.len(), 25);
    assert_eq!(observation.runs[&word("w000")].stands_for.len(), 5);
    assert_eq!(observation.holder(&word("w003")), Some(&word("w000")));
    assert_eq!(observation.holder(&word("w006")), Some(&word("w006")));
    assert_eq!(observation.holder(&word("w030")), None);

    // An hour later, and an hour of another invocation.
    observation.join(windows(31));
    let mut other = run(RunKind::Window, 0, &["write"]);
    other.invocation = Some(word("second"));
    observation.runs.insert(word("other"), other);
    observation.fold(200, WINDOWS);
    assert_eq!(observation.runs.len(), 26);
    assert_eq!(observation.runs[&word("w000")].stands_for.len(), 6);
}

#[test]
fn an_old_invocation_that_alone_did_something_is_kept() {
    let mut observation = of((0..10).map(|second| {
        let calls: &[&str] = if second == 3 {
            &["read", "mount"]
        } else {
            &["read"]
        };
        (
            format!("r{second}"),
            run(RunKind::Invocation, second, calls),
        )
    }));
    observation.fold(2, WINDOWS);
    let ids: Vec<_> = observation.runs.keys().map(Word::as_str).collect();
    assert_eq!(ids, ["r0", "r3", "r8", "r9"]);
    assert_eq!(observation.runs[&word("r0")].stands_for.len(), 6);
}

#[test]
fn marks_and_commands_are_never_folded() {
    for kind in [RunKind::Mark, RunKind::Command] {
        let runs = (0..300).map(|second| (format!("r{second}"), run(kind, second, &["read"])));
        let mut observation = of(runs);
        observation.fold(0, WINDOWS);
        assert_eq!(observation.runs.len(), 300);
    }
}

#[test]
fn blind_runs_are_not_folded_into_those_that_see() {
    let mut observation = of((0..6).map(|second| {
        let mut run = run(RunKind::Invocation, second, &["read"]);
        if second % 2 == 0 {
            let refused = "none (refused)".to_owned();
            run.hooks.insert("files".to_owned(), refused);
        }
        (format!("r{second}"), run)
    }));
    observation.fold(0, WINDOWS);
    let runs = observation.runs.values();
    let runs: Vec<_> = runs
        .map(|run| {
            let blind = run.hooks["files"].starts_with("none");
            (blind, run.stands_for.len())
        })
        .collect();
    assert_eq!(runs, [(true, 0), (false, 0), (true, 1), (false, 1)]);
}

#[test]
fn a_chain_of_folded_runs_is_one_run() {
    let stands_for = |others: &[&str]| {
        let mut run = run(RunKind::Invocation, 0, &["read"]);
        run.stands_for = others.iter().map(|id| word(id)).collect();
        run
    };
    let mut observation = of([
        ("a".to_owned(), stands_for(&["b", "a"])),
        ("b".to_owned(), stands_for(&[])),
        ("c".to_owned(), stands_for(&["b"])),
        ("e".to_owned(), stands_for(&["d"])),
        ("f".to_owned(), stands_for(&[])),
    ]);
    observation.settle();
    let runs = observation.runs.iter();
    let runs: Vec<_> = runs
        .map(|(id, run)| {
            let others: Vec<_> = run.stands_for.iter().map(Word::as_str).collect();
            (id.as_str(), others.join(" "))
        })
        .collect();
    assert_eq!(
        runs,
        [
            ("a", "b c".to_owned()),
            ("d", "e".to_owned()),
            ("f", String::new())
        ]
    );
}

#[test]
fn a_window_counts_for_its_invocation() {
    let of_invocation = |kind, invocation: &str| {
        let mut run = run(kind, 0, &[]);
        run.invocation = Some(word(invocation));
        run
    };
    let observation = of([
        ("a".to_owned(), of_invocation(RunKind::Window, "one")),
        ("b".to_owned(), of_invocation(RunKind::Invocation, "one")),
        ("c".to_owned(), of_invocation(RunKind::Mark, "one")),
        ("d".to_owned(), of_invocation(RunKind::Window, "two")),
        ("e".to_owned(), of_invocation(RunKind::Window, "two")),
        ("f".to_owned(), run(RunKind::Window, 0, &[])),
    ]);
    let tests: Vec<_> = observation
        .tests()
        .map(|(test, _)| test.id.as_str())
        .collect();
    assert_eq!(tests, ["b", "b", "c", "d", "d", "f"]);
}

#[test]
fn the_same_deed_of_another_command_is_another_fact() {
    let mut run = run(RunKind::Invocation, 0, &["read"]);
    let facts = Executable {
        syscalls: [(Abi::Native, [(word("read"), Seen::default())].into())].into(),
        ..Executable::default()
    };
    let programs = BTreeMap::from([(Text::from("/bin/daemon"), facts)]);
    run.control.insert(ControlCommand::StartPre, programs);
    assert_eq!(run.facts().count(), 4);
    assert_eq!(run.facts().collect::<BTreeSet<_>>().len(), 4);
}
