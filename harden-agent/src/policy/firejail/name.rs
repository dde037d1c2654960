//! What the sandbox is called, for `firejail --join`.

use crate::observation::Text;

use super::super::evidence::Decision;

/// The longest name (`HOST_NAME_MAX`-like limit of `invalid_name`, `src/firejail/util.c`, 0.9.74).
const LIMIT: usize = 253;

/// The observation's name, if every Firejail takes it: older ones accept anything, 0.9.74 and
/// later letters, digits, `-`, `.` and `_`, but not digits alone.
pub(super) fn decide(name: &Text) -> Decision<String> {
    let text = String::from_utf8_lossy(name.as_bytes());
    let plain = (1..=LIMIT).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && !text.starts_with(['-', '.'])
        && !text.bytes().all(|byte| byte.is_ascii_digit());
    if plain {
        Decision::Given(text.into_owned())
    } else {
        Decision::withheld(format!(
            "Firejail takes 1 to {LIMIT} letters, digits, '-', '.' and '_', not digits alone; \
             {name} is none"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_every_version_takes() {
        for good in ["nginx", "nginx.service", "a_b-1", "1a"] {
            assert_eq!(decide(&good.into()), Decision::Given(good.to_owned()));
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "123",
            "foo@bar.service",
            "a b",
            "a\nb",
            "-a",
            ".",
            &long,
        ] {
            assert!(decide(&bad.into()).given().is_none(), "{bad}");
        }
        assert!(decide(&b"\xff"[..].into()).given().is_none());
    }
}
