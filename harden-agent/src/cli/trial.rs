//! `harden trial`: which lines break a test, found by running it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    apply::{decided, needs_root, recorded},
    ask::{self, Ask},
    profile::Decisions,
};
use crate::{
    apply::{Backend, Files, Session, Unit},
    machine,
    observation::Text,
    output::{self, Content, Ours, Output, file_stem},
    plural::plural,
    render::{firejail, service, systemd},
    trial::{
        Key, Plan, Record, Relaxation, ThisSystem, UnitGate, overrides,
        search::{Limits, Outcome, Set, Verdict, search},
        suspects,
    },
};

mod progress;

/// `harden trial`
#[derive(Debug, Args)]
pub struct Trial {
    /// The unit: a service of this system that runs
    pub unit: OsString,
    /// The observation that the files are made from (a JSON file) [default: what the agent has recorded of the unit]
    pub observation: Option<PathBuf>,
    /// A shell command that succeeds when the unit works
    #[arg(long, value_name = "COMMAND")]
    pub test: String,
    /// What confines the unit
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    /// Try this drop-in instead of one made from an observation
    #[arg(long, value_name = "FILE", conflicts_with_all = ["observation", "backend"])]
    pub drop_in: Option<PathBuf>,
    /// An observation of the unit (a JSON file): what the files refuse of it is tried first [default: what the agent has]
    #[arg(long, value_name = "OBSERVATION")]
    pub seen: Option<PathBuf>,
    /// Go on with a trial that was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Write the files into this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// The longest that a restart with its test may take. If harden is killed, systemd puts the unit back soon after
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2m")]
    pub within: Duration,
    /// How long the unit has to stay up before it is tested
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1s")]
    pub settle: Duration,
    /// Stop after so many test runs
    #[arg(long, value_name = "N", default_value_t = Limits::default().runs)]
    pub runs: usize,
    /// Where a trial is kept for --resume
    #[arg(long, value_name = "DIR", default_value = "/var/lib/harden/trials")]
    pub state: PathBuf,
    /// What is decided over
    #[command(flatten)]
    pub decisions: Decisions,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

/// There are no files under which the test passes.
const NOTHING: u8 = 1;

impl Trial {
    /// Tries, writes the files, and prints what was relaxed. Returns the exit status.
    ///
    /// # Errors
    /// Nothing could be tried; or the unit could not be put back.
    pub fn run(&self) -> Result<u8> {
        needs_root("trial")?;
        let unit = Unit::find(&self.unit)?;
        let files = self.files(&unit)?;
        let mut plan = Plan::new(files.clone(), &ThisSystem);
        let mut record = self.record(&unit, &files, &plan)?;
        if !self.resume {
            record.suspect(self.suspects(&unit, &files)?);
        }
        plan.suspect(record.suspects());
        let session = Session::open(&unit, files.backend, self.within, self.settle)?;
        let outcome = self.search(&session, &mut plan, &mut record);
        session.close()?;
        let outcome = outcome?;
        if !matches!(outcome.verdict, Verdict::OutOfRuns(_)) {
            record.remove();
        }
        self.finish(&unit, &plan, &outcome)
    }

    fn files(&self, unit: &Unit) -> Result<Files> {
        if let Some(path) = &self.drop_in {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            return Ok(Files::of_drop_in(text));
        }
        let recorded = recorded(unit, self.observation.as_deref(), &self.ask)?;
        decided(unit, self.backend, &self.decisions, recorded)
    }

    /// What is tried first. No agent has to answer.
    fn suspects(&self, unit: &Unit, files: &Files) -> Result<Vec<Relaxation>> {
        let seen = match &self.seen {
            Some(path) => recorded(unit, Some(path), &self.ask)?,
            None => match recorded(unit, None, &self.ask) {
                Ok(seen) => seen,
                Err(_) => return Ok(Vec::new()),
            },
        };
        Ok(suspects(files, &seen))
    }

    fn record(&self, unit: &Unit, files: &Files, plan: &Plan<'_>) -> Result<Record> {
        let name = Text::from(unit.name());
        let unit_text = machine::unit::text(&name).unwrap_or_default();
        let candidates = plan.named(&plan.candidates().into_iter().collect());
        let mut texts = vec![files.drop_in.as_str()];
        texts.extend(files.profile.as_deref());
        let key = Key {
            unit: unit.name(),
            unit_text: &unit_text,
            files: &texts,
            candidates: &candidates,
            test: &self.test,
        };
        let stem = file_stem(&name);
        if self.resume {
            return Record::resumed(&self.state, &stem, &key);
        }
        Ok(Record::new(&self.state, &stem, &key))
    }

    fn search(
        &self,
        session: &Session<'_>,
        plan: &mut Plan<'_>,
        record: &mut Record,
    ) -> Result<Outcome> {
        let candidates = plan.candidates();
        eprintln!(
            "{} can be relaxed; {} refused of what was seen",
            plural(candidates.len(), "thing"),
            match record.suspects().len() {
                0 => "nothing is".to_owned(),
                1 => "one is".to_owned(),
                some => format!("{some} are"),
            }
        );
        if self.resume {
            eprintln!("{} are known already", plural(record.runs(), "test run"));
        }
        let before = record.time();
        let mut gate = UnitGate {
            session,
            plan,
            test: &self.test,
            record,
            report: progress::Progress,
            since: Instant::now(),
            before,
        };
        let limits = Limits {
            runs: self.runs,
            ..Limits::default()
        };
        search(&mut gate, &candidates, limits)
    }

    fn finish(&self, unit: &Unit, plan: &Plan<'_>, outcome: &Outcome) -> Result<u8> {
        let name = unit.name();
        let runs = plural(outcome.runs, "test run");
        let flakes = outcome.flakes;
        let listed = |set: &Set| {
            let mut lines = String::new();
            for one in plan.named(set) {
                lines += &["  ", &one, "\n"].concat();
            }
            lines
        };
        let said = match &outcome.verdict {
            Verdict::Found(set) => {
                let written = self.write(unit, plan, set)?;
                let found = match set.len() {
                    0 => "the test passes as it is".to_owned(),
                    some => format!("{} relaxed", plural(some, "thing")),
                };
                ask::print(&format!(
                    "{name}: {found}, in {runs}; the test failed by itself in {} of {}\n{}{written}",
                    flakes.failed,
                    flakes.runs,
                    listed(set)
                ))?;
                return Ok(0);
            }
            Verdict::FailsByItself(failed, all) => format!(
                "the test fails without any confinement, in {failed} of {}: the fault is not the profile's",
                plural(*all, "run")
            ),
            Verdict::Elsewhere => {
                "the test fails even if all that can be relaxed is relaxed: the fault is in another line".to_owned()
            }
            Verdict::TooMany(set) => format!(
                "{} is not enough: this profile is not of this unit, or too little was recorded for it. Found so far:\n{}",
                plural(set.len(), "relaxation"),
                listed(set)
            ),
            Verdict::OutOfRuns(set) => format!(
                "the {runs} are used up; go on with --resume and a larger --runs. Found so far:\n{}",
                listed(set)
            ),
        };
        eprintln!("harden: {}", said.trim_end());
        Ok(NOTHING)
    }

    /// Writes the files with these relaxed. Returns what to say of that.
    fn write(&self, unit: &Unit, plan: &Plan<'_>, set: &Set) -> Result<String> {
        let subject = Text::from(unit.name());
        let why = format!("without it this test fails: {}", self.test);
        let files = plan.relaxed(set, Some(&why));
        let mut texts = match files.profile {
            Some(profile) => vec![
                (firejail::file_name(&subject), profile),
                (service::file_name(&subject), files.drop_in),
            ],
            None => vec![(systemd::file_name(&subject), files.drop_in)],
        };
        let relaxations: Vec<_> = set.iter().map(|one| plan.relaxation(*one)).collect();
        let stem = file_stem(&subject);
        let why = format!("Without these this test fails: {}", self.test);
        if let Some(text) = overrides::text(&stem, &relaxations, &why) {
            texts.push((format!("{stem}.overrides.toml"), text));
        }
        let outputs = texts.into_iter().map(|(name, text)| Output {
            name,
            content: Content::Bytes(text.into_bytes()),
            ours: Ours::Marker,
        });
        let outputs: Vec<_> = outputs.collect();
        output::write(&self.out, &outputs, false)?;
        let paths = outputs.iter().map(|output| shown(&self.out, &output.name));
        Ok(paths.collect())
    }
}

fn shown(directory: &Path, name: &str) -> String {
    format!("wrote {}\n", directory.join(name).display())
}
