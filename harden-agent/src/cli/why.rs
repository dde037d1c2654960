//! `harden why`: what was refused to a unit, and by which line of what confines it.

mod write;

use std::{
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::{
    ask::{self, Ask},
    evidence,
    source::{Machine, Source},
};
use crate::{
    machine,
    observation::{Observation, Text},
    policy::{
        denials::{Denial, Supposed, Wish},
        judge::{Judge, Refusal, Rules, Sandbox, Surroundings},
    },
};

/// `harden why`
#[derive(Debug, Args)]
pub struct Why {
    /// The unit, or the JSON file of an observation
    #[arg(value_name = "UNIT|OBSERVATION")]
    pub unit: OsString,
    /// What confines it [default: the unit with its drop-ins as systemd has them, and the Firejail profile that it names]
    #[arg(long, value_name = "FILE")]
    pub profile: Option<OsString>,
    /// Show what no line explains too, such as the permissions of files
    #[arg(long)]
    pub all: bool,
    /// Write what a line refused into the unit's overrides, so that the next profile allows it; needs root
    #[arg(long)]
    pub accept: bool,
    /// The directory with your own decisions
    #[arg(long, value_name = "DIR", default_value = "/etc/harden/overrides")]
    pub overrides: PathBuf,
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

/// A denial, as it is told.
struct Told {
    /// `SystemCallFilter= (/etc/systemd/system/d.service.d/50-harden.conf:12)`; none: no line explains it.
    by: Option<String>,
    what: String,
    wish: Wish,
    evidence: crate::policy::Evidence,
}

impl Why {
    /// Finds them, and prints them.
    ///
    /// # Errors
    /// The unit, the agent or a file cannot be read; or the overrides cannot be written.
    pub fn run(&self) -> Result<u8> {
        let observation = ask::observation(&self.unit, &self.ask)?;
        let supposed = Supposed::of(&observation);
        let mut told = Vec::new();
        for source in self.sources(&observation)? {
            told = with(told, denied(&source, &supposed)?);
        }
        let (explained, others): (Vec<Told>, Vec<Told>) =
            told.into_iter().partition(|one| one.by.is_some());
        let text = if self.json {
            let all = explained.iter().chain(others.iter().filter(|_| self.all));
            let all: Vec<Value> = all.map(to_json).collect();
            let object = json!({
                "observation": observation.name,
                "denied": all,
                "unexplained": others.len(),
            });
            format!("{object}\n")
        } else {
            self.text(&observation, &explained, &others)
        };
        ask::print(&text)?;
        if self.accept {
            let wishes: Vec<(&Wish, String)> = explained
                .iter()
                .map(|one| (&one.wish, remark(one)))
                .collect();
            write::add(&self.overrides, &observation.name, &wishes)?;
        }
        Ok(u8::from(!explained.is_empty()))
    }

    /// What confines the unit: its files, and a Firejail profile that one of them names.
    fn sources(&self, observation: &Observation) -> Result<Vec<Source>> {
        if let Some(profile) = &self.profile {
            return Ok(vec![Source::read(profile, None)?]);
        }
        let name = observation.name.to_string();
        let unit = Source::read(name.as_ref(), None)
            .with_context(|| "name what confines it with --profile")?;
        let profile = machine::unit::text(&observation.name).and_then(|text| profile_of(&text));
        let profile = profile.map(|path| Source::read(path.as_ref(), None));
        Ok(std::iter::once(unit).chain(profile.transpose()?).collect())
    }

    fn text(&self, observation: &Observation, explained: &[Told], others: &[Told]) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {} refused by a line, {} by something else",
            observation.name,
            explained.len(),
            others.len()
        );
        let shown = explained.iter().chain(others.iter().filter(|_| self.all));
        for one in shown {
            let _ = writeln!(text, "\nrefused: {}", one.what);
            let by = one.by.as_deref();
            let by = by.unwrap_or(
                "no line of these files: permissions, another sandbox, or the program's own filter",
            );
            let _ = writeln!(text, "  by     {by}");
            let _ = writeln!(text, "  allow  {}", one.wish);
            text += &evidence::lines(&one.evidence);
        }
        text
    }
}

/// Denials of one file with those of another: a line of either explains one.
fn with(all: Vec<Told>, more: Vec<Told>) -> Vec<Told> {
    if all.is_empty() {
        return more;
    }
    let pairs = all.into_iter().zip(more);
    pairs
        .map(|(one, other)| Told {
            by: one.by.or(other.by),
            ..other
        })
        .collect()
}

fn denied(source: &Source, supposed: &Supposed) -> Result<Vec<Told>> {
    let observation = supposed.observation();
    let machine = Machine::ask(source.sandbox, observation, None, None);
    let (read, _) = machine.understand(source)?;
    let around = Surroundings::of(observation, machine.homes());
    let judge = Judge::new(&read.rules, &around);
    let denials = supposed.denials(&judge);
    Ok(denials
        .into_iter()
        .map(|denial| tell(denial, &read.rules))
        .collect())
}

fn tell(denial: Denial<'_>, rules: &Rules) -> Told {
    let command = denial.command.map_or_else(String::new, |command| {
        let command = serde_json::to_value(command).unwrap_or_default();
        format!("{} ", command.as_str().unwrap_or_default())
    });
    let by = denial.by.and_then(|by| match by {
        Refusal::Line(line) => {
            let position = rules.position(line).map(|one| format!(" ({one})"));
            Some(format!("{line}{}", position.unwrap_or_default()))
        }
        // Under systemd alone, nothing is refused whatever the lines say.
        Refusal::Always(why) => (rules.sandbox() == Sandbox::Firejail).then(|| why.to_owned()),
    });
    Told {
        by: by.map(|by| Text::from(by.as_str()).to_string()),
        what: format!("{command}{}: {}", denial.executable, denial.what),
        wish: denial.wish,
        evidence: denial.evidence,
    }
}

/// The profile in `ExecStart=/usr/bin/firejail --profile=FILE`.
fn profile_of(unit: &str) -> Option<PathBuf> {
    let commands = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let mut commands = commands.filter(|line| line.contains("firejail"));
    let last = commands.next_back()?;
    let words = shlex::split(last)?;
    let profile = words
        .iter()
        .find_map(|word| word.strip_prefix("--profile="))?;
    Some(Path::new(profile).to_owned())
}

/// The evidence, in a line.
fn remark(one: &Told) -> String {
    let by = one.by.as_deref().unwrap_or_default();
    let first = one.evidence.first.map(|first| format!(" at {first}"));
    let marks: Vec<String> = one.evidence.marks.iter().map(ToString::to_string).collect();
    let marks = if marks.is_empty() {
        String::new()
    } else {
        format!(" in {}", marks.join(", "))
    };
    format!("{}, by {by}{}{marks}", one.what, first.unwrap_or_default())
}

fn to_json(one: &Told) -> Value {
    json!({
        "denied": one.what,
        "by": one.by,
        "allow": one.wish.to_string(),
        "evidence": one.evidence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_of_a_unit_is_found() {
        let unit = "[Service]\nExecStart=/usr/sbin/d\nExecStart=\nExecStart=/usr/bin/firejail --quiet --profile=/etc/firejail/d.profile -- /usr/sbin/d -f\n";
        assert_eq!(profile_of(unit), Some("/etc/firejail/d.profile".into()));
        assert_eq!(profile_of("[Service]\nExecStart=/usr/sbin/d\n"), None);
    }

    #[test]
    fn a_remark_says_it_once() {
        let one = Told {
            by: Some("SystemCallFilter= (d.conf:3)".to_owned()),
            what: "/usr/bin/d: native mkdir refused".to_owned(),
            wish: Wish::Call(crate::observation::Word::new("mkdir").unwrap()),
            evidence: crate::policy::Evidence {
                first: Some("2026-11-30T08:21:09Z".parse().unwrap()),
                ..crate::policy::Evidence::default()
            },
        };
        assert_eq!(
            remark(&one),
            "/usr/bin/d: native mkdir refused, by SystemCallFilter= (d.conf:3) at 2026-11-30T08:21:09Z"
        );
    }
}
