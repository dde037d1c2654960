//! The socket in the file system.

use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
};

use tokio::net::UnixListener;

use super::GROUP;
use crate::observation::Text;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("{path}: another agent answers there; `harden status` shows which")]
    InUse {
        /// The socket.
        path: Text,
    },
    /// Something else has the name.
    #[error("{path} is not a socket; remove it, or name another with `socket`")]
    NotASocket {
        /// The socket.
        path: Text,
    },
    /// A call failed.
    #[error("{path}: {error}")]
    Io {
        /// The socket.
        path: Text,
        /// How.
        error: io::Error,
    },
}

/// Makes the socket at `path`, mode 0660, and gives it to the group [`GROUP`] if there is one.
/// Returns it with its group: that of [`super::serve`]. One that was left behind is replaced.
///
/// # Errors
/// [`BindError`]
pub fn bind(path: &Path) -> Result<(UnixListener, u32), BindError> {
    let name = || Text::from(path.as_os_str().as_encoded_bytes());
    let io = |error| BindError::Io {
        path: name(),
        error,
    };
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: name() });
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(io)?;
            }
            Ok(_) => return Err(BindError::InUse { path: name() }),
            Err(error) => return Err(io(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    let made = path.symlink_metadata().map_err(io)?;
    // The unit's filter refuses chown(2), and its group is the right one already.
    if let Ok(Some(group)) = nix::unistd::Group::from_name(GROUP)
        && group.gid.as_raw() != made.gid()
    {
        // Refused without CAP_CHOWN: then the directory's owner has seen to it, or only root reads.
        if let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())) {
            tracing::warn!("{}: cannot be given to the group {GROUP}: {error}", name());
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
    let group = path.symlink_metadata().map_err(io)?.gid();
    Ok((listener, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("io.harden.Agent");
        let (listener, group) = bind(&path).unwrap();
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
        assert_eq!(metadata.gid(), group);

        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another agent answers"), "{error}");
        drop(listener);
        bind(&path).unwrap();

        let file = directory.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        let error = bind(&file).unwrap_err().to_string();
        assert!(error.contains("is not a socket"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
        let error = bind(&directory.path().join("none/s"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
