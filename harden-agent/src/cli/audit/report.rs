//! What `harden audit` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::units::Units;
use crate::audit::{Finding, Program, Taken, Times, Unseen, proposal};
use crate::observation::{Text, Word};
use crate::output::file_stem;

/// One log.
pub(super) struct Log {
    /// Its name.
    pub(super) name: Text,
    /// What it gave, or why it could not be read.
    pub(super) taken: Result<Taken, Text>,
    /// What else has to be known about it.
    pub(super) said: Option<Text>,
}

/// All that is printed.
pub(super) struct Report<'a> {
    pub(super) logs: &'a [Log],
    pub(super) units: &'a Units,
    pub(super) unseen: &'a [Unseen],
    pub(super) overrides: &'a Path,
}

impl Report<'_> {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.units.findings.0 {
            self.finding(finding, &mut text);
        }
        if self.units.findings.0.is_empty() {
            text.push_str("no record of a refused or logged call\n");
        }
        self.proposals(&mut text);
        text.push_str("\nlogs:\n");
        for log in self.logs {
            log.text(&mut text);
        }
        for remark in &self.units.remarks {
            let _ = writeln!(text, "  {}", Text::from(remark));
        }
        text.push_str("\nwhat no log shows:\n");
        for unseen in self.unseen {
            let _ = writeln!(text, "  {}\n    {}", unseen.what, unseen.how);
        }
        text
    }

    fn finding(&self, finding: &Finding, text: &mut String) {
        let unit = match &finding.joined {
            Some(joined) => joined.unit.to_string(),
            None => "unknown unit".to_owned(),
        };
        let (program, call) = (program(&finding.program), &finding.call);
        let _ = writeln!(
            text,
            "{unit}: {program}: {} ({})",
            call.name, call.convention
        );
        let _ = writeln!(
            text,
            "  {}: {}",
            finding.action.done(),
            times(&finding.times)
        );
        if let Some(joined) = &finding.joined {
            let _ = writeln!(text, "  unit: {}", joined.how.said());
        }
        let _ = match proposal::decide(finding, self.units.known(finding)) {
            Ok(proposed) => {
                let remark = proposed.remark.map(|remark| format!(": {remark}"));
                let remark = remark.unwrap_or_default();
                writeln!(text, "  proposed: allow {}{remark}", proposed.call)
            }
            Err(reason) => writeln!(text, "  nothing is proposed: {reason}"),
        };
    }

    fn proposals(&self, text: &mut String) {
        for (unit, calls) in self.proposed() {
            let file = self.file(unit);
            let known = self.units.known.get(unit);
            let allowed = known.map(|known| known.overrides.allow.syscalls.clone());
            let mut all: BTreeSet<Word> = allowed.unwrap_or_default().into_iter().collect();
            all.extend(calls);
            let all: Vec<String> = all.iter().map(|call| format!("\"{call}\"")).collect();
            let _ = writeln!(
                text,
                "\nif these calls belong to the work of {unit}, say so in {file}:\n[allow]\nsyscalls = [{}]",
                all.join(", ")
            );
        }
    }

    /// The calls that are proposed, by unit.
    fn proposed(&self) -> BTreeMap<&Text, BTreeSet<Word>> {
        let mut all: BTreeMap<&Text, BTreeSet<Word>> = BTreeMap::new();
        for finding in &self.units.findings.0 {
            let decided = proposal::decide(finding, self.units.known(finding));
            if let (Ok(proposed), Some(joined)) = (decided, &finding.joined) {
                all.entry(&joined.unit).or_default().insert(proposed.call);
            }
        }
        all
    }

    fn file(&self, unit: &Text) -> Text {
        let file = self.overrides.join(format!("{}.toml", file_stem(unit)));
        Text::from(file.as_os_str().as_encoded_bytes())
    }

    /// One object a line.
    pub(super) fn json(&self) -> String {
        let findings = self.units.findings.0.iter();
        let mut values: Vec<Value> = findings.map(|finding| self.value(finding)).collect();
        values.extend(self.logs.iter().map(Log::value));
        let remark = |remark: &String| json!({ "kind": "remark", "text": remark });
        values.extend(self.units.remarks.iter().map(remark));
        let unseen = |one: &Unseen| json!({ "kind": "unseen", "what": one.what, "how": one.how });
        values.extend(self.unseen.iter().map(unseen));
        let mut lines = String::new();
        for value in values {
            let _ = writeln!(lines, "{value}");
        }
        lines
    }

    fn value(&self, finding: &Finding) -> Value {
        let joined = finding.joined.as_ref();
        let decided = proposal::decide(finding, self.units.known(finding));
        let (program, thread) = match &finding.program {
            Program::File(path) => (Some(path), None),
            Program::Thread(name) => (None, Some(name)),
            Program::Unknown => (None, None),
        };
        let proposed = decided.as_ref().ok().zip(joined).map(|(proposed, joined)| {
            json!({
                "allow": proposed.call,
                "overrides": self.file(&joined.unit),
                "remark": proposed.remark,
            })
        });
        json!({
            "kind": "finding",
            "unit": joined.map(|joined| &joined.unit),
            "unit_from": joined.map(|joined| joined.how),
            "program": program,
            "thread": thread,
            "architecture": finding.call.convention.to_string(),
            "call": finding.call.name,
            "action": finding.action,
            "count": finding.times.count,
            "first": finding.times.first,
            "last": finding.times.last,
            "proposed": proposed,
            "reason": decided.err().map(|reason| reason.to_string()),
        })
    }
}

impl Log {
    fn text(&self, text: &mut String) {
        let said = match &self.taken {
            Ok(taken) => told(taken),
            Err(error) => format!("not read: {error}"),
        };
        let _ = writeln!(text, "  {}: {said}", self.name);
        if let Some(said) = &self.said {
            let _ = writeln!(text, "    {said}");
        }
    }

    fn value(&self) -> Value {
        let taken = self.taken.as_ref().ok();
        json!({
            "kind": "log",
            "name": self.name,
            "error": self.taken.as_ref().err(),
            "said": self.said,
            "records": taken.map(|taken| taken.records),
            "duplicates": taken.map(|taken| taken.duplicates),
            "unclear": taken.map(|taken| taken.unclear),
            "not_the_kernels": taken.map(|taken| taken.not_the_kernels),
            "losses": taken.map(|taken| taken.losses),
        })
    }
}

fn told(taken: &Taken) -> String {
    let mut all = vec![match taken.records {
        0 => "no records".to_owned(),
        count => format!("records: {count}"),
    }];
    for (count, what) in [
        (taken.duplicates, "more that were read already"),
        (taken.unclear, "in which no call can be made out"),
        (
            taken.not_the_kernels,
            "written by another program than the kernel or auditd, and left out",
        ),
    ] {
        if count > 0 {
            all.push(format!("{count} {what}"));
        }
    }
    let losses = taken.losses.said();
    if !losses.is_empty() {
        all.push(format!("missing: {}", losses.join(", ")));
    }
    all.join("; ")
}

fn program(program: &Program) -> String {
    match program {
        Program::File(path) => path.to_string(),
        Program::Thread(name) => format!("a thread called {name}"),
        Program::Unknown => "unknown program".to_owned(),
    }
}

fn times(times: &Times) -> String {
    let count = match times.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    match (times.first, times.last) {
        (Some(first), Some(last)) if first != last => format!("{count}, {first} to {last}"),
        (Some(first), _) => format!("{count}, {first}"),
        _ => count,
    }
}
