//! The digests of files that may be anything by now.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::super::applied::hexadecimal;

/// The file, if it is one that ends. A FIFO is not opened: that would wait for a writer.
///
/// # Errors
/// It cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The SHA-256 digest of the file at `path`; `None` if it is no regular file.
///
/// # Errors
/// It cannot be read.
pub(super) fn of(path: &Path) -> io::Result<Option<String>> {
    open(path)?.map(of_file).transpose()
}

/// The SHA-256 digest of a file.
///
/// # Errors
/// It cannot be read.
pub(super) fn of_file(mut file: File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// The text of a file; `None` if it is no regular file, or larger than files of units and profiles are.
///
/// # Errors
/// It cannot be read.
pub(super) fn text(path: &Path) -> io::Result<Option<String>> {
    const LONGEST: u64 = 16 << 20;
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 <= LONGEST;
    Ok(is_whole.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_does_not_end_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        fs::write(&path, "abc").unwrap();
        assert!(of(&path).unwrap().unwrap().starts_with("ba7816bf"));
        assert_eq!(text(&path).unwrap().as_deref(), Some("abc"));
        fs::remove_file(&path).unwrap();
        assert_eq!(of(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [path.as_path(), Path::new("/dev/zero"), Path::new("/")] {
            assert_eq!(of(path).unwrap(), None);
            assert_eq!(text(path).unwrap(), None);
        }
    }
}
