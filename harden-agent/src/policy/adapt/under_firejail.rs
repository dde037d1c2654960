//! What Firejail's own programs did is no need of the program that it confines.
//!
//! `harden apply --backend firejail` has Firejail start the unit, and the agent goes on recording. In the unit's cgroup Firejail, which
//! is set-user-ID, then mounts, changes users and copies files, also by programs of its own (`fseccomp`, `fcopy`, …). Runs in
//! which the unit was started without it show that the unit needs nothing of this. Where there are no such runs, all of
//! it stays: a unit whose own command is Firejail cannot start without.

use std::borrow::Cow;

use jiff::Timestamp;

use super::super::paths::{is_within, parent};
use crate::observation::{Executable, Observation, Run, RunKind, Seen, Text};

/// Where it is installed.
const FIREJAIL: [&[u8]; 2] = [b"/usr/bin/firejail", b"/usr/local/bin/firejail"];

/// Leaves it out. Returns a remark if there was any.
pub(super) fn leave_out(observation: &mut Cow<'_, Observation>) -> Option<String> {
    let seen = |run: &Run| run.kind != RunKind::Override && !run.executables.is_empty();
    let runs = observation.runs.values().filter(|run| seen(run));
    let (under, without): (Vec<&Run>, Vec<&Run>) = runs.partition(|run| is_started_by_it(run));
    if under.is_empty() || without.is_empty() {
        return None;
    }
    let remark = format!(
        "What Firejail's own programs did in {} of {} runs is left out: in the others the unit was started without it",
        under.len(),
        under.len() + without.len()
    );
    let runs = observation.to_mut().runs.values_mut();
    for run in runs.filter(|run| seen(run) && is_started_by_it(run)) {
        run.executables.retain(|path, _| !is_its_own(path));
    }
    Some(remark)
}

/// Whether Firejail started the unit's command. Of a unit in a container the command is not known, nor which of its programs was
/// `ExecStartPre=`: then it did if it read a profile that `harden apply` installs, or was there before all programs that are not
/// its own.
fn is_started_by_it(run: &Run) -> bool {
    if let Some(program) = run.command.first() {
        let name = program.as_bytes().rsplit(|byte| *byte == b'/').next();
        return name == Some(b"firejail");
    }
    let (own, others): (Vec<_>, Vec<_>) = run
        .executables
        .iter()
        .partition(|(path, _)| FIREJAIL.contains(&path.as_bytes()));
    if own
        .iter()
        .any(|(_, facts)| facts.files.keys().any(is_applied_profile))
    {
        return true;
    }
    let others = others.into_iter().filter(|(path, _)| !is_its_own(path));
    let firejail = own.into_iter().filter_map(|(_, facts)| begun(facts)).min();
    let other = others.filter_map(|(_, facts)| begun(facts)).min();
    firejail.is_some_and(|firejail| other.is_none_or(|other| firejail <= other))
}

/// On trial, or kept (docs/apply.md).
fn is_applied_profile(path: &Text) -> bool {
    let path = path.as_bytes();
    path.ends_with(b".service.profile")
        && [&b"/run/harden-apply"[..], b"/etc/firejail"].contains(&parent(path))
}

/// When the program was first executed. systemd's own, which is there before that, was not executed in the unit's cgroup.
fn begun(facts: &Executable) -> Option<Timestamp> {
    facts.invoked_as.values().filter_map(Seen::first).min()
}

/// Firejail, or one of the programs that it comes with.
fn is_its_own(path: &Text) -> bool {
    let path = path.as_bytes();
    FIREJAIL.contains(&path)
        || parent(path).ends_with(b"/firejail")
        || is_within(path, b"/run/firejail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observation::File, policy::fixture::Fixture};

    fn at(run: &mut Run, path: &str, second: i64) {
        let time = Timestamp::from_second(second).expect("a time");
        let facts = run.executables.entry(path.into()).or_default();
        facts.invoked_as.insert(path.into(), Seen::at(time));
    }

    fn left(observation: &Observation) -> (Vec<String>, Option<String>) {
        let mut adapted = Cow::Borrowed(observation);
        let remark = leave_out(&mut adapted);
        let programs = adapted.runs.values().flat_map(|run| run.executables.keys());
        (programs.map(ToString::to_string).collect(), remark)
    }

    #[test]
    fn what_firejail_did_is_left_out_where_the_unit_runs_without_it_too() {
        let mut fixture = Fixture::new();
        at(fixture.run(), "/usr/sbin/d", 1);
        let mut fixture = fixture.next_run();
        for (path, second) in [
            ("/usr/bin/firejail", 10),
            ("/usr/lib/x86_64-linux-gnu/firejail/fseccomp", 11),
            ("/run/firejail/lib/fcopy", 12),
            ("/usr/sbin/d", 13),
        ] {
            at(fixture.run(), path, second);
        }
        let (programs, remark) = left(&fixture.observation());
        assert_eq!(programs, ["/usr/sbin/d", "/usr/sbin/d"]);
        assert!(remark.is_some_and(|remark| remark.contains("1 of 2 runs")));
    }

    #[test]
    fn what_ran_before_it_does_not_matter_where_the_command_or_the_profile_is_known() {
        let profile = "/run/harden-apply/d.service.profile";
        for (command, path) in [
            (vec!["/usr/bin/firejail", "d"], "/x"),
            (Vec::new(), profile),
        ] {
            let mut fixture = Fixture::new();
            at(fixture.run(), "/usr/sbin/d", 1);
            let mut fixture = fixture.next_run().command(&command);
            // `ExecStartPre=`
            at(fixture.run(), "/usr/sbin/d", 10);
            at(fixture.run(), "/usr/bin/firejail", 11);
            let firejail = fixture
                .run()
                .executables
                .get_mut(&"/usr/bin/firejail".into());
            let files = &mut firejail.expect("it is there").files;
            files.insert(path.into(), File::default());
            assert_eq!(left(&fixture.observation()).0.len(), 2, "{path}");
        }
    }

    #[test]
    fn a_unit_that_is_always_started_by_it_or_that_starts_it_keeps_it() {
        let mut always = Fixture::new();
        at(always.run(), "/usr/bin/firejail", 1);
        at(always.run(), "/usr/sbin/d", 2);
        assert_eq!(left(&always.observation()).0.len(), 2);

        let mut starts_it = Fixture::new();
        at(starts_it.run(), "/usr/sbin/d", 1);
        let mut starts_it = starts_it.next_run();
        at(starts_it.run(), "/usr/sbin/d", 10);
        at(starts_it.run(), "/usr/bin/firejail", 11);
        let (programs, remark) = left(&starts_it.observation());
        assert_eq!((programs.len(), remark), (3, None));
    }
}
