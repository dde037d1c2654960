//! Values that are a word, a number or a path.

use super::super::limits::UNLIMITED;

/// As systemd reads it (`parse_boolean` in src/basic/parse-util.c).
pub(super) fn boolean(value: &str) -> Option<bool> {
    const YES: [&str; 6] = ["1", "on", "t", "true", "y", "yes"];
    const NO: [&str; 6] = ["0", "f", "false", "n", "no", "off"];
    let is = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    match (is(YES), is(NO)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// A path of a list, with what stands in front of it: `-` that it may be missing, `+` that it is below the unit's root. `None`
/// for what systemd passes over.
pub(super) fn path(word: &str) -> Option<&str> {
    let rest = word.strip_prefix('-').unwrap_or(word);
    let path = rest.strip_prefix('+').unwrap_or(rest);
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
    is_plain.then_some(path)
}

/// Whether the unit does not start where the path of a list is missing.
pub(super) fn is_firm(word: &str) -> bool {
    !word.starts_with('-')
}

/// A soft limit in whole units: `1024`, `64K`, `infinity`, `1024:4096`. `None`: none that can be read, as one in seconds.
pub(super) fn limit(value: &str) -> Option<u64> {
    let soft = value.split(':').next()?;
    if soft == "infinity" {
        return Some(UNLIMITED);
    }
    let digits = soft.trim_end_matches(['K', 'M', 'G', 'T']);
    let unit = match &soft[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << unit)
}

/// Whether a mode leaves the owner all rights to new files.
pub(super) fn is_for_the_owner(mask: &str) -> bool {
    const OWNER: u32 = 0o700;
    u32::from_str_radix(mask, 8).is_ok_and(|mask| mask & OWNER == 0)
}
