//! What the policy is for: a Firejail of some version on some machine. Plain data, asked for
//! elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::observation::Text;

use super::super::evidence::Decision;

/// A Firejail version: `0.9.72`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Version {
    /// 0
    pub major: u32,
    /// 9
    pub minor: u32,
    /// 72
    pub patch: u32,
}

impl Version {
    /// A version by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The first whose command line starts the program without a shell; up to it `shell none`
    /// has to ask for that (RELNOTES of 0.9.72: "deprecating --shell").
    pub const NO_SHELL: Self = Self::new(0, 9, 72);

    /// The first to which `shell none` is a fatal error (its RELNOTES).
    pub const SHELL_NONE_FATAL: Self = Self::new(0, 9, 74);
}

/// What is assumed where no Firejail is installed and none is named: Debian 12's.
impl Default for Version {
    fn default() -> Self {
        Self::new(0, 9, 72)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Takes `0.9.72`, with whatever a distributor appended (`0.9.72rc1`, `0.9.72-2`), and
    /// `0.9.64.4`, of which the fourth number is dropped.
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bad = || NotAVersion(text.chars().take(64).collect());
        let mut parts = text.trim().splitn(3, '.');
        let mut next = || parts.next().ok_or_else(bad);
        let (major, minor, rest) = (next()?, next()?, next()?);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = |text: &str| text.parse().map_err(|_| bad());
        Ok(Self::new(
            number(major)?,
            number(minor)?,
            number(&rest[..digits])?,
        ))
    }
}

/// The text names no version.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a Firejail version like 0.9.72")]
pub struct NotAVersion(String);

/// How the program will be started under Firejail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launch {
    /// `firejail --profile=FILE PROGRAM`: Firejail calls exec for the program itself.
    Direct,
    /// `firejail --profile=FILE -- PROGRAM`: the double dash makes Firejail run the command
    /// through the user's login shell, inside the sandbox and under its filters
    /// (`src/firejail/sandbox.c`, `start_application`). This is the shell's path.
    Shell(String),
}

/// The Firejail that will read the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its version.
    pub version: Version,
    /// The syscall names it knows (`--debug-syscalls`); `None` if it could not be asked.
    pub syscalls: Option<BTreeSet<String>>,
    /// The capability names it knows (`--debug-caps`); `None` if it could not be asked.
    pub capabilities: Option<BTreeSet<String>>,
    /// The files in Firejail's bin directories (`/usr/bin/env`); `None` if they are not known.
    pub programs: Option<BTreeSet<String>>,
    /// How the program is started.
    pub launch: Launch,
    /// The home directories of those who start it, where each of them and all that Firejail empties is known.
    pub homes: Decision<BTreeSet<Text>>,
}

impl Target {
    /// The directories that `private-bin` replaces, in the order in which Firejail looks a name
    /// up (`paths` in `src/firejail/fs_bin.c`).
    pub const BIN_DIRECTORIES: [&'static str; 8] = [
        "/usr/local/bin",
        "/usr/bin",
        "/bin",
        "/usr/games",
        "/usr/local/games",
        "/usr/local/sbin",
        "/usr/sbin",
        "/sbin",
    ];
}

impl Default for Target {
    fn default() -> Self {
        Self {
            version: Version::default(),
            syscalls: None,
            capabilities: None,
            programs: None,
            launch: Launch::Shell("/bin/bash".to_owned()),
            homes: Decision::Given([Text::from("/root")].into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse_and_order_by_number() {
        let parse = |text: &str| text.parse::<Version>().unwrap();
        assert_eq!(parse("0.9.72"), Version::new(0, 9, 72));
        assert_eq!(parse("0.9.72rc1"), parse("0.9.72-2"));
        assert_eq!(parse("0.9.64.4"), Version::new(0, 9, 64));
        assert!(parse("0.9.8") < parse("0.9.72"));
        for bad in ["", "0.9", "a.b.c", "0.9.", "0.9.x", "0.9.99999999999"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
