//! Places between which a crash is tested.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes the place `name`. With `HARDEN_CRASH_AT=NAME:COUNT` in the environment, which is read once, the
/// process is killed by SIGKILL when it passes `NAME` for the `COUNT`th time, as an operator or the
/// kernel might kill it there.
pub(crate) fn pass(name: &str) {
    static CRASH_AT: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let crash_at = CRASH_AT.get_or_init(|| parse(&std::env::var("HARDEN_CRASH_AT").ok()?));
    if let Some((place, left)) = crash_at
        && place == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

fn parse(text: &str) -> Option<(String, AtomicU64)> {
    let (place, count) = text.split_once(':')?;
    Some((place.to_owned(), AtomicU64::new(count.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_a_place_and_a_count_are_understood() {
        for text in ["", "append-begin", "append-begin:", "append-begin:x"] {
            assert!(parse(text).is_none(), "{text}");
        }
        let (place, count) = parse("append-begin:2").unwrap();
        assert_eq!((place.as_str(), count.into_inner()), ("append-begin", 2));
    }
}
