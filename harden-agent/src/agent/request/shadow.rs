//! Shadows, as the control interface has them: profiles that are judged by and not enforced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::{FactKind, NameError, Time};
use crate::{
    apply::Backend,
    observation::{Text, Word},
};

/// A profile, as a client sends it: the agent reads no file for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ShadowProfile {
    /// What would enforce it.
    pub backend: Backend,
    /// Where the client has it from: a file, or the plan of the unit.
    pub source: Text,
    /// Its text, with that of all files that it includes, in order.
    pub parts: Vec<ProfilePart>,
    /// The home directories of those who start Firejail.
    pub homes: Vec<Text>,
    /// Symbolic links, as far as the client knows them.
    pub links: Vec<Link>,
    /// What somebody has decided about the unit (a file of overrides): what it denies is not asked of the profile.
    pub overrides: Option<String>,
}

/// Lines of a file that stand together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ProfilePart {
    /// The file, as messages name it.
    pub file: Text,
    /// The number of the first line in it, from 1.
    pub first: u64,
    /// The lines.
    pub text: String,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Link {
    /// Its path.
    pub path: Text,
    /// What it says.
    pub text: Text,
}

/// A unit in shadow, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ShadowSummary {
    /// Its name.
    pub unit: Text,
    /// What would enforce the profile.
    pub backend: Backend,
    /// Where the profile is from.
    pub source: Text,
    /// The SHA-256 digest of what is judged by.
    pub digest: String,
    /// When it was frozen.
    pub since: Time,
    /// For how many seconds the unit could be observed since then.
    pub seconds: u64,
    /// Marked tests that have ended since then, in which the unit did something.
    pub tests: u64,
    /// Different facts since then.
    pub facts: u64,
    /// Of them, those that the profile would refuse.
    pub denials: u64,
    /// How many of those are counted alone, as there was no room for more.
    pub left_out: u64,
    /// Facts that could not be judged, by the reason.
    pub unjudged: BTreeMap<String, u64>,
    /// Lines of the profile that could not be judged.
    pub unread: Vec<Text>,
    /// What could not be recorded since then, by kind.
    pub losses: BTreeMap<String, u64>,
    /// How often the unit may have done something since then that was not recorded.
    #[serde(default)]
    pub gaps: u64,
    /// No line of the profile, as far as they are judged, refuses anything.
    #[serde(default)]
    pub refuses_nothing: bool,
}

/// A unit in shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Shadow {
    /// In short.
    pub summary: ShadowSummary,
    /// What the profile would refuse, the first first.
    pub denials: Vec<Denial>,
}

/// A fact that the profile would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Denial {
    /// The command of the unit, such as `start-pre`; none: the main process.
    pub command: Option<String>,
    /// The program.
    pub executable: Text,
    /// What kind of fact.
    pub kind: FactKind,
    /// The fact.
    pub fact: Text,
    /// The line that refuses it, or why the sandbox does whatever the profile says.
    pub line: Text,
    /// Where the line stands: `nginx.profile:12`.
    pub at: Option<Text>,
    /// When it was first seen, where that is known.
    pub first: Option<Time>,
    /// In which run.
    pub run: Word,
    /// The name of that run, if it was marked.
    pub mark: Option<Text>,
}

/// Why a profile was not frozen, or is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShadowError {
    /// It is not known for which unit.
    Name(NameError),
    /// As a sentence.
    Refused(String),
}

impl From<NameError> for ShadowError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}
