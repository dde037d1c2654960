//! Why a generated file was not written, and the way out.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::observation::Text;

/// Why a file was not written. The text is complete, with the way out; no variant has a `source`
/// that a caller would have to add.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The directory could not be opened.
    #[error("cannot write into {path}: {error}: {}", way_into(error))]
    Directory {
        /// The directory.
        path: Text,
        /// What the system said.
        error: io::Error,
    },
    /// A symbolic link has the file's name.
    #[error(
        "{path} is a symbolic link, and what it points to is not touched: remove the link, or \
         write into another directory"
    )]
    Symlink {
        /// The file.
        path: Text,
    },
    /// A directory, FIFO, socket or device has the file's name.
    #[error("{path} is not a regular file: remove it, or write into another directory")]
    NotAFile {
        /// The file.
        path: Text,
    },
    /// A file that harden did not write has the file's name.
    #[error(
        "{path} was not written by harden and is left alone: write into another directory, or \
         replace it with --force"
    )]
    Foreign {
        /// The file.
        path: Text,
    },
    /// Two files of one command have the same name.
    #[error("{path} would be written twice: give one of the two another name")]
    Twice {
        /// The file.
        path: Text,
    },
    /// The name is empty, `.`, `..`, or holds a slash.
    #[error("'{name}' cannot name a file: use a name without '/'")]
    Name {
        /// The name.
        name: Text,
    },
    /// The system refused.
    #[error("cannot write {path}: {error}{}", way_out(error))]
    Io {
        /// The file.
        path: Text,
        /// What the system said.
        error: io::Error,
    },
}

pub(super) fn text(path: &Path) -> Text {
    Text::from(path.as_os_str().as_bytes())
}

fn way_into(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make it first (mkdir -p), or name another directory",
        io::ErrorKind::PermissionDenied => {
            "run as a user who may write there, or name another directory"
        }
        _ => "name another directory",
    }
}

fn way_out(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => {
            ": free some space there, or write into another directory"
        }
        Kind::PermissionDenied => {
            ": run as a user who may write there, or write into another directory"
        }
        Kind::AlreadyExists => ": it has just come into being; look at it, then try again",
        Kind::ReadOnlyFilesystem => ": write into another directory",
        _ => ": mend that, or write into another directory",
    }
}
