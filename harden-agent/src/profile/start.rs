//! How Firejail will be started, by whom: that decides which shell it needs, and whose home directory it would empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::Path,
};

use crate::{
    machine::{self, accounts::Login},
    observation::{Observation, Text},
    policy::{
        Decision,
        firejail::{HOMES, Launch, Target},
    },
};

/// How the program will be started under Firejail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash
    Shell,
    /// `firejail --profile=FILE PROGRAM`: no shell is needed, and none is allowed
    Direct,
}

impl Start {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Direct => "direct",
        }
    }
}

/// The Firejail `target`, as it is started by the users in `observation`.
pub(super) fn started(
    target: &Target,
    asked: Option<Start>,
    observation: &Observation,
    logins: &mut Logins,
) -> Target {
    let subject = &observation.name;
    let users: BTreeSet<u32> = observation.runs.values().map(|run| run.uid).collect();
    let users: Vec<_> = users
        .into_iter()
        .map(|uid| (uid, logins.of(subject, uid)))
        .collect();
    Target {
        launch: launch(
            asked,
            users.iter().map(|(uid, login)| shell(*uid, login.as_ref())),
        ),
        homes: homes(subject, users.iter().map(|(_, login)| login.as_ref())),
        ..target.clone()
    }
}

/// The home directories of those who start it.
fn homes<'a>(
    subject: &Text,
    logins: impl Iterator<Item = Option<&'a Login>>,
) -> Decision<BTreeSet<Text>> {
    let homes: Option<_> = logins.map(|login| Some(login?.home.clone())).collect();
    let missing = HOMES.iter().find(|home| !Path::new(home).is_dir());
    match (homes, missing) {
        (Some(homes), None) if machine::accounts::are_known(subject) => Decision::Given(homes),
        (_, Some(home)) => Decision::withheld(format!(
            "there is no {home} here, and without it Firejail would not start"
        )),
        _ => Decision::withheld(
            "who starts Firejail is not known here, whose home directory it would empty too",
        ),
    }
}

/// How to start it. Firejail's shell is the user's login shell: one that lets nobody in runs nothing, and what others
/// than bash need is not known.
fn launch(asked: Option<Start>, mut shells: impl Iterator<Item = String>) -> Launch {
    let shell = shells
        .find(|shell| !is_bash(shell))
        .unwrap_or_else(|| BASH.to_owned());
    match asked {
        Some(Start::Direct) => Launch::Direct,
        None if !is_bash(&shell) => Launch::Direct,
        _ => Launch::Shell(shell),
    }
}

/// What was looked up so far: a look-up reads files or asks a server, and a service of an agent has many runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logins(BTreeMap<(Text, u32), Option<Login>>);

impl Logins {
    fn of(&mut self, subject: &Text, uid: u32) -> Option<Login> {
        let login = self.0.entry((subject.clone(), uid));
        login
            .or_insert_with(|| machine::accounts::login(subject, uid))
            .clone()
    }
}

const BASH: &str = "/bin/bash";
const NOLOGIN: &str = "/usr/sbin/nologin";

fn is_bash(shell: &str) -> bool {
    shell.ends_with("/bash")
}

/// The login shell of `uid`. For a user that is not known, as it was recorded on another machine, what most have:
/// bash, and none for an account of the system's.
fn shell(uid: u32, login: Option<&Login>) -> String {
    /// `SYS_UID_MAX` of login.defs(5).
    const SYSTEM: RangeInclusive<u32> = 1..=999;
    let usual = if SYSTEM.contains(&uid) { NOLOGIN } else { BASH };
    login.map_or_else(|| usual.to_owned(), |login| login.shell.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::SCHEMA;

    #[test]
    fn asked_for_nothing_a_stranger_starts_through_bash() {
        let nobody_yet = Observation {
            schema: SCHEMA,
            name: "d".into(),
            runs: BTreeMap::new(),
        };
        let launched = |start| {
            let target = Target::default();
            started(&target, start, &nobody_yet, &mut Logins::default()).launch
        };
        assert_eq!(launched(None), Launch::Shell(BASH.to_owned()));
        assert_eq!(launched(Some(Start::Direct)), Launch::Direct);
        assert_eq!(shell(u32::MAX - 7, None), BASH);
    }

    #[test]
    fn a_shell_that_lets_nobody_in_is_passed_by() {
        assert!(!is_bash("/usr/sbin/nologin"));
        assert!(!is_bash(""));
        assert!(is_bash("/usr/bin/bash"));
    }
}
