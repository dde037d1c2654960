//! The first line of an installed file: what it is, since when, and from which observation.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Backend, proof::Named};

/// What an installed file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What confines the unit.
    pub backend: Backend,
    /// When it was installed.
    pub since: Timestamp,
    /// The SHA-256 digest of the observation's file, in hexadecimal digits.
    pub observation: String,
    /// It goes with a reboot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub runtime: bool,
    /// On trial: when it is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The proof record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Named>,
}

/// How the line begins.
const START: &str = "# Applied by harden: ";

impl Applied {
    /// The same, kept, with this proof.
    #[must_use]
    pub fn kept(&self, proof: Option<&Named>) -> Self {
        Self {
            until: None,
            proof: proof.cloned(),
            ..self.clone()
        }
    }

    /// `text` below the line.
    #[must_use]
    pub fn over(&self, text: &str) -> String {
        // Words, numbers and times always serialise, in one line.
        let line = serde_json::to_string(self).unwrap_or_default();
        format!("{START}{line}\n{text}")
    }

    /// What an installed file says, and its text below that; `None` for a file that was not installed by `harden apply`.
    #[must_use]
    pub fn read(file: &str) -> Option<(Self, &str)> {
        let (line, text) = file.strip_prefix(START)?.split_once('\n')?;
        Some((serde_json::from_str(line).ok()?, text))
    }
}

/// The digest of an observation's file, or of another text.
#[must_use]
pub fn digest(file: &[u8]) -> String {
    hexadecimal(&Sha256::digest(file))
}

pub(super) fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Ours;

    fn applied() -> Applied {
        Applied {
            backend: Backend::Firejail,
            since: Timestamp::new(5, 0).unwrap(),
            observation: digest(b"abc"),
            runtime: true,
            until: Some(Timestamp::new(65, 0).unwrap()),
            proof: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_is_still_ours() {
        let text = "# x\n# Written by harden; y\n\n[Service]\n";
        let named = Named {
            file: "/var/lib/a.json".into(),
            sha256: digest(b"abc"),
        };
        for applied in [applied(), applied().kept(Some(&named))] {
            let file = applied.over(text);
            assert_eq!(Applied::read(&file), Some((applied, text)));
            assert!(Ours::Marker.recognises(file.as_bytes()).unwrap());
        }
        assert_eq!(applied().kept(None).until, None);
    }

    #[test]
    fn other_files_say_nothing() {
        for file in [
            "",
            "# Applied by harden: {}\n",
            "# Applied by harden: x",
            "\n# Applied by harden: \n",
        ] {
            assert_eq!(Applied::read(file), None, "{file}");
        }
    }

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
