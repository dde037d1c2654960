//! Reading regular files, which may lie in a hostile place: a FIFO would be waited for, a device never ends.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// Much more than a file has that somebody writes by hand, and not enough to fill the memory.
pub(crate) const LARGEST: u64 = 4 << 20;

/// The bytes of a regular file that has no more than [`LARGEST`].
///
/// # Errors
/// It is no regular file, it cannot be read, or it is too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Without O_NONBLOCK, opening a FIFO that has no writer waits.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("this is not a regular file"));
    }
    let mut bytes = Vec::new();
    let mut some = File::from(file).take(LARGEST + 1);
    some.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        let text = format!("larger than {} MiB, which is too large", LARGEST >> 20);
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

/// The same, as text.
///
/// # Errors
/// As there, or it is not UTF-8.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("this is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&*fifo, directory.path(), Path::new("/dev/zero")] {
            let error = read(path).unwrap_err().to_string();
            assert_eq!(error, "this is not a regular file", "{}", path.display());
        }
        let missing = read(&directory.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, LARGEST);
        file.set_len(1 << 40).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("4 MiB"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read_to_string(&path).is_err());
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "text");
    }
}
