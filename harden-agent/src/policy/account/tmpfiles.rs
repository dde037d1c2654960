//! What a line of tmpfiles.d(5) can hold.

/// `path` as a field of a line: nothing that is cut, unquoted or expanded there (white space, quotes, backslashes, the
/// specifiers of `%`, the patterns of `z`), and nothing beyond plain ASCII.
pub(super) fn as_path(path: &[u8]) -> Option<&str> {
    /// No path of the kernel's is longer (`PATH_MAX`).
    const LIMIT: usize = 4096;
    let text = std::str::from_utf8(path).ok()?;
    let plain = text.starts_with('/')
        && text.len() <= LIMIT
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@=:~".contains(&byte))
        // As a whole name it is refused (`path_is_normalized` in src/basic/path-util.c).
        && !text.contains("..");
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_would_take_for_something_else_is_no_path() {
        for good in ["/etc/d.conf", "/srv/a:b=c@d+e-f_g~"] {
            assert_eq!(as_path(good.as_bytes()), Some(good));
        }
        for bad in [
            "", "etc", "/a b", "/a\tb", "/a\nb", "/a%b", "/a\"b", "/a'b", "/a\\b", "/a*", "/a?",
            "/a[b]", "/a/../b", "/é",
        ] {
            assert_eq!(as_path(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(as_path(b"/\xff"), None);
    }
}
