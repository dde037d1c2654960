//! The other end: what the commands ask with.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
};

use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};
use zlink::tokio::unix::{self, Connection};

use super::{
    GROUP, INTERFACE,
    error::AgentError,
    frames::encode,
    service::{FrozenReply, Shadows, StatusReply, Unfrozen, Units, Watched},
};
use crate::{
    agent::request::{
        Forgotten, Marked, NewFact, Shadow, ShadowProfile, ShadowSummary, Status, UnitSummary,
    },
    observation::Text,
};

#[zlink::proxy("io.harden.Agent")]
trait Proxy {
    async fn units(&mut self) -> zlink::Result<Result<Units, AgentError>>;
    async fn status(&mut self) -> zlink::Result<Result<StatusReply, AgentError>>;
    async fn mark(
        &mut self,
        name: &Text,
        unit: Option<&Text>,
    ) -> zlink::Result<Result<Marked, AgentError>>;
    async fn unmark(&mut self, unit: Option<&Text>) -> zlink::Result<Result<Marked, AgentError>>;
    async fn forget(&mut self, units: &[Text]) -> zlink::Result<Result<Forgotten, AgentError>>;
    async fn freeze(
        &mut self,
        unit: &Text,
        profile: &ShadowProfile,
        replace: bool,
    ) -> zlink::Result<Result<FrozenReply, AgentError>>;
    async fn unfreeze(&mut self, unit: &Text) -> zlink::Result<Result<Unfrozen, AgentError>>;
    async fn shadows(&mut self, unit: Option<&Text>) -> zlink::Result<Result<Shadows, AgentError>>;
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
        "no agent answers at {}: {error}\nstart it: sudo systemctl start harden; if it listens elsewhere: --socket PATH",
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
            Err(zlink::Error::Io(error)) => Err(not_connected(path, error)),
            Err(error) => Err(error.into()),
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

    /// Drops what was recorded of these units.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn forget(&mut self, units: &[Text]) -> Result<Forgotten, ClientError> {
        let reply = self.connection.forget(units).await;
        self.answer(reply).await
    }

    /// Freezes a profile for a unit.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn freeze(
        &mut self,
        unit: &Text,
        profile: &ShadowProfile,
        replace: bool,
    ) -> Result<ShadowSummary, ClientError> {
        let reply = self.connection.freeze(unit, profile, replace).await;
        Ok(self.answer(reply).await?.shadow)
    }

    /// Gives up what is frozen for a unit. Returns its full name.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn unfreeze(&mut self, unit: &Text) -> Result<Text, ClientError> {
        let reply = self.connection.unfreeze(unit).await;
        Ok(self.answer(reply).await?.unit)
    }

    /// The units in shadow, or one of them.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn shadows(&mut self, unit: Option<&Text>) -> Result<Vec<Shadow>, ClientError> {
        let reply = self.connection.shadows(unit).await;
        Ok(self.answer(reply).await?.shadows)
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

fn not_connected(path: &Path, error: io::Error) -> ClientError {
    let path = path.into();
    match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Denied { path },
        _ => ClientError::NoAgent { path, error },
    }
}

/// Gives `each` what was seen of `units`, of all if there is none, as JSON: see
/// [`crate::observation::from_json`].
///
/// Not by way of zlink's connection: it reads a reply into a tree, to find out whether it is an
/// error, and the observation out of that. A hundred observations are 10 MB.
///
/// # Errors
/// [`ClientError`]
pub async fn observations(
    path: &Path,
    units: &[Text],
    mut each: impl FnMut(&str),
) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        error: Option<String>,
        #[serde(borrow)]
        parameters: Option<Parameters<'a>>,
        #[serde(default)]
        continues: bool,
    }
    #[derive(Deserialize)]
    struct Parameters<'a> {
        #[serde(borrow)]
        observation: Option<&'a RawValue>,
    }

    let io = |error: io::Error| ClientError::from(zlink::Error::Io(error));
    let json = |error: serde_json::Error| ClientError::from(zlink::Error::Json(error));
    let connected = UnixStream::connect(path).await;
    let (read, mut write) = connected
        .map_err(|error| not_connected(path, error))?
        .into_split();
    let method = format!("{INTERFACE}.Observations");
    let call = json!({ "method": method, "parameters": { "units": units }, "more": true });
    // Who is refused may find the connection closed already; the refusal can still be read.
    let sent = write.write_all(&encode(&call).map_err(io)?).await;
    let mut replies = BufReader::with_capacity(1 << 18, read);
    let mut message = Vec::new();
    loop {
        message.clear();
        replies.read_until(0, &mut message).await.map_err(io)?;
        if message.pop() != Some(0) {
            return Err(sent.map_or_else(io, |()| zlink::Error::UnexpectedEof.into()));
        }
        let answer: Answer<'_> = serde_json::from_slice(&message).map_err(json)?;
        if let Some(name) = answer.error {
            return Err(serde_json::from_slice::<AgentError>(&message).map_or_else(
                |_| zlink::Error::UnknownErrorReply(name).into(),
                ClientError::Refused,
            ));
        }
        if let Some(observation) = answer.parameters.and_then(|answer| answer.observation) {
            each(observation.get());
        }
        if !answer.continues {
            return Ok(());
        }
    }
}
