//! `harden apply`: files in their places, tried, and put back where they do not prove themselves.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{
    ask::{self, Ask},
    profile::Decisions,
};
use crate::{
    apply::{Backend, Files, NotPutBack, Outcome, Trial, Unit},
    observation::{self, Observation, Text},
    profile::{FORMATS, Request},
};

/// `harden apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The unit: a service of this system that runs
    pub unit: OsString,
    /// The observation (a JSON file) [default: what the agent has recorded of the unit]
    pub observation: Option<PathBuf>,
    /// What confines the unit
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    /// Print what would change in which files, as diff -u does, and change nothing; does not need root
    #[arg(long)]
    pub dry_run: bool,
    /// Leave it below /run, until the next reboot
    #[arg(long)]
    pub runtime: bool,
    /// A shell command that has to succeed while the unit runs so; otherwise it is put back
    #[arg(long, value_name = "COMMAND")]
    pub test: Option<String>,
    /// Put it back after this time, such as 10m, unless `harden confirm UNIT` keeps it
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub confirm: Option<Duration>,
    /// The longest that restart, look and test may take. If harden is killed, systemd puts the unit back after this time
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2m", conflicts_with = "confirm")]
    pub within: Duration,
    /// How long the unit has to stay up before it is looked at
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2s")]
    pub settle: Duration,
    /// What is decided over
    #[command(flatten)]
    pub decisions: Decisions,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

/// It was put back.
const PUT_BACK: u8 = 1;
/// It could not be put back.
const NOT_PUT_BACK: u8 = 6;

impl Apply {
    /// Decides, tries, and prints how that ended.
    ///
    /// # Errors
    /// Nothing could be decided or tried; or the unit could not be put back.
    pub fn run(&self) -> Result<u8> {
        let unit = Unit::find(&self.unit)?;
        let recorded = recorded(&unit, self.observation.as_deref(), &self.ask)?;
        let programs = programs(&recorded);
        let files = decided(&unit, self.backend, &self.decisions, recorded)?;
        if self.dry_run {
            ask::print(&diff(&unit, &files)?)?;
            return Ok(0);
        }
        needs_root("apply")?;
        self.is_possible()?;
        let trial = Trial {
            unit: &unit,
            files: &files,
            runtime: self.runtime,
            test: self.test.as_deref(),
            programs: &programs,
            confirm: self.confirm,
            within: self.within,
            settle: self.settle,
        };
        let outcome = trial.run()?;
        let mut text = String::new();
        let name = unit.name();
        let how = match &outcome {
            Outcome::Kept(found) => {
                writeln!(text, "{found}")?;
                format!("applied ({})", files.backend)
            }
            Outcome::Waiting(until, found) => {
                writeln!(text, "{found}")?;
                let until = until.round(jiff::Unit::Second)?;
                format!(
                    "applied ({}) until {until}; to keep it: harden confirm {name}",
                    files.backend
                )
            }
            Outcome::PutBack(reason) => {
                ask::note(format_args!("harden: {reason}"));
                "put back as it was".to_owned()
            }
        };
        writeln!(text, "{name}: {how}")?;
        ask::print(&text)?;
        let is_back = matches!(outcome, Outcome::PutBack(_));
        Ok(if is_back { PUT_BACK } else { 0 })
    }
}

impl Apply {
    /// That the time is enough, and the test is one.
    fn is_possible(&self) -> Result<()> {
        let (limit, option) = match self.confirm {
            Some(confirm) => (confirm, "--confirm"),
            None => (self.within, "--within"),
        };
        ensure!(
            limit > self.settle,
            "{option} has to be longer than --settle, which is {}",
            humantime::format_duration(self.settle)
        );
        let is_test = |test: &str| !test.trim().is_empty();
        ensure!(
            self.test.as_deref().is_none_or(is_test),
            "--test is empty: name a command, or leave the option out"
        );
        Ok(())
    }
}

/// The programs that a unit was seen to run.
fn programs(recorded: &Observation) -> BTreeSet<Text> {
    let runs = recorded.runs.values();
    runs.flat_map(|run| run.executables.keys().cloned())
        .collect()
}

/// What was recorded of a unit: in a file, or by the agent.
///
/// # Errors
/// It cannot be read, or is of another unit.
pub(super) fn recorded(unit: &Unit, path: Option<&Path>, ask: &Ask) -> Result<Observation> {
    let Some(path) = path else {
        return ask::recorded(&unit.name().into(), ask);
    };
    let observation = observation::read(path)?;
    ensure!(
        unit.is_meant_by(&observation.name),
        "{} is an observation of {}, not of {}",
        path.display(),
        observation.name,
        unit.name()
    );
    Ok(observation)
}

/// The files for the unit, as `harden render` makes them.
///
/// # Errors
/// One of them is withheld.
pub(super) fn decided(
    unit: &Unit,
    backend: Backend,
    decisions: &Decisions,
    mut observation: Observation,
) -> Result<Files> {
    let json = observation::to_json(&observation)?;
    // On the machine where it was made it may have been a container's.
    observation.name = Text::from(unit.name());
    let (request, warnings) = decisions.request();
    if backend == Backend::Firejail {
        for warning in &warnings {
            ask::note(format_args!("warning: {warning}"));
        }
    }
    let names = backend.formats();
    let formats = FORMATS.iter().filter(|one| names.contains(&one.name));
    let request = Request {
        formats: formats.collect(),
        ..request
    };
    let adapted = request.adapt(&observation)?;
    let made = request.plan(&observation, &adapted).files();
    if let Some(withheld) = made.withheld.first() {
        anyhow::bail!("{} is not written: {}", withheld.name, withheld.reason);
    }
    let contents = made.written.into_iter();
    let contents: Result<_, _> = contents.map(|output| output.content.into_bytes()).collect();
    Files::new(backend, contents?, &json)
}

/// What would change, as diff(1) says it.
fn diff(unit: &Unit, files: &Files) -> Result<String> {
    let mut text = String::new();
    for (path, new) in files.lasting(unit) {
        let old = if path.exists() {
            &path
        } else {
            Path::new("/dev/null")
        };
        let mut command = Command::new("diff");
        command.arg("-u").arg(old).arg("-");
        command.args(["--label", &old.to_string_lossy()]);
        command.args(["--label", &path.to_string_lossy()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("diff")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(new.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        // 1: they differ.
        let status = output.status.code();
        ensure!(matches!(status, Some(0 | 1)), "diff: {}", output.status);
        text.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    Ok(text)
}

/// That root has called.
pub(super) fn needs_root(command: &str) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    ensure!(is_root, "it needs root: sudo harden {command} …");
    Ok(())
}

/// The exit status for an error: those of the agent's commands, where they say more than that nothing was changed.
#[must_use]
pub(super) fn failure_status(error: &anyhow::Error) -> u8 {
    if error.is::<NotPutBack>() {
        return NOT_PUT_BACK;
    }
    match ask::failure_status(error) {
        status @ 3..=5 => status,
        _ => 2,
    }
}
