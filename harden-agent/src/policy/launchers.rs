//! Programs that run what others ask for: cron, at, batch systems, runners of builds, inetd. What was recorded is the
//! jobs of those days, and a sandbox is inherited by those of tomorrow.

use std::collections::BTreeMap;

use crate::observation::{Executable, Observation, Operation, Run, Text, Word};

use super::capabilities::is_needed;
use super::paths::is_within;
use super::set_id::is_set_id;
use super::shells::is_shell;
use super::warnings::{Id, Warning};

/// Launchers by the names of their files.
const NAMES: [&[u8]; 24] = [
    b"act_runner",
    b"anacron",
    b"atd",
    b"bcron-exec",
    b"buildbot-worker",
    b"buildkite-agent",
    b"concourse",
    b"condor_startd",
    b"cron",
    b"crond",
    b"cronie",
    b"dcron",
    b"drone-runner-exec",
    b"fcron",
    b"forgejo-runner",
    b"gitlab-runner",
    b"inetd",
    b"jenkins",
    b"pbs_mom",
    b"Runner.Listener",
    b"sge_execd",
    b"slurmd",
    b"slurmstepd",
    b"xinetd",
];

/// What an interpreter runs, and is a launcher: Jenkins is `java -jar jenkins.war`.
const ARGUMENTS: [&[u8]; 3] = [b"agent.jar", b"jenkins.war", b"slave.jar"];

/// Where people leave jobs.
const TABLES: [&[u8]; 9] = [
    b"/etc/anacrontab",
    b"/etc/cron.d",
    b"/etc/crontab",
    b"/etc/fcrontab",
    b"/var/spool/anacron",
    b"/var/spool/at",
    b"/var/spool/cron",
    b"/var/spool/fcron",
    b"/var/spool/incron",
];

/// What PAM reads or writes when a session begins, and not when somebody is only asked for a password: `pam_limits`,
/// `pam_loginuid`.
const SESSION: [&[u8]; 2] = [b"/etc/security/limits.conf", b"/loginuid"];

/// The launcher, and why it is taken for one.
pub(super) fn found(observation: &Observation) -> Option<(&Text, &'static str)> {
    observation.runs.values().find_map(of_run)
}

fn of_run(run: &Run) -> Option<(&Text, &'static str)> {
    let programs = || run.executables.iter();
    let named = programs().find(|(path, facts)| {
        let names = facts.invoked_as.keys().chain([*path]);
        names
            .into_iter()
            .any(|name| NAMES.contains(&file_name(name)))
    });
    let runs_jar = run
        .command
        .iter()
        .any(|word| ARGUMENTS.contains(&file_name(word)));
    let jar = programs().find(|(path, _)| runs_jar && file_name(path) == b"java");
    if let Some((path, _)) = named.or(jar) {
        return Some((path, "is known: it"));
    }
    let becomes_users = |(path, facts): &(&Text, &Executable)| {
        let is_set = |name: &str| {
            let mut checks = facts.capabilities.iter();
            checks.any(|(one, checks)| one.as_str() == name && is_needed(checks))
        };
        !is_shell(path) && is_set("setuid") && !is_set_id(facts)
    };
    if let Some((path, _)) = programs()
        .filter(becomes_users)
        .find(|(_, facts)| reads_tables(facts))
    {
        return Some((path, "reads tables of jobs, becomes other users, and so"));
    }
    // Who takes connections is one that people log in to, which is told otherwise.
    let mut opens = programs()
        .filter(becomes_users)
        .filter(|(_, facts)| opens_sessions(facts) && !called(facts, &["accept", "accept4"]));
    let has_shell = programs().any(|(path, _)| is_shell(path));
    let (path, _) = opens.next().filter(|_| has_shell)?;
    Some((
        path,
        "opens sessions of other users by itself, has shells run, and so",
    ))
}

fn called(facts: &Executable, names: &[&str]) -> bool {
    let mut calls = facts.syscalls.values().flat_map(BTreeMap::keys);
    calls.any(|name: &Word| names.contains(&name.as_str()))
}

fn reads_tables(facts: &Executable) -> bool {
    facts.files.iter().any(|(path, file)| {
        let path = path.as_bytes();
        TABLES.iter().any(|table| is_within(path, table)) && done(file, Operation::Read)
    })
}

fn opens_sessions(facts: &Executable) -> bool {
    let modules = facts.files.keys();
    let is_login = modules
        .clone()
        .any(|path| path.as_bytes().ends_with(b"/pam_systemd.so"));
    let mut files = modules;
    !is_login
        && called(facts, &["setgroups"])
        && files.any(|path| {
            let path = path.as_bytes();
            SESSION.iter().any(|end| path.ends_with(end))
        })
}

fn done(file: &crate::observation::File, operation: Operation) -> bool {
    let mut outcomes = file.operations.of(operation);
    outcomes.any(|(outcome, _)| outcome.0.as_str() != "ENOENT")
}

fn file_name(path: &Text) -> &[u8] {
    let mut parts = path.as_bytes().rsplit(|byte| *byte == b'/');
    parts.next().unwrap_or_default()
}

/// Why a directive is not given: all of them are inherited.
pub(super) fn against(observation: &Observation) -> Vec<String> {
    let found = found(observation).into_iter();
    found
        .map(|(path, _)| format!("the jobs that {path} runs would inherit it, whatever they are"))
        .collect()
}

/// Warns. `bound` says what binds the jobs, or that nothing does.
pub(super) fn warning(observation: &Observation, bound: &str) -> Option<Warning> {
    let (path, how) = found(observation)?;
    Some(Warning::new(
        Id::LAUNCHER,
        format!(
            "{path} {how} runs jobs that others ask for: what was recorded is what those of that time did, and others \
             do something else. {bound}. Confine each job instead, in a unit of its own"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::CapabilityCheck;
    use harden_common::Argument;

    fn is_one(fixture: Fixture) -> bool {
        found(&fixture.observation()).is_some()
    }

    fn steps_down(path: &str) -> Fixture {
        let fixture = Fixture::new().executable("/bin/sh").executable(path);
        let fixture = fixture.syscalls(&["setgroups", "setuid"]);
        fixture.capability("setuid", CapabilityCheck::Granted)
    }

    #[test]
    fn launchers_are_known_by_name() {
        for name in ["/usr/sbin/cron", "/usr/sbin/atd", "/usr/bin/gitlab-runner"] {
            assert!(is_one(Fixture::new().executable(name)), "{name}");
        }
        let applet = Fixture::new().executable("/bin/busybox");
        assert!(is_one(applet.invoked_as("/usr/sbin/crond")));
        let jenkins = Fixture::new().executable("/usr/lib/jvm/java-17/bin/java");
        assert!(is_one(jenkins.command(&[
            "java",
            "-jar",
            "/usr/share/java/jenkins.war"
        ])));
    }

    #[test]
    fn and_by_what_they_do() {
        let reads = |path: &str| steps_down("/opt/d").file(path, Operation::Read, "ok");
        assert!(is_one(reads("/var/spool/cron/crontabs/root")));
        assert!(is_one(reads("/etc/security/limits.conf")));
        assert!(!is_one(reads("/etc/passwd")));
        // A backup reads tables, and becomes nobody.
        let backup = Fixture::new().executable("/usr/bin/tar");
        assert!(!is_one(backup.file("/etc/crontab", Operation::Read, "ok")));
    }

    #[test]
    fn who_becomes_one_user_or_is_logged_in_to_is_none() {
        assert!(!is_one(steps_down("/usr/sbin/nginx")));
        let session = |path| {
            let fixture = steps_down(path);
            fixture.file("/etc/security/limits.conf", Operation::Read, "ok")
        };
        assert!(!is_one(session("/usr/sbin/sshd").syscalls(&["accept"])));
        assert!(!is_one(
            session("/usr/bin/sudo").argument(Argument::ExecSetid)
        ));
        let login = session("/usr/bin/x");
        assert!(!is_one(login.file(
            "/lib/security/pam_systemd.so",
            Operation::Read,
            "ok"
        )));
    }
}
