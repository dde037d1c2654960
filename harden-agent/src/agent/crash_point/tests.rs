//! A killed writer of the state loses nothing that it had said it has.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::agent::journal::{FaultKind, Journal, Record};
use crate::agent::store::Store;
use crate::observation::{Abi, Observation, Seen, Text, Word};
use crate::policy::fixture::Fixture;

const DIRECTORY: &str = "HARDEN_TEST_DIRECTORY";

fn unit() -> Text {
    Text::from("a.service")
}

/// What is known: the numbers of the items, as calls of one program.
struct State {
    unit: Observation,
}

impl State {
    fn apply(&mut self, number: u8) {
        let run = self.unit.runs.values_mut().next().unwrap();
        let program = run.executables.values_mut().next().unwrap();
        let calls = program.syscalls.entry(Abi::Native).or_default();
        calls.insert(
            Word::new(format!("call-{number}")).unwrap(),
            Seen::default(),
        );
    }

    fn known(&self) -> BTreeSet<u8> {
        let run = self.unit.runs.values().next().unwrap();
        let calls = run
            .executables
            .values()
            .flat_map(|program| program.syscalls.values());
        calls
            .flat_map(|calls| calls.keys())
            .map(|call| {
                call.as_str()
                    .strip_prefix("call-")
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect()
    }

    /// What a new agent makes of what it finds.
    fn recovered(directory: &Path) -> (Self, Journal, Store) {
        let mut store = Store::open(directory, 16 << 20).unwrap();
        let mut empty = Fixture::new().executable("/bin/daemon").observation();
        empty.name = unit();
        let unit = store.load(&unit()).unwrap().unwrap_or(empty);
        assert!(store.take_notices().is_empty());
        let mut state = Self { unit };
        let mut journal = Journal::open(directory, 1).unwrap();
        let replay = journal.replay(|record| {
            if let Record::Item(item) = record {
                state.apply(item[0]);
            }
        });
        for fault in replay.unwrap().faults {
            assert_eq!(fault.kind, FaultKind::Torn, "{fault}");
        }
        (state, journal, store)
    }
}

/// An agent's life: takes items, and compacts now and then. Each item that is taken is noted in
/// `taken`, as the kernel side would give it up.
fn live(directory: &Path) {
    let (mut state, mut journal, mut store) = State::recovered(directory);
    let mut taken = fs::read(directory.join("taken")).unwrap_or_default();
    let mut is_added = false;
    // By turns: some was added when the file is written whole.
    let mut compact = |state: &State, journal: &mut Journal, store: &mut Store| {
        journal.rotate(std::iter::empty()).unwrap();
        if is_added {
            assert!(store.add(&state.unit).unwrap());
        } else {
            store.save(&state.unit).unwrap();
        }
        is_added = !is_added;
        journal.drop_older().unwrap();
    };
    compact(&state, &mut journal, &mut store);
    for _ in 0..30 {
        let number = u8::try_from(taken.len()).unwrap();
        journal.append_item(&[number; 50]).unwrap();
        state.apply(number);
        taken.push(number);
        fs::write(directory.join("taken"), &taken).unwrap();
        if number % 5 == 4 {
            compact(&state, &mut journal, &mut store);
        }
    }
}

#[test]
fn a_kill_at_any_step_loses_nothing() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return live(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    for place in CRASH_POINTS {
        for count in [1, 3] {
            let state = tempfile::tempdir_in(&directory).unwrap();
            let output = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "agent::crash_point::tests::a_kill_at_any_step_loses_nothing",
                ])
                .env(DIRECTORY, state.path())
                .env("HARDEN_CRASH_AT", format!("{place}:{count}"))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.signal(), Some(9), "{place}:{count}: {said}");
            let taken = fs::read(state.path().join("taken")).unwrap_or_default();
            let (state, ..) = State::recovered(state.path());
            let known = state.known();
            let lost: Vec<_> = taken
                .iter()
                .filter(|number| !known.contains(number))
                .collect();
            assert!(lost.is_empty(), "{place}:{count}: {lost:?}");
            // One that was not yet given up may be there already, and comes again.
            assert!(known.len() <= taken.len() + 1, "{place}:{count}: {known:?}");
        }
    }
}
