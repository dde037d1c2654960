//! An agent that answers on another machine: a container has a socket of its own, whose connections go on to the agent's. The
//! machines share a kernel, and so the agent records what the container's units do.

use std::{
    fs, io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};

use crate::{Agent, Machine};

/// Until it is dropped, the machine has the socket.
pub struct Forwarded(PathBuf);

impl Forwarded {
    /// Has the agent answer at this absolute path of the machine.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn new(agent: &Agent, machine: &Machine, path: &str) -> Result<Self> {
        let place = machine.root().join(path.trim_start_matches('/'));
        let listener = UnixListener::bind(&place).with_context(|| place.display().to_string())?;
        let socket = agent.socket();
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let socket = socket.clone();
                thread::spawn(move || forward(&stream, &socket));
            }
        });
        Ok(Self(place))
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Copies until both sides have ended.
fn forward(near: &UnixStream, socket: &Path) -> io::Result<()> {
    let far = UnixStream::connect(socket)?;
    thread::scope(|scope| {
        scope.spawn(|| copy(near, &far));
        copy(&far, near)
    })
}

fn copy(mut from: &UnixStream, mut to: &UnixStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
