//! What the store cannot do, and what it did unasked.

use std::fmt;
use std::io;
use std::path::Path;

use super::OsStrExt;
use crate::observation::Text;
use crate::output::WriteError;

/// Why a unit's file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: Text,
        /// What the system said.
        error: io::Error,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file that is there has not been read.
    #[error("{path} is not written: what it holds could not be read, and would be lost")]
    Unread {
        /// The file.
        path: Text,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: text(path),
            error,
        }
    }
}

/// What the store did unasked, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file could not be used.
    MovedAside {
        /// The file.
        path: Text,
        /// Its name now.
        to: Text,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be used, nor moved or removed.
    Unusable {
        /// Which, and why.
        reason: String,
    },
    /// The directory was gone.
    MadeAgain {
        /// The directory.
        path: Text,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MovedAside { path, to, reason } => {
                write!(out, "{path} cannot be used and is now {to}: {reason}")
            }
            Self::Unusable { reason } => write!(out, "a file cannot be used, nor moved: {reason}"),
            Self::MadeAgain { path } => write!(
                out,
                "{path} was gone and has been made again: only harden may write there"
            ),
        }
    }
}

pub(super) fn text(path: &Path) -> Text {
    Text::from(path.as_os_str().as_bytes())
}
