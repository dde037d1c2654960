//! The other end: what the commands ask with.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
};

use futures_util::{Stream, StreamExt};
use zlink::tokio::unix::{self, Connection};

use super::{
    GROUP,
    error::AgentError,
    service::{Observed, StatusReply, Units, Watched},
};
use crate::{
    agent::request::{Marked, NewFact, Status, UnitSummary},
    observation::{Observation, Text},
};

#[zlink::proxy("io.harden.Agent")]
trait Proxy {
    async fn units(&mut self) -> zlink::Result<Result<Units, AgentError>>;
    async fn status(&mut self) -> zlink::Result<Result<StatusReply, AgentError>>;
    #[zlink(more)]
    async fn observations(
        &mut self,
        units: &[Text],
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Observed, AgentError>>>>;
    async fn mark(
        &mut self,
        name: &Text,
        unit: Option<&Text>,
    ) -> zlink::Result<Result<Marked, AgentError>>;
    async fn unmark(&mut self, unit: Option<&Text>) -> zlink::Result<Result<Marked, AgentError>>;
    #[zlink(more)]
    async fn watch(
        &mut self,
        unit: Option<&Text>,
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Watched, AgentError>>>>;
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error(
        "no agent answers at {}: {error}\nstart it: sudo systemctl start harden",
        Text::from(path.as_os_str().as_encoded_bytes())
    )]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
    /// The socket is not for this user.
    #[error(
        "{}: permission denied\nreading needs membership of the group {GROUP}: sudo usermod -aG {GROUP} \"$USER\", \
         then log in again; or use sudo",
        Text::from(path.as_os_str().as_encoded_bytes())
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The agent says no.
    #[error(transparent)]
    Refused(#[from] AgentError),
    /// What came is not what this version of harden expects.
    #[error(
        "the agent's answer cannot be read: {error}\nit may be of another version: sudo systemctl restart harden"
    )]
    Protocol {
        /// How.
        error: zlink::Error,
    },
    /// The agent ended.
    #[error("the agent is gone: {error}")]
    Gone {
        /// How.
        error: zlink::Error,
    },
}

impl From<zlink::Error> for ClientError {
    fn from(error: zlink::Error) -> Self {
        match error {
            zlink::Error::UnexpectedEof | zlink::Error::Io(_) => Self::Gone { error },
            error => Self::Protocol { error },
        }
    }
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or the socket is not for this user.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        match unix::connect(path).await {
            Ok(connection) => Ok(Self { connection }),
            Err(zlink::Error::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::Denied { path: path.into() })
            }
            Err(zlink::Error::Io(error)) => Err(ClientError::NoAgent {
                path: path.into(),
                error,
            }),
            Err(error) => Err(ClientError::Protocol { error }),
        }
    }

    /// Every unit known.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn units(&mut self) -> Result<Vec<UnitSummary>, ClientError> {
        let reply = self.connection.units().await;
        Ok(self.answer(reply).await?.units)
    }

    /// How the agent does.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        let reply = self.connection.status().await;
        Ok(self.answer(reply).await?.status)
    }

    /// Begins a run.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn mark(&mut self, name: &Text, unit: Option<&Text>) -> Result<Marked, ClientError> {
        let reply = self.connection.mark(name, unit).await;
        self.answer(reply).await
    }

    /// Ends the named run of `unit`, or of all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn unmark(&mut self, unit: Option<&Text>) -> Result<Marked, ClientError> {
        let reply = self.connection.unmark(unit).await;
        self.answer(reply).await
    }

    /// Gives `each` what was seen of `units`, of all if there is none.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn observations(
        &mut self,
        units: &[Text],
        mut each: impl FnMut(Observation),
    ) -> Result<(), ClientError> {
        let error = match self.connection.observations(units).await {
            Ok(replies) => {
                let mut replies = pin!(replies);
                let mut first = None;
                loop {
                    match replies.next().await {
                        None => return Ok(()),
                        Some(Ok(reply)) => {
                            if let Some(observation) = reply?.observation {
                                each(*observation.0);
                            }
                        }
                        Some(Err(error)) => {
                            first.get_or_insert(error);
                            break;
                        }
                    }
                }
                return Err(first.map_or(ClientError::Refused(AgentError::Stopping), Into::into));
            }
            Err(error) => error,
        };
        self.answer(Err(error)).await
    }

    /// Gives `each` every new fact, until it says that it has enough.
    ///
    /// # Errors
    /// [`ClientError`]; the end of the agent is one too.
    pub async fn watch(
        &mut self,
        unit: Option<&Text>,
        mut each: impl FnMut(NewFact) -> bool,
    ) -> Result<(), ClientError> {
        let error = match self.connection.watch(unit).await {
            Ok(replies) => {
                let mut replies = pin!(replies);
                while let Some(reply) = replies.next().await {
                    if !each(reply??.fact) {
                        break;
                    }
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.answer(Err(error)).await
    }

    /// The answer, or why there is none: an agent that refuses a connection says so and closes it
    /// without waiting for the call, and a call that is written thereafter fails first.
    async fn answer<T>(
        &mut self,
        reply: zlink::Result<Result<T, AgentError>>,
    ) -> Result<T, ClientError> {
        match reply {
            Ok(reply) => Ok(reply?),
            Err(error @ zlink::Error::Io(_)) => {
                match self.connection.receive_reply::<(), AgentError>().await {
                    Ok((Err(refusal), _)) => Err(refusal.into()),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}
