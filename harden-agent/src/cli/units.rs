//! `harden units`: what the agent has recorded.

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;

use super::ask::{self, Ask};
use crate::agent::request::UnitSummary;

/// `harden units`
#[derive(Debug, Args)]
pub struct Units {
    /// Say it in JSON, as one array
    #[arg(long)]
    pub json: bool,
    /// Where to ask
    #[command(flatten)]
    pub ask: Ask,
}

impl Units {
    /// Asks, and prints.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<()> {
        let units = self.ask.agent(async |agent| agent.units().await)?;
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&units)?)
        } else {
            table(&units, Timestamp::now())
        };
        ask::print(&text)?;
        Ok(())
    }
}

fn table(units: &[UnitSummary], now: Timestamp) -> String {
    if units.is_empty() {
        return "no unit was seen yet\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "UNIT",
        "PROGRAMS",
        "RUNS",
        "CALLS",
        "CAPABILITIES",
        "PATHS",
        "FAMILIES",
        "LAST NEW",
        "LOST",
    ]);
    for unit in units {
        let lost = unit
            .losses
            .values()
            .fold(0_u64, |sum, &lost| sum.saturating_add(lost));
        table.add_row([
            unit.unit.to_string(),
            unit.executables.len().to_string(),
            unit.runs.to_string(),
            unit.calls.to_string(),
            unit.capabilities.len().to_string(),
            unit.paths.to_string(),
            unit.families.len().to_string(),
            unit.last_new
                .map_or_else(|| "-".to_owned(), |time| age(time.0, now)),
            lost.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
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
    use crate::agent::{control::tests::observation, summary::summarise};

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
        let units = [evil, "cron.service"].map(|name| summarise(&observation(name)));
        let text = table(&units, Timestamp::now());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(r"evil\n\x1B[2Jnginx.service"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let one = table(&units[1..], Timestamp::now());
        assert!(one.contains("cron.service"), "{one}");
        assert_eq!(table(&[], Timestamp::now()), "no unit was seen yet\n");
    }
}
