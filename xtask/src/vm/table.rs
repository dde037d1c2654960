//! The tables of `docs/kernels.md`: which hook works on which kernel, as `harden doctor --json` said
//! there.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::kernel::KERNELS;
use crate::{
    page, process,
    workspace::{self, Profile},
};

/// The facts in the order of the tier table; others follow.
const FACTS: &[&str] = &[
    "attribution",
    "syscalls",
    "skipped-calls",
    "files",
    "path-operations",
    "lookups",
    "addresses",
    "refused-calls",
    "capabilities",
    "signals",
    "fork",
    "exec",
    "exit",
    "cgroup-birth",
    "cgroup-end",
];

/// The kernel of this machine, in the place of a kernel's name.
const HOST: &str = "host";

/// More than this is a footnote.
const SHORT: usize = 24;

/// Writes the tables again, from what is known of every kernel; a kernel that was not booted this time
/// stays as it was last seen.
pub fn update() -> Result<()> {
    ask_host()?;
    let reports = reports()?;
    if page::update("docs/kernels.md", "tiers", &tables(&reports))? {
        println!("vm: wrote the tables of docs/kernels.md");
    }
    Ok(())
}

/// Keeps what doctor says on this machine's own kernel, if it says anything.
fn ask_host() -> Result<()> {
    let mut doctor = process::as_root(workspace::harden(Profile::Dev));
    // A kernel that refuses everything is a result, too.
    let output = doctor.args(["doctor", "--json"]).output();
    let output = output.context("`harden doctor` cannot be run")?;
    if serde_json::from_slice::<Value>(&output.stdout).is_ok() {
        save(HOST, &output.stdout)?;
    }
    Ok(())
}

/// Keeps what doctor said on a kernel.
pub fn save(kernel: &str, report: &[u8]) -> Result<()> {
    let file = file(kernel);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&file, report).with_context(|| format!("could not write {}", file.display()))
}

fn file(kernel: &str) -> PathBuf {
    workspace::vm()
        .join("results")
        .join(format!("{kernel}.json"))
}

/// What doctor said on each kernel that has been booted, oldest first, and on this machine's.
fn reports() -> Result<Vec<Value>> {
    let mut reports = Vec::new();
    for name in KERNELS.iter().map(|kernel| kernel.name).chain([HOST]) {
        let file = file(name);
        if file.is_file() {
            let mut report: Value = serde_json::from_slice(&fs::read(&file)?)
                .with_context(|| format!("{} is no report: remove it", file.display()))?;
            if name == HOST {
                let release = report["kernel"]["release"].as_str().unwrap_or("unknown");
                report["kernel"]["release"] = format!("host: {release}").into();
            }
            reports.push(report);
        }
    }
    Ok(reports)
}

fn tables(reports: &[Value]) -> String {
    let mut notes = Notes::default();
    let mut text = header("fact | hook", reports);
    for (fact, hook) in rows(reports) {
        let _ = write!(text, "| {fact} | `{hook}` |");
        for report in reports {
            let cell = notes.cell(&report["hooks"]["facts"][&fact], &hook);
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
    for (number, note) in notes.0.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", number + 1);
    }
    if !notes.0.is_empty() {
        text.push('\n');
    }
    text.push_str(
        "Instructions verified and milliseconds to load and attach, each hook alone:\n\n",
    );
    text.push_str(&header("fact | hook", reports));
    for (fact, hook) in rows(reports) {
        let costs: Vec<_> = reports
            .iter()
            .map(|report| cost(tier(&report["hooks"]["facts"][&fact], &hook)))
            .collect();
        let _ = writeln!(text, "| {fact} | `{hook}` | {} |", costs.join(" | "));
    }
    let whole = reports.iter().map(|report| {
        let time = report["hooks"]["load_ms"].as_f64();
        time.map_or_else(|| "–".to_owned(), |time| format!("{time:.0} ms"))
    });
    let whole: Vec<_> = whole.collect();
    let _ = writeln!(text, "| all that is chosen | | {} |", whole.join(" | "));
    text
}

fn header(first: &str, reports: &[Value]) -> String {
    let mut names = format!("| {first} |");
    let mut lines = "| --- | --- |".to_owned();
    for report in reports {
        let release = report["kernel"]["release"].as_str().unwrap_or("unknown");
        let _ = write!(names, " {} |", escape(release));
        lines.push_str(" --- |");
    }
    format!("{names}\n{lines}\n")
}

/// Fact and hook of every tier that a report has, as the reports order them.
fn rows(reports: &[Value]) -> Vec<(String, String)> {
    let mut facts: Vec<&String> = Vec::new();
    let mut rows: Vec<(String, String)> = Vec::new();
    let objects = || {
        reports
            .iter()
            .filter_map(|report| report["hooks"]["facts"].as_object())
    };
    for fact in objects().flat_map(|object| object.keys()) {
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }
    facts.sort_by_key(|fact| {
        FACTS
            .iter()
            .position(|known| known == fact)
            .unwrap_or(FACTS.len())
    });
    for fact in facts {
        let tiers = objects().filter_map(|object| object.get(fact)?["tiers"].as_array());
        for hook in tiers.flatten().filter_map(|tier| tier["hook"].as_str()) {
            let row = (fact.clone(), hook.to_owned());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    rows
}

fn tier<'a>(fact: &'a Value, hook: &str) -> Option<&'a Value> {
    let mut tiers = fact["tiers"].as_array()?.iter();
    tiers.find(|tier| tier["hook"] == hook)
}

fn cost(tier: Option<&Value>) -> String {
    let Some(time) = tier.and_then(|tier| tier["load_ms"].as_f64()) else {
        return "–".to_owned();
    };
    match tier.and_then(|tier| tier["verified_instructions"].as_u64()) {
        Some(count) => format!("{count}, {time:.0} ms"),
        None => format!("{time:.0} ms"),
    }
}

/// Reasons that are too long for a cell, by number.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn cell(&mut self, fact: &Value, hook: &str) -> String {
        let Some(tier) = tier(fact, hook) else {
            return "–".to_owned();
        };
        if tier["status"] == "ok" {
            let chosen = fact["chosen"] == hook;
            return if chosen { "**chosen**" } else { "yes" }.to_owned();
        }
        let reason = tier["reason"].as_str().unwrap_or("no reason given");
        let reason = escape(reason.lines().next().unwrap_or_default());
        match tier["errno_name"].as_str() {
            Some(name) => format!("no: {name} {}", self.number(reason)),
            None if reason.chars().count() <= SHORT => format!("no: {reason}"),
            None => format!("no {}", self.number(reason)),
        }
    }

    fn number(&mut self, reason: String) -> String {
        let known = self.0.iter().position(|note| *note == reason);
        let number = known.unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        });
        format!("({})", number + 1)
    }
}

/// Kernels may say what a table would take for its own.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(release: &str, tiers: &Value) -> Value {
        json!({
            "kernel": { "release": release },
            "hooks": {
                "load_ms": 12.6,
                "facts": { "files": { "chosen": "tp_btf:sys_exit", "tiers": tiers } }
            }
        })
    }

    fn both() -> [Value; 2] {
        let exit = json!({ "hook": "tp_btf:sys_exit", "status": "ok",
            "verified_instructions": 5, "load_ms": 3.4 });
        let lsm = |status: &str, errno: &Value, reason: &Value| {
            json!({ "hook": "lsm:file_open",
            "status": status, "errno_name": errno, "reason": reason })
        };
        let long = json!("the module <bpf> is not among|lsm=\nsecond line");
        [
            report(
                "5.10.0-1",
                &json!([lsm("refused", &json!("EBUSY"), &long), exit]),
            ),
            report(
                "7.2.13",
                &json!([lsm("refused", &Value::Null, &json!("no such hook")), exit]),
            ),
        ]
    }

    #[test]
    fn a_row_for_each_tier_and_a_column_for_each_kernel() {
        let text = tables(&both());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "| fact | hook | 5.10.0-1 | 7.2.13 |");
        assert_eq!(lines[1], "| --- | --- | --- | --- |");
        assert_eq!(
            lines[2],
            "| files | `lsm:file_open` | no: EBUSY (1) | no: no such hook |"
        );
        assert_eq!(
            lines[3],
            "| files | `tp_btf:sys_exit` | **chosen** | **chosen** |"
        );
        assert_eq!(lines[5], "1. the module &lt;bpf> is not among\\|lsm=");
    }

    #[test]
    fn facts_are_in_the_order_of_the_tier_table() {
        let tiers = json!([{ "hook": "x" }]);
        let facts = json!({ "a-new-one": { "tiers": tiers }, "exec": { "tiers": tiers },
            "files": { "tiers": tiers } });
        let rows = rows(&[json!({ "hooks": { "facts": facts } })]);
        let names: Vec<_> = rows.iter().map(|(fact, _)| fact.as_str()).collect();
        assert_eq!(names, ["files", "exec", "a-new-one"]);
    }

    #[test]
    fn costs_are_told_where_they_are_known() {
        let text = tables(&both());
        assert!(text.contains("| files | `lsm:file_open` | – | – |\n"));
        assert!(text.contains("| files | `tp_btf:sys_exit` | 5, 3 ms | 5, 3 ms |\n"));
        assert!(text.ends_with("| all that is chosen | | 13 ms | 13 ms |\n"));
    }

    #[test]
    fn what_works_and_is_not_chosen_is_yes_and_what_is_unknown_a_dash() {
        let fact = json!({ "chosen": "a", "tiers": [{ "hook": "b", "status": "ok" }] });
        let mut notes = Notes::default();
        assert_eq!(notes.cell(&fact, "b"), "yes");
        assert_eq!(notes.cell(&fact, "c"), "–");
    }

    #[test]
    fn the_same_reason_is_one_note() {
        let refused = json!({ "hook": "b", "status": "refused", "reason": "a reason of more than a few words" });
        let fact = json!({ "tiers": [refused] });
        let mut notes = Notes::default();
        assert_eq!(notes.cell(&fact, "b"), "no (1)");
        assert_eq!(notes.cell(&fact, "b"), "no (1)");
        assert_eq!(notes.0.len(), 1);
    }
}
