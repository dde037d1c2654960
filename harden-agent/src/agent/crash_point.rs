//! The places between which a crash is tested.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every crash point of what writes the state, in the order of a rotation and a save.
pub const CRASH_POINTS: [&str; 18] = [
    "append-begin",
    "append-end",
    "rotate-begin",
    "rotate-created",
    "rotate-written",
    "rotate-synced",
    "rotate-renamed",
    "drop-begin",
    "drop-one",
    "drop-end",
    "save-begin",
    "save-staged",
    "save-whole",
    "save-end",
    "add-begin",
    "add-made",
    "add-written",
    "add-end",
];

/// Passes a crash point. With `HARDEN_CRASH_AT=NAME:COUNT` in the environment, which is read once, the
/// process is killed by SIGKILL when it passes `NAME` for the `COUNT`th time, as an operator or the
/// kernel might kill it there.
pub(super) fn crash_point(name: &'static str) {
    static CRASH_AT: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    debug_assert!(CRASH_POINTS.contains(&name), "{name} is in no list");
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
mod tests;
