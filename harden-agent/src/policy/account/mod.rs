//! Whether the program can do without root: everything that it did, done again in thought by an account of its
//! own, and for each thing that would be refused the smallest remedy.
//!
//! Not asked of the capabilities: root that opens its own files needs none (`generic_permission` in fs/namei.c asks
//! for one only where the mode refuses).

mod capabilities;
mod files;
mod recommendation;
mod storage;
mod tmpfiles;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::observation::{Facet, Text, unit_name};

pub use recommendation::{FileCapabilities, Proposal, Recommendation};
pub(super) use storage::WARNINGS;

use super::DecisionOptions;
use super::basis::UnitBasis;
use super::coverage::Coverage;
use super::evidence::{Decision, Evidence, Item};
use super::folded;
use super::warnings::{self, Warning};

/// What is known of the machine's accounts, and how new ones are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// The names of groups by number.
    pub groups: BTreeMap<u32, String>,
    /// What the names of new accounts begin with.
    pub prefix: String,
}

/// Everything decided for one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// What was observed: a unit or a command.
    pub subject: Text,
    /// Over what, and what could not be seen.
    pub coverage: Coverage,
    /// The numbers of the users as whom it was started.
    pub users: BTreeSet<u32>,
    /// The account that is proposed, and its group of the same name.
    pub name: Decision<String>,
    /// The groups that it has to be in besides: they may what it did.
    pub groups: Vec<Item>,
    /// What would be refused, in the order of the remedies.
    pub obstacles: Vec<Obstacle>,
    /// What the person who makes the account must know.
    pub warnings: Vec<Warning>,
}

/// Something that the account could not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The smallest thing that helps.
    pub remedy: Remedy,
    /// What would be refused.
    pub what: String,
    /// Who did it.
    pub evidence: Evidence,
}

/// What helps, the smallest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Nothing, if it acts for one user: systemd starts it as that. For several it stays root.
    User,
    /// A directory that systemd makes for the unit and gives to its user: `RuntimeDirectory=NAME`.
    Directory {
        /// The directive.
        directive: &'static str,
        /// The directory, relative to the directive's own.
        name: String,
    },
    /// The same, and the program has to be told to keep its file there.
    Move {
        /// The directive.
        directive: &'static str,
        /// The directory, absolute.
        to: String,
    },
    /// A line of tmpfiles.d that gives it to the account's group.
    Own {
        /// The line.
        line: String,
    },
    /// Somebody has to look who may connect to this socket: it was not there any more when its mode was looked up.
    Look {
        /// The command.
        command: String,
    },
    /// A group that may already.
    Group {
        /// Its name, or its number where that is not known.
        name: String,
    },
    /// One capability: `CAP_NET_BIND_SERVICE`.
    Capability {
        /// Its name.
        name: String,
    },
    /// It stays root, and why.
    Root {
        /// The reason.
        reason: &'static str,
    },
}

impl Account {
    /// Decides: `User=` holds for all commands of a unit.
    #[must_use]
    pub fn decide(
        basis: &UnitBasis<'_>,
        accounts: &Accounts,
        decision_options: &DecisionOptions,
    ) -> Self {
        let observation = basis.observation();
        let name = name(&observation.name, &accounts.prefix);
        let mut obstacles = Vec::new();
        let mut groups = Vec::new();
        if let Some(name) = name.given() {
            let found = files::obstacles(basis.places(), name, accounts);
            obstacles.extend(found.obstacles);
            groups.extend(found.groups);
        }
        obstacles.extend(capabilities::obstacles(basis));
        obstacles.sort_by(|one, other| (&one.remedy, &one.what).cmp(&(&other.remedy, &other.what)));
        let mut warnings = warnings::of_coverage(basis.coverage());
        warnings.extend(folded::warning(observation));
        warnings.extend(warnings::mixed(observation));
        warnings.extend(warnings::foreign(
            observation,
            decision_options.host.as_ref(),
        ));
        warnings.extend(storage::warning(observation, &obstacles));
        Self {
            subject: observation.name.clone(),
            users: observation.runs.values().map(|run| run.uid).collect(),
            coverage: basis.coverage().clone(),
            name,
            groups,
            obstacles,
            warnings,
        }
    }

    /// Why nothing follows, if some run could not see what would be refused.
    #[must_use]
    pub fn blind(&self) -> Vec<String> {
        let facts = [Facet::Files, Facet::Capabilities];
        facts
            .into_iter()
            .filter_map(|fact| self.coverage.blind(fact))
            .collect()
    }

    /// The reasons to stay root.
    pub fn root(&self) -> impl Iterator<Item = &Obstacle> {
        let is_root = |one: &&Obstacle| matches!(one.remedy, Remedy::Root { .. });
        self.obstacles.iter().filter(is_root)
    }
}

/// The longest name of an account or group (`UT_NAMESIZE` less one).
const LIMIT: usize = 31;

/// Whether useradd(8) and sysusers.d(5) take it as a name, and not as a number or another line.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && text.len() <= LIMIT
        && text.bytes().all(plain)
}

/// The name of the account for `subject`.
fn name(subject: &Text, prefix: &str) -> Decision<String> {
    let unit = String::from_utf8_lossy(unit_name(subject)).to_ascii_lowercase();
    let stem = unit.strip_suffix(".service").unwrap_or(&unit);
    // All instances of a template are one program.
    let stem = stem.split('@').next().unwrap_or_default();
    let name = format!("{prefix}{stem}");
    if !stem.is_empty() && is_name(&name) {
        Decision::Given(name)
    } else {
        Decision::withheld(format!(
            "an account's name is up to {LIMIT} lower case letters, digits, '-' and '_', and none can be made of {subject}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_after_its_program() {
        for (subject, expected) in [
            ("restd", Some("opsrestd")),
            ("restd.service", Some("opsrestd")),
            ("OpenVPN@home.service", Some("opsopenvpn")),
            ("/machine/x/payload:restd.service", Some("opsrestd")),
            ("a b", None),
            ("@x.service", None),
            ("../etc", None),
            ("a\nu root 0", None),
            ("", None),
            ("abcdefghijklmnopqrstuvwxyzabcdefghijkl", None),
        ] {
            let name = name(&subject.into(), "ops");
            assert_eq!(name.given().map(String::as_str), expected, "{subject}");
        }
    }
}
