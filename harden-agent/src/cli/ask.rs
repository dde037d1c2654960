//! What the commands that ask the agent have in common.

use std::{
    ffi::OsStr,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::{snapshot::NoRuns, status::AgentFailed};
use crate::{
    agent::control::{self, AgentError, Client, ClientError, SOCKET},
    machine::disks::Disks,
    observation::{self, Observation, Text},
};

/// How to reach the agent.
#[derive(Debug, Args)]
pub struct Ask {
    /// The agent's socket
    #[arg(long, value_name = "PATH", env = "HARDEN_SOCKET", default_value = SOCKET)]
    pub socket: PathBuf,
}

impl Ask {
    /// Connects, and waits for what `work` does with the connection.
    pub fn agent<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> anyhow::Result<T> {
        wait(async {
            let mut client = Client::connect(&self.socket).await?;
            work(&mut client).await
        })
    }

    /// What was seen of `units`, of all if there is none, as JSON.
    pub fn observations(&self, units: &[Text]) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        self.each_observation(units, |json| found.push(json.to_owned()))?;
        Ok(found)
    }

    /// The same, each as it comes.
    pub fn each_observation(&self, units: &[Text], take: impl FnMut(&str)) -> anyhow::Result<()> {
        wait(control::observations(&self.socket, units, take))
    }
}

fn wait<T>(work: impl Future<Output = Result<T, ClientError>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work)?)
}

/// The exit status for an error of a command that asks the agent.
#[must_use]
pub(super) fn failure_status(error: &anyhow::Error) -> u8 {
    if error.is::<NoRuns>() {
        return 7;
    }
    if error.is::<AgentFailed>() {
        return 8;
    }
    match error.downcast_ref() {
        Some(ClientError::NoAgent { .. }) => 3,
        Some(
            ClientError::Denied { .. } | ClientError::Refused(AgentError::PermissionDenied { .. }),
        ) => 4,
        Some(ClientError::Refused(
            AgentError::UnitNotFound { .. } | AgentError::UnitAmbiguous { .. },
        )) => 5,
        _ => 1,
    }
}

/// A unit's name from the command line: as `harden units` prints it, or byte for byte.
pub(super) fn name(argument: &OsStr) -> Text {
    Text::as_typed(argument.as_bytes())
}

/// The observation in a file, where there is one of that name; else what the agent has of the unit.
///
/// # Errors
/// The file cannot be read; or there is none, and the agent does not know the unit, or does not answer.
pub(super) fn observation(argument: &OsStr, ask: &Ask) -> anyhow::Result<Observation> {
    let path = Path::new(argument);
    let is_json = path.extension() == Some("json".as_ref());
    if is_json || path.exists() {
        return Ok(observation::read(path)?);
    }
    let shown = Text::from(argument.as_bytes());
    recorded(&name(argument), ask).map_err(|error| match error.downcast_ref() {
        Some(ClientError::NoAgent { .. }) => {
            error.context(format!("there is no file {shown}, and no agent to ask"))
        }
        Some(ClientError::Refused(AgentError::UnitNotFound { .. })) => {
            error.context(format!("there is no file {shown}"))
        }
        _ => error,
    })
}

/// What the agent has of a unit, with what this machine's disk has to say of it, as `harden snapshot` writes it.
///
/// # Errors
/// The agent does not know the unit, or does not answer.
pub(super) fn recorded(unit: &Text, ask: &Ask) -> anyhow::Result<Observation> {
    let found = ask.observations(std::slice::from_ref(unit))?;
    let json = found
        .first()
        .context("the agent has no observation of this unit")?;
    let mut observation = observation::from_json(json.as_bytes())?;
    Disks::default().look(&mut observation);
    Ok(observation)
}

/// Prints `text`. Returns whether anybody reads on: `harden units | head`.
pub(super) fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints a line on standard error, which may be gone: what is under way goes on.
pub(super) fn note(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_that_a_script_can_act_on_has_its_status() {
        let socket = PathBuf::from("/run/harden/io.harden.Agent");
        let refused = |error| ClientError::Refused(error);
        for (error, status) in [
            (
                ClientError::NoAgent {
                    path: socket.clone(),
                    error: io::ErrorKind::NotFound.into(),
                },
                3,
            ),
            (ClientError::Denied { path: socket }, 4),
            (
                refused(AgentError::PermissionDenied {
                    needs: String::new(),
                }),
                4,
            ),
            (
                refused(AgentError::UnitNotFound {
                    unit: "a".into(),
                    near: Vec::new(),
                }),
                5,
            ),
            (
                refused(AgentError::UnitAmbiguous {
                    unit: "a".into(),
                    candidates: Vec::new(),
                }),
                5,
            ),
            (refused(AgentError::Stopping), 1),
            (refused(AgentError::TooManyConnections { limit: 64 }), 1),
        ] {
            assert_eq!(failure_status(&error.into()), status);
        }
        assert_eq!(failure_status(&anyhow::anyhow!("no space")), 1);
    }
}
