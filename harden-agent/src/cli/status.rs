//! `harden status`: how the agent does.

use clap::Args;
use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::{
    ask::{self, Ask},
    units::age,
};
use crate::{
    agent::request::{self, KernelSide},
    observation::Text,
};

/// `harden status`
#[derive(Debug, Args)]
pub struct Status {
    /// Say it in JSON, as one object
    #[arg(long)]
    pub json: bool,
    /// Where to ask
    #[command(flatten)]
    pub ask: Ask,
}

/// Something is wrong with the agent.
const WRONG: u8 = 6;

impl Status {
    /// Asks, and prints. Returns the exit status.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<u8> {
        let status = self.ask.agent(async |agent| agent.status().await)?;
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&status)?)
        } else {
            text(&status, Timestamp::now())
        };
        ask::print(&text)?;
        Ok(if status.errors.is_empty() { 0 } else { WRONG })
    }
}

fn text(status: &request::Status, now: Timestamp) -> String {
    let plain = |text: &str| Text::from(text).to_string();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let kernel_side = match status.kernel_side {
        KernelSide::Loaded => "loaded by this process",
        KernelSide::Adopted => "taken over from an earlier process",
    };
    let of = |used: u64, total: u64| format!("{used} of {total}");
    let lost = status
        .losses
        .values()
        .fold(0_u64, |sum, &lost| sum.saturating_add(lost));
    let rows = [
        ("version", plain(&status.version)),
        ("process", status.pid.to_string()),
        ("running for", age(status.started.0, now)),
        ("kernel side", kernel_side.to_owned()),
        ("recording for", age(status.since.0, now)),
        ("units", status.units.to_string()),
        ("program records", of(status.slots_used, status.slots_total)),
        ("cgroups", of(status.cgroups_used, status.cgroups_total)),
        ("events taken", status.events.to_string()),
        (
            "journal",
            format!("{} KiB", status.journal_bytes.div_ceil(1024)),
        ),
        ("state directory", status.state_directory.to_string()),
        ("events lost", lost.to_string()),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    for (kind, count) in &status.losses {
        table.add_row([format!("  {}", plain(kind)), count.to_string()]);
    }
    for (kind, hook) in &status.hooks {
        table.add_row([format!("{} by", plain(kind)), plain(hook)]);
    }
    let mut text = format!("{table}\n");
    for error in &status.errors {
        text.extend(["wrong: ", &plain(error), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::control::tests;

    #[test]
    fn what_is_wrong_is_said_last_and_on_one_line() {
        let mut status = tests::status(3);
        status.errors = vec!["/var/lib/harden: No space\u{1b}[0m left\non device".to_owned()];
        let text = text(&status, status.started.0);
        assert!(text.contains("12 of 4096"), "{text}");
        assert!(text.contains("lsm:file_open"), "{text}");
        assert!(
            text.ends_with("wrong: /var/lib/harden: No space\\x1B[0m left\\non device\n"),
            "{text}"
        );
    }
}
