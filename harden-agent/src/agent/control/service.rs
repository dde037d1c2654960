//! The interface itself: its methods, and who may call them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use zlink::{
    Reply,
    connection::{
        PassedCredentials,
        socket::{ReadHalf, ReadResult, Socket, WriteHalf},
    },
    idl,
    introspect::{self, Type},
    varlink_service,
};

use super::{
    error::{AgentError, StreamError},
    peer::Role,
};
use crate::{
    agent::request::{
        Denial, FactKind, Forgotten, KernelSide, Link, MARK_LENGTH, Marked, NameError, NewFact,
        ProfilePart, Request, Shadow, ShadowProfile, ShadowSummary, Status, UnitState, UnitSummary,
        Verdict, Watcher,
    },
    apply::Backend,
    observation::{Observation, Text},
};

/// What can be called. zlink takes a call of an unknown method for a known one with the wrong
/// parameters.
pub(super) const METHODS: [&str; 12] = [
    "org.varlink.service.GetInfo",
    "org.varlink.service.GetInterfaceDescription",
    "io.harden.Agent.Units",
    "io.harden.Agent.Status",
    "io.harden.Agent.Observations",
    "io.harden.Agent.Mark",
    "io.harden.Agent.Unmark",
    "io.harden.Agent.Forget",
    "io.harden.Agent.Freeze",
    "io.harden.Agent.Unfreeze",
    "io.harden.Agent.Shadows",
    "io.harden.Agent.Watch",
];

/// The agent as one client sees it.
pub(super) struct Agent {
    role: Role,
    core: mpsc::Sender<Request>,
    queue: usize,
}

/// The answer of Units.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct Units {
    /// In the order of their names.
    pub(super) units: Vec<UnitSummary>,
}

/// The answer of Status.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct StatusReply {
    /// How the agent does.
    pub(super) status: Status,
}

/// An answer of Observations. The only one has no observation if no unit is known.
#[derive(Debug, Serialize, introspect::Type)]
pub(super) struct Observed {
    /// What was seen of one unit, as in its file.
    pub(super) observation: Option<Whole>,
}

/// An observation, whose own schema tells its shape.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Whole(pub(super) Box<Observation>);

impl Type for Whole {
    const TYPE: &'static idl::Type<'static> = &idl::Type::ForeignObject;
}

/// The answer of Freeze.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct FrozenReply {
    /// What there is now.
    pub(super) shadow: ShadowSummary,
}

/// The answer of Unfreeze.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct Unfrozen {
    /// The unit's full name.
    pub(super) unit: Text,
}

/// The answer of Shadows.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct Shadows {
    /// In the order of their names.
    pub(super) shadows: Vec<Shadow>,
}

/// An answer of Watch.
#[derive(Debug, Serialize, Deserialize, introspect::Type)]
pub(super) struct Watched {
    /// A fact that was not known before.
    pub(super) fact: NewFact,
}

impl Agent {
    pub(super) fn new(role: Role, core: mpsc::Sender<Request>, queue: usize) -> Self {
        Self { role, core, queue }
    }

    async fn begin(&self, name: Option<Text>, unit: Option<Text>) -> Result<Marked, AgentError> {
        let marked = ask(&self.core, |reply| Request::Mark { name, unit, reply }).await?;
        Ok(marked?)
    }
}

/// Asks the core; it is about to end if it does not answer.
async fn ask<T>(
    core: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, AgentError> {
    let (reply, answer) = oneshot::channel();
    let sent = core.send(request(reply)).await;
    sent.map_err(|_| AgentError::Stopping)?;
    answer.await.map_err(|_| AgentError::Stopping)
}

/// What the agent of harden has recorded. The group of the socket may read; root may begin runs and drop records.
#[zlink::service(
    interface = "io.harden.Agent",
    vendor = "harden",
    product = "harden",
    version = env!("CARGO_PKG_VERSION"),
    url = "",
    types = [
        UnitSummary, UnitState, Verdict, Status, KernelSide, Marked, Forgotten, ShadowProfile, Backend, ProfilePart, Link,
        ShadowSummary, Shadow, Denial, NewFact, FactKind
    ]
)]
#[expect(clippy::unused_async, reason = "zlink awaits every method")]
impl Agent {
    /// Every unit known, in short.
    async fn units(&self) -> Result<Units, AgentError> {
        let units = ask(&self.core, |reply| Request::Units { reply }).await?;
        Ok(Units { units })
    }

    /// How the agent does.
    async fn status(&self) -> Result<StatusReply, AgentError> {
        let status = ask(&self.core, |reply| Request::Status { reply }).await?;
        Ok(StatusReply { status })
    }

    /// What was seen of these units, of all if none is named: one unit a reply. More than one
    /// needs `more`. A name is escaped as it is in an observation.
    #[zlink(more)]
    async fn observations(
        &self,
        more: bool,
        units: Vec<Text>,
    ) -> impl Stream<Item = Result<Reply<Observed>, StreamError>> + Unpin + use<> {
        let (sender, replies) = mpsc::channel(1);
        let core = self.core.clone();
        tokio::spawn(async move {
            if let Err(error) = send_observations(&core, more, units, &sender).await {
                // Who is gone needs no answer.
                let _ = sender.send(Err(error)).await;
            }
        });
        Replies(replies)
    }

    /// Begins a run of that name, of one unit or of all. For root only.
    async fn mark(&mut self, name: Text, unit: Option<Text>) -> Result<Marked, AgentError> {
        if self.role != Role::Root {
            return Err(AgentError::denied_change());
        }
        if !(1..=MARK_LENGTH).contains(&name.as_bytes().len()) {
            return Err(AgentError::bad_mark());
        }
        self.begin(Some(name), unit).await
    }

    /// Ends the named run of one unit, or of all: what they do from now on counts for their invocation
    /// again. For root only.
    async fn unmark(&mut self, unit: Option<Text>) -> Result<Marked, AgentError> {
        if self.role != Role::Root {
            return Err(AgentError::denied_change());
        }
        self.begin(None, unit).await
    }

    /// Drops what was recorded of these units, which may be patterns. A run that is open goes on from zero. For root
    /// only.
    async fn forget(&mut self, units: Vec<Text>) -> Result<Forgotten, AgentError> {
        if self.role != Role::Root {
            return Err(AgentError::denied_change());
        }
        let forgotten = ask(&self.core, |reply| Request::Forget { units, reply }).await?;
        Ok(forgotten?)
    }

    /// Freezes a profile for a unit: what it would refuse from now on is noted, and nothing is refused. For root only.
    async fn freeze(
        &mut self,
        unit: Text,
        profile: ShadowProfile,
        replace: bool,
    ) -> Result<FrozenReply, AgentError> {
        if self.role != Role::Root {
            return Err(AgentError::denied_change());
        }
        let profile = Box::new(profile);
        let frozen = ask(&self.core, |reply| Request::Freeze {
            unit,
            profile,
            replace,
            reply,
        });
        let shadow = frozen.await??;
        Ok(FrozenReply { shadow })
    }

    /// Gives up what is frozen for a unit. For root only.
    async fn unfreeze(&mut self, unit: Text) -> Result<Unfrozen, AgentError> {
        if self.role != Role::Root {
            return Err(AgentError::denied_change());
        }
        let unit = ask(&self.core, |reply| Request::Unfreeze { unit, reply }).await??;
        Ok(Unfrozen { unit })
    }

    /// The units for which a profile is frozen, or one of them, and what it would have refused.
    async fn shadows(&self, unit: Option<Text>) -> Result<Shadows, AgentError> {
        let shadows = ask(&self.core, |reply| Request::Shadows { unit, reply }).await??;
        Ok(Shadows { shadows })
    }

    /// Every new fact of one unit, or of all, from now on. Needs `more`.
    #[zlink(more)]
    async fn watch(
        &self,
        more: bool,
        unit: Option<Text>,
    ) -> impl Stream<Item = Result<Reply<Watched>, StreamError>> + Unpin + use<> {
        let (sender, replies) = mpsc::channel(1);
        let core = self.core.clone();
        let queue = self.queue;
        tokio::spawn(async move {
            let error = if more {
                watched(&core, unit, queue, &sender).await.into()
            } else {
                StreamError::Varlink(varlink_service::Error::ExpectedMore)
            };
            let _ = sender.send(Err(error)).await;
        });
        Replies(replies)
    }
}

type Sender<T> = mpsc::Sender<Result<Reply<T>, StreamError>>;

async fn send_observations(
    core: &mpsc::Sender<Request>,
    more: bool,
    units: Vec<Text>,
    sender: &Sender<Observed>,
) -> Result<(), StreamError> {
    let units = ask(core, |reply| Request::Resolve { units, reply }).await?;
    let units = units.map_err(AgentError::from)?;
    if units.len() > 1 && !more {
        return Err(StreamError::Varlink(varlink_service::Error::ExpectedMore));
    }
    let last = units.len().saturating_sub(1);
    if units.is_empty() {
        let none = Reply::new(Some(Observed { observation: None }));
        let _ = sender.send(Ok(none)).await;
    }
    for (number, unit) in units.into_iter().enumerate() {
        let observation = ask(core, |reply| Request::Observation { unit, reply }).await?;
        let observation = Some(Whole(Box::new(observation.map_err(AgentError::from)?)));
        let continues = (number < last).then_some(true);
        let reply = Reply::new(Some(Observed { observation })).set_continues(continues);
        if sender.send(Ok(reply)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Sends the facts of `unit`, or of all, to the end. A unit that is not known yet may come.
async fn watched(
    core: &mpsc::Sender<Request>,
    unit: Option<Text>,
    queue: usize,
    sender: &Sender<Watched>,
) -> AgentError {
    let unit = match unit {
        Some(unit) => match full_name(core, unit).await {
            Ok(unit) => Some(unit),
            Err(error) => return error,
        },
        None => None,
    };
    let (watcher, facts) = Watcher::new(unit, queue);
    if core.send(Request::Watch(watcher)).await.is_ok() {
        send_facts(facts, sender).await;
    }
    AgentError::Stopping
}

/// The full name of a unit, or what it will be.
async fn full_name(core: &mpsc::Sender<Request>, unit: Text) -> Result<Text, AgentError> {
    let units = vec![unit.clone()];
    match ask(core, |reply| Request::Resolve { units, reply }).await? {
        Ok(found) => Ok(found.into_iter().next().unwrap_or(unit)),
        Err(NameError::NotFound { unit, .. }) if !unit.as_bytes().contains(&b'.') => {
            Ok(Text::from([unit.as_bytes(), b".service"].concat()))
        }
        Err(NameError::NotFound { unit, .. }) => Ok(unit),
        Err(error) => Err(error.into()),
    }
}

/// Until the core drops its end, or the client.
async fn send_facts(mut facts: mpsc::Receiver<NewFact>, sender: &Sender<Watched>) {
    loop {
        let fact = tokio::select! {
            fact = facts.recv() => fact,
            // Or the core would keep a watcher until the next fact of a quiet unit.
            () = sender.closed() => None,
        };
        let Some(fact) = fact else { return };
        let reply = Reply::new(Some(Watched { fact })).set_continues(Some(true));
        if sender.send(Ok(reply)).await.is_err() {
            return;
        }
    }
}

/// The replies of a method, as some task finds them.
pub(super) struct Replies<T>(mpsc::Receiver<Result<Reply<T>, StreamError>>);

impl<T> Stream for Replies<T> {
    type Item = Result<Reply<T>, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// A socket that leads nowhere: zlink gives every call a connection, and ours are read elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nowhere;

impl Socket for Nowhere {
    type ReadHalf = Self;
    type WriteHalf = Self;

    fn split(self) -> (Self, Self) {
        (self, self)
    }
}

impl ReadHalf for Nowhere {
    async fn read(&mut self, _: &mut [u8]) -> zlink::Result<ReadResult> {
        Err(zlink::Error::UnexpectedEof)
    }
}

impl WriteHalf for Nowhere {
    async fn write(
        &mut self,
        _: &[u8],
        _: &[impl std::os::fd::AsFd],
        _: Option<&PassedCredentials>,
    ) -> zlink::Result<()> {
        Err(zlink::Error::SocketWrite)
    }
}
