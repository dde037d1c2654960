//! The control interface: Varlink on a unix socket, so that `varlinkctl` can talk to the agent.
//!
//! zlink supplies the interface, its description and the dispatch of calls; the accept loop and
//! the reading and writing of messages are here. zlink 0.8's own server serves all connections
//! from one task, which waits for a client that does not read, ends when accept(2) fails, takes messages
//! of up to 100 MB, and grows its buffer by 256 bytes and begins again, so that an observation of
//! 1 MB would be serialised 4,000 times.
//!
//! Nothing here knows the kernel: what is asked goes to the core as a [`Request`].

mod client;
mod connection;
mod error;
mod frames;
mod listen;
mod peer;
mod service;
#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc},
};

pub use client::{Client, ClientError, observations};
pub use error::AgentError;
pub use listen::{BindError, bind};

use super::request::Request;
use peer::Role;

/// The name of the interface.
pub const INTERFACE: &str = "io.harden.Agent";

/// Where the socket is, unless the configuration says otherwise.
pub const SOCKET: &str = "/run/harden/io.harden.Agent";

/// The group whose members may read.
pub const GROUP: &str = "harden";

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// How many of them are root's alone, so that nobody else can lock the administrator out.
    pub reserved: usize,
    /// Bytes of a call.
    pub message: usize,
    /// Bytes of a call of root's: a profile is one.
    pub message_of_root: usize,
    /// How long a call may take from its first byte to its last.
    pub half: Duration,
    /// How long a connection may be quiet between calls.
    pub idle: Duration,
    /// How long a client may take to read a reply.
    pub stalled: Duration,
    /// New facts that wait for a slow client.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            reserved: 8,
            message: 64 << 10,
            message_of_root: 4 << 20,
            half: Duration::from_secs(10),
            idle: Duration::from_mins(5),
            stalled: Duration::from_secs(30),
            queue: 1024,
        }
    }
}

/// Serves every client, for ever: drop the future to stop, and every connection is closed.
/// `group` is the group whose members may read. It needs tokio's I/O and time, and may share a
/// thread with the core: nothing in it waits without giving way, but an observation of 10 MB
/// takes some 50 ms to write as JSON. A thread with a runtime of its own keeps those from the core.
pub async fn serve(
    listener: UnixListener,
    group: u32,
    core: mpsc::Sender<Request>,
    limits: Limits,
) {
    // The streams that zlink makes cannot go from one thread to another.
    let local = tokio::task::LocalSet::new();
    local.run_until(accept(listener, group, core, limits)).await;
}

async fn accept(listener: UnixListener, group: u32, core: mpsc::Sender<Request>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // Dead tasks are taken up here, so that the set is no longer than the limit.
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // EMFILE and similar errors last until a descriptor is free; the connection waits.
                tracing::warn!("no connection can be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let role = match peer::role(&stream, group) {
            Ok(role) => role,
            Err(error) => {
                tracing::warn!("a client's credentials cannot be read: {error}");
                continue;
            }
        };
        let Some(role) = role else {
            connection::refuse(&stream, &AgentError::denied_at_all());
            continue;
        };
        let taken = role != Role::Root && places.available_permits() <= limits.reserved;
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) if !taken => {
                let message = match role {
                    Role::Root => limits.message_of_root,
                    Role::Member => limits.message,
                };
                let limits = Limits { message, ..limits };
                let service = service::Agent::new(role, core.clone(), limits.queue);
                connections.spawn_local(async move {
                    if let Err(error) = connection::serve(stream, service, limits).await {
                        tracing::debug!("a connection is closed: {error}");
                    }
                    drop(place);
                });
            }
            _ => connection::refuse(&stream, &AgentError::too_many(limits.connections)),
        }
    }
}
