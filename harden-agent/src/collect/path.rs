//! Walks and texts → absolute paths.

use crate::observation::Text;

/// The path that a walk is: its names come leaf first, each ended by a NUL.
#[must_use]
pub(super) fn walked(walk: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(walk.len() + 1);
    for name in walk
        .split(|&byte| byte == 0)
        .rev()
        .filter(|name| !name.is_empty())
    {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// `text` as an absolute path, if it is relative to `base` (or `base` is the task's root).
///
/// Empty components and `.` go; `..` stays where a symbolic link before it could change its
/// meaning, that is, everywhere but at the root.
#[must_use]
pub(super) fn joined(base: &[u8], text: &[u8]) -> Text {
    let mut path: Vec<u8> = Vec::with_capacity(base.len() + text.len() + 1);
    let components = base
        .split(|&byte| byte == b'/')
        .chain(text.split(|&byte| byte == b'/'));
    for component in components {
        let at_root = path.is_empty();
        if component.is_empty() || component == b"." || (at_root && component == b"..") {
            continue;
        }
        path.push(b'/');
        path.extend_from_slice(component);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Text::from(path)
}

#[cfg(test)]
mod tests {
    use super::{joined, walked};
    use crate::observation::Text;

    #[test]
    fn walks_come_leaf_first() {
        assert_eq!(walked(b"passwd\0etc\0"), b"/etc/passwd");
        assert_eq!(walked(b""), b"/");
        assert_eq!(walked(b"a\nb\0"), b"/a\nb");
    }

    #[test]
    fn joining_keeps_what_a_link_could_change() {
        assert_eq!(joined(b"/srv", b"./a//b"), Text::from("/srv/a/b"));
        assert_eq!(joined(b"/srv", b"../a"), Text::from("/srv/../a"));
        assert_eq!(joined(b"/", b"/../etc"), Text::from("/etc"));
        assert_eq!(joined(b"/jail", b"/etc"), Text::from("/jail/etc"));
    }
}
