//! What was found, for people and for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::super::evidence;
use crate::{
    observation::{Fact, Observation, Text},
    policy::judge::{
        Line, Read, Refusal, Trap, Unjudged,
        check::{Check, Refused},
    },
};

/// All that is known.
pub(super) struct Report<'r, 'a> {
    /// The profile's name.
    pub(super) profile: &'r str,
    pub(super) observation: &'a Observation,
    pub(super) read: &'r Read,
    pub(super) traps: &'r [Trap],
    pub(super) check: &'r Check<'r, 'a>,
}

impl Report<'_, '_> {
    /// Whether the work would fail under the profile; or, `strict`, might.
    pub(super) fn fails(&self, strict: bool) -> bool {
        let is_doubted = !self.is_judged() || !self.traps.is_empty();
        !self.check.refused.is_empty() || !self.starts() || strict && is_doubted
    }

    /// The exit status. A gate does not open for what was not judged.
    pub(super) fn status(&self, strict: bool) -> u8 {
        match (self.fails(strict), self.is_judged()) {
            (true, _) => 1,
            (false, false) => 3,
            (false, true) => 0,
        }
    }

    /// Whether it is known what all lines mean for all that was recorded.
    fn is_judged(&self) -> bool {
        let mut reasons = self.check.unjudged.keys();
        let is_open = reasons.any(|why| matches!(why, Unjudged::NotSaid(_)));
        self.read.unread.is_empty() && !is_open
    }

    /// Whether the sandbox starts with such a profile.
    pub(super) fn starts(&self) -> bool {
        let unread = self.read.unread.iter().map(|one| one.is_fatal);
        let traps = self.traps.iter().map(|one| one.is_fatal);
        !unread.chain(traps).any(|is_fatal| is_fatal)
    }

    /// `caps.keep (d.profile:4)`
    pub(super) fn by(&self, refusal: &Refusal<'_>) -> String {
        match refusal {
            Refusal::Line(line) => self.line(line),
            Refusal::Always(why) => format!("the sandbox, whatever the profile says: {why}"),
        }
    }

    fn line(&self, line: &Line) -> String {
        let position = self.read.rules.position(line);
        let position = position.map(|position| format!(" ({position})"));
        escaped(&format!("{line}{}", position.unwrap_or_default()))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let check = self.check;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} for {}, by {}",
            escaped(self.profile),
            self.observation.name,
            count(check.runs.len(), "run")
        );
        let _ = writeln!(
            text,
            "{} allowed, {} refused",
            count(check.allowed, "fact"),
            check.refused.len()
        );
        for (fact, refused) in &check.refused {
            let _ = writeln!(text, "\nrefused: {fact}");
            let _ = writeln!(text, "  by     {}", self.by(&refused.by));
            text.push_str(&evidence::lines(&refused.evidence));
        }
        for (is_fatal, title) in [
            (true, "lines with which the sandbox does not start"),
            (false, "lines that do not mean what they seem to mean"),
        ] {
            let traps = self.traps.iter().filter(|trap| trap.is_fatal == is_fatal);
            let traps =
                traps.map(|trap| format!("{}: {}: {}", trap.position, trap.line.trim(), trap.text));
            section(
                &mut text,
                title,
                traps.chain(self.unread(is_fatal).filter(|_| is_fatal)),
            );
        }
        section(&mut text, "lines that were not judged", self.unread(false));
        let unjudged = check.unjudged.iter();
        let unjudged = unjudged.map(|(why, facts)| format!("{}: {why}", count(*facts, "fact")));
        section(&mut text, "facts that were not judged", unjudged);
        section(
            &mut text,
            "allowed, and used by nothing that was recorded",
            self.unused(),
        );
        text
    }

    fn unread(&self, is_fatal: bool) -> impl Iterator<Item = String> {
        let unread = self.read.unread.iter();
        let unread = unread.filter(move |one| one.is_fatal == is_fatal);
        unread.map(|one| format!("{}: {}: {}", one.position, one.line.trim(), one.reason))
    }

    /// The elements of each line together: `seccomp.keep (d.profile:9): exit, time`.
    fn unused(&self) -> impl Iterator<Item = String> {
        let mut lines: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
        for line in &self.check.unused {
            let position = self.read.rules.position(line);
            let position = position.map_or_else(|| self.profile.to_owned(), ToString::to_string);
            let elements = lines.entry((position, line.directive)).or_default();
            elements.extend(line.element.as_deref());
        }
        lines.into_iter().map(|((position, directive), elements)| {
            let elements = elements.join(", ");
            format!("{position}: {directive} {elements}")
                .trim_end()
                .to_owned()
        })
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let check = self.check;
        let refused = check.refused.iter();
        let refused: Vec<Value> = refused
            .map(|(fact, refused)| self.refused(fact, refused))
            .collect();
        let traps = self.traps.iter().map(|trap| {
            json!({
                "file": &*trap.position.file,
                "line": trap.position.number,
                "text": trap.line,
                "means": trap.text,
                "fatal": trap.is_fatal,
            })
        });
        let unread = self.read.unread.iter().map(|one| {
            json!({
                "file": &*one.position.file,
                "line": one.position.number,
                "text": one.line,
                "reason": one.reason,
                "fatal": one.is_fatal,
            })
        });
        json!({
            "profile": self.profile,
            "observation": self.observation.name,
            "sandbox": self.read.rules.sandbox().file(),
            "runs": check.runs.len(),
            "allowed": check.allowed,
            "refused": refused,
            "starts": self.starts(),
            "traps": traps.collect::<Vec<_>>(),
            "lines_not_judged": unread.collect::<Vec<_>>(),
            "facts_not_judged": check.unjudged.iter().map(unjudged).collect::<Vec<_>>(),
            "unused": check.unused.iter().map(|line| self.json_line(line)).collect::<Vec<_>>(),
        })
    }

    fn refused(&self, fact: &Fact<'_>, refused: &Refused<'_>) -> Value {
        let by = match &refused.by {
            Refusal::Line(line) => self.json_line(line),
            Refusal::Always(why) => json!({ "always": why }),
        };
        json!({
            "command": fact.command,
            "executable": fact.executable,
            "kind": fact.what.kind(),
            "fact": fact.what.to_string(),
            "by": by,
            "evidence": refused.evidence,
        })
    }

    fn json_line(&self, line: &Line) -> Value {
        let position = self.read.rules.position(line);
        json!({
            "directive": line.directive,
            "element": line.element,
            "rule": line.to_string(),
            "file": position.map(|position| &*position.file),
            "line": position.map(|position| position.number),
        })
    }
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{title}:");
    for line in lines {
        let _ = writeln!(text, "  {}", escaped(&line));
    }
}

fn unjudged((why, facts): (&Unjudged, &usize)) -> Value {
    let (kind, reason) = match why {
        Unjudged::AsksForNothing(reason) => ("asks-for-nothing", &**reason),
        Unjudged::NotExpressible(reason) => ("not-expressible", *reason),
        Unjudged::NotKnown(reason) => ("not-known", *reason),
        Unjudged::NotSaid(reason) => ("not-said", *reason),
    };
    json!({ "kind": kind, "reason": reason, "facts": facts })
}

/// A profile may hold anything, and none of it becomes another line, a terminal's command, or a page.
fn escaped(line: &str) -> String {
    const LONGEST: usize = 400;
    let shown = Text::from(line).to_string();
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &shown[..end], line.len()),
        None => shown,
    }
}

/// `1 fact`, `2 facts`
fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
