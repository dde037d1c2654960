//! `harden units`: what the agent has recorded.

use std::{cmp::Reverse, collections::BTreeSet, ffi::OsString};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;

use super::ask::{self, Ask};
use crate::agent::{
    names::Names,
    request::{UnitState, UnitSummary, Verdict},
};

/// `harden units`
#[derive(Debug, Args)]
pub struct Units {
    /// List only these units: names, short names, and patterns with * ? [ ] [default: all]
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<OsString>,
    /// List only units in this state; separate several states by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub state: Vec<UnitState>,
    /// List only units with this verdict; separate several verdicts by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub verdict: Vec<Verdict>,
    /// Sort by this column: names in alphabetical order, numbers from the highest down
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    pub sort: Sort,
    /// Print JSON, one array
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

/// The column that a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Its name
    #[default]
    Name,
    /// Its state: active, inactive, silent
    State,
    /// Its verdict, the least finished first
    Verdict,
    /// The number of programs
    Programs,
    /// The number of runs
    Runs,
    /// The number of tests
    Tests,
    /// The number of different calls
    Calls,
    /// The number of different paths
    Paths,
    /// When it last did something new, the latest first
    LastNew,
    /// The number of events lost
    Losses,
}

impl Units {
    /// Asks, and prints.
    ///
    /// # Errors
    /// No agent answers, or it says no; a pattern makes no sense.
    pub fn run(&self) -> anyhow::Result<()> {
        let patterns = self.patterns.iter().map(|pattern| {
            let pattern = ask::name(pattern);
            Names::new(&pattern).with_context(|| format!("{pattern} is no pattern of names"))
        });
        let patterns: Vec<Names> = patterns.collect::<Result<_, _>>()?;
        let mut units = self.ask.agent(async |agent| agent.units().await)?;
        let is_empty = units.is_empty();
        units.retain(|unit| self.wants(unit, &patterns));
        self.sort.sort(&mut units);
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&units)?)
        } else if units.is_empty() && !is_empty {
            "no unit is like that; `harden units` lists all\n".to_owned()
        } else {
            table(&units, Timestamp::now())
        };
        ask::print(&text)?;
        Ok(())
    }

    fn wants(&self, unit: &UnitSummary, patterns: &[Names]) -> bool {
        (patterns.is_empty() || patterns.iter().any(|pattern| pattern.has(&unit.unit)))
            && (self.state.is_empty() || self.state.contains(&unit.state))
            && (self.verdict.is_empty() || self.verdict.contains(&unit.verdict))
    }
}

impl Sort {
    /// Units that are alike in this stay in the order of their names.
    fn sort(self, units: &mut [UnitSummary]) {
        units.sort_by(|a, b| a.unit.cmp(&b.unit));
        match self {
            Self::Name => {}
            Self::State => units.sort_by_key(|unit| unit.state),
            Self::Verdict => units.sort_by_key(|unit| Reverse(unit.verdict)),
            Self::Programs => units.sort_by_key(|unit| Reverse(unit.executables.len())),
            Self::Runs => units.sort_by_key(|unit| Reverse(unit.runs)),
            Self::Tests => units.sort_by_key(|unit| Reverse(unit.tests)),
            Self::Calls => units.sort_by_key(|unit| Reverse(unit.calls)),
            Self::Paths => units.sort_by_key(|unit| Reverse(unit.paths)),
            Self::LastNew => units.sort_by_key(|unit| Reverse(unit.last_new)),
            Self::Losses => units.sort_by_key(|unit| Reverse(lost(unit))),
        }
    }
}

fn lost(unit: &UnitSummary) -> u64 {
    let losses = unit.losses.values();
    losses.fold(0_u64, |sum, &lost| sum.saturating_add(lost))
}

fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ready => "ready",
        Verdict::Growing => "still growing",
        Verdict::FewTests => "too few tests",
        Verdict::Lossy => "lossy",
    }
}

fn state(state: UnitState) -> &'static str {
    match state {
        UnitState::Active => "active",
        UnitState::Inactive => "inactive",
        UnitState::Silent => "silent",
    }
}

/// What is a number stands at the right of its column.
const NUMBERS: usize = 3;

fn table(units: &[UnitSummary], now: Timestamp) -> String {
    if units.is_empty() {
        return "no unit was seen yet\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "UNIT",
        "STATE",
        "VERDICT",
        "TESTS",
        "RUNS",
        "PROGRAMS",
        "CALLS",
        "CAPABILITIES",
        "PATHS",
        "FAMILIES",
        "LAST NEW",
        "LOST",
        "REFUSED",
    ]);
    for unit in units {
        table.add_row([
            unit.unit.to_string(),
            state(unit.state).to_owned(),
            shown(unit.verdict).to_owned(),
            unit.tests.to_string(),
            unit.runs.to_string(),
            unit.executables.len().to_string(),
            unit.calls.to_string(),
            unit.capabilities.len().to_string(),
            unit.paths.to_string(),
            unit.families.len().to_string(),
            unit.last_new
                .map_or_else(|| "-".to_owned(), |time| age(time.0, now)),
            lost(unit).to_string(),
            unit.denials
                .map_or_else(|| "-".to_owned(), |denials| denials.to_string()),
        ]);
    }
    for column in table.column_iter_mut().skip(NUMBERS) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// The names of these units.
pub(super) fn names(units: &[UnitSummary]) -> BTreeSet<crate::observation::Text> {
    units.iter().map(|unit| unit.unit.clone()).collect()
}

/// How long ago, in its largest unit. A time to come, after the clock was set back, is now.
pub(super) fn age(time: Timestamp, now: Timestamp) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = now.as_second().saturating_sub(time.as_second()).max(0);
    let (length, unit) = UNITS
        .into_iter()
        .find(|(length, _)| seconds >= *length)
        .unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::control::tests::{observation, summary};

    #[test]
    fn ages_are_in_their_largest_unit() {
        let time: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (-5, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "1 h"),
            (200_000, "2 d"),
        ] {
            let now = time + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(age(time, now), expected);
        }
    }

    #[test]
    fn a_name_made_to_deceive_stays_on_its_line() {
        let evil = "evil\n\u{1b}[2Jnginx.service";
        let units = [evil, "cron.service"].map(|name| summary(&observation(name)));
        let text = table(&units, Timestamp::now());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(r"evil\n\x1B[2Jnginx.service"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let one = table(&units[1..], Timestamp::now());
        assert!(one.contains("cron.service"), "{one}");
        assert_eq!(table(&[], Timestamp::now()), "no unit was seen yet\n");
    }

    #[test]
    fn each_column_sorts_and_names_break_ties() {
        let unit = |name: &str, calls, verdict| UnitSummary {
            verdict,
            calls,
            ..summary(&observation(name))
        };
        let mut units = vec![
            unit("c.service", 5, Verdict::Ready),
            unit("a.service", 5, Verdict::Lossy),
            unit("b.service", 9, Verdict::Growing),
        ];
        let mut order = |sort: Sort| {
            sort.sort(&mut units);
            let names = units
                .iter()
                .map(|unit| unit.unit.to_string()[..1].to_owned());
            names.collect::<String>()
        };
        assert_eq!(order(Sort::Name), "abc");
        assert_eq!(order(Sort::Calls), "bac");
        assert_eq!(order(Sort::Verdict), "abc");
        assert_eq!(order(Sort::Losses), "abc");
    }
}
