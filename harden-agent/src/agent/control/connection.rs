//! One client: its calls one after the other, each with its replies.

use std::io;

use futures_util::StreamExt;
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zlink::{Call, Reply, Service, service::MethodReply, varlink_service};

use super::{
    INTERFACE, Limits,
    error::AgentError,
    frames::{Frames, encode, write},
    service::{Agent, METHODS, Nowhere},
};

type Method<'a> = <Agent as Service<Nowhere>>::MethodCall<'a>;

/// Says why, if that can be said without waiting, and closes the connection.
pub(super) fn refuse(stream: &UnixStream, error: &AgentError) {
    tracing::debug!("a connection is refused: {error}");
    if let Ok(bytes) = encode(error) {
        // A new socket's buffer is empty: this fits.
        let _ = stream.try_write(&bytes);
    }
}

/// Serves `stream` to its end.
pub(super) async fn serve(stream: UnixStream, agent: Agent, limits: Limits) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut client = Client {
        frames: Frames::new(read, limits.message),
        write,
        agent,
        limits,
    };
    while client.one_call().await? {}
    Ok(())
}

struct Client {
    frames: Frames<OwnedReadHalf>,
    write: OwnedWriteHalf,
    agent: Agent,
    limits: Limits,
}

impl Client {
    /// Whether there may be another.
    async fn one_call(&mut self) -> io::Result<bool> {
        let Limits {
            half,
            idle,
            stalled,
            ..
        } = self.limits;
        let Some(message) = self.frames.next(half, idle).await? else {
            return Ok(false);
        };
        let call: Call<Method<'_>> = match serde_json::from_slice(message) {
            Ok(call) => call,
            Err(error) => {
                let error = wrong_call(message).ok_or(error)?;
                write(&mut self.write, &error, stalled).await?;
                return Ok(true);
            }
        };
        // The interface needs no connection of zlink's own, and none is open.
        let mut nowhere = zlink::Connection::new(Nowhere);
        let (reply, _) = self.agent.handle(&call, &mut nowhere, Vec::new()).await;
        if call.oneway() {
            return Ok(true);
        }
        let mut replies = match reply {
            MethodReply::Single(parameters) => {
                write(&mut self.write, &Reply::new(parameters), stalled).await?;
                return Ok(true);
            }
            MethodReply::Error(error) => {
                write(&mut self.write, &error, stalled).await?;
                return Ok(true);
            }
            MethodReply::Multi(replies) => replies,
            // No method upgrades, and zlink refuses those who ask.
            _ => return Ok(false),
        };
        drop(call);
        loop {
            let reply = tokio::select! {
                reply = replies.next() => reply,
                gone = self.frames.gone() => return gone.map(|()| false),
            };
            match reply {
                None => return Ok(true),
                Some((Ok(reply), _)) => write(&mut self.write, &reply, stalled).await?,
                Some((Err(error), _)) => {
                    write(&mut self.write, &error, stalled).await?;
                    return Ok(true);
                }
            }
        }
    }
}

/// The error for a message that is a call, but none that its method takes. What is no call at all
/// gets no answer.
fn wrong_call(message: &[u8]) -> Option<varlink_service::Error<'static>> {
    #[derive(serde::Deserialize)]
    struct AnyCall {
        method: String,
    }
    use varlink_service::Error;
    let AnyCall { method } = serde_json::from_slice(message).ok()?;
    let interface = method
        .rsplit_once('.')
        .map_or("", |(interface, _)| interface);
    Some(
        if ![INTERFACE, "org.varlink.service"].contains(&interface) {
            let interface = interface.to_owned().into();
            Error::InterfaceNotFound { interface }
        } else if METHODS.contains(&method.as_str()) {
            // serde tells the name in its text only.
            let parameter = "parameters".into();
            Error::InvalidParameter { parameter }
        } else {
            let method = method.into();
            Error::MethodNotFound { method }
        },
    )
}
