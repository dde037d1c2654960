//! Patterns of paths, as glob(3) matches them with `GLOB_PERIOD`: `*` ends at a slash.

use glob::{MatchOptions, Pattern};

/// What a path, or a name in a list, has to be like.
pub(super) struct PathPattern(Pattern);

impl PathPattern {
    /// The pattern in `text`; none if it holds no wildcard, or is not one.
    pub(super) fn of(text: &str) -> Option<Self> {
        is_pattern(text)
            .then(|| Pattern::new(text).ok())
            .flatten()
            .map(Self)
    }

    /// The same, of a text that may hold none.
    pub(super) fn whole(text: &str) -> Option<Self> {
        Pattern::new(text).ok().map(Self)
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        self.0.matches_with(&String::from_utf8_lossy(path), options)
    }
}

/// Whether `text` holds a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}
