//! `harden check`: would this profile have broken these runs?

mod junit;
mod report;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use self::report::Report;
use super::{
    ask::{self, Ask},
    source::{Kind, Machine, Source},
};
use crate::{
    observation::{Join as _, Observation},
    policy::{
        Generalisation,
        firejail::Version,
        judge::{Judge, Recorded, Sandbox, Surroundings, check, firejail, systemd},
    },
    profile::{self, Start},
};

/// `harden check`
#[derive(Debug, Args)]
pub struct Check {
    /// The profile: a Firejail profile, a systemd unit or drop-in, the seccomp object of a container, `-` for standard
    /// input, or the name of an installed unit, which is read with its drop-ins
    #[arg(value_name = "PROFILE")]
    pub profile: OsString,
    /// The observations: JSON files, or units as `harden units` lists them
    #[arg(required = true, value_name = "OBSERVATION|UNIT")]
    pub observations: Vec<OsString>,
    /// What the profile is [default: what its name and its text look like]
    #[arg(long, value_enum)]
    pub format: Option<Kind>,
    /// Check for this version of Firejail instead of the installed one
    #[arg(long, value_name = "VERSION")]
    pub firejail_version: Option<Version>,
    /// How the program is started under Firejail [default: shell if the login shell is bash, else direct]
    #[arg(long, value_enum)]
    pub start: Option<Start>,
    /// The directory with your own decisions: what they deny is not asked of the profile
    #[arg(long, value_name = "DIR", default_value = "/etc/harden/overrides")]
    pub overrides: PathBuf,
    /// Fail too if a line could not be judged, or does not mean what it seems to mean
    #[arg(long)]
    pub strict: bool,
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// Write a report for test rigs as well, in the XML of junit, with a test case for each run
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Check {
    /// Reads, judges, and prints.
    ///
    /// # Errors
    /// A file cannot be read, or no agent knows a unit.
    pub fn run(&self) -> anyhow::Result<u8> {
        let source = Source::read(&self.profile, self.format)?;
        let observation = self.observation()?;
        let adapted = profile::adapted(&observation, Generalisation::Exact, &self.overrides)?;
        let recorded = &adapted.exact.recorded;
        let machine = Machine::ask(source.sandbox, recorded, self.firejail_version, self.start);
        let (mut read, mut traps) = machine.understand(&source)?;
        let around = Surroundings::of(recorded, machine.homes());
        let facts = Recorded::of(recorded);
        if source.sandbox == Sandbox::Systemd {
            let absent = systemd::absent(&read.rules, &facts, &around);
            read.unread.extend(absent);
        }
        if source.sandbox == Sandbox::Firejail {
            traps.extend(firejail::hides_shell(&read.rules, &around, &machine.target));
        }
        let judge = Judge::new(&read.rules, &around);
        let check = check::Check::of(&read.rules, &judge, &facts);
        let report = Report {
            profile: &source.name,
            observation: recorded,
            read: &read,
            traps: &traps,
            check: &check,
        };
        if let Some(path) = &self.junit {
            let file = fs::File::create(path).with_context(|| path.display().to_string())?;
            junit::write(&report, self.strict, file).with_context(|| path.display().to_string())?;
        }
        let text = if self.json {
            format!("{}\n", report.json())
        } else {
            report.text()
        };
        ask::print(&text)?;
        Ok(report.status(self.strict))
    }

    /// All observations as one.
    fn observation(&self) -> anyhow::Result<Observation> {
        let mut all = self.observations.iter();
        let first = all.next().context("no observation is named")?;
        let mut sum = ask::observation(first, &self.ask)?;
        for other in all {
            sum.join(ask::observation(other, &self.ask)?);
        }
        Ok(sum)
    }
}
