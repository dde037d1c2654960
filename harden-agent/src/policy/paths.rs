//! Paths as byte strings: symbolic links followed on paper.

use std::collections::{BTreeMap, HashMap};

use crate::observation::Text;

/// `PATH_MAX` of include/uapi/linux/limits.h: no path of the kernel is longer, and one in a file that somebody made up
/// would take the square of its length, if each directory above it were looked up.
const LONGEST: usize = 4096;

/// The symbolic links of a run: link → its text.
pub struct Links<'a>(HashMap<&'a [u8], &'a [u8]>);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Walk {
    /// The path with no known symbolic link, `.`, `..` or doubled slash in it.
    pub path: Vec<u8>,
    /// The links passed, each by a name that holds no link itself.
    pub links: Vec<Vec<u8>>,
}

impl<'a> Links<'a> {
    /// Of a run, as its `symlinks` are.
    #[must_use]
    pub fn new(links: &'a BTreeMap<Text, Text>) -> Self {
        Self(
            links
                .iter()
                .map(|(link, text)| (link.as_bytes(), text.as_bytes()))
                .collect(),
        )
    }

    /// Follows `path`; `None` if it is not absolute, or a loop.
    #[must_use]
    pub fn walk(&self, path: &[u8]) -> Option<Walk> {
        /// As many as the kernel follows (`MAXSYMLINKS`, include/linux/namei.h).
        const LIMIT: usize = 40;
        /// No kernel path is longer (`PATH_MAX`); a hostile file's links could double it 40 times.
        const COMPONENTS: usize = 4096;

        if path.first() != Some(&b'/') {
            return None;
        }
        let mut todo: Vec<&[u8]> = components(path).rev().collect();
        let mut real = Vec::new();
        let mut links = Vec::new();
        while let Some(component) = todo.pop() {
            match component {
                b"." => continue,
                b".." => {
                    real.truncate(parent(&real).len());
                    if real == b"/" {
                        real.clear();
                    }
                    continue;
                }
                _ => {}
            }
            let before = real.len();
            real.push(b'/');
            real.extend_from_slice(component);
            let link = (real.len() < LONGEST).then(|| self.0.get(real.as_slice()));
            if let Some(text) = link.flatten() {
                if links.len() == LIMIT || todo.len() > COMPONENTS {
                    return None;
                }
                links.push(real.clone());
                real.truncate(if text.first() == Some(&b'/') {
                    0
                } else {
                    before
                });
                todo.extend(components(text).rev());
            }
        }
        if real.is_empty() {
            real.push(b'/');
        }
        Some(Walk { path: real, links })
    }
}

/// The components of a path, without empty ones.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|component| !component.is_empty())
}

/// A path and the directories above it, without the root.
pub(super) fn up(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_below = |path: &[u8]| path.len() > 1;
    let first = Some(path).filter(|path| is_below(path));
    let all = std::iter::successors(first, move |path| {
        let above = parent(path);
        (above.len() < path.len() && is_below(above)).then_some(above)
    });
    all.filter(|at| at.len() < LONGEST || at.len() == path.len())
}

/// The directory that holds `path`, `/` for one at the top.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        None | Some(0) => b"/",
        Some(at) => &path[..at],
    }
}

/// Whether `path` is `directory` or lies below it.
pub(super) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    directory == b"/"
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// What `path` is called below `directory`, if it lies there and is not the directory itself.
pub(super) fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(directory)?
        .strip_prefix(b"/")
        .filter(|rest| !rest.is_empty())
}

/// The entry of `directory` that leads to `path`: `/tmp/d` for `/tmp/d/f` in `/tmp`. In a directory that is empty at the
/// start, nothing is there that this is not made for.
pub(super) fn entry_towards<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    let rest = below(path, directory)?;
    let name = components(rest).next()?;
    // A path has no doubled slashes here.
    Some(&path[..path.len() - rest.len() + name.len()])
}

/// The innermost directory that holds all of `paths` (or is one of them); `/` for none.
pub(super) fn common<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut paths = paths.into_iter();
    let mut common = paths.next().unwrap_or(b"/").to_vec();
    for path in paths {
        while !is_within(path, &common) {
            let shorter = parent(&common).len();
            common.truncate(shorter);
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(links: &[(&str, &str)], path: &str) -> Option<(String, Vec<String>)> {
        let links = links
            .iter()
            .map(|(link, text)| (Text::from(link), Text::from(text)))
            .collect();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Links::new(&links)
            .walk(path.as_bytes())
            .map(|walk| (text(walk.path), walk.links.into_iter().map(text).collect()))
    }

    #[test]
    fn links_are_followed_as_the_kernel_does() {
        let links = [
            ("/bin", "usr/bin"),
            ("/usr/bin/awk", "/etc/alternatives/awk"),
            ("/etc/alternatives/awk", "/usr/bin/mawk"),
            ("/loop", "loop"),
        ];
        assert_eq!(
            walk(&links, "//bin/./awk"),
            Some((
                "/usr/bin/mawk".to_owned(),
                vec![
                    "/bin".to_owned(),
                    "/usr/bin/awk".to_owned(),
                    "/etc/alternatives/awk".to_owned()
                ]
            ))
        );
        assert_eq!(
            walk(&links, "/bin/../../x"),
            Some(("/x".to_owned(), vec!["/bin".to_owned()]))
        );
        assert_eq!(walk(&[], "/.."), Some(("/".to_owned(), vec![])));
        assert_eq!(walk(&links, "/loop"), None);
        assert_eq!(walk(&links, "relative"), None);
    }

    #[test]
    fn no_directory_is_looked_up_whose_path_is_longer_than_the_kernel_s() {
        let above = |path: &str| up(path.as_bytes()).count();
        assert_eq!(above("/"), 0);
        assert_eq!(above("/etc/ssl/certs"), 3);
        let long = "/a".repeat(50_000);
        assert_eq!(above(&long), LONGEST.div_ceil(2));
        assert_eq!(walk(&[(&long, "/b")], &long), Some((long.clone(), vec![])));
    }

    #[test]
    fn a_directory_holds_what_is_below_it() {
        assert!(is_within(b"/etc/ssl", b"/etc"));
        assert!(!is_within(b"/etcetera", b"/etc"));
        assert_eq!(below(b"/etc/ssl", b"/etc"), Some(&b"ssl"[..]));
        assert_eq!(below(b"/etc", b"/etc"), None);
        assert_eq!(
            common([&b"/srv/a/x"[..], b"/srv/a/y", b"/srv/a"]),
            b"/srv/a"
        );
        assert_eq!(common([&b"/srv/a"[..], b"/opt/a"]), b"/");
    }
}
