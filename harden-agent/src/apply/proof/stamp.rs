//! A file, so that a change of it is noticed: its digest, and what spares computing that again.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::applied::hexadecimal;

/// A file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The SHA-256 digest.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    inode: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// When anything about it was last changed, which no program can set.
    changed: Timestamp,
}

impl Stamp {
    /// Of the file at `path`; `None` if it is no regular file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let Some(mut file) = regular(path)? else {
            return Ok(None);
        };
        // Before it is read: if it is written meanwhile, these no longer match.
        let mut stamp = Self::without_digest(&file)?;
        stamp.sha256 = digest(&mut file)?;
        Ok(Some(stamp))
    }

    /// Whether the file at `path` is the same.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn is_of(&self, path: &Path) -> io::Result<bool> {
        let Some(mut file) = regular(path)? else {
            return Ok(false);
        };
        let now = Self {
            sha256: self.sha256.clone(),
            ..Self::without_digest(&file)?
        };
        Ok(now == *self || now.size == self.size && digest(&mut file)? == self.sha256)
    }

    fn without_digest(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let time = |seconds, nanoseconds: i64| {
            let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
            Timestamp::new(seconds, nanoseconds).unwrap_or_default()
        };
        Ok(Self {
            sha256: String::new(),
            size: found.size(),
            inode: found.ino(),
            modified: time(found.mtime(), found.mtime_nsec()),
            changed: time(found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The file, if it is one that ends. A FIFO is not opened: that would wait for a writer.
fn regular(path: &Path) -> io::Result<Option<File>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn digest(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_the_same_while_its_bytes_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, "abc").unwrap();
        let stamp = Stamp::of(&path).unwrap().unwrap();
        assert!(stamp.sha256.starts_with("ba7816bf"));
        assert!(stamp.is_of(&path).unwrap());
        // Another inode and other times, but the same bytes: a package that was installed again.
        let again = directory.path().join("again");
        fs::write(&again, "abc").unwrap();
        fs::rename(&again, &path).unwrap();
        assert!(stamp.is_of(&path).unwrap());
        // As many bytes, in the same inode.
        fs::write(&path, "abd").unwrap();
        assert!(!stamp.is_of(&path).unwrap());
        fs::write(&path, "abcd").unwrap();
        assert!(!stamp.is_of(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!(
            stamp.is_of(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!stamp.is_of(&path).unwrap());
        assert_eq!(Stamp::of(&path).unwrap(), None);
    }
}
