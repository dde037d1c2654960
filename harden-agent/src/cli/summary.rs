//! What a recording says at its end: a short table, the warnings, where the files are.

use std::{fmt::Write as _, path::PathBuf};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::{
    observation::{Observation, Text},
    policy::{Decision, Item, Warning, firejail::Profile},
};

/// The figures of a recording, as `--json` prints them.
#[derive(Serialize)]
struct Summary<'a> {
    /// Name of the observation.
    name: &'a Text,
    /// Runs it holds.
    runs: usize,
    /// Programs seen.
    programs: usize,
    /// Calls that were seen.
    calls: usize,
    /// Calls that the profile allows: some come without being asked for. `None` where it has no such list.
    allowed: Option<usize>,
    /// Capabilities that it keeps.
    capabilities: Vec<&'a str>,
    /// Socket families that it allows.
    protocols: Vec<&'a str>,
    /// Different paths seen.
    paths: usize,
    /// What could not be recorded.
    losses: u64,
    /// What the person who installs the profile must know.
    warnings: &'a [Warning],
    /// The files written.
    files: &'a [PathBuf],
}

fn summarise<'a>(
    observation: &'a Observation,
    profile: &'a Profile,
    files: &'a [PathBuf],
) -> Summary<'a> {
    let paths: std::collections::BTreeSet<_> = observation
        .runs
        .values()
        .flat_map(|run| {
            run.executables
                .values()
                .flat_map(|facts| facts.files.keys())
        })
        .collect();
    Summary {
        name: &observation.name,
        runs: profile.coverage.runs,
        programs: profile.coverage.executables.len(),
        calls: profile.coverage.completeness.calls.seen,
        allowed: profile.syscalls.kept().map(<[Item]>::len),
        capabilities: values(&profile.capabilities.keep),
        protocols: values(&profile.protocols),
        paths: paths.len(),
        losses: profile.coverage.losses.values().sum(),
        warnings: &profile.warnings,
        files,
    }
}

fn values(decision: &Decision<Vec<Item>>) -> Vec<&str> {
    decision
        .given()
        .into_iter()
        .flatten()
        .map(|item| item.value.as_str())
        .collect()
}

/// One line of JSON.
#[must_use]
pub(super) fn json(observation: &Observation, profile: &Profile, files: &[PathBuf]) -> String {
    let summary = summarise(observation, profile, files);
    // Plain strings and numbers always serialise.
    serde_json::to_string(&summary).unwrap_or_default()
}

/// The table, the warnings and the files.
#[must_use]
pub(super) fn text(observation: &Observation, profile: &Profile, files: &[PathBuf]) -> String {
    let summary = summarise(observation, profile, files);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let list = |names: &[&str]| match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    table.add_row(["runs".to_owned(), summary.runs.to_string()]);
    table.add_row(["programs".to_owned(), summary.programs.to_string()]);
    let allowed = summary
        .allowed
        .map(|allowed| format!(" ({allowed} allowed)"));
    let calls = format!("{}{}", summary.calls, allowed.unwrap_or_default());
    table.add_row(["calls".to_owned(), calls]);
    table.add_row(["capabilities".to_owned(), list(&summary.capabilities)]);
    table.add_row(["socket families".to_owned(), list(&summary.protocols)]);
    table.add_row(["paths".to_owned(), summary.paths.to_string()]);
    table.add_row(["events lost".to_owned(), summary.losses.to_string()]);
    let mut text = format!("{table}\n");
    for warning in summary.warnings {
        let _ = writeln!(text, "warning{warning}");
    }
    for file in summary.files {
        let file = Text::from(file.as_os_str().as_encoded_bytes()).to_string();
        text.extend([
            "wrote ", &file, "
",
        ]);
    }
    text
}
