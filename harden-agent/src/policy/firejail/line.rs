//! What a line of a Firejail profile can hold.

/// `path` as a Firejail line holds it: nothing that its parser would cut, expand or refuse
/// (`#` comments and `${` macros in `profile.c`; glob and the list of `invalid_filename` in
/// `util.c`), and nothing beyond plain ASCII.
pub(super) fn as_argument(path: &[u8]) -> Option<&str> {
    /// Firejail's line buffer is 8,192 bytes (`MAX_READ`, `profile.c`); no real path comes near.
    const LIMIT: usize = 4096;
    let text = std::str::from_utf8(path).ok()?;
    let plain = text.starts_with('/')
        && text.len() <= LIMIT
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@=:~ ".contains(&byte))
        // Runs of white space collapse, at the end they go.
        && !text.contains("  ")
        && !text.ends_with(' ')
        // Anywhere, even within a name, it is refused.
        && !text.contains("..");
    plain.then_some(text)
}

/// One component as an element of a comma-separated list (`private-bin`, `private-etc`).
pub(super) fn as_element(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    let plain = !text.is_empty()
        && text.len() <= 255
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-+@=:".contains(&byte))
        // A leading @ is a group in private-etc.
        && !text.starts_with(['@', '-'])
        && !text.contains("..")
        && text != ".";
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_cannot_hold_is_told() {
        for good in ["/srv/a b", "/srv/.x~", "/srv/a:b=c@d+e-f_g"] {
            assert_eq!(as_argument(good.as_bytes()), Some(good));
        }
        for bad in [
            "",
            "srv",
            "/a#b",
            "/a,b",
            "/a*",
            "/a?",
            "/a[b]",
            "/a\\b",
            "/a/../b",
            "/a..b",
            "/${HOME}",
            "/a\"b",
            "/a'b",
            "/a<b",
            "/a>b",
            "/a!b",
            "/a&b",
            "/a;b",
            "/a^b",
            "/a{b",
            "/a}b",
            "/a\nb",
            "/a\tb",
            "/a  b",
            "/a ",
            "/a%b",
            "/é",
            "/a\u{202e}b",
        ] {
            assert_eq!(as_argument(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(as_argument(b"/\xff"), None);
        for bad in ["", "a b", "a/b", "@x", "-x", "[", "~x", ".."] {
            assert_eq!(as_element(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
