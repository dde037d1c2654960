//! Symbolic links on the paths that programs asked for.
//!
//! The kernel's walk gives a file's own path; the links on the way there are gone. A sandbox that
//! hides or copies names needs them too, so they are read afterwards, from the file system that the
//! agent sees. (For a program in another mount namespace or chroot, the walk's path is all there is.)

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Components, Path, PathBuf},
};

use crate::observation::Text;

/// `MAXSYMLINKS` of the kernel (include/linux/namei.h).
const MOST: u32 = 40;

/// What is known of directory entries.
#[derive(Default)]
pub(super) struct Symlinks {
    /// By entry: its link's text, or that it is no link.
    known: BTreeMap<PathBuf, Option<PathBuf>>,
    /// A path without a link on it: the next one mostly begins as it does.
    plain: PathBuf,
}

/// A walk: below which root, how many links it may pass still, and where those go that it passed.
struct Walk<'a> {
    root: &'a File,
    budget: u32,
    passed: &'a mut BTreeMap<Text, Text>,
}

impl Symlinks {
    /// Follows `path` below `root`, and adds every link on the way to `passed`.
    /// Returns where it leads.
    pub(super) fn follow(
        &mut self,
        root: &File,
        path: &Text,
        passed: &mut BTreeMap<Text, Text>,
    ) -> PathBuf {
        let mut walk = Walk {
            root,
            budget: MOST,
            passed,
        };
        let mut at = PathBuf::from("/");
        let mut rest = path.as_path().components();
        for known in self.plain.components() {
            let mut next = rest.clone();
            if next.next() != Some(known) {
                break;
            }
            at.push(known);
            rest = next;
        }
        let goes_down = !rest.clone().any(|part| part == Component::ParentDir);
        let end = self.resolve(at, rest, &mut walk);
        if goes_down && walk.budget == MOST {
            self.plain.clone_from(&end);
        }
        end
    }

    /// The path without links, as far as it exists: from `at`, which has none, by `rest`.
    fn resolve(&mut self, at: PathBuf, rest: Components<'_>, walk: &mut Walk<'_>) -> PathBuf {
        let mut at = at;
        for component in rest {
            match component {
                Component::ParentDir => {
                    at.pop();
                }
                Component::Normal(name) => at = self.step(&at, name, walk),
                _ => {}
            }
        }
        at
    }

    fn step(&mut self, directory: &Path, name: &OsStr, walk: &mut Walk<'_>) -> PathBuf {
        let entry = directory.join(name);
        // Below /proc links are not texts but jumps, different for each process.
        if entry.starts_with("/proc") {
            return entry;
        }
        let known = self.known.entry(entry.clone());
        let link = known.or_insert_with(|| read_link(walk.root, &entry));
        let Some(target) = link.clone().filter(|_| walk.budget > 0) else {
            return entry;
        };
        walk.budget -= 1;
        let text = |path: &Path| Text::from(path.as_os_str().as_bytes());
        walk.passed.insert(text(&entry), text(&target));
        // An absolute target replaces the directory.
        let target = directory.join(target);
        self.resolve(PathBuf::from("/"), target.components(), walk)
    }
}

/// The text of the link `entry`, no part of which before the last is a link.
fn read_link(root: &File, entry: &Path) -> Option<PathBuf> {
    let below = entry.strip_prefix("/").ok()?;
    let text = rustix::fs::readlinkat(root, below, Vec::new()).ok()?;
    Some(std::ffi::OsString::from_vec(text.into_bytes()).into())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File, os::unix::fs::symlink, path::Path};

    use super::Symlinks;
    use crate::observation::Text;

    #[test]
    fn chains_and_loops() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        // From the root that it is looked at from.
        symlink("/c/d", dir.path().join("b")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let root = File::open(dir.path()).unwrap();
        let mut links = Symlinks::default();
        let mut passed = BTreeMap::new();
        links.follow(&root, &"/a".into(), &mut passed);
        links.follow(&root, &"/loop/x".into(), &mut passed);
        let text = |path: &str| Text::from(path);
        let expected = [("/a", "b"), ("/b", "/c/d"), ("/loop", "loop")];
        assert_eq!(
            passed,
            expected.map(|(link, to)| (text(link), text(to))).into()
        );
        // What begins as a path without a link does is looked at from there on.
        std::fs::create_dir_all(dir.path().join("p/q")).unwrap();
        symlink("/c", dir.path().join("p/q/to-c")).unwrap();
        let mut below = BTreeMap::new();
        let mut follow = |path: &str| links.follow(&root, &path.into(), &mut below);
        assert_eq!(follow("/p/q"), Path::new("/p/q"));
        assert_eq!(follow("/p/q/to-c/x"), Path::new("/c/x"));
        assert_eq!(follow("/p/q/../a"), Path::new("/p/a"));
        assert_eq!(follow("/p/q/r"), Path::new("/p/q/r"));
        assert_eq!(below, [(text("/p/q/to-c"), text("/c"))].into());
        // A second call gets them again.
        let mut again = BTreeMap::new();
        links.follow(&root, &"/b/x".into(), &mut again);
        assert_eq!(again, [(text("/b"), text("/c/d"))].into());
    }
}
