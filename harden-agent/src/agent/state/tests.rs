use harden_common::{FactEvent, Header, kind};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::observation::{RunKind, Seen};

const UNIT: &str = "a.service";
const SECOND: u64 = 1_000_000_000;

/// A state whose wall clock says that the machine began at `boot`.
fn state(boot: Timestamp) -> State {
    State {
        clock: Clock::from_boot(boot),
        ..State::default()
    }
}

fn instance(started: Timestamp) -> Record {
    Record::Instance {
        id: Word::new("instance").unwrap(),
        boot: Word::new("boot").unwrap(),
        started,
        host: crate::run::host::this(),
        hooks: BTreeMap::new(),
    }
}

/// The first sight of `fact`, so many seconds after the boot.
fn item(fact: u32, seconds: u64) -> Record {
    let event = FactEvent {
        header: Header {
            kind: kind::FACT,
            slot: 3,
            time: seconds * SECOND,
            ..Header::default()
        },
        fact,
        ..FactEvent::default()
    };
    let mut bytes = Vec::new();
    bytes.extend(event.header.kind.to_ne_bytes());
    bytes.extend(event.header.slot.to_ne_bytes());
    bytes.extend(event.header.time.to_ne_bytes());
    bytes.extend(event.header.pid.to_ne_bytes());
    bytes.extend(event.header.tid.to_ne_bytes());
    bytes.extend(event.fact.to_ne_bytes());
    bytes.extend(event.reserved.to_ne_bytes());
    assert_eq!(bytes.len(), size_of::<FactEvent>());
    Record::Item(bytes)
}

/// A unit that began ten seconds after the boot and did two things.
fn records(started: Timestamp) -> Vec<Record> {
    vec![
        instance(started),
        Record::Cgroup {
            id: 7,
            parent: 1,
            born: 10 * SECOND,
            path: format!("/system.slice/{UNIT}").into_bytes(),
        },
        Record::Slot {
            slot: 3,
            owner: Owner {
                cgroup: 7,
                run: 1,
                ..Owner::default()
            },
        },
        item(1, 11),
        item(2, 20),
    ]
}

/// Start, end and first sights of the one run.
fn times(state: &State) -> (Timestamp, Timestamp, Vec<Timestamp>) {
    let runs = state.open(&Text::from(UNIT));
    let run = runs.values().next().unwrap();
    let seen = run.executables.values().flat_map(|executable| {
        let calls = executable.syscalls.values();
        calls.flat_map(BTreeMap::values)
    });
    let mut firsts: Vec<_> = seen.filter_map(|Seen { first, .. }| *first).collect();
    firsts.sort();
    (run.started, run.ended, firsts)
}

#[test]
fn times_are_the_monotonic_clock_s_whatever_the_wall_clock_says() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |seconds: i64| boot + SignedDuration::from_secs(seconds);
    // The wall clock was set back, or forward, after the kernel side was loaded.
    for jump in [-1_000_000, 0, 1_000_000] {
        let mut state = state(boot);
        for record in records(at(jump)) {
            state.apply(record);
        }
        assert_eq!(times(&state), (at(10), at(20), vec![at(11), at(20)]));
    }
}

#[test]
fn an_agent_that_begins_under_another_time_knows_the_same() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let hour = SignedDuration::from_hours(1);
    let facts = |runs: &BTreeMap<Word, Run>| -> Vec<String> {
        let facts = runs.values().flat_map(Run::facts);
        facts.map(|fact| format!("{:?}", fact.what)).collect()
    };
    let of = |boot: Timestamp| {
        let mut state = state(boot);
        for record in records(boot) {
            state.apply(record);
        }
        state.open(&Text::from(UNIT))
    };
    let before = of(boot);
    for jumped in [boot + hour, boot - hour] {
        let mut joined = before.clone();
        joined.join(of(jumped));
        // The same runs and facts: no second run begins.
        assert_eq!(facts(&joined), facts(&before));
        assert_eq!(joined.len(), 1);
    }
}

#[test]
fn no_time_is_too_far() {
    for boot in [Timestamp::MIN, Timestamp::MAX] {
        let mut state = state(boot);
        for record in records(Timestamp::MAX) {
            state.apply(record);
        }
        state.apply(item(3, u64::MAX / SECOND));
        assert_eq!(state.open(&Text::from(UNIT)).len(), 1);
    }
}

#[test]
fn what_was_read_of_a_slot_is_not_taken_in_again() {
    let mut state = state(Timestamp::UNIX_EPOCH);
    for record in records(Timestamp::UNIX_EPOCH) {
        state.apply(record);
    }
    let unit = Text::from(UNIT);
    let finals = |facts: &[u8]| Record::finals(3, facts);
    assert!(!state.has_read(&finals(&[0, 1, 1])));
    state.apply(finals(&[0, 1, 1]));
    state.saved(&unit);
    assert!(state.has_read(&finals(&[0, 1, 1])));
    assert!(!state.has_read(&finals(&[0, 1, 1, 1])));
    assert_eq!((state.dirty(), state.held()), (vec![], 0));
    // Its file is gone.
    state.forget_read(&unit);
    assert!(!state.has_read(&finals(&[0, 1, 1])));
}

#[test]
fn windows_that_are_over_are_forgotten() {
    let mut state = state(Timestamp::UNIX_EPOCH);
    state.apply(instance(Timestamp::UNIX_EPOCH));
    for number in 2..100 {
        state.apply(Record::Run {
            number,
            id: Word::new(format!("run-{number}")).unwrap(),
            kind: if number == 50 {
                RunKind::Mark
            } else {
                RunKind::Window
            },
            label: None,
            unit: None,
            time: number,
        });
    }
    state.forget_windows(&BTreeSet::from([60, 99]));
    let left: Vec<u64> = state.marks.keys().copied().collect();
    assert_eq!(left, [50, 60, 96, 97, 98, 99]);
    assert_eq!(state.last_run(), 99);
}

#[test]
fn a_cgroup_is_forgotten_once_it_is_known_to_have_no_slot() {
    let mut state = state(Timestamp::UNIX_EPOCH);
    for record in records(Timestamp::UNIX_EPOCH) {
        state.apply(record);
    }
    state.apply(Record::Gone { cgroup: 7, time: 1 });
    state.free(3);
    assert_eq!(state.settle(&BTreeSet::new()), [0; 0]);
    assert_eq!(state.gone_cgroups(), [7]);
    assert_eq!(state.settle(&BTreeSet::from([7])), [7]);
    let unit = Text::from(UNIT);
    assert_eq!(state.ended(), std::slice::from_ref(&unit));
    state.saved(&unit);
    assert!(state.is_at_rest(&unit));
}
