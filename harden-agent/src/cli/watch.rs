//! `harden watch`: new facts as they come.

use std::ffi::OsString;

use clap::Args;

use super::{
    Failure,
    ask::{self, Ask},
    units,
};
use crate::agent::{
    control::{AgentError, ClientError},
    names,
    request::{NameError, NewFact},
};
use crate::plural::were;

/// `harden watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// Watch only this unit [default: every unit]
    pub unit: Option<OsString>,
    /// Print JSON, one object on each line
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Watch {
    /// Prints until Ctrl-C or the end of the agent.
    ///
    /// # Errors
    /// No agent answers, or it says no.
    pub fn run(&self) -> anyhow::Result<()> {
        let unit = self.unit.as_deref().map(ask::name);
        let mut printed = Ok(());
        let watched = self.ask.agent(async |agent| {
            if let Some(unit) = &unit {
                // It may well come later; a typing error never does.
                let known = units::names(&agent.units().await?);
                if let Err(error @ NameError::NotFound { .. }) = names::resolve(unit, &known) {
                    let error = ClientError::from(AgentError::from(error)).into();
                    if self.json {
                        eprintln!("{}", Failure::of(&error).json());
                    } else {
                        eprintln!("harden: {error}");
                    }
                }
            }
            let each =
                |fact: NewFact| match self.line(&fact).and_then(|line| Ok(ask::print(&line)?)) {
                    Ok(read_on) => read_on,
                    Err(error) => {
                        printed = Err(error);
                        false
                    }
                };
            tokio::select! {
                watched = agent.watch(unit.as_ref(), each) => watched,
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        });
        printed?;
        match watched {
            Err(error) if is_end(&error) => {
                eprintln!("harden: the agent has ended");
                Ok(())
            }
            other => other,
        }
    }

    fn line(&self, fact: &NewFact) -> anyhow::Result<String> {
        Ok(if self.json {
            format!("{}\n", serde_json::to_string(fact)?)
        } else {
            text(fact)
        })
    }
}

fn is_end(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClientError::Gone { .. } | ClientError::Refused(AgentError::Stopping))
    )
}

fn text(fact: &NewFact) -> String {
    let missed = match fact.lagged {
        0 => String::new(),
        lagged => format!("({} left out here)\n", were(lagged, "fact")),
    };
    let NewFact {
        unit,
        executable,
        kind,
        fact,
        refused_by,
        ..
    } = fact;
    let refused = refused_by.as_ref();
    let refused = refused.map_or_else(String::new, |line| format!(": would be refused by {line}"));
    format!(
        "{missed}{unit} {executable} {} {fact}{refused}\n",
        kind.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::request::FactKind, observation::Word};

    #[test]
    fn a_fact_is_a_line_and_so_is_what_was_missed() {
        let fact = NewFact {
            unit: "cron.service".into(),
            run: Word::new("0b7e").unwrap(),
            executable: "/usr/sbin/cron".into(),
            kind: FactKind::Path,
            fact: "read /tmp/a\nb\u{1b}[2J".into(),
            first: None,
            lagged: 0,
            refused_by: None,
        };
        let line = "cron.service /usr/sbin/cron path read /tmp/a\\nb\\x1B[2J\n";
        assert_eq!(text(&fact), line);
        let late = NewFact {
            lagged: 8,
            ..fact.clone()
        };
        assert_eq!(text(&late), format!("(8 facts were left out here)\n{line}"));
        let refused = NewFact {
            refused_by: Some("private-tmp (a\nb:3)".into()),
            ..fact
        };
        assert_eq!(
            text(&refused),
            format!(
                "{}: would be refused by private-tmp (a\\nb:3)\n",
                line.trim_end()
            )
        );
    }
}
