//! Whether an account is needed and possible, and all that it needs then.

use std::collections::BTreeMap;

use super::{Account, Remedy, is_name};
use crate::{observation::Text, policy::firejail::service::step_down};

/// What is said of the account. The first that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recommendation<'a> {
    /// Some run could not see what would be refused, for these reasons.
    Unknown(Vec<String>),
    /// None is needed: it is not started as root.
    NotRoot,
    /// It can have no name, for these reasons.
    Nameless(&'a [String]),
    /// It has to stay root, for the obstacles that have no other remedy.
    StaysRoot,
    /// What was seen can be done without root.
    Proposed(Proposal<'a>),
}

/// An account, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// Its name, and that of its group.
    pub name: &'a str,
    /// The groups that it has to be in besides.
    pub groups: Vec<&'a str>,
    /// Those of them that have no name here, by number.
    pub nameless_groups: Vec<&'a str>,
    /// The lines of the unit.
    pub unit: Vec<String>,
    /// The command that starts it with its capabilities under Firejail; none, if it needs no capability.
    pub step_down: Option<String>,
    /// The older way, for what no unit starts: the capabilities in the program's own file.
    pub files: Vec<FileCapabilities<'a>>,
}

/// A program whose file would have to give capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCapabilities<'a> {
    /// The file that the kernel found, not a link to it.
    pub program: &'a Text,
    /// `cap_net_raw`
    pub names: Vec<String>,
    /// Whether it would give them to every script.
    pub is_interpreter: bool,
}

impl Account {
    /// What to say of it.
    #[must_use]
    pub fn recommendation(&self) -> Recommendation<'_> {
        let blind = self.blind();
        if !blind.is_empty() {
            return Recommendation::Unknown(blind);
        }
        if !self.users.contains(&0) {
            return Recommendation::NotRoot;
        }
        let Some(name) = self.name.given() else {
            return Recommendation::Nameless(self.name.reasons());
        };
        if self.root().next().is_some() {
            return Recommendation::StaysRoot;
        }
        Recommendation::Proposed(self.proposal(name))
    }

    fn proposal<'a>(&'a self, name: &'a str) -> Proposal<'a> {
        let all = self.groups.iter().map(|item| item.value.as_str());
        let (groups, nameless_groups): (Vec<_>, Vec<_>) = all.partition(|group| is_name(group));
        let capabilities = self.capabilities();
        Proposal {
            name,
            unit: self.unit(name, &groups),
            groups,
            nameless_groups,
            step_down: (!capabilities.is_empty()).then(|| step_down(name, name, &capabilities)),
            files: self.file_capabilities(),
        }
    }

    /// What the unit has to say.
    fn unit(&self, name: &str, groups: &[&str]) -> Vec<String> {
        let mut lines = vec![format!("User={name}"), format!("Group={name}")];
        if !groups.is_empty() {
            lines.push(format!("SupplementaryGroups={}", groups.join(" ")));
        }
        for obstacle in &self.obstacles {
            match &obstacle.remedy {
                Remedy::Directory { directive, name } => lines.push(format!("{directive}={name}")),
                Remedy::Move { directive, .. } => lines.push(format!("{directive}={name}")),
                _ => {}
            }
        }
        let capabilities = self.capabilities();
        if !capabilities.is_empty() {
            lines.push(format!("AmbientCapabilities={}", capabilities.join(" ")));
        }
        lines.sort();
        lines.dedup();
        lines
    }

    /// The capabilities that it has to keep: `CAP_NET_BIND_SERVICE`.
    fn capabilities(&self) -> Vec<&str> {
        let kept = self.obstacles.iter().filter_map(|obstacle| {
            if let Remedy::Capability { name } = &obstacle.remedy {
                Some(name.as_str())
            } else {
                None
            }
        });
        kept.collect()
    }

    fn file_capabilities(&self) -> Vec<FileCapabilities<'_>> {
        let mut programs: BTreeMap<&Text, Vec<String>> = BTreeMap::new();
        for obstacle in &self.obstacles {
            if let Remedy::Capability { name } = &obstacle.remedy {
                for program in obstacle.evidence.executables.iter() {
                    let names = programs.entry(program).or_default();
                    names.push(name.to_ascii_lowercase());
                }
            }
        }
        let programs = programs.into_iter();
        programs
            .map(|(program, names)| FileCapabilities {
                program,
                names,
                is_interpreter: is_interpreter(program),
            })
            .collect()
    }
}

/// Whether it is a program of scripts, by what its file's name begins with.
fn is_interpreter(program: &Text) -> bool {
    const INTERPRETERS: [&[u8]; 7] = [
        b"bash", b"dash", b"node", b"perl", b"php", b"python", b"ruby",
    ];
    let mut parts = program.as_bytes().rsplit(|byte| *byte == b'/');
    let file = parts.next().unwrap_or_default();
    INTERPRETERS.iter().any(|name| file.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::super::Accounts;
    use super::*;
    use crate::{
        observation::{CapabilityCheck, Operation},
        policy::{Commands, DecisionOptions, fixture::Fixture},
    };

    fn decided(mut fixture: Fixture, uid: u32) -> Account {
        fixture.run().uid = uid;
        let commands = Commands::of(fixture.observation());
        let accounts = Accounts {
            groups: [(42, "db".to_owned())].into(),
            prefix: "ops".to_owned(),
        };
        Account::decide(
            &commands.unit_basis(),
            &accounts,
            &DecisionOptions::default(),
        )
    }

    fn binds(program: &str) -> Fixture {
        let fixture = Fixture::new().executable(program);
        fixture.capability("net_bind_service", CapabilityCheck::Granted)
    }

    #[test]
    fn the_first_that_applies() {
        assert_eq!(
            decided(binds("/bin/d"), 7).recommendation(),
            Recommendation::NotRoot
        );
        let admin = binds("/bin/d").capability("sys_admin", CapabilityCheck::Granted);
        assert_eq!(
            decided(admin, 0).recommendation(),
            Recommendation::StaysRoot
        );
        let mut blind = binds("/bin/d");
        blind.run().hooks.clear();
        let blind = decided(blind, 7);
        assert!(matches!(blind.recommendation(), Recommendation::Unknown(_)));
    }

    #[test]
    fn what_an_account_needs() {
        let socket = |path: &str, gid| {
            binds("/usr/bin/perl5").file_of(path, Operation::Connect, 0o140_770, gid)
        };
        let account = decided(socket("/run/db/sock", 42), 0);
        let Recommendation::Proposed(proposal) = account.recommendation() else {
            panic!("{account:?}");
        };
        assert_eq!(
            (proposal.name, &proposal.groups[..]),
            ("opstest", &["db"][..])
        );
        assert!(proposal.nameless_groups.is_empty());
        assert_eq!(
            proposal.unit,
            [
                "AmbientCapabilities=CAP_NET_BIND_SERVICE",
                "Group=opstest",
                "SupplementaryGroups=db",
                "User=opstest"
            ]
        );
        assert!(proposal.step_down.is_some());
        let [file] = &proposal.files[..] else {
            panic!("{proposal:?}");
        };
        assert_eq!(file.names, ["cap_net_bind_service"]);
        assert!(file.is_interpreter);
        let unknown = decided(socket("/run/other/sock", 43), 0);
        let Recommendation::Proposed(proposal) = unknown.recommendation() else {
            panic!("{unknown:?}");
        };
        assert_eq!(proposal.nameless_groups, ["43"]);
    }
}
