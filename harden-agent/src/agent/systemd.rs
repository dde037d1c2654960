//! What the system's own systemd says of its units: metadata only. Which unit did what comes from the
//! kernel; nothing here is needed for that, so every answer may be missing.
//!
//! One connection, no subscription: `UnitNew` is tied to loading, not to starting. It goes through the bus:
//! systemd has a socket of its own (`/run/systemd/private`), but what it sends there has
//! `org.freedesktop.systemd1` as its sender, which is no unique name, and at that zbus 5.19 panics.

mod describe;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixStream, sync::Mutex, time::timeout};
use zbus::{
    Connection, Message,
    connection::Builder,
    zvariant::{OwnedObjectPath, OwnedValue},
};

pub use self::describe::{Description, Ran, Role};
use crate::collect::unit::Unit;

/// systemd answers in a millisecond; one that is busy with a reload may take seconds.
const PATIENCE: Duration = Duration::from_secs(5);

const DESTINATION: &str = "org.freedesktop.systemd1";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no bus, or it takes no connection.
    #[error("systemd cannot be asked: {bus}: {reason}")]
    Unreachable {
        /// The bus's socket.
        bus: String,
        /// Why not.
        reason: String,
    },
    /// No answer in time.
    #[error("systemd did not answer in {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It has no unit of that name: never had, or has forgotten it.
    #[error("systemd knows no unit {0}")]
    NoSuchUnit(String),
    /// It answered with an error, or in a way that is not understood.
    #[error("systemd says nothing about {unit}: {reason}")]
    Refused {
        /// About which unit.
        unit: String,
        /// What it said.
        reason: String,
    },
}

/// The system's own systemd, asked over D-Bus. The connection is made when it is first needed, kept, and
/// made again after it broke.
#[derive(Debug)]
pub struct Systemd {
    root: PathBuf,
    patience: Duration,
    connection: Mutex<Option<Connection>>,
}

impl Default for Systemd {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl Systemd {
    /// The systemd whose root directory this is: `/`, or `/proc/PID/root` of a container's first process.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            patience: PATIENCE,
            connection: Mutex::new(None),
        }
    }

    /// Waits no longer than this for a connection and the answers over it.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The id of the unit's present invocation, 32 hexadecimal digits, as programs find it in
    /// `INVOCATION_ID`. Read from a link that systemd keeps for journald (src/core/unit.c:
    /// `unit_export_invocation_id`) while the unit is active: no bus, no waiting. Since 252 at least;
    /// `None` where there is none.
    #[must_use]
    pub fn invocation_id(&self, unit: &str) -> Option<String> {
        // The name becomes part of a path: only a valid one has no `/`.
        Unit::of_system(unit)?;
        let link = self
            .root
            .join("run/systemd/units")
            .join(format!("invocation:{unit}"));
        let id = fs::read_link(link).ok()?.into_os_string().into_string();
        id.ok().filter(|id| describe::is_id(id))
    }

    /// What systemd knows of the unit now.
    ///
    /// It may be asked a good while after the fact: of every command line systemd keeps the process that
    /// ran it last, so a command that took 2 ms is still there, as long as the unit is loaded (for a
    /// unit from a file, until something else needs the memory: at least until it has been inactive for a
    /// moment) and until it is started again. Compare [`Description::invocation`] with the invocation in
    /// question. `systemctl daemon-reload` makes systemd forget the processes of all but the main command.
    ///
    /// # Errors
    /// systemd cannot be reached, does not answer in time, or does not know the unit.
    pub async fn describe(&self, unit: &str) -> Result<Description, Error> {
        let Ok(answer) = timeout(self.patience, self.properties(unit)).await else {
            // The next question is not to wait for what this one waits for. The thread that holds the lock is about
            // to make another connection anyway.
            if let Ok(mut kept) = self.connection.try_lock() {
                kept.take();
            }
            return Err(Error::TimedOut(self.patience));
        };
        Ok(Description::of(&answer?))
    }

    async fn properties(&self, unit: &str) -> Result<HashMap<String, OwnedValue>, Error> {
        let mut answer = ask(&self.connection().await?, unit).await;
        if answer.as_ref().is_err_and(is_broken) {
            // Bus or systemd was restarted since: once more, over a new connection.
            self.connection.lock().await.take();
            answer = ask(&self.connection().await?, unit).await;
        }
        answer
            .and_then(|message| message.body().deserialize())
            .map_err(|error| refused(unit, &error))
    }

    /// Whether there is a bus to ask over.
    #[must_use]
    pub fn has_bus(&self) -> bool {
        self.bus().exists()
    }

    fn bus(&self) -> PathBuf {
        self.root.join("run/dbus/system_bus_socket")
    }

    /// The connection, made unless it is there.
    async fn connection(&self) -> Result<Connection, Error> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let bus = self.bus();
        let connection = open(&bus).await.map_err(|reason| Error::Unreachable {
            bus: bus.display().to_string(),
            reason: reason.to_string(),
        })?;
        Ok(kept.insert(connection).clone())
    }
}

async fn open(socket: &Path) -> zbus::Result<Connection> {
    let stream = UnixStream::connect(socket).await?;
    Builder::unix_stream(stream).build().await
}

/// All properties of the unit, of whichever type it is. `GetUnit` first: it does not load what is not loaded.
async fn ask(connection: &Connection, unit: &str) -> zbus::Result<Message> {
    let path = connection
        .call_method(
            Some(DESTINATION),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "GetUnit",
            &unit,
        )
        .await?;
    let path: OwnedObjectPath = path.body().deserialize()?;
    let every_interface = "";
    connection
        .call_method(
            Some(DESTINATION),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &every_interface,
        )
        .await
}

/// Whether it is no answer, not even a bad one: nobody is there any more.
fn is_broken(error: &zbus::Error) -> bool {
    let zbus::Error::MethodError(name, ..) = error else {
        return true;
    };
    let errors = [
        "NoReply",
        "Disconnected",
        "NameHasNoOwner",
        "ServiceUnknown",
    ];
    name.strip_prefix("org.freedesktop.DBus.Error.")
        .is_some_and(|error| errors.contains(&error))
}

fn refused(unit: &str, error: &zbus::Error) -> Error {
    let unit = unit.to_owned();
    match error {
        zbus::Error::MethodError(name, ..) if name.as_str() == NO_SUCH_UNIT => {
            Error::NoSuchUnit(unit)
        }
        error => Error::Refused {
            unit,
            reason: error.to_string(),
        },
    }
}
