//! What is wrong with a configuration: which file, which line, which option, and what is allowed.

use std::{fmt::Write as _, io, path::Path, str::Utf8Error};

/// How alike two names have to be for one to be taken for the other, misspelt.
const ALIKE: f64 = 0.75;

/// A configuration that cannot be used. Shown, it tells the place and what is allowed there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> Self {
        Self(format!(
            "the configuration {} cannot be read: {error}",
            file.display()
        ))
    }

    pub(super) fn encoding(file: &Path, error: Utf8Error) -> Self {
        Self(format!("{}: not UTF-8: {error}", file.display()))
    }

    /// `option` is empty where the file is no TOML at all.
    pub(super) fn new(file: &Path, text: &str, option: &str, error: &toml::de::Error) -> Self {
        let mut shown = file.display().to_string();
        let before = error.span().and_then(|span| text.get(..span.start));
        if let Some(before) = before {
            let _ = write!(shown, ":{}", before.matches('\n').count() + 1);
        }
        if !option.is_empty() {
            let _ = write!(shown, ": {option}");
        }
        let _ = write!(shown, ": {}", error.message().trim_end());
        if let Some(near) = near(error.message()) {
            let _ = write!(shown, "; is `{near}` meant?");
        }
        Self(shown)
    }
}

/// Of the names that serde says are allowed, the one that is most like the one that is not.
fn near(message: &str) -> Option<&str> {
    let names = message
        .strip_prefix("unknown field ")
        .or_else(|| message.strip_prefix("unknown variant "))?;
    let mut names = names.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    names
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
