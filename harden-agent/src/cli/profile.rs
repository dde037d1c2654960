//! The arguments of the commands that write files for a sandbox.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::{
    machine,
    observation::Text,
    output::Output,
    policy::{
        Compatibility, DecisionOptions, Generalisation, Id, Mode,
        firejail::{Launch, Version, service::UnitFile},
    },
    profile::{self, FORMATS, Files, Format, Request, Start},
    render::{Options, report, yocto},
};

/// What is decided over, and how.
#[derive(Clone, Debug, Args)]
pub struct Decisions {
    /// Add the system calls that another version of the C library, or another kernel, uses instead of those seen
    #[arg(long, value_enum, default_value_t)]
    pub widen: Compatibility,
    /// Allow only the system calls that were seen, without the implicit ones that circumstances can cause
    #[arg(long, conflicts_with = "widen")]
    pub exact: bool,
    /// The kind of system call list [default: the recommended one; the file says which]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How far directories replace the files in them
    #[arg(long, value_enum, default_value_t)]
    pub paths: Generalisation,
    /// The directory with your own decisions, in NAME.toml for the unit or command NAME
    #[arg(long, value_name = "DIR", default_value = "/etc/harden/overrides")]
    pub overrides: PathBuf,
    /// Decide for this version of Firejail instead of the installed one
    #[arg(long, value_name = "VERSION")]
    pub firejail_version: Option<Version>,
    /// How the program will be started [default: shell if the login shell is bash, else direct]
    #[arg(long, value_enum)]
    pub start: Option<Start>,
}

impl Decisions {
    /// What is asked of plans, and warnings about the Firejail that they are for. Asks the installed one, once for however
    /// many observations.
    pub fn request(&self) -> (Request, Vec<String>) {
        let asked = machine::firejail::ask(self.firejail_version, Launch::Direct);
        let request = Request {
            target: asked.target,
            start: self.start,
            asks_systemd: true,
            decision_options: self.decision_options(),
            overrides: self.overrides.clone(),
            ..Request::default()
        };
        (request, asked.warnings)
    }

    /// For this machine.
    fn decision_options(&self) -> DecisionOptions {
        DecisionOptions {
            host: Some(machine::host::this()),
            compatibility: if self.exact {
                Compatibility::Exact
            } else {
                self.widen
            },
            mode: self.mode,
            generalisation: self.paths,
        }
    }
}

/// What is written, what for, and where to.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// What to write; separate several formats by commas
    #[arg(long, value_parser = format_parser(), value_delimiter = ',', default_value = "firejail")]
    pub format: Vec<&'static Format>,
    /// Write the files into this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// What is decided over
    #[command(flatten)]
    pub decisions: Decisions,
    /// For the format service: the output of `systemctl cat UNIT`, if the unit is on another system
    #[arg(long, value_name = "FILE")]
    pub unit_file: Option<PathBuf>,
    /// For the format yocto: the override syntax of the Yocto release
    #[arg(long, value_enum, default_value_t)]
    pub yocto_syntax: yocto::Syntax,
    /// For the format report: its syntax
    #[arg(long, value_enum, default_value_t)]
    pub report_syntax: report::Syntax,
    /// The prefix of the names of proposed accounts
    #[arg(long, value_name = "PREFIX", default_value = "ops")]
    pub account_prefix: String,
    /// Write rules and warnings only, without the evidence
    #[arg(long)]
    pub bare: bool,
    /// Leave out these warnings, by name; separate several names by commas
    #[arg(long, value_parser = warning_parser(), value_delimiter = ',', value_name = "WARNING")]
    pub silence: Vec<Id>,
    /// Replace files of the same names even if harden did not write them
    #[arg(long)]
    pub force: bool,
}

/// The formats by their names, with what `--help` says of each.
fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.about));
    // No other name is possible.
    PossibleValuesParser::new(names).map(|name| Format::named(&name).unwrap_or(&FORMATS[0]))
}

/// The kinds of warnings by their names.
fn warning_parser() -> impl TypedValueParser<Value = Id> {
    let names = Id::all().map(|id| PossibleValue::new(id.name()).help(id.about()));
    PossibleValuesParser::new(names).try_map(|name| Id::named(&name).ok_or("no kind of warning"))
}

impl ProfileArgs {
    /// The files asked for, with nothing in them yet: whether they can be written can be found out before
    /// anything is decided.
    pub fn empty(&self, subject: &Text) -> Vec<Output<'static>> {
        let names = Request {
            report_syntax: self.report_syntax,
            ..Request::default()
        };
        let formats = self.formats().into_iter();
        formats
            .map(|format| format.empty(subject, &names))
            .collect()
    }

    /// Whether what somebody has decided about `subject` can be read.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_overrides(&self, subject: &Text) -> Result<()> {
        profile::overrides(&self.decisions.overrides, subject).map(drop)
    }

    /// The formats asked for, each once, in the order of [`FORMATS`].
    pub fn formats(&self) -> Vec<&'static Format> {
        let is_asked = |known: &&Format| self.format.iter().any(|format| format.name == known.name);
        FORMATS.iter().filter(is_asked).collect()
    }

    /// What is asked of plans. Warnings about the installed Firejail go to standard error.
    ///
    /// # Errors
    /// The file with the unit cannot be read.
    pub fn request(&self) -> Result<Request> {
        let formats = self.formats();
        let (request, warnings) = self.decisions.request();
        if formats.iter().any(|format| format.name == "firejail") {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
        }
        let unit = self.unit_file.as_deref().map(|path| {
            let text = fs::read(path).with_context(|| path.display().to_string())?;
            anyhow::Ok(UnitFile::parse(&String::from_utf8_lossy(&text)))
        });
        Ok(Request {
            formats,
            unit: unit.transpose()?,
            yocto_syntax: self.yocto_syntax,
            report_syntax: self.report_syntax,
            account_prefix: self.account_prefix.clone(),
            options: Options {
                bare: self.bare,
                silenced: self.silence.iter().copied().collect(),
                remarks: Vec::new(),
            },
            ..request
        })
    }
}

/// The files that were written; says which were not, and why.
pub(super) fn written(files: Files<'_>) -> Vec<Output<'_>> {
    for withheld in files.withheld {
        eprintln!(
            "warning: {} is not written: {}",
            withheld.name, withheld.reason
        );
    }
    files.written
}
