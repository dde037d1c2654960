//! `harden status`: how the agent does.

use std::{collections::BTreeMap, path::Path};

use clap::Args;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ask::{self, Ask},
    proof, shadow,
    units::age,
};
use crate::{
    agent::{
        config::OWN_UNIT,
        control::{ClientError, SOCKET},
        request::{self, KernelSide},
    },
    apply::{self, Installed, State, proof::Standing},
    machine::systemd,
    observation::Text,
};

/// `harden status`
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
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
        let applied: Vec<_> = apply::installed().into_iter().map(Applied::of).collect();
        let status = self.ask.agent(async |agent| agent.status().await);
        if status.is_err() && !self.json {
            // No agent is needed for what is applied.
            ask::print(&applied_to(&applied))?;
        }
        let status = status.map_err(|error| self.explain(error))?;
        let text = if self.json {
            let mut object = serde_json::to_value(&status)?;
            object["applied"] = applied
                .iter()
                .map(Applied::as_json)
                .collect::<Result<_, _>>()?;
            format!("{}\n", serde_json::to_string_pretty(&object)?)
        } else {
            let now = Timestamp::now();
            format!("{}{}", applied_to(&applied), text(&status, now))
        };
        ask::print(&text)?;
        let is_well = status.errors.is_empty() && status.set_aside.is_empty();
        Ok(if is_well { 0 } else { WRONG })
    }

    /// Why nobody answers, where systemd knows.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let is_absent = matches!(error.downcast_ref(), Some(ClientError::NoAgent { .. }));
        if !is_absent || self.ask.socket != Path::new(SOCKET) {
            return error;
        }
        systemd::properties(
            OWN_UNIT,
            &["ActiveState", "SubState", "Result", "ExecMainStatus"],
        )
        .and_then(|properties| failed(&properties))
        .map_or(error, Into::into)
    }
}

/// The agent was started, and is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AgentFailed(String);

/// What became of the agent, where it was started and failed.
fn failed(properties: &BTreeMap<String, String>) -> Option<AgentFailed> {
    let property = |name: &str| properties.get(name).map_or("", String::as_str);
    let is_failed = property("ActiveState") == "failed" || property("SubState") == "auto-restart";
    if is_failed {
        let again = if property("SubState") == "auto-restart" {
            ", and is started again"
        } else {
            ""
        };
        return Some(AgentFailed(format!(
            "the agent was started and failed ({}, exit status {}){again}\nwhy: journalctl -t harden -u harden; then: \
             sudo systemctl restart harden",
            property("Result"),
            property("ExecMainStatus")
        )));
    }
    None
}

/// What is installed, and what is known of its proof.
struct Applied {
    installed: Installed,
    standing: Standing,
}

impl Applied {
    fn of(installed: Installed) -> Self {
        let standing = apply::proof::standing(&installed);
        Self {
            installed,
            standing,
        }
    }

    fn as_json(&self) -> serde_json::Result<Value> {
        let mut object = serde_json::to_value(&self.installed)?;
        object["standing"] = proof::as_json(&self.installed, &self.standing);
        Ok(object)
    }
}

/// What `harden apply` has installed, a line a unit.
fn applied_to(applied: &[Applied]) -> String {
    let lines = applied.iter().map(|applied| {
        let one = &applied.installed;
        let summary = proof::summary(one, &applied.standing);
        let state = match one.state {
            State::Kept => String::new(),
            State::Runtime => ", until a reboot".to_owned(),
            State::Trial(until) => format!(", put back at {until} unless confirmed"),
        };
        format!(
            "applied: {} ({}) since {}{state}; {summary}; observation sha256 {}\n",
            one.unit, one.backend, one.since, one.observation
        )
    });
    lines.collect()
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
    for one in &status.shadows {
        text.push_str(&shadow::line(one, now));
        text.push('\n');
    }
    for file in &status.set_aside {
        text.extend([
            "set aside: ",
            &file.to_string(),
            " could not be used; look at it, then remove it, or `harden forget` its unit\n",
        ]);
    }
    for limit in &status.limits {
        text.extend(["limit reached: ", &plain(limit), "\n"]);
    }
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
            text.contains("\nset aside: /var/lib/harden/journal.1.corrupt-1 could not be used"),
            "{text}"
        );
        assert!(
            text.ends_with("wrong: /var/lib/harden: No space\\x1B[0m left\\non device\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_applied_is_named_with_its_observation() {
        let since = Timestamp::new(5, 0).unwrap();
        let one = |state| Installed {
            unit: "a\n.service".into(),
            backend: apply::Backend::Firejail,
            since,
            observation: "ab12".into(),
            state,
            path: "/run/a.conf".into(),
            proof: None,
        };
        let one = |state| Applied::of(one(state));
        let text = applied_to(&[one(State::Kept), one(State::Trial(since))]);
        assert_eq!(
            text,
            "applied: a\\n.service (firejail) since 1970-01-01T00:00:05Z; no proof record; observation sha256 ab12\n\
             applied: a\\n.service (firejail) since 1970-01-01T00:00:05Z, put back at 1970-01-01T00:00:05Z unless \
             confirmed; on trial; observation sha256 ab12\n"
        );
    }

    #[test]
    fn who_failed_is_told_from_who_was_not_started() {
        let properties = |state: &str, below: &str| {
            let pairs = [
                ("ActiveState", state),
                ("SubState", below),
                ("Result", "exit-code"),
                ("ExecMainStatus", "1"),
            ];
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        assert!(failed(&properties("inactive", "dead")).is_none());
        assert!(failed(&properties("activating", "start")).is_none());
        assert!(failed(&BTreeMap::new()).is_none());
        for (state, below) in [("failed", "failed"), ("activating", "auto-restart")] {
            let failed = failed(&properties(state, below)).unwrap().to_string();
            assert!(
                failed.starts_with("the agent was started and failed (exit-code, exit status 1)"),
                "{failed}"
            );
        }
    }
}
