//! `harden check`: would this profile have broken these runs?

mod junit;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod text;

use std::{collections::BTreeSet, ffi::OsString, fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use self::{report::Report, source::Source};
use super::ask::{self, Ask};
use crate::{
    machine,
    observation::{Join as _, Observation},
    policy::{
        Generalisation,
        firejail::{Launch, Target, Version},
        judge::{
            Judge, Read, Recorded, Sandbox, Surroundings, Trap, check, firejail, oci, systemd,
        },
    },
    profile::{self, Request, Start},
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

/// What a profile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A Firejail profile
    Firejail,
    /// A systemd unit, or a drop-in
    Systemd,
    /// The seccomp object of an OCI container
    Oci,
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
        let machine = self.machine(source.sandbox, recorded);
        let (read, mut traps) = machine.understand(&source)?;
        let homes = machine.target.homes.given().cloned().unwrap_or_default();
        let around = Surroundings::of(recorded, homes);
        let hides_shell = || firejail::hides_shell(&read.rules, &around, &machine.target);
        let hides = Some(source.sandbox).filter(|one| *one == Sandbox::Firejail);
        traps.extend(hides.and_then(|_| hides_shell()));
        let judge = Judge::new(&read.rules, &around);
        let check = check::Check::of(&read.rules, &judge, &Recorded::of(recorded));
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

    fn machine(&self, sandbox: Sandbox, observation: &Observation) -> Machine {
        let target = match sandbox {
            Sandbox::Firejail => {
                let asked = machine::firejail::ask(self.firejail_version, Launch::Direct);
                let request = Request {
                    target: asked.target,
                    start: self.start,
                    ..Request::default()
                };
                request.target(observation)
            }
            Sandbox::Systemd | Sandbox::Oci => Target::default(),
        };
        let calls = (sandbox == Sandbox::Systemd).then(machine::systemd::calls);
        Machine {
            target,
            calls: calls.flatten(),
        }
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

/// What the installed sandboxes say of themselves.
struct Machine {
    target: Target,
    calls: Option<BTreeSet<String>>,
}

impl Machine {
    fn understand(&self, source: &Source) -> anyhow::Result<(Read, Vec<Trap>)> {
        let lines = &source.lines;
        Ok(match source.sandbox {
            Sandbox::Firejail => {
                let homes = self.target.homes.given().cloned().unwrap_or_default();
                let read = firejail::read_lines(lines, &homes);
                (read, firejail::traps(lines, &self.target))
            }
            Sandbox::Systemd => {
                let traps = systemd::traps(lines, self.calls.as_ref());
                (systemd::read_lines(lines), traps)
            }
            Sandbox::Oci => {
                let read = oci::read(&source.text()).with_context(|| source.name.clone())?;
                (read, Vec::new())
            }
        })
    }
}
