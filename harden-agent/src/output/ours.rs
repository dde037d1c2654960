//! How a file that harden wrote is told from somebody's own.

use std::io::{self, Read};

/// What one of the first lines of every generated file with comments begins with. More may
/// follow after a punctuation mark or a space: `# Written by harden; local changes belong in
/// nginx.local`.
pub const MARKER_PREFIX: &str = "# Written by harden";

/// What the member `comment` of a generated JSON file begins with; it is the first of the file.
pub const JSON_MARKER: &str = "Written by harden";

/// How an earlier version of a file is recognised as written by harden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// One of its first lines carries [`MARKER_PREFIX`].
    Marker,
    /// It is JSON, and its first member is [`JSON_MARKER`].
    Json,
    /// It is an observation. JSON has no comments, so its own first fields tell.
    Observation,
}

impl Ours {
    /// Whether the file that `content` reads is ours; only its beginning is read.
    pub(crate) fn recognises(self, content: impl Read) -> io::Result<bool> {
        const BEGINNING: u64 = 4096;
        let mut beginning = Vec::new();
        content.take(BEGINNING).read_to_end(&mut beginning)?;
        Ok(match self {
            Self::Marker => has_marker(&beginning),
            Self::Json => begins_with_comment(&beginning),
            Self::Observation => begins_observation(&beginning),
        })
    }
}

fn has_marker(beginning: &[u8]) -> bool {
    // A licence or a shebang may stand above the marker; a quotation further down is none.
    const LINES: usize = 10;
    beginning
        .split(|&byte| byte == b'\n')
        .take(LINES)
        .filter_map(|line| line.strip_prefix(MARKER_PREFIX.as_bytes()))
        .any(|rest| match rest.first() {
            None => true,
            // "# Written by hardened-distro" is somebody else's.
            Some(next) => b" ;,.:\r".contains(next),
        })
}

fn begins_with_comment(beginning: &[u8]) -> bool {
    let start = dense(format!("{{\"comment\":[\"{JSON_MARKER},").as_bytes());
    dense(beginning).starts_with(&start)
}

fn dense(bytes: &[u8]) -> Vec<u8> {
    let dense = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    dense.copied().collect()
}

fn begins_observation(beginning: &[u8]) -> bool {
    let dense = dense(beginning);
    let Some(rest) = dense.strip_prefix(br#"{"schema":"#) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(br#","name":""#) && contains(rest, br#"","runs":{"#)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(ours: Ours, content: &str) -> bool {
        ours.recognises(content.as_bytes()).unwrap()
    }

    #[test]
    fn the_marker_is_a_whole_word_in_one_of_the_first_lines() {
        for (content, expected) in [
            ("# Written by harden", true),
            (
                "# Firejail profile for nginx\n# Written by harden; local changes\n",
                true,
            ),
            ("# Written by hardened-distro\n", false),
            ("echo '# Written by harden'\n", false),
            ("", false),
        ] {
            assert_eq!(recognised(Ours::Marker, content), expected, "{content}");
        }
        let far = format!("{}{MARKER_PREFIX}\n", "\n".repeat(10));
        assert!(!recognised(Ours::Marker, &far));
    }

    #[test]
    fn json_is_known_by_its_first_member() {
        let ours = "{\n  \"comment\": [\n    \"Written by harden, for d\"\n  ],\n";
        assert!(recognised(Ours::Json, ours));
        for other in [
            "",
            "{}",
            r#"{"comment":["Written by hardened-distro, for d"]}"#,
            r#"{"defaultAction":"SCMP_ACT_ERRNO","comment":["Written by harden, for d"]}"#,
        ] {
            assert!(!recognised(Ours::Json, other), "{other}");
        }
    }

    #[test]
    fn an_observation_is_known_by_its_first_fields() {
        let example = include_str!("../../tests/fixtures/observation.json");
        assert!(recognised(Ours::Observation, example));
        for other in [
            "",
            "{}",
            r#"{"schema":1}"#,
            r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#,
        ] {
            assert!(!recognised(Ours::Observation, other), "{other}");
        }
    }
}
