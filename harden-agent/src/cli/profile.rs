//! What the commands that write a profile have in common.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::{
    observation::Observation,
    output::{Ours, Output},
    policy::{Launch, Policy, Target, Version},
    render::firejail,
    target,
};

/// How the program will be started under Firejail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// `firejail --profile=FILE -- PROGRAM`: Firejail runs it through bash
    Shell,
    /// `firejail --profile=FILE PROGRAM`: no shell is needed or allowed
    Direct,
}

/// How to start what `observation` tells of. Firejail's shell is the user's login shell: one that
/// lets nobody in runs nothing, and what others than bash need is not known.
fn launch(asked: Option<Start>, observation: &Observation, shells: &mut Shells) -> Launch {
    let shell = observation
        .runs
        .values()
        .map(|run| shells.of(run.uid))
        .find(|shell| !is_bash(shell))
        .unwrap_or_else(|| BASH.to_owned());
    match asked {
        Some(Start::Direct) => Launch::Direct,
        None if !is_bash(&shell) => Launch::Direct,
        _ => Launch::Shell(shell),
    }
}

/// The login shells looked up so far: a look-up reads files or asks a server, and a service of an
/// agent has many runs.
#[derive(Clone, Debug, Default)]
struct Shells(BTreeMap<u32, String>);

impl Shells {
    fn of(&mut self, uid: u32) -> String {
        let shell = self.0.entry(uid).or_insert_with(|| login_shell(uid));
        shell.clone()
    }
}

const BASH: &str = "/bin/bash";

fn is_bash(shell: &str) -> bool {
    shell.ends_with("/bash")
}

/// The login shell of `uid`; bash for a user that this machine does not know: it was recorded
/// on another, and bash is what most have.
fn login_shell(uid: u32) -> String {
    nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .and_then(|user| user.shell.into_os_string().into_string().ok())
        .unwrap_or_else(|| BASH.to_owned())
}

/// What a profile is written for, and where to.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// The directory to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Write for this Firejail instead of the installed one
    #[arg(long, value_name = "VERSION")]
    pub firejail_version: Option<Version>,
    /// How the program will be started [default: shell where that is bash, else direct]
    #[arg(long, value_enum)]
    pub start: Option<Start>,
    /// Rules and warnings only, without the evidence
    #[arg(long)]
    pub bare: bool,
    /// Replace files of the same names that harden did not write
    #[arg(long)]
    pub force: bool,
}

/// A profile, not written yet.
pub struct Profile {
    /// What was decided.
    pub policy: Policy,
    /// The file.
    pub output: Output,
}

impl ProfileArgs {
    /// Decides and renders. Warnings about the target go to standard error.
    pub fn render(&self, observation: &Observation) -> Profile {
        self.renderer().render(observation)
    }

    /// Asks Firejail, once for however many profiles. Warnings about it go to standard error.
    pub fn renderer(&self) -> Renderer {
        let asked = target::firejail::ask(self.firejail_version, Launch::Direct);
        for warning in &asked.warnings {
            eprintln!("warning: {warning}");
        }
        Renderer {
            target: asked.target,
            start: self.start,
            bare: self.bare,
            shells: Shells::default(),
        }
    }
}

/// Writes profiles for one Firejail.
#[derive(Clone)]
pub struct Renderer {
    target: Target,
    start: Option<Start>,
    bare: bool,
    shells: Shells,
}

impl Renderer {
    /// Decides and renders.
    pub fn render(&mut self, observation: &Observation) -> Profile {
        let mut target = self.target.clone();
        target.launch = launch(self.start, observation, &mut self.shells);
        let policy = Policy::decide(observation, target);
        let output = Output {
            name: firejail::file_name(&policy),
            content: firejail::profile(&policy, firejail::Options { bare: self.bare }).into_bytes(),
            ours: Ours::Marker,
        };
        Profile { policy, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::SCHEMA;

    #[test]
    fn asked_for_nothing_a_stranger_starts_through_bash() {
        let nobody_yet = Observation {
            schema: SCHEMA,
            name: "d".into(),
            runs: BTreeMap::new(),
        };
        let launched = |start| launch(start, &nobody_yet, &mut Shells::default());
        assert_eq!(launched(None), Launch::Shell(BASH.to_owned()));
        assert_eq!(launched(Some(Start::Direct)), Launch::Direct);
        assert_eq!(login_shell(u32::MAX - 7), BASH);
    }

    #[test]
    fn a_shell_that_lets_nobody_in_is_passed_by() {
        assert!(!is_bash("/usr/sbin/nologin"));
        assert!(!is_bash(""));
        assert!(is_bash("/usr/bin/bash"));
    }
}
