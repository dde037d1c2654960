//! A unit's name as a file's name.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::observation::Text;

/// The longest stem in bytes: leaves room for `.service.d`, `.profile` and the like in the 255
/// that a file system allows.
const LIMIT: usize = 200;

/// The stem of the files made from the unit or command `name`, no matter who chose it: one path
/// component of ASCII letters, digits, `.`, `_`, `-`, `@` and `+`, at most 200 bytes, that is
/// not empty and begins with neither `-` nor `.`.
///
/// Every other byte, and a `-` or `.` in front, becomes `+` and two hexadecimal digits: `+2f` for
/// a slash. `+` because systemd reads `\` and `%` in unit files, Firejail refuses both in paths,
/// and shells read most of the rest; a `+` itself is `+2b`. An empty name is `+`. So different
/// names have different stems and the name can be had back, except from one too long: that is
/// cut, and ends in `+h` and the first 128 bits of the whole name's SHA-256.
#[must_use]
pub fn file_stem(name: &Text) -> String {
    let bytes = name.as_bytes();
    let mut stem = String::new();
    for (at, &byte) in bytes.iter().enumerate() {
        let stands_for_itself = match byte {
            b'-' | b'.' => at > 0,
            b'_' | b'@' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if stands_for_itself {
            stem.push(char::from(byte));
        } else {
            push_hex(&mut stem, "+", &[byte]);
        }
        if stem.len() > LIMIT {
            return shortened(stem, bytes);
        }
    }
    if stem.is_empty() {
        stem.push('+');
    }
    stem
}

fn shortened(mut stem: String, name: &[u8]) -> String {
    const DIGEST: usize = 16;
    stem.truncate(LIMIT - "+h".len() - 2 * DIGEST);
    // An escape that the cut went through would read as another.
    if let Some(cut) = stem.rfind('+').filter(|at| at + 3 > stem.len()) {
        stem.truncate(cut);
    }
    push_hex(&mut stem, "+h", &Sha256::digest(name)[..DIGEST]);
    stem
}

fn push_hex(stem: &mut String, mark: &str, bytes: &[u8]) {
    stem.push_str(mark);
    for byte in bytes {
        let _ = write!(stem, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stem(name: impl AsRef<[u8]>) -> String {
        file_stem(&Text::from(name))
    }

    /// The name that a stem was made from.
    fn name_of(stem: &str) -> Option<Vec<u8>> {
        if stem == "+" {
            return Some(Vec::new());
        }
        let mut parts = stem.split('+');
        let mut name = parts.next()?.as_bytes().to_vec();
        for part in parts {
            name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
            name.extend_from_slice(&part.as_bytes()[2..]);
        }
        Some(name)
    }

    proptest! {
        #[test]
        fn any_name_gives_a_safe_component_and_can_be_had_back(
            name in proptest::collection::vec(any::<u8>(), 0..66),
        ) {
            let stem = stem(&name);
            prop_assert!(is_safe(&stem), "{}", stem);
            prop_assert_eq!(name_of(&stem).unwrap(), name);
        }

        #[test]
        fn a_long_name_stays_short(name in proptest::collection::vec(any::<u8>(), 60..600)) {
            let stem = stem(&name);
            prop_assert!(is_safe(&stem), "{}", stem);
            prop_assert!(stem.contains("+h") || name_of(&stem).unwrap() == name);
        }
    }

    fn is_safe(stem: &str) -> bool {
        (1..=200).contains(&stem.len())
            && !stem.starts_with(['-', '.'])
            && stem
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte))
    }

    #[test]
    fn names_as_they_are_and_as_nobody_should_write_them() {
        for (name, expected) in [
            ("nginx.service", "nginx.service"),
            ("getty@tty1.service", "getty@tty1.service"),
            (r"dev-disk\x2did.swap", "dev-disk+5cx2did.swap"),
            ("", "+"),
            (".", "+2e"),
            ("..", "+2e."),
            ("../../etc/passwd", "+2e.+2f..+2fetc+2fpasswd"),
            ("-rf", "+2drf"),
            ("a+b", "a+2bb"),
            ("a\nb", "a+0ab"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }

    #[test]
    fn long_names_that_begin_alike_stay_different() {
        let long = "a".repeat(200);
        assert_eq!(stem(&long), long);
        let (one, other) = (stem(format!("{long}1")), stem(format!("{long}2")));
        assert_eq!(one.len(), 200);
        assert_ne!(one, other);
    }
}
