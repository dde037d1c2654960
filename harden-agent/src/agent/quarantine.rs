//! A file that cannot be used is kept under another name, so that it is neither lost nor in the way.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// What stands before the number.
const MARK: &str = ".corrupt-";

/// So many names are tried.
const ATTEMPTS: u32 = 10_000;

/// The files that were moved aside in a directory, which need not be there.
///
/// # Errors
/// It cannot be read.
pub(super) fn all(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if original(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Those that had this name.
///
/// # Errors
/// Their directory cannot be read.
pub(super) fn of(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = path.parent().map_or_else(|| Ok(Vec::new()), all)?;
    found.retain(|aside| original(aside) == path.file_name().and_then(OsStr::to_str));
    Ok(found)
}

/// The name that a file had before it was moved aside.
fn original(path: &Path) -> Option<&str> {
    let (name, number) = path.file_name()?.to_str()?.rsplit_once(MARK)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(name)
}

/// The first name of those that [`move_aside`] gives which is free.
///
/// # Errors
/// There is none.
pub(super) fn free(path: &Path) -> io::Result<PathBuf> {
    let names = (1..=ATTEMPTS).map(|number| named(path, number));
    let mut free = names.filter(|aside| fs::symlink_metadata(aside).is_err());
    free.next()
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

fn named(path: &Path, number: u32) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("{MARK}{number}"));
    PathBuf::from(aside)
}

/// Gives a file the first free name of `….corrupt-1`, `….corrupt-2` and so on, and returns that.
///
/// # Errors
/// It cannot be renamed.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=ATTEMPTS {
        let aside = named(path, number);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_aside_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        assert!(all(&file("missing")).unwrap().is_empty());
        for name in [
            "a.json",
            "a.json.corrupt-x",
            "a.json.corrupt-",
            "ba.json.corrupt-1",
        ] {
            fs::write(file(name), "").unwrap();
        }
        let aside = move_aside(&file("a.json")).unwrap();
        assert_eq!(of(&file("a.json")).unwrap(), std::slice::from_ref(&aside));
        assert_eq!(
            all(directory.path()).unwrap(),
            [aside, file("ba.json.corrupt-1")]
        );
    }
}
