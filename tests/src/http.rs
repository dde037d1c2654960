//! Requests as a client sends them, one a connection.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// A server that is denied a call may keep a client waiting for ever.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status line and the header lines.
    pub head: String,
    /// What follows them.
    pub body: Vec<u8>,
}

impl Response {
    /// Checks the status.
    ///
    /// # Errors
    /// It is another.
    pub fn expect(self, status: u16) -> Result<Self> {
        let code = self.head.split(' ').nth(1);
        ensure!(
            code == Some(&status.to_string()),
            "not {status}: {}",
            self.head
        );
        Ok(self)
    }

    /// Checks the body.
    ///
    /// # Errors
    /// It is another.
    pub fn with_body(self, body: &[u8]) -> Result<Self> {
        ensure!(
            self.body == body,
            "{} bytes, or other ones, for {}",
            self.body.len(),
            body.len()
        );
        Ok(self)
    }
}

/// Asks the server at `port` of this machine.
///
/// # Errors
/// No answer, or none in HTTP.
pub fn request(port: u16, method: &str, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("no server")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("no answer")?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no HTTP")?;
    Ok(Response {
        head: String::from_utf8_lossy(&answer[..end]).into_owned(),
        body: answer.split_off(end + 4),
    })
}

/// Asks for a page.
///
/// # Errors
/// As [`request`].
pub fn get(port: u16, path: &str) -> Result<Response> {
    request(port, "GET", path)
}
