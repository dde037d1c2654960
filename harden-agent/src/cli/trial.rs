//! `harden trial`: which lines break a test, found by running it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::{
    apply::{decided, needs_root, recorded},
    ask::{self, Ask},
    profile::Decisions,
};
use crate::{
    apply::{Backend, Files, Session, Unit, is_free},
    machine,
    observation::{self, Observation, Text},
    output::{self, Content, Ours, Output, file_stem},
    plural::plural,
    render::{firejail, service, systemd},
    trial::{
        Key, Plan, Record, Removal, Runner, ThisSystem, UnitGate, overrides,
        search::{Limits, Outcome, Set, Verdict, search},
        suspects,
    },
};

mod progress;
mod tighten;

use tighten::Tight;

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
    /// An observation of the unit (a JSON file): what the files refuse of it is tried first, and --tighten rests on it too
    /// [default: what the agent has]
    #[arg(long, value_name = "OBSERVATION")]
    pub seen: Option<PathBuf>,
    /// Then take away what the files allow and the recording shows as asked for in vain alone, as long as the test passes
    #[arg(long)]
    pub tighten: bool,
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
        ensure!(
            self.out.is_dir(),
            "{} is no directory: make it first (mkdir -p), or name another with --out",
            self.out.display()
        );
        ensure!(!self.test.trim().is_empty(), "--test names no command");
        ensure!(
            self.within > self.settle,
            "--within has to be longer than --settle, which is {}",
            humantime::format_duration(self.settle)
        );
        let unit = Unit::find(&self.unit)?;
        // What is on trial would be taken for a part of the unit.
        is_free(&unit, self.backend)?;
        ensure!(
            !self.resume || Record::is_kept(&self.state, &file_stem(&Text::from(unit.name()))),
            "no trial of {} was interrupted: leave --resume out",
            unit.name()
        );
        let source = match &self.drop_in {
            Some(_) => None,
            None => Some(match &self.observation {
                Some(path) => recorded(&unit, Some(path), &self.ask)?,
                None => self.agent_had(&unit)?,
            }),
        };
        let files = self.files(&unit, source.as_ref())?;
        let system = ThisSystem::ask();
        let mut plan = Plan::new(files.clone(), &system);
        let mut record = self.record(&unit, &files, &plan)?;
        let seen = self.seen(&unit)?;
        let in_vain = if self.tighten {
            Some(self.in_vain([source.as_ref(), seen.as_ref()])?)
        } else {
            None
        };
        if !self.resume {
            let suspects = seen.map(|seen| suspects(&files, &seen));
            record.suspect(suspects.unwrap_or_default());
        }
        plan.suspect(record.suspects());
        let session = Session::open(&unit, files.backend, self.within, self.settle)?;
        let mut search = || {
            let mut runner = self.runner(&session, &mut record);
            let outcome = self.search(&mut runner, &mut plan)?;
            let tight = match (&outcome.verdict, &in_vain) {
                (Verdict::Found(set), Some(in_vain)) => {
                    let files = plan.relaxed(set, Some(&self.why()));
                    Some(self.tighten(&mut runner, files, in_vain, &outcome)?)
                }
                _ => None,
            };
            anyhow::Ok((outcome, tight))
        };
        let found = search();
        session.close()?;
        let (outcome, tight) = found.with_context(|| {
            format!(
                "{} was put back as it was; --resume goes on from here",
                unit.name()
            )
        })?;
        let is_out_of_runs = matches!(outcome.verdict, Verdict::OutOfRuns(_))
            || tight.as_ref().is_some_and(Tight::is_out_of_runs);
        if !is_out_of_runs {
            record.remove();
        }
        self.finish(&unit, &plan, &outcome, tight.as_ref())
    }

    fn files(&self, unit: &Unit, source: Option<&Observation>) -> Result<Files> {
        if let Some(path) = &self.drop_in {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            return Ok(Files::of_drop_in(text));
        }
        let source = source.context("there is no observation")?;
        decided(unit, self.backend, &self.decisions, source.clone())
    }

    /// What is known of the unit beside what the files are made from. No agent has to answer.
    fn seen(&self, unit: &Unit) -> Result<Option<Observation>> {
        match &self.seen {
            Some(path) => recorded(unit, Some(path), &self.ask).map(Some),
            None => Ok(match self.agent_had(unit) {
                Ok(seen) => Some(seen),
                Err(error) => {
                    ask::note(format_args!(
                        "what was seen of {} is not known, so nothing is suspected first: {error:#}",
                        unit.name()
                    ));
                    None
                }
            }),
        }
    }

    /// What the agent had of the unit when the trial began. It goes on recording while the test runs, so a trial that is
    /// resumed cannot ask it again: it would have other files to try.
    fn agent_had(&self, unit: &Unit) -> Result<Observation> {
        let stem = file_stem(&Text::from(unit.name()));
        if self.resume {
            let kept = Record::observation(&self.state, &stem);
            return recorded(unit, Some(&kept), &self.ask)
                .context("what the interrupted trial began with");
        }
        let had = recorded(unit, None, &self.ask)?;
        Record::keep_observation(&self.state, &stem, &observation::to_json(&had)?)?;
        Ok(had)
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

    fn runner<'r>(
        &'r self,
        session: &'r Session<'r>,
        record: &'r mut Record,
    ) -> Runner<'r, progress::Progress> {
        Runner {
            session,
            test: &self.test,
            before: record.time(),
            record,
            report: progress::Progress,
            since: Instant::now(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            runs: self.runs,
            ..Limits::default()
        }
    }

    fn search(
        &self,
        runner: &mut Runner<'_, progress::Progress>,
        plan: &mut Plan<'_>,
    ) -> Result<Outcome> {
        let candidates = plan.candidates();
        ask::note(format_args!(
            "{} can be relaxed; {} refused of what was seen",
            plural(candidates.len(), "thing"),
            match runner.record.suspects().len() {
                0 => "nothing is".to_owned(),
                1 => "one is".to_owned(),
                some => format!("{some} are"),
            }
        ));
        if self.resume {
            ask::note(format_args!(
                "{} are known already",
                plural(runner.record.runs(), "test run")
            ));
        }
        let mut gate = UnitGate { plan, runner };
        search(&mut gate, &candidates, self.limits())
    }

    fn finish(
        &self,
        unit: &Unit,
        plan: &Plan<'_>,
        outcome: &Outcome,
        tight: Option<&Tight>,
    ) -> Result<u8> {
        let name = unit.name();
        let runs = tight.map_or(outcome.runs, |tight| tight.runs);
        let runs = plural(runs, "test run");
        let flakes = outcome.flakes;
        let listed = |set: &Set| {
            let mut lines = String::new();
            for one in plan.named(set) {
                lines += &["  ", &one, "\n"].concat();
            }
            lines
        };
        let said = match &outcome.verdict {
            Verdict::Found(set) if !tight.is_some_and(Tight::is_out_of_runs) => {
                let written = self.write(unit, plan, set, tight)?;
                let found = match set.len() {
                    0 => "the test passes as it is".to_owned(),
                    some => format!("{} relaxed", plural(some, "thing")),
                };
                let gone = tight.map_or_else(String::new, |tight| {
                    format!(", {} taken away", plural(tight.gone().len(), "thing"))
                });
                ask::print(&format!(
                    "{name}: {found}{gone}, in {runs}; the test failed by itself in {} of {}\n{}{}{written}",
                    flakes.failed,
                    flakes.runs,
                    listed(set),
                    tight.map(Tight::said).unwrap_or_default()
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
            Verdict::Found(set) | Verdict::OutOfRuns(set) => {
                let so_far = match set.len() {
                    0 => String::new(),
                    _ => format!(" Found so far:\n{}", listed(set)),
                };
                format!("the limit of {runs} is reached; go on with --resume and a larger --runs.{so_far}")
            }
        };
        ask::note(format_args!("harden: {}", said.trim_end()));
        Ok(NOTHING)
    }

    /// What goes with each thing that was relaxed.
    fn why(&self) -> String {
        format!("without it this test fails: {}", self.test)
    }

    /// Writes the files with these relaxed, and what was found needless taken away. Returns what to say of that.
    fn write(
        &self,
        unit: &Unit,
        plan: &Plan<'_>,
        set: &Set,
        tight: Option<&Tight>,
    ) -> Result<String> {
        let subject = Text::from(unit.name());
        let gone: Vec<&Removal> = tight.map(Tight::gone).unwrap_or_default();
        let files = match tight {
            Some(tight) => tight.files(&self.test),
            None => plan.relaxed(set, Some(&self.why())),
        };
        let mut texts = match files.profile {
            Some(profile) => vec![
                (firejail::file_name(&subject), profile),
                (service::file_name(&subject), files.drop_in),
            ],
            None => vec![(systemd::file_name(&subject), files.drop_in)],
        };
        let relaxations: Vec<_> = set.iter().map(|one| plan.relaxation(*one)).collect();
        let stem = file_stem(&subject);
        let needed = format!("Without these this test fails: {}", self.test);
        let needless = format!(
            "All that was recorded of these was in vain, and without them this test passes: {}",
            self.test
        );
        let said = overrides::text(&stem, (&relaxations, &needed), (&gone, &needless));
        if let Some(text) = said {
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
