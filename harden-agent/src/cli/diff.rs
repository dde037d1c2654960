//! `harden diff`: what one observation has seen and the other has not.

use std::{collections::BTreeSet, ffi::OsString, fmt::Write as _};

use clap::Args;
use serde_json::json;

use super::ask::{self, Ask};
use crate::observation::{Fact, Observation, Run};

/// `harden diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The first observation: a JSON file, or a unit as `harden units` lists it
    #[arg(value_name = "OBSERVATION|UNIT")]
    pub one: OsString,
    /// The second observation
    #[arg(value_name = "OBSERVATION|UNIT")]
    pub other: OsString,
    /// Print JSON, one object on each line
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Diff {
    /// Reads both and prints the facts that only one has, whichever run showed them: `-` those of the
    /// first, `+` those of the second.
    ///
    /// # Errors
    /// One cannot be read, or no agent knows the unit.
    pub fn run(&self) -> anyhow::Result<u8> {
        let one = ask::observation(&self.one, &self.ask)?;
        let other = ask::observation(&self.other, &self.ask)?;
        let lines = differences(&one, &other, self.json);
        ask::print(&lines)?;
        Ok(u8::from(!lines.is_empty()))
    }
}

fn differences(one: &Observation, other: &Observation, json: bool) -> String {
    let (one, other) = (facts(one), facts(other));
    let mut lines = String::new();
    for fact in one.symmetric_difference(&other) {
        let sign = if one.contains(fact) { '-' } else { '+' };
        // Writing to a string cannot fail.
        let _ = if json {
            let line = json!({
                "only": if sign == '-' { "one" } else { "other" },
                "command": fact.command,
                "executable": fact.executable,
                "kind": fact.what.kind(),
                "fact": fact.what.to_string(),
            });
            writeln!(lines, "{line}")
        } else {
            writeln!(lines, "{sign} {fact}")
        };
    }
    lines
}

fn facts(observation: &Observation) -> BTreeSet<Fact<'_>> {
    observation.runs.values().flat_map(Run::facts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observation::Operation, policy::fixture::Fixture};

    #[test]
    fn only_what_one_has_is_told_whichever_run_showed_it() {
        let one = Fixture::new()
            .executable("/a")
            .syscalls(&["read"])
            .next_run()
            .executable("/a")
            .syscalls(&["write"])
            .observation();
        let other = Fixture::new()
            .executable("/a")
            .syscalls(&["read", "write"])
            .file("/b\n+ c", Operation::Read, "ok")
            .observation();
        let text = differences(&one, &other, false);
        assert_eq!(text, "+ /a: read ok /b\\n+ c\n");
        assert_eq!(differences(&other, &one, false), "- /a: read ok /b\\n+ c\n");
        assert_eq!(differences(&one, &one, false), "");
        let line: serde_json::Value =
            serde_json::from_str(&differences(&one, &other, true)).unwrap();
        assert_eq!(line["only"], "other");
        assert_eq!(line["kind"], "path");
    }
}
