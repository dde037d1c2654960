//! Every tier of every fact, tried.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    check::{Check, Status},
    safe,
};
use crate::machine::kallsyms;
use crate::observation::Facet;
use crate::probe::{Attempt, Refusal, Sizes, Survey, Tiers};

/// Facts without which a recording is worth nothing; the others only explain or refine.
const NEEDED: [Facet; 3] = [Facet::Syscalls, Facet::Files, Facet::Capabilities];
/// What makes facts those of a unit. It is no fact itself, and needed too.
const ATTRIBUTION: &str = "attribution";
/// Lines of a verifier's log that tell what it did not like.
const LOG_LINES: usize = 15;

/// What the kernel took.
#[derive(Debug, Serialize)]
pub(super) struct Hooks {
    /// Milliseconds to load and attach what is chosen, maps included; absent if nothing can be.
    load_ms: Option<f64>,
    /// Why nothing can be loaded at all.
    error: Option<String>,
    /// By fact.
    facts: BTreeMap<&'static str, Fact>,
    #[serde(skip)]
    order: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Fact {
    /// The hook that a recording would use.
    chosen: Option<String>,
    /// Why it would use none.
    reason: Option<String>,
    tiers: Vec<Tier>,
}

#[derive(Debug, Serialize)]
struct Tier {
    hook: String,
    status: Status,
    /// Absent before kernel 5.16, and for a tier that is no single hook.
    verified_instructions: Option<u32>,
    /// To load and attach.
    load_ms: Option<f64>,
    errno: Option<i32>,
    errno_name: Option<String>,
    reason: Option<String>,
    /// The end of the verifier's log.
    log: Vec<String>,
}

/// Tries all of them.
pub(super) fn examine() -> Hooks {
    match Survey::take(&Sizes::default()) {
        Ok(survey) => Hooks {
            load_ms: Some(milliseconds(survey.load)),
            error: None,
            order: survey.tiers.iter().map(|tiers| tiers.fact).collect(),
            facts: survey
                .tiers
                .into_iter()
                .map(|tiers| (tiers.fact, fact(tiers)))
                .collect(),
        },
        Err(error) => Hooks {
            load_ms: None,
            error: Some(safe(error.to_string())),
            order: Vec::new(),
            facts: BTreeMap::new(),
        },
    }
}

fn fact(tiers: Tiers) -> Fact {
    let (chosen, reason) = match tiers.chosen {
        Ok(hook) => (Some(hook), None),
        Err(reason) => (None, Some(safe(reason))),
    };
    Fact {
        chosen,
        reason,
        tiers: tiers.attempts.into_iter().map(tier).collect(),
    }
}

fn tier(attempt: Attempt) -> Tier {
    let (loaded, refusal) = match attempt.result {
        Ok(loaded) => (Some(loaded), None),
        Err(refusal) => (None, Some(refusal)),
    };
    Tier {
        hook: attempt.hook,
        status: if loaded.is_some() {
            Status::Ok
        } else {
            Status::Refused
        },
        verified_instructions: loaded.and_then(|loaded| loaded.verified_instructions),
        load_ms: loaded.map(|loaded| milliseconds(loaded.load)),
        errno: refusal.as_ref().and_then(|refusal| refusal.errno),
        errno_name: refusal.as_ref().and_then(errno_name),
        reason: refusal.as_ref().map(|refusal| safe(&refusal.reason)),
        log: refusal.as_ref().map(log_end).unwrap_or_default(),
    }
}

fn errno_name(refusal: &Refusal) -> Option<String> {
    let errno = nix::errno::Errno::from_raw(refusal.errno?);
    Some(format!("{errno:?}"))
}

fn log_end(refusal: &Refusal) -> Vec<String> {
    let lines: Vec<&str> = refusal.log.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    // Tabs would come out as \t.
    lines[from..]
        .iter()
        .map(|line| safe(line.replace('\t', " ")))
        .collect()
}

/// With two places: the sum of many small programs still adds up.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

impl Hooks {
    /// A line a fact, and one for all.
    pub(super) fn checks(&self) -> Vec<Check> {
        if let Some(error) = &self.error {
            return vec![Check::refused("hooks", error)];
        }
        let load = self.load_ms.unwrap_or_default();
        let mut checks = vec![Check::ok(
            "hooks",
            format!("what is chosen loads in {load} ms"),
        )];
        checks.extend(
            self.order
                .iter()
                .filter_map(|name| Some(fact_check(name, self.facts.get(name)?))),
        );
        checks
    }

    /// The tiers below the line of check `name`.
    pub(super) fn lines(&self, name: &str, verbose: bool) -> String {
        let name = name.strip_prefix("hook ").unwrap_or(name);
        let Some(fact) = self.facts.get(name) else {
            return String::new();
        };
        fact.tiers.iter().map(|tier| tier.lines(verbose)).collect()
    }
}

fn is_needed(name: &str) -> bool {
    name == ATTRIBUTION || NEEDED.iter().any(|fact| fact.name() == name)
}

fn fact_check(name: &str, fact: &Fact) -> Check {
    let title = if name == ATTRIBUTION {
        name.to_owned()
    } else {
        format!("hook {name}")
    };
    if let Some(chosen) = &fact.chosen {
        let hooks = BTreeMap::from([(name.to_owned(), chosen.clone())]);
        return match kallsyms::missing(&hooks) {
            Some(text) => Check::warning(&title, format!("{chosen}: {text}")),
            None => Check::ok(&title, chosen),
        };
    }
    let reason = fact.reason.as_deref().unwrap_or_default();
    // What is not attached although it could be is not needed yet, and the reason says so.
    let available = fact.tiers.iter().any(|tier| tier.status == Status::Ok);
    let status = match available {
        _ if is_needed(name) => Status::Refused,
        true => Status::Ok,
        false => Status::Warning,
    };
    Check::new(status, &title, format!("none: {reason}"))
}

impl Tier {
    fn lines(&self, verbose: bool) -> String {
        let says = match &self.reason {
            None => {
                let instructions = self
                    .verified_instructions
                    .map_or_else(String::new, |count| {
                        format!("{count} instructions verified, ")
                    });
                format!("{instructions}{} ms", self.load_ms.unwrap_or_default())
            }
            Some(reason) => {
                let errno = self.errno_name.as_ref().zip(self.errno);
                let errno =
                    errno.map_or_else(String::new, |(name, number)| format!("{name} ({number}): "));
                format!("{errno}{reason}")
            }
        };
        let mut text = format!("  {}    {:<22}  {says}\n", self.status.word(), self.hook);
        if verbose {
            for line in &self.log {
                text.extend(["             | ", line, "\n"]);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(log: &str) -> Tier {
        tier(Attempt {
            hook: "lsm:x".to_owned(),
            result: Err(Refusal {
                hook: "lsm:x".to_owned(),
                errno: Some(libc::EPERM),
                reason: "no\u{1b}[2J".to_owned(),
                log: log.to_owned(),
            }),
        })
    }

    #[test]
    fn a_refusal_has_its_number_and_the_end_of_its_log() {
        let log: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let tier = refused(&log.join("\n"));
        assert_eq!(tier.errno_name.as_deref(), Some("EPERM"));
        assert_eq!(tier.log.len(), LOG_LINES);
        let text = tier.lines(true);
        assert!(text.contains("EPERM (1): no\\x1B[2J\n") && text.ends_with("| 99\n"));
        assert_eq!(tier.lines(false).lines().count(), 1);
    }

    #[test]
    fn only_what_is_needed_refuses() {
        let fact = |tiers| Fact {
            chosen: None,
            reason: Some("r".to_owned()),
            tiers,
        };
        assert_eq!(fact_check("files", &fact(vec![])).status, Status::Refused);
        assert_eq!(fact_check("fork", &fact(vec![])).status, Status::Warning);
    }
}
