//! The places between which a crash is tested.

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

/// Passes a crash point, see [`crate::crash_point`].
pub(super) fn crash_point(name: &'static str) {
    debug_assert!(CRASH_POINTS.contains(&name), "{name} is in no list");
    crate::crash_point::pass(name);
}

#[cfg(test)]
mod tests;
