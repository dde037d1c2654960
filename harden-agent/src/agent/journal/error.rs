//! Why the journal could not be written or read.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::observation::Text;

/// Why the journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("{path}: {error}{}", way_out(error))]
    Io {
        /// The file or directory.
        path: Text,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody removed or replaced the file that is being written.
    #[error("{path} was removed while it was being written: only harden may write there")]
    Gone {
        /// The file.
        path: Text,
    },
    /// There is no file to append to.
    #[error("no file of the journal was begun")]
    NotBegun,
    /// The highest number that a file can have is taken.
    #[error("the journal's numbers are used up: remove the file with the highest one")]
    NoNumber,
}

pub(super) fn text(path: &Path) -> Text {
    Text::from(path.as_os_str().as_bytes())
}

fn way_out(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => ": free some space there",
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            ": harden has to be able to write there"
        }
        _ => "",
    }
}
