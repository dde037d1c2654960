use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::{
    agent::request::{FactKind, ProfilePart},
    apply::Backend,
    observation::{CapabilityCheck, ControlCommand, Operation},
    policy::fixture::Fixture,
};

const UNIT: &str = "d.service";

fn profile(text: &str) -> ShadowProfile {
    ShadowProfile {
        backend: Backend::Systemd,
        source: "d.conf".into(),
        parts: vec![ProfilePart {
            file: "d.conf".into(),
            first: 7,
            text: text.to_owned(),
        }],
        homes: Vec::new(),
        links: Vec::new(),
        overrides: None,
    }
}

const CALLS: &str = "[Service]\nSystemCallFilter=read write";

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// A kernel side that began ten minutes ago.
fn side(id: &str, boot: &str) -> Side {
    Side {
        id: word(id),
        boot: word(boot),
        started: jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600),
    }
}

/// An observation of `calls`, a marked run for each group of them.
fn tests(calls: &[&[&str]]) -> Observation {
    let mut fixture = Fixture::new();
    for (number, calls) in calls.iter().enumerate() {
        if number > 0 {
            fixture = fixture.next_run();
        }
        fixture.run().kind = RunKind::Mark;
        fixture.run().label = Some(format!("test-{number}").as_bytes().into());
        fixture = fixture.executable("/usr/sbin/d").syscalls(calls);
    }
    Observation {
        name: UNIT.into(),
        ..fixture.observation()
    }
}

fn present(observation: &Observation) -> Present<'_> {
    Present {
        observation,
        open: BTreeSet::new(),
        mark: None,
        changes: 1,
        began: Instant::now(),
    }
}

/// A unit in shadow by this text, with these runs before.
fn frozen(state: &Path, text: &str, before: &[&str]) -> Shadows {
    let mut shadows = Shadows::open(state);
    let before = before.iter().map(|id| word(id)).collect();
    let frozen = shadows.freeze(
        &UNIT.into(),
        profile(text),
        before,
        Some(&side("one", "boot")),
    );
    frozen.unwrap();
    shadows
}

fn summary(shadows: &Shadows) -> ShadowSummary {
    shadows.get(&UNIT.into()).unwrap().summary()
}

#[test]
fn what_came_since_is_judged_once_and_what_was_before_is_not() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = frozen(state.path(), CALLS, &["run-0"]);
    let observation = tests(&[&["mount"], &["read", "chroot"], &["chroot", "write"]]);
    let unit = UNIT.into();
    let news = shadows.look(&unit, &present(&observation));
    let [denial] = &news[..] else {
        panic!("{news:?}");
    };
    assert_eq!(denial.kind, FactKind::Syscall);
    assert_eq!(denial.fact, "native chroot".into());
    assert_eq!(denial.run, word("run-1"));
    assert_eq!(denial.mark, Some("test-1".into()));
    assert_eq!(denial.line, "SystemCallFilter=".into());
    assert_eq!(denial.at, Some("d.conf:8".into()));
    assert!(shadows.look(&unit, &present(&observation)).is_empty());
    let summary = summary(&shadows);
    assert_eq!((summary.denials, summary.tests), (1, 2));
    // Each fact once, in however many runs: it ran, and three calls.
    assert_eq!(summary.facts, 4);
}

#[test]
fn a_test_that_goes_on_is_not_over_and_its_run_is_looked_at_again() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = frozen(state.path(), CALLS, &[]);
    let unit = UNIT.into();
    let observation = tests(&[&["read"]]);
    let mut present = present(&observation);
    present.open.insert(word("run-0"));
    present.mark = Some(word("run-0"));
    assert!(shadows.look(&unit, &present).is_empty());
    assert_eq!(summary(&shadows).tests, 0);
    let observation = tests(&[&["read", "mount"]]);
    let present = Present {
        observation: &observation,
        open: BTreeSet::new(),
        ..present
    };
    assert_eq!(shadows.look(&unit, &present).len(), 1);
}

#[test]
fn what_turns_out_to_be_of_another_command_is_not_there_twice() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = frozen(state.path(), CALLS, &[]);
    let unit = UNIT.into();
    let mut observation = tests(&[&["mount"]]);
    let mut present_now = present(&observation);
    present_now.open.insert(word("run-0"));
    assert_eq!(shadows.look(&unit, &present_now).len(), 1);
    let run = observation.runs.get_mut(&word("run-0")).unwrap();
    let moved = std::mem::take(&mut run.executables);
    run.control.insert(ControlCommand::StartPre, moved);
    let news = shadows.look(&unit, &present(&observation));
    assert_eq!(news[0].command.as_deref(), Some("start-pre"));
    assert_eq!(shadows.get(&unit).unwrap().denials(), news);
}

#[test]
fn a_file_that_was_made_before_in_the_same_invocation_is_there() {
    let state = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().executable("/usr/sbin/d");
    fixture.run().invocation = Some(word("invocation"));
    let mut fixture = fixture
        .file("/tmp/made", Operation::Create, "ok")
        .next_run()
        .executable("/usr/sbin/d");
    fixture.run().invocation = Some(word("invocation"));
    let observation = fixture
        .file("/tmp/made", Operation::Read, "ok")
        .file("/tmp/found", Operation::Read, "ok")
        .observation();
    let mut shadows = frozen(state.path(), "[Service]\nPrivateTmp=yes", &["run-0"]);
    let news = shadows.look(&UNIT.into(), &present(&observation));
    let facts: Vec<String> = news.iter().map(|denial| denial.fact.to_string()).collect();
    assert_eq!(facts, ["read ok /tmp/found"]);
}

#[test]
fn overrides_decide_what_is_not_asked_of_it() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = Shadows::open(state.path());
    let profile = ShadowProfile {
        overrides: Some("[deny]\nsyscalls = [\"mount\"]\n".to_owned()),
        ..profile(CALLS)
    };
    let unit = UNIT.into();
    let frozen = shadows.freeze(&unit, profile, BTreeSet::new(), None);
    frozen.unwrap();
    let observation = tests(&[&["mount", "chroot"]]);
    let news = shadows.look(&unit, &present(&observation));
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].fact, "native chroot".into());
}

#[test]
fn losses_and_what_is_not_judged_are_counted() {
    let state = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().executable("/usr/sbin/d");
    fixture.run().losses.insert(word("over-share"), 3);
    let observation = fixture
        .capability("chown", CapabilityCheck::Granted)
        .family("unix")
        .socket("unix stream 0", "ok")
        .observation();
    let text = "[Service]\nCapabilityBoundingSet=CAP_CHOWN\nAppArmorProfile=d";
    let mut shadows = frozen(state.path(), text, &[]);
    shadows.look(&UNIT.into(), &present(&observation));
    let summary = summary(&shadows);
    assert_eq!(summary.losses.get("over-share"), Some(&3));
    assert_eq!(summary.denials, 0);
    let unread: Vec<String> = summary.unread.iter().map(ToString::to_string).collect();
    assert!(
        unread[0].starts_with("d.conf:9: AppArmorProfile=d: "),
        "{unread:?}"
    );
}

#[test]
fn more_than_there_is_room_for_is_counted() {
    let state = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().executable("/usr/sbin/d");
    for number in 0..1_200 {
        fixture = fixture.file(format!("/srv/{number}"), Operation::Create, "ok");
    }
    let observation = fixture.observation();
    let text = "[Service]\nProtectSystem=strict";
    let mut shadows = frozen(state.path(), text, &[]);
    let unit = UNIT.into();
    assert_eq!(shadows.look(&unit, &present(&observation)).len(), 1_000);
    let found = summary(&shadows);
    assert_eq!((found.denials, found.left_out), (1_200, 200));
    shadows.save(false).unwrap();
    // After a restart the same are found again, and are not more.
    let mut shadows = Shadows::open(state.path());
    assert!(shadows.look(&unit, &present(&observation)).is_empty());
    assert_eq!(summary(&shadows).denials, 1_200);
}

#[test]
fn it_survives_the_process_and_goes_when_it_is_given_up() {
    let state = tempfile::tempdir().unwrap();
    let unit = UNIT.into();
    let observation = tests(&[&["mount"], &["chroot"]]);
    let mut shadows = frozen(state.path(), CALLS, &["run-0"]);
    shadows.look(&unit, &present(&observation));
    shadows.save(false).unwrap();
    let before = summary(&shadows);
    let mut shadows = Shadows::open(state.path());
    assert!(shadows.look(&unit, &present(&observation)).is_empty());
    assert_eq!(summary(&shadows), before);
    assert!(shadows.remove(&unit).unwrap());
    assert!(!shadows.remove(&unit).unwrap());
    assert!(Shadows::open(state.path()).units().next().is_none());
}

#[test]
fn a_file_that_cannot_be_used_is_moved_aside() {
    let state = tempfile::tempdir().unwrap();
    let shadows = frozen(state.path(), CALLS, &[]);
    let directory = state.path().join("shadows");
    let good = fs::read(directory.join("d.service.json")).unwrap();
    drop(shadows);
    fs::write(directory.join("other.service.json"), &good).unwrap();
    fs::write(directory.join("half.service.json"), &good[..good.len() / 2]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.join("link.service.json")).unwrap();
    let mut shadows = Shadows::open(state.path());
    let units: Vec<_> = shadows.units().map(ToString::to_string).collect();
    assert_eq!(units, [UNIT]);
    assert_eq!(shadows.take_notices().len(), 3);
    assert_eq!(shadows.set_aside().len(), 3);
}

#[test]
fn what_cannot_be_judged_by_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = Shadows::open(state.path());
    let mut freeze = |profile| {
        let frozen = shadows.freeze(&UNIT.into(), profile, BTreeSet::new(), None);
        frozen.unwrap_err()
    };
    let large = "#".repeat(LARGEST + 1);
    assert!(freeze(profile(&large)).contains("KiB"));
    let fatal = ShadowProfile {
        backend: Backend::Firejail,
        ..profile("no-such-directive")
    };
    let said = freeze(fatal);
    assert!(said.starts_with("d.conf:7: no-such-directive: "), "{said}");
    let overrides = ShadowProfile {
        overrides: Some("[deny]\nsyscalls = 3".to_owned()),
        ..profile(CALLS)
    };
    freeze(overrides);
    assert!(shadows.units().next().is_none());
}

#[test]
fn time_in_which_nothing_could_be_recorded_does_not_count() {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = frozen(state.path(), CALLS, &[]);
    // Frozen now: what a kernel side recorded before is not time in shadow.
    shadows.count_time(&side("one", "boot"));
    assert!(summary(&shadows).seconds < 5);
    // Another kernel side, which began only now.
    let now = Side {
        started: jiff::Timestamp::now(),
        ..side("two", "boot")
    };
    shadows.count_time(&now);
    assert!(summary(&shadows).seconds < 5);
}

/// How often the unit was not observed, after the agent has ended, or was killed, and another has begun.
fn gaps(ended: Option<Sight>, next: &Side, found: Sight) -> u64 {
    let state = tempfile::tempdir().unwrap();
    let mut shadows = frozen(state.path(), CALLS, &[]);
    if let Some(sight) = ended {
        shadows.end(|_| sight == Sight::There);
        shadows.save(true).unwrap();
    }
    let mut shadows = Shadows::open(state.path());
    let is_gap = shadows.begin(&UNIT.into(), next, found);
    shadows.save(false).unwrap();
    // What was counted is kept, and the same kernel side adds nothing.
    let mut shadows = Shadows::open(state.path());
    assert!(!shadows.begin(&UNIT.into(), next, Sight::There));
    let gaps = summary(&shadows).gaps;
    assert_eq!(is_gap, gaps == 1);
    gaps
}

#[test]
fn a_unit_that_no_agent_observed_is_a_gap() {
    use Sight::{Absent, Excluded, There};
    let (same, other) = (side("one", "boot"), side("two", "boot"));
    let booted = side("two", "next");
    // The kernel side goes on without an agent.
    for (ended, found) in [(None, There), (Some(There), There), (Some(Absent), Absent)] {
        assert_eq!(gaps(ended, &same, found), 0);
    }
    // It does not, and the unit may have begun and ended meanwhile.
    for (ended, found) in [(None, There), (Some(There), There), (Some(Absent), Absent)] {
        assert_eq!(gaps(ended, &other, found), 1);
    }
    // The machine was started again: the unit ended before the agent, and begins after it.
    assert_eq!(gaps(Some(Absent), &booted, Absent), 0);
    for (ended, found) in [(None, Absent), (Some(There), Absent), (Some(Absent), There)] {
        assert_eq!(gaps(ended, &booted, found), 1);
    }
    assert_eq!(gaps(None, &same, Excluded), 1);
}

#[test]
fn a_profile_that_refuses_nothing_is_known() {
    let state = tempfile::tempdir().unwrap();
    let refuses_nothing = |text| summary(&frozen(state.path(), text, &[])).refuses_nothing;
    for text in [
        "",
        "[Service]\nExecStart=/usr/sbin/d\nUser=d\nNice=5\n",
        "[Service]\nReadWritePaths=/srv\nPrivateTmp=no\nSystemCallFilter=\n",
        "[Unit]\nPrivateTmp=yes\n",
    ] {
        assert!(refuses_nothing(text), "{text}");
    }
    for text in [
        CALLS,
        "[Service]\nCapabilityBoundingSet=",
        "[Service]\nDeviceAllow=/dev/null rw",
    ] {
        assert!(!refuses_nothing(text), "{text}");
    }
}
