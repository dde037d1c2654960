//! Symbolic links on the paths that programs asked for.
//!
//! The kernel's walk gives a file's own path; the links on the way there are gone. A sandbox that
//! hides or copies names needs them too, so they are read afterwards, from the file system that the
//! agent sees. (For a program in another mount namespace or chroot, the walk's path is all there is.)

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::observation::Text;

/// `MAXSYMLINKS` of the kernel (include/linux/namei.h).
const MOST: u32 = 40;

/// The links found so far: link → its text.
#[derive(Default)]
pub struct Symlinks {
    /// By directory entry: its link's text, or that it is no link.
    known: BTreeMap<PathBuf, Option<PathBuf>>,
}

impl Symlinks {
    /// Follows `path` and remembers every link on the way.
    pub fn follow(&mut self, path: &Text) {
        let mut budget = MOST;
        self.resolve(path.as_path(), &mut budget);
    }

    /// The path without links, as far as it exists.
    fn resolve(&mut self, path: &Path, budget: &mut u32) -> PathBuf {
        let mut at = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::ParentDir => {
                    at.pop();
                }
                Component::Normal(name) => at = self.step(&at, name, budget),
                _ => {}
            }
        }
        at
    }

    fn step(&mut self, directory: &Path, name: &OsStr, budget: &mut u32) -> PathBuf {
        let entry = directory.join(name);
        let link = self
            .known
            .entry(entry.clone())
            .or_insert_with(|| fs::read_link(&entry).ok());
        match link.clone() {
            // Below /proc links are not texts but jumps, different for each process.
            Some(target) if *budget > 0 && !entry.starts_with("/proc") => {
                *budget -= 1;
                // An absolute target replaces the directory.
                self.resolve(&directory.join(target), budget)
            }
            _ => entry,
        }
    }

    /// Every link found, with its text.
    #[must_use]
    pub fn into_map(self) -> BTreeMap<Text, Text> {
        let text = |path: &Path| Text::from(path.as_os_str().as_bytes());
        self.known
            .iter()
            .filter(|(entry, _)| !entry.starts_with("/proc"))
            .filter_map(|(entry, target)| Some((text(entry), text(target.as_deref()?))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::Symlinks;
    use crate::observation::Text;

    #[test]
    fn chains_and_loops() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| Text::from(dir.path().join(name).to_str().unwrap());
        symlink("b", dir.path().join("a")).unwrap();
        symlink("c/d", dir.path().join("b")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let mut links = Symlinks::default();
        links.follow(&path("a"));
        links.follow(&path("loop/x"));
        let map = links.into_map();
        assert_eq!(map.get(&path("a")), Some(&Text::from("b")));
        assert_eq!(map.get(&path("b")), Some(&Text::from("c/d")));
        assert_eq!(map.get(&path("loop")), Some(&Text::from("loop")));
        assert!(!map.contains_key(&path("c")));
    }
}
