use harden_common::{
    CAPABILITY_CHECKS, FACT_CAPABILITY, FactEvent, Header, PathEvent, check, kind,
};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::observation::{ControlCommand, RunKind, Seen};

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
        host: crate::machine::host::this(),
        hooks: BTreeMap::new(),
    }
}

/// The first sight of `fact`, so many seconds after the boot.
fn item(fact: u32, seconds: u64) -> Record {
    item_of(3, fact, seconds)
}

/// The same, in `slot`.
fn item_of(slot: u32, fact: u32, seconds: u64) -> Record {
    let event = FactEvent {
        header: Header {
            kind: kind::FACT,
            slot,
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
    bytes.extend(event.call.to_ne_bytes());
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
    let mut firsts: Vec<_> = seen.filter_map(Seen::first).collect();
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
    assert_eq!(state.forget_gone(&BTreeSet::new()), [0; 0]);
    assert_eq!(state.gone_cgroups(), [7]);
    assert_eq!(state.forget_gone(&BTreeSet::from([7])), [7]);
    let unit = Text::from(UNIT);
    assert_eq!(state.ended(), std::slice::from_ref(&unit));
    state.saved(&unit);
    assert!(state.is_at_rest(&unit));
}

/// Whose `slot` is: a command in the unit's cgroup.
fn slot(slot: u32, command: u32) -> Record {
    Record::Slot {
        slot,
        owner: Owner {
            cgroup: 7,
            run: 1,
            command,
            ..Owner::default()
        },
    }
}

fn command(command: u32, role: Option<ControlCommand>) -> Record {
    Record::Command {
        cgroup: 7,
        command,
        role,
        argv: vec![Text::from(format!("command {command}").as_str())],
        uid: None,
    }
}

/// Of each run: what systemd calls its invocation, its command, and which calls its commands made.
fn runs(state: &State) -> Vec<(Option<String>, Text, Vec<u32>)> {
    let runs = state.open(&Text::from(UNIT)).into_values();
    let mut runs: Vec<_> = runs
        .map(|run| {
            let control = run.control.into_values();
            let facts = control.flat_map(BTreeMap::into_values);
            let facts = run.executables.into_values().chain(facts);
            let names = facts.flat_map(|facts| facts.syscalls.into_values().flatten());
            let number = |(name, _): (Word, Seen)| {
                let name: syscalls::x86_64::Sysno = name.as_str().parse().unwrap();
                u32::try_from(name.id()).unwrap()
            };
            let invocation = run.invocation.map(|invocation| invocation.to_string());
            let first = run.command.first().cloned().unwrap_or_default();
            (invocation, first, names.map(number).collect::<Vec<_>>())
        })
        .collect();
    for (_, _, calls) in &mut runs {
        calls.sort_unstable();
    }
    runs.sort();
    runs
}

#[test]
fn a_unit_that_is_started_again_in_its_cgroup_has_another_run() {
    let (first, second) = ("a".repeat(32), "b".repeat(32));
    let word = |text: &str| Word::new(text).unwrap();
    let mut state = state(Timestamp::UNIX_EPOCH);
    let mut known = records(Timestamp::UNIX_EPOCH);
    known.truncate(2);
    for record in known.clone() {
        state.apply(record);
    }
    let id = state.invocation_id(7).unwrap();
    let begun = [
        // The main process, and one that is left when it ends.
        slot(1, 100),
        item_of(1, 1, 11),
        slot(2, 101),
        item_of(2, 2, 12),
        Record::Invocation {
            cgroup: 7,
            id,
            invocation: Some(word(&first)),
        },
        command(100, None),
        // Started again: what it does first comes before anybody knows.
        slot(3, 200),
        item_of(3, 3, 20),
        slot(4, 201),
        item_of(4, 4, 21),
    ];
    for record in begun.clone() {
        state.apply(record);
    }
    known.extend(begun);
    assert_eq!(
        runs(&state),
        [(
            Some(first.clone()),
            Text::from("command 100"),
            vec![1, 2, 3, 4]
        )]
    );
    let told = [
        Record::Again {
            cgroup: 7,
            id: word("again"),
            invocation: word(&second),
            time: 20 * SECOND,
            before: BTreeSet::from([100, 101]),
        },
        command(200, Some(ControlCommand::StartPre)),
        command(201, None),
        // It goes on, what is left of the one before does, and another command enters.
        item_of(4, 5, 22),
        item_of(2, 6, 23),
        slot(5, 202),
        item_of(5, 7, 24),
        slot(6, 101),
        item_of(6, 8, 25),
    ];
    for record in told.clone() {
        state.apply(record);
    }
    known.extend(told);
    let expected = [
        (Some(first), Text::from("command 100"), vec![1, 2, 6, 8]),
        (Some(second), Text::from("command 201"), vec![3, 4, 5, 7]),
    ];
    assert_eq!(runs(&state), expected);
    assert!(state.is_explained(7, 101) && !state.is_explained(7, 202));

    // An agent that reads all of it again knows the same,
    let mut other = self::state(Timestamp::UNIX_EPOCH);
    for record in known {
        other.apply(record);
    }
    assert_eq!(runs(&other), expected);
    // and one that reads only what is not in files puts what comes after into the same runs.
    let mut later = self::state(Timestamp::UNIX_EPOCH);
    for record in state.tables() {
        later.apply(record);
    }
    for (slot, fact) in [(2, 1), (6, 2), (3, 3), (4, 4), (5, 5)] {
        later.apply(item_of(slot, fact, 30));
    }
    let calls: Vec<_> = runs(&later).into_iter().map(|run| (run.0, run.2)).collect();
    let [old, new] = expected;
    assert_eq!(calls, [(old.0, vec![1, 2]), (new.0, vec![3, 4, 5])]);

    // The unit ends for good.
    state.apply(Record::Gone { cgroup: 7, time: 1 });
    for slot in 1..7 {
        state.free(slot);
    }
    state.forget_gone(&BTreeSet::from([7]));
    let unit = Text::from(UNIT);
    state.saved(&unit);
    state.forget_ended();
    assert!(state.is_at_rest(&unit) && state.invoked(7).is_none());
}

/// The unit of [`records`] is forgotten 30 seconds after the boot, while its run goes on.
fn forgetting() -> [Record; 2] {
    let unit = Text::from(UNIT);
    [
        Record::Run {
            number: 2,
            id: Word::new("from-zero").unwrap(),
            kind: RunKind::Invocation,
            label: None,
            unit: Some(unit.clone()),
            time: 30 * SECOND,
        },
        Record::Forget {
            unit,
            run: 2,
            is_over: false,
        },
    ]
}

fn apply(state: &mut State, records: impl IntoIterator<Item = Record>) {
    for record in records {
        state.apply(record);
    }
}

fn slot_in(slot: u32, cgroup: u64, run: u64) -> Record {
    let owner = Owner {
        cgroup,
        run,
        ..Owner::default()
    };
    Record::Slot { slot, owner }
}

#[test]
fn what_is_forgotten_stays_so_and_its_run_goes_on_from_zero() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |seconds: i64| boot + SignedDuration::from_secs(seconds);
    let unit = Text::from(UNIT);
    let mut state = state(boot);
    for record in records(boot) {
        state.apply(record);
    }
    let before: Vec<Word> = state.open(&unit).into_keys().collect();
    apply(&mut state, forgetting());
    assert!(state.open(&unit).is_empty() && state.held() == 0);
    assert_eq!(state.take_forgotten(), std::slice::from_ref(&unit));
    assert!(state.take_forgotten().is_empty());
    // What comes of a slot of before, known or not, and once more.
    let late = [item(3, 31), slot_in(9, 7, 1), item_of(9, 4, 32)];
    apply(&mut state, late);
    state.apply(Record::finals(3, &[1; 8]));
    assert!(state.open(&unit).is_empty());

    state.apply(slot_in(4, 7, 2));
    state.apply(item_of(4, 5, 33));
    assert_eq!(times(&state), (at(30), at(33), vec![at(33)]));
    let after: Vec<Word> = state.open(&unit).into_keys().collect();
    assert_eq!(after, before);

    // Another agent reads the tables, behind a journal that has all of the above.
    let tables = state.tables();
    apply(&mut state, tables);
    assert_eq!(times(&state), (at(30), at(33), vec![at(33)]));
    assert!(state.take_forgotten().is_empty());
    // Or the tables alone.
    let mut next = self::state(boot);
    apply(&mut next, state.tables());
    next.apply(item(3, 34));
    assert!(
        next.open(&unit)
            .values()
            .all(|run| run.executables.is_empty())
    );
    next.apply(item_of(4, 5, 35));
    assert_eq!(times(&next).2, [at(35)]);
}

#[test]
fn a_later_invocation_has_the_low_number_of_its_slice_and_counts() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut state = state(boot);
    let later = [
        Record::Cgroup {
            id: 8,
            parent: 1,
            born: 40 * SECOND,
            path: format!("/system.slice/{UNIT}").into_bytes(),
        },
        slot_in(5, 8, 1),
        item_of(5, 1, 41),
    ];
    for record in records(boot).into_iter().chain(forgetting()).chain(later) {
        state.apply(record);
    }
    let runs = state.open(&Text::from(UNIT));
    assert_eq!(runs.len(), 1);
    assert!(runs.values().all(|run| !run.executables.is_empty()));
}

#[test]
fn instances_beyond_a_hundred_are_kept_under_their_template() {
    let mut state = State::default();
    let text = |name: &str| Text::from(name);
    assert_eq!(
        state.key(&text("backup@a.service")),
        text("backup@a.service")
    );
    for number in 0..100 {
        state.register_file(text(&format!("backup@{number}.service")));
        state.register_file(text(&format!("/c/payload:backup@{number}.service")));
    }
    state.register_file(text("backup@.service"));
    for (unit, key) in [
        ("backup@a.service", "backup@.service"),
        ("/c/payload:backup@a.service", "/c/payload:backup@.service"),
        // It has a file.
        ("backup@7.service", "backup@7.service"),
        ("restore@a.service", "restore@a.service"),
        ("backup.service", "backup.service"),
    ] {
        assert_eq!(state.key(&text(unit)), text(key), "{unit}");
    }
}

#[test]
fn units_beyond_the_limit_are_kept_together() {
    let mut state = State::default();
    let key = |state: &State, name: &str| state.key(&Text::from(name)).to_string();
    state.limit_units(40);
    // A user's manager takes no room from the system's.
    for number in 0..20 {
        let unit = format!("/u/user@1.service:a{number}.service");
        assert_eq!(key(&state, &unit), unit);
        state.register_file(Text::from(unit));
    }
    let of_user = "/u/user@1.service:others.slice";
    assert_eq!(key(&state, "/u/user@1.service:new.service"), of_user);
    assert_eq!(
        key(&state, "/u/user@2.service:new.service"),
        "/u/user@2.service:new.service"
    );
    state.register_file(Text::from(of_user));
    for number in 0..20 {
        let unit = format!("a{number}.service");
        assert_eq!(key(&state, &unit), unit);
        state.register_file(Text::from(unit));
    }
    for (unit, kept_as) in [
        ("new.service", "others.slice"),
        ("/u/user@1.service:new.service", of_user),
        ("/u/user@2.service:new.service", "others.slice"),
        // It has a record.
        ("a3.service", "a3.service"),
        ("others.slice", "others.slice"),
    ] {
        assert_eq!(key(&state, unit), kept_as, "{unit}");
    }
    state.forget(&Text::from("a3.service"));
    assert_eq!(key(&state, "new.service"), "new.service");
}

/// A cgroup with one slot, of the same number.
fn place(id: u64, parent: u64, path: &str) -> [Record; 2] {
    let cgroup = Record::Cgroup {
        id,
        parent,
        born: SECOND,
        path: path.as_bytes().to_vec(),
    };
    [cgroup, slot_in(u32::try_from(id).unwrap(), id, 1)]
}

fn refused(payer: u64, count: u64, seconds: u64) -> Record {
    Record::LostOf {
        payer,
        losses: BTreeMap::from([(Word::new("slots-exhausted").unwrap(), count)]),
        time: seconds * SECOND,
    }
}

/// What the runs of `unit` have lost, added up.
fn lost(state: &State, unit: &str) -> u64 {
    let runs = state.open(&Text::from(unit));
    runs.values().flat_map(|run| run.losses.values()).sum()
}

#[test]
fn what_a_payer_lost_its_units_lost_and_no_others() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut state = state(boot);
    state.apply(instance(boot));
    let user = "/user.slice/user-1.slice";
    let kind = Word::new("slots-exhausted").unwrap();
    apply(&mut state, place(10, 2, "/system.slice/a.service"));
    apply(&mut state, place(21, 20, &format!("{user}/b.service")));
    apply(&mut state, place(22, 20, &format!("{user}/c.service")));
    apply(&mut state, place(23, 22, &format!("{user}/c.service/d")));
    state.apply(refused(20, 3, 5));
    // The same once more is no more.
    state.apply(refused(20, 3, 6));
    let all = |state: &State| ["a", "b", "c"].map(|name| lost(state, &format!("{name}.service")));
    assert_eq!(all(&state), [0, 3, 3]);
    let units = ["b.service", "c.service"].map(Text::from);
    assert_eq!(state.losers(&kind), units);
    // One of its units that becomes known later may have lost the same.
    apply(&mut state, place(24, 20, &format!("{user}/e.service")));
    assert_eq!(lost(&state, "e.service"), 3);
    // And the next agent knows it too.
    let mut next = super::State::default();
    apply(&mut next, state.tables());
    next.apply(refused(20, 4, 7));
    assert_eq!(all(&next), [0, 4, 4]);
    assert_eq!(next.lost_of_payer(20), Some(&BTreeMap::from([(kind, 4)])));
    next.retain_payers(|_| false);
    assert_eq!(next.lost_of_payer(20), None);
}

/// A state in which `net_admin` was granted in slot 3, whose exec event was lost.
fn nameless(boot: Timestamp) -> State {
    const NET_ADMIN: u32 = 12;
    let mut state = state(boot);
    apply(&mut state, records(boot));
    let granted = FACT_CAPABILITY + NET_ADMIN * CAPABILITY_CHECKS + check::GRANTED;
    state.apply(item(granted, 21));
    state
}

/// The capabilities of the unit's run, and what it lost.
fn capabilities(state: &State) -> (Vec<String>, Vec<(String, u64)>) {
    let runs = state.open(&Text::from(UNIT));
    let run = runs.values().next().unwrap();
    let names = run.executables.values();
    let names = names.flat_map(|facts| facts.capabilities.keys());
    let losses = run.losses.iter();
    let losses = losses.map(|(kind, count)| (kind.to_string(), *count));
    (names.map(ToString::to_string).collect(), losses.collect())
}

#[test]
fn a_program_of_which_nothing_tells_gives_its_unit_no_capability() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut state = nameless(boot);
    let lost = vec![("withheld-capability".to_owned(), 1)];
    assert_eq!(capabilities(&state), (vec![], lost));
    // Its calls are there: they may have been the service's.
    assert_eq!(times(&state).2.len(), 2);
    // A later start of it is told: a program without a path, as a memfd has none.
    let mut exec = vec![0; size_of::<PathEvent>()];
    exec[..4].copy_from_slice(&kind::EXEC.to_ne_bytes());
    exec[4..8].copy_from_slice(&3u32.to_ne_bytes());
    state.apply(Record::Item(exec));
    let had = (vec!["net_admin".to_owned()], vec![]);
    assert_eq!(capabilities(&state), had);
}

#[test]
fn a_program_that_another_run_has_named_has_its_capabilities() {
    let boot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut state = nameless(boot);
    let name = |state: &mut State, name: &str| {
        state.programs.insert(ExecutableId::default(), name.into());
        state.apply(item(5, 22));
        capabilities(state)
    };
    // What prepares a service is left out with all that it did.
    let mut other = nameless(boot);
    let executor = name(&mut other, "/usr/lib/systemd/systemd-executor");
    assert_eq!(executor, (vec![], vec![]));
    let named = name(&mut state, "/usr/sbin/a");
    assert_eq!(named, (vec!["net_admin".to_owned()], vec![]));
}
