//! `harden proof`: what was tried before a unit's files were kept, and whether that still says anything.

use std::{ffi::OsString, fmt::Write as _};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::ask;
use crate::{
    apply::{
        self, Installed, State, Unit,
        proof::{self, Change, Proof, Standing},
    },
    observation::Text,
    plural::plural,
};

/// `harden proof`
#[derive(Debug, Args)]
pub struct ProofOf {
    /// The units [default: all that harden apply has installed something for]
    #[arg(value_name = "UNIT")]
    pub units: Vec<OsString>,
    /// Print only proofs that do not hold, a line each, with systemd's mark of a warning; the exit status is 0
    #[arg(long, conflicts_with_all = ["json", "units"])]
    pub warn: bool,
    /// Print JSON, one object a unit
    #[arg(long)]
    pub json: bool,
}

/// A proof is stale, or there is none.
const NOT_PROVED: u8 = 1;

impl ProofOf {
    /// Looks, and prints. Returns the exit status.
    ///
    /// # Errors
    /// There is no such unit, or nothing is applied to it.
    pub fn run(&self) -> Result<u8> {
        let installed = self.wanted()?;
        if installed.is_empty() && !self.warn && !self.json {
            eprintln!("harden: nothing is applied to any unit");
        }
        let mut text = String::new();
        let mut status = 0;
        for one in &installed {
            let standing = proof::standing(one);
            if !holds(one, &standing) {
                status = NOT_PROVED;
            }
            if self.warn {
                text.push_str(&warning(one, &standing));
            } else if self.json {
                writeln!(text, "{}", as_json(one, &standing))?;
            } else {
                text.push_str(&shown(one, &standing)?);
            }
        }
        ask::print(&text)?;
        Ok(if self.warn { 0 } else { status })
    }

    fn wanted(&self) -> Result<Vec<Installed>> {
        let all = apply::installed();
        if self.units.is_empty() {
            return Ok(all);
        }
        let mut wanted = Vec::new();
        for typed in &self.units {
            let unit = Unit::find_installed(typed)?;
            let name = Text::from(unit.name());
            let found: Vec<_> = all.iter().filter(|one| one.unit == name).cloned().collect();
            if found.is_empty() {
                bail!("nothing is applied to {name}");
            }
            wanted.extend(found);
        }
        Ok(wanted)
    }
}

/// Whether nothing speaks against what is applied. What is on trial is not proved yet.
fn holds(one: &Installed, standing: &Standing) -> bool {
    is_on_trial(one) || matches!(standing, Standing::Known(_, changes) if changes.is_empty())
}

fn is_on_trial(one: &Installed) -> bool {
    matches!(one.state, State::Trial(_))
}

/// What is known of the proof of what is applied, in some words.
pub(super) fn summary(one: &Installed, standing: &Standing) -> String {
    if is_on_trial(one) {
        return "on trial".to_owned();
    }
    match standing {
        Standing::None => "no proof record".to_owned(),
        Standing::Lost(why) => format!("no proof record: {why}"),
        Standing::Known(proof, changes) => match changes.as_slice() {
            [] if proof.tests.is_empty() => "proof holds (no test was run)".to_owned(),
            [] => "proof holds".to_owned(),
            [first, ..] if first.is_unknown() => {
                format!("proof cannot be checked by this user: {first}")
            }
            [first, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    count => format!(", and {count} more"),
                };
                format!("proof is STALE: {first}{more}")
            }
        },
    }
}

/// A line for the journal, if there is something to say; `<4>` is a warning (sd-daemon(3)).
fn warning(one: &Installed, standing: &Standing) -> String {
    if holds(one, standing) {
        return String::new();
    }
    let unit = &one.unit;
    let summary = summary(one, standing);
    format!("<4>{unit}: {summary}; look with harden proof {unit}, and run harden apply again\n")
}

fn shown(one: &Installed, standing: &Standing) -> Result<String> {
    let mut text = format!(
        "{} ({}): {}\n",
        one.unit,
        one.backend,
        summary(one, standing)
    );
    if let Standing::Known(proof, changes) = standing
        && !is_on_trial(one)
    {
        tried(&mut text, proof)?;
        for change in changes {
            let how = if change.is_unknown() {
                "unknown"
            } else {
                "stale"
            };
            writeln!(text, "  {how:12} {change}")?;
        }
    }
    if let Some(named) = &one.proof {
        writeln!(text, "  record       {}", named.file.display())?;
    }
    Ok(text)
}

fn tried(text: &mut String, proof: &Proof) -> Result<()> {
    let proved = proof.proved.round(jiff::Unit::Second)?;
    writeln!(text, "  proved       {proved}")?;
    for test in &proof.tests {
        writeln!(text, "  passed       {}", Text::from(test.as_str()))?;
    }
    if proof.tests.is_empty() {
        writeln!(
            text,
            "  passed       no test: the unit started, and stayed up"
        )?;
    }
    writeln!(
        text,
        "  in force     {}",
        Text::from(proof.in_force.as_str())
    )?;
    let system = &proof.system;
    let mut on = format!("Linux {}", system.kernel);
    if let Some(systemd) = &system.systemd {
        write!(on, ", {}", Text::from(systemd.as_str()))?;
    }
    if let Some(firejail) = &system.firejail {
        write!(on, ", firejail {}", Text::from(firejail.as_str()))?;
    }
    writeln!(
        text,
        "  on           {on}, harden {}",
        Text::from(system.harden.as_str())
    )?;
    if let Some(now) = proof.other_kernel() {
        writeln!(text, "               this kernel is {now}")?;
    }
    writeln!(
        text,
        "  observation  sha256 {}",
        Text::from(proof.observation.as_str())
    )?;
    writeln!(
        text,
        "  rests on     {}, {}",
        plural(proof.installed.len() + proof.unit_files.len(), "unit file"),
        programs(proof.programs.len())
    )?;
    for path in &proof.not_followed {
        writeln!(text, "  not followed {path}")?;
    }
    Ok(())
}

fn programs(count: usize) -> String {
    match count {
        1 => "1 program or library".to_owned(),
        count => format!("{count} programs and libraries"),
    }
}

/// What is known of it, for programs.
pub(super) fn as_json(one: &Installed, standing: &Standing) -> Value {
    let (proof, stale, lost): (Option<&Proof>, &[Change], _) = match standing {
        Standing::None => (None, &[], None),
        Standing::Lost(why) => (None, &[], Some(why)),
        Standing::Known(proof, changes) => (Some(proof), changes, None),
    };
    json!({
        "unit": one.unit,
        "backend": one.backend,
        "holds": !is_on_trial(one) && holds(one, standing),
        "stale": stale,
        "lost": lost,
        "proof": proof,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::apply::{Backend, proof::How};

    fn one(state: State) -> Installed {
        Installed {
            unit: "a\n.service".into(),
            backend: Backend::Systemd,
            since: Timestamp::UNIX_EPOCH,
            observation: "ab12".into(),
            state,
            path: "/run/a.conf".into(),
            proof: None,
        }
    }

    fn known(changes: &[&str], test: Option<&str>) -> Standing {
        let proof = serde_json::json!({
            "schema": 1, "unit": "a.service", "backend": "systemd", "proved": "2026-01-01T00:00:00Z",
            "system": {"harden": "0", "kernel": "6.1", "systemd": null},
            "observation": "ab12", "tests": test.into_iter().collect::<Vec<_>>(), "in_force": "a filter",
            "installed": {}, "unit_files": {}, "programs": {},
        });
        let change = |what: &&str| Change {
            what: (*what).into(),
            how: How::Changed,
        };
        let proof = serde_json::from_value(proof).unwrap();
        Standing::Known(Box::new(proof), changes.iter().map(change).collect())
    }

    #[test]
    fn what_does_not_hold_is_said_in_one_line() {
        let (kept, trial) = (one(State::Kept), one(State::Trial(Timestamp::UNIX_EPOCH)));
        assert_eq!(warning(&kept, &known(&[], Some("true"))), "");
        assert_eq!(warning(&trial, &Standing::None), "");
        assert_eq!(
            warning(&kept, &known(&["/a\nb", "/c"], None)),
            "<4>a\\n.service: proof is STALE: /a\\nb was changed, and 1 more; look with harden proof a\\n.service, and run \
             harden apply again\n"
        );
        let unknown = Change {
            what: "/c".into(),
            how: How::Unreadable("permission denied".to_owned()),
        };
        let Standing::Known(proof, _) = known(&[], None) else {
            panic!()
        };
        let unknown = Standing::Known(proof, vec![unknown]);
        assert_eq!(
            summary(&kept, &unknown),
            "proof cannot be checked by this user: /c cannot be read: permission denied"
        );
        let lost = Standing::Lost("it is gone".to_owned());
        assert!(warning(&kept, &lost).contains("no proof record: it is gone"));
        assert!(warning(&kept, &Standing::None).contains("no proof record;"));
        assert_eq!(
            summary(&kept, &known(&[], None)),
            "proof holds (no test was run)"
        );
        assert_eq!(summary(&kept, &known(&[], Some("true"))), "proof holds");
    }

    #[test]
    fn a_program_reads_what_a_person_does() {
        let kept = one(State::Kept);
        let standing = known(&["/c"], Some("a\nb"));
        let text = shown(&kept, &standing).unwrap();
        assert!(text.contains("\n  passed       a\\nb\n"), "{text}");
        assert!(text.contains("\n  stale        /c was changed\n"), "{text}");
        let json = as_json(&kept, &standing);
        assert_eq!(json["holds"], false);
        assert_eq!(json["stale"][0]["what"], "/c");
        assert_eq!(json["proof"]["tests"][0], "a\nb");
        assert_eq!(as_json(&kept, &known(&[], None))["holds"], true);
        assert_eq!(as_json(&kept, &Standing::None)["proof"], Value::Null);
    }
}
