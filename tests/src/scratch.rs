//! Directories for the daemons' files.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::leftovers;

/// A new directory that everybody can read, removed when dropped.
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes one in `parent`: which one matters, as rules differ between /srv, /var/lib and /tmp.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        let dir = tempfile::Builder::new()
            .prefix(&leftovers::directories())
            .tempdir_in(parent)?;
        // Daemons give up root, and have to get in all the same.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
