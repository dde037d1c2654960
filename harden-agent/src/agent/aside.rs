//! A file that cannot be used is kept under another name, so that it is neither lost nor in the way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// Gives a file the first free name of `….corrupt-1`, `….corrupt-2` and so on, and returns that.
///
/// # Errors
/// It cannot be renamed.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    const ATTEMPTS: u32 = 10_000;
    for number in 1..=ATTEMPTS {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".corrupt-{number}"));
        let aside = PathBuf::from(aside);
        // A rename alone would replace what has the name.
        match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(&aside).is_err() => {
                fs::rename(path, &aside)?;
            }
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => continue,
            moved => moved?,
        }
        return Ok(aside);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
