//! Counts in sentences.

use std::fmt::Display;

/// A count of things: `1 run`, `2 runs`.
pub(crate) fn plural<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// `1 event was`, `2 events were`
pub(crate) fn were<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let verb = if count == N::from(1) { "was" } else { "were" };
    format!("{} {verb}", plural(count, noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(plural(1_usize, "run"), "1 run");
        assert_eq!(plural(0_u64, "run"), "0 runs");
        assert_eq!(were(1_u64, "event"), "1 event was");
        assert_eq!(were(12_u64, "event"), "12 events were");
    }
}
