//! Files of schema 1, which knew `harden run` alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use super::model::{self, Executable, Host, RunKind};
use super::strict;
use super::text::{Text, Word};

/// The schema that this module reads.
pub(super) const SCHEMA: u32 = 1;

/// An observation as schema 1 had it. What lies deeper than a run is the same in all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Observation {
    #[serde(rename = "schema")]
    _schema: u32,
    name: Text,
    #[serde(deserialize_with = "strict::unique")]
    runs: BTreeMap<Word, Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    command: Vec<Text>,
    uid: u32,
    started: Timestamp,
    ended: Timestamp,
    status: i32,
    host: Host,
    #[serde(deserialize_with = "strict::labels")]
    hooks: BTreeMap<String, String>,
    #[serde(deserialize_with = "strict::unique")]
    losses: BTreeMap<Word, u64>,
    #[serde(deserialize_with = "strict::by_path")]
    symlinks: BTreeMap<Text, Text>,
    #[serde(deserialize_with = "strict::by_path")]
    executables: BTreeMap<Text, Executable>,
}

impl Observation {
    /// The same in the present schema.
    pub(super) fn migrate(self) -> model::Observation {
        let runs = self.runs.into_iter();
        model::Observation {
            schema: model::SCHEMA,
            name: self.name,
            runs: runs.map(|(id, run)| (id, run.migrate())).collect(),
        }
    }
}

impl Run {
    fn migrate(self) -> model::Run {
        model::Run {
            kind: RunKind::Command,
            label: None,
            invocation: None,
            stands_for: BTreeSet::new(),
            command: self.command,
            uid: self.uid,
            started: self.started,
            ended: self.ended,
            status: Some(self.status),
            host: self.host,
            hooks: self.hooks,
            losses: self.losses,
            filters: BTreeSet::new(),
            symlinks: self.symlinks,
            executables: self.executables,
            control: BTreeMap::new(),
        }
    }
}
