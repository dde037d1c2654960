//! `harden shadow`: what a profile would refuse, without enforcing it.

use std::{collections::BTreeMap, ffi::OsString, fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{
    ask::{self, Ask},
    profile::Decisions,
    source::{Kind, Machine, Source},
    units::age,
};
use crate::{
    agent::{
        request::{self, Denial, Link, ProfilePart, ShadowProfile, ShadowSummary},
        shadow::LARGEST,
    },
    apply::Backend,
    observation::{Observation, Text},
    plural::{plural, were},
    policy::{
        is_lost,
        judge::{Sandbox, source::SourceLine},
    },
    profile::{self, FORMATS, Request},
};

/// `harden shadow`
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Shadow {
    /// The unit, as `harden units` lists it [default: list all that are in shadow]
    pub unit: Option<OsString>,
    /// Freeze this Firejail profile, drop-in or unit, with what it includes [default: what `harden render` would write]
    #[arg(long, value_name = "FILE", requires = "unit", conflicts_with_all = ["ready", "show", "off"])]
    pub profile: Option<OsString>,
    /// What would confine the unit [default: what the profile looks like; systemd without one]
    #[arg(long, value_enum, requires = "unit", conflicts_with_all = ["ready", "show", "off"])]
    pub backend: Option<Backend>,
    /// Replace the profile that is frozen for the unit, and what was noted
    #[arg(long, requires = "unit", conflicts_with_all = ["ready", "show", "off"])]
    pub replace: bool,
    /// Show what would have been refused up to now; change nothing
    #[arg(long, requires = "unit", conflicts_with_all = ["ready", "off"])]
    pub show: bool,
    /// Give up the profile, and what was noted
    #[arg(long, requires = "unit", conflicts_with = "ready")]
    pub off: bool,
    /// Ask whether the profile can be enforced: the exit status is 0 if nothing was refused and nothing was lost
    #[arg(long, requires = "unit")]
    pub ready: bool,
    /// With --ready: so many marked tests must have ended since [default: 5, unless --for is given]
    #[arg(long, value_name = "N", requires = "ready")]
    pub tests: Option<u64>,
    /// With --ready: the unit must have been observed for so long since, such as 12h
    #[arg(long = "for", value_name = "DURATION", requires = "ready", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What is decided over
    #[command(flatten)]
    pub decisions: Decisions,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

/// So many tests are asked for, unless somebody says how many: as many as `harden units` asks for.
const TESTS: u64 = 5;

impl Shadow {
    /// Freezes, looks, or asks, and prints. Returns the exit status.
    ///
    /// # Errors
    /// No agent answers, or it says no; or the profile cannot be read.
    pub fn run(&self) -> Result<u8> {
        let Some(unit) = self.unit.as_deref().map(ask::name) else {
            let shadows = self.ask.agent(async |agent| agent.shadows(None).await)?;
            return self.print(&shadows).map(|()| 0);
        };
        if self.off {
            return self.give_up(&unit).map(|()| 0);
        }
        if self.ready || self.show {
            let shadows = self
                .ask
                .agent(async |agent| agent.shadows(Some(&unit)).await);
            let shadows = shadows?;
            if self.show {
                return self.print(&shadows).map(|()| 0);
            }
            let shadow = shadows.first().context("the agent has no such shadow")?;
            return self.judge(shadow);
        }
        self.freeze(&unit).map(|()| 0)
    }

    fn print(&self, shadows: &[request::Shadow]) -> Result<()> {
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(shadows)?)
        } else {
            list(shadows, Timestamp::now())
        };
        ask::print(&text)?;
        Ok(())
    }

    fn give_up(&self, unit: &Text) -> Result<()> {
        let unit = self.ask.agent(async |agent| agent.unfreeze(unit).await)?;
        let text = if self.json {
            json!({ "unit": unit }).to_string()
        } else {
            format!("{unit} is no longer in shadow")
        };
        ask::print(&format!("{text}\n"))?;
        Ok(())
    }

    /// Whether it can be enforced, and why not.
    fn judge(&self, shadow: &request::Shadow) -> Result<u8> {
        let reasons = self.reasons(&shadow.summary);
        let is_ready = reasons.is_empty();
        let text = if self.json {
            let object = json!({ "ready": is_ready, "reasons": reasons, "shadow": shadow });
            format!("{}\n", serde_json::to_string_pretty(&object)?)
        } else {
            let mut text = String::new();
            let unit = &shadow.summary.unit;
            match reasons.as_slice() {
                [] => writeln!(text, "{unit}: ready")?,
                reasons => writeln!(text, "{unit}: not ready: {}", reasons.join("; "))?,
            }
            text.push_str(&details(shadow));
            text
        };
        ask::print(&text)?;
        Ok(u8::from(!is_ready))
    }

    /// Why it is not ready.
    fn reasons(&self, shadow: &ShadowSummary) -> Vec<String> {
        let mut reasons = Vec::new();
        if shadow.denials > 0 {
            reasons.push(format!("{} refused", would_be(shadow.denials)));
        }
        let lost = lost(shadow);
        if lost > 0 {
            let what = were(lost, "event");
            reasons.push(format!("{what} lost, and any of them may be one more"));
        }
        if shadow.gaps > 0 {
            reasons.push(unobserved(shadow.gaps));
        }
        if shadow.refuses_nothing {
            reasons.push(REFUSES_NOTHING.to_owned());
        }
        if shadow.facts == 0 {
            reasons.push("nothing was recorded of it since the profile was frozen".to_owned());
        }
        let default = self.time.is_none().then_some(TESTS);
        if let Some(wanted) = self.tests.or(default)
            && shadow.tests < wanted
        {
            reasons.push(format!(
                "{} of {wanted} marked tests have ended",
                shadow.tests
            ));
        }
        if let Some(wanted) = self.time
            && shadow.seconds < wanted.as_secs()
        {
            let seconds = Duration::from_secs(shadow.seconds);
            reasons.push(format!(
                "it was observed for {} of {}",
                humantime::format_duration(seconds),
                humantime::format_duration(wanted)
            ));
        }
        reasons
    }

    fn freeze(&self, unit: &Text) -> Result<()> {
        let observation = ask::recorded(unit, &self.ask)?;
        let profile = self.frozen(&observation)?;
        let name = &observation.name;
        let frozen = self.ask.agent(async |agent| {
            let frozen = agent.freeze(name, &profile, self.replace);
            frozen.await
        });
        let frozen = frozen?;
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&frozen)?)
        } else {
            let mut text = format!("{}\n", line(&frozen, Timestamp::now()));
            if frozen.refuses_nothing {
                writeln!(text, "{REFUSES_NOTHING}")?;
            }
            for unread in &frozen.unread {
                writeln!(text, "not judged: {unread}")?;
            }
            text
        };
        ask::print(&text)?;
        Ok(())
    }

    /// What the agent is to judge by.
    fn frozen(&self, observation: &Observation) -> Result<ShadowProfile> {
        let source = match &self.profile {
            Some(file) => Source::read(file, self.backend.map(kind))?,
            None => self.plan(observation)?,
        };
        let backend = match source.sandbox {
            Sandbox::Systemd => Backend::Systemd,
            Sandbox::Firejail => Backend::Firejail,
            Sandbox::Oci => bail!("{} is the list of a container's calls", source.name),
        };
        let version = self.decisions.firejail_version;
        let machine = Machine::ask(source.sandbox, observation, version, self.decisions.start);
        let (read, traps) = machine.understand(&source)?;
        if let Some(trap) = traps.iter().find(|trap| trap.is_fatal) {
            let line = Text::from(trap.line.trim());
            bail!("{}: {line}: {}", trap.position, trap.text);
        }
        if let Some(fatal) = read.unread.iter().find(|one| one.is_fatal) {
            let line = Text::from(fatal.line.trim());
            bail!("{}: {line}: {}", fatal.position, fatal.reason);
        }
        let parts = parts(&source.lines);
        let size: usize = parts.iter().map(|part| part.text.len()).sum();
        ensure!(
            size <= LARGEST,
            "{} has more than {} KiB, with what it includes",
            source.name,
            LARGEST >> 10
        );
        Ok(ShadowProfile {
            backend,
            source: source.name.into(),
            parts,
            homes: machine.homes().into_iter().collect(),
            links: links(observation),
            overrides: self.overrides(observation)?,
        })
    }

    /// What `harden render` would write.
    fn plan(&self, observation: &Observation) -> Result<Source> {
        let (request, warnings) = self.decisions.request();
        let (format, sandbox) = match self.backend.unwrap_or_default() {
            Backend::Systemd => ("systemd", Sandbox::Systemd),
            Backend::Firejail => ("firejail", Sandbox::Firejail),
        };
        if sandbox == Sandbox::Firejail {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
        }
        let formats = FORMATS.iter().filter(|one| one.name == format);
        let request = Request {
            formats: formats.collect(),
            ..request
        };
        let adapted = request.adapt(observation)?;
        let files = request.plan(observation, &adapted).files();
        if let Some(withheld) = files.withheld.first() {
            bail!("{} is not written: {}", withheld.name, withheld.reason);
        }
        let mut written = files.written.into_iter();
        let output = written.next().context("no file of this format")?;
        let text = String::from_utf8(output.content.into_bytes()?)?;
        Source::of(output.name, sandbox, &text, None)
    }

    /// The file with what somebody has decided about the unit.
    fn overrides(&self, observation: &Observation) -> Result<Option<String>> {
        profile::overrides_text(&self.decisions.overrides, &observation.name)
    }
}

fn kind(backend: Backend) -> Kind {
    match backend {
        Backend::Systemd => Kind::Systemd,
        Backend::Firejail => Kind::Firejail,
    }
}

/// The lines but for comments, those together that follow each other in a file.
fn parts(lines: &[SourceLine]) -> Vec<ProfilePart> {
    let mut parts: Vec<ProfilePart> = Vec::new();
    let mut next = None;
    let mut goes_on = false;
    for line in lines {
        let is_comment = line.text.starts_with('#') && !goes_on;
        goes_on = line.text.ends_with('\\');
        if is_comment {
            continue;
        }
        let at = (&line.position.file, line.position.number);
        match parts.last_mut() {
            Some(part) if next == Some(at) => {
                part.text.push('\n');
                part.text.push_str(&line.text);
            }
            _ => parts.push(ProfilePart {
                file: (*line.position.file).into(),
                first: line.position.number as u64,
                text: line.text.clone(),
            }),
        }
        next = Some((at.0, at.1 + 1));
    }
    parts
}

/// The symbolic links on the ways to what was recorded.
fn links(observation: &Observation) -> Vec<Link> {
    let links = observation.runs.values().flat_map(|run| &run.symlinks);
    let links: BTreeMap<&Text, &Text> = links.collect();
    let links = links.into_iter().map(|(path, text)| Link {
        path: path.clone(),
        text: text.clone(),
    });
    links.collect()
}

/// What was lost, but for what the kernel counts for the whole machine.
fn lost(shadow: &ShadowSummary) -> u64 {
    let losses = shadow.losses.iter().filter(|(kind, _)| is_lost(kind));
    losses.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

const REFUSES_NOTHING: &str = "no line of the profile that harden judges refuses anything";

/// What no agent observed.
fn unobserved(gaps: u64) -> String {
    let times = plural(gaps, "time");
    format!("the unit may have done something that was not recorded, {times}")
}

/// `1 fact would be`
fn would_be(number: u64) -> String {
    format!("{} would be", plural(number, "fact"))
}

/// So many digits of a digest are enough to tell two profiles apart.
const DIGITS: usize = 8;

/// A unit in shadow, on one line.
pub(super) fn line(shadow: &ShadowSummary, now: Timestamp) -> String {
    let ShadowSummary {
        unit,
        backend,
        source,
        digest,
        since,
        tests,
        ..
    } = shadow;
    // JSON has all of it.
    let digest: String = digest.chars().take(DIGITS).collect();
    let digest = Text::from(digest.as_str());
    format!(
        "shadow: {unit} ({backend}) by {source}, for {}: {} refused, {}, {} lost; sha256 {digest}…",
        age(since.0, now),
        would_be(shadow.denials),
        plural(*tests, "test"),
        lost(shadow)
    )
}

fn list(shadows: &[request::Shadow], now: Timestamp) -> String {
    if shadows.is_empty() {
        return "no unit is in shadow\n".to_owned();
    }
    let lines = shadows
        .iter()
        .map(|shadow| format!("{}\n{}", line(&shadow.summary, now), details(shadow)));
    lines.collect()
}

/// What would be refused, and what is not known.
fn details(shadow: &request::Shadow) -> String {
    let mut text: String = shadow.denials.iter().map(denied).collect();
    let ShadowSummary {
        left_out,
        unjudged,
        unread,
        losses,
        gaps,
        refuses_nothing,
        ..
    } = &shadow.summary;
    let mut add = |line: String| {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    };
    if *left_out > 0 {
        add(format!(
            "{} refused too, and only counted",
            would_be(*left_out)
        ));
    }
    for (reason, count) in unjudged {
        add(format!(
            "{}: {}",
            plural(*count, "fact"),
            Text::from(reason)
        ));
    }
    for line in unread {
        add(format!("line not judged: {line}"));
    }
    if *refuses_nothing {
        add(REFUSES_NOTHING.to_owned());
    }
    if *gaps > 0 {
        add(unobserved(*gaps));
    }
    for (kind, count) in losses {
        add(format!("lost: {} {count}", Text::from(kind)));
    }
    text
}

fn denied(denial: &Denial) -> String {
    let Denial {
        command,
        executable,
        kind,
        fact,
        line,
        at,
        first,
        run,
        mark,
    } = denial;
    let command = command.as_ref();
    let command = command.map_or_else(String::new, |one| format!("{} ", Text::from(one)));
    let at = at
        .as_ref()
        .map_or_else(String::new, |at| format!(" ({at})"));
    let mark = mark.as_ref();
    let mark = mark.map_or_else(String::new, |mark| format!(", test {mark}"));
    let first = first.map_or_else(String::new, |time| format!(", first {}", time.0));
    format!(
        "  {command}{executable} {} {fact}\n    by {line}{at}; run {run}{mark}{first}\n",
        kind.as_str()
    )
}

#[cfg(test)]
mod tests;
