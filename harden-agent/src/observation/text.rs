//! Byte strings from the kernel (paths, socket names) as JSON text, without loss.

use std::fmt;

use bstr::{BStr, ByteSlice, ByteVec};
use ecow::{EcoString, eco_format};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A path or name as the kernel has it: any bytes. A path holds no NUL, at most 4,095 bytes; the
/// name of an abstract socket may well hold NULs (programs that pass the whole `sockaddr_un`).
///
/// In JSON and on a terminal it is escaped: a backslash is `\\`, a newline `\n`, a byte that is
/// no UTF-8 `\xFF`, and so is each byte of a character that is invisible, breaks a line or turns
/// the writing direction; everything else is shown as it is. So the text is reversible, never
/// holds a line break and shows what it is.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// The bytes as the kernel has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as a byte string, for searching.
    #[must_use]
    pub fn as_bstr(&self) -> &BStr {
        self.0.as_bstr()
    }

    /// The bytes as a path of the operating system.
    #[must_use]
    pub fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(self.as_bytes()))
    }

    /// What somebody means by a text that was perhaps copied from where one was shown: the bytes that are shown as
    /// `typed`, if there are any, else `typed` itself.
    #[must_use]
    pub fn as_typed(typed: &[u8]) -> Self {
        let plain = Self::from(typed);
        let Ok(typed) = std::str::from_utf8(typed) else {
            return plain;
        };
        let meant = Self::from(Vec::unescape_bytes(typed));
        if meant.to_string() == typed {
            meant
        } else {
            plain
        }
    }

    /// The text, if nothing in it is escaped for certain: nearly every path is such.
    fn as_shown(&self) -> Option<&str> {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        let text = std::str::from_utf8(self.as_bytes()).ok()?;
        text.as_bytes().iter().all(plain).then_some(text)
    }
}

impl<T: AsRef<[u8]>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        if let Some(text) = self.as_shown() {
            return out.write_str(text);
        }
        // bstr's own escape writes a space as `\x20` and lets the C1 controls through.
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => out.write_str("\\\\")?,
                    '\n' => out.write_str("\\n")?,
                    '\r' => out.write_str("\\r")?,
                    '\t' => out.write_str("\\t")?,
                    _ if is_hidden(character) => {
                        escape_bytes(character.encode_utf8(&mut [0; 4]).as_bytes(), out)?;
                    }
                    _ => out.write_char(character)?,
                }
            }
            escape_bytes(chunk.invalid(), out)?;
        }
        Ok(())
    }
}

fn escape_bytes(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(out, "\\x{byte:02X}"))
}

/// Whether a character could make a text look like another one, or end its line, on a terminal.
/// A fixed list, not the Unicode tables of the compiler: a file reads the same in every build.
pub(super) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}'
                | '\u{61C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

impl fmt::Debug for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_shown() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = if text.contains('\\') {
            Vec::unescape_bytes(&text)
        } else {
            text.into_bytes()
        };
        Ok(Self(bytes.into()))
    }
}

/// A name out of a closed vocabulary: a syscall, a capability, a socket family, an errno.
///
/// Lower or upper case ASCII letters, digits, `_` and `-`, 1 to 64 of them: whatever an
/// observation from elsewhere holds, a word cannot become another line or rule of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Word(EcoString);

impl Word {
    /// Accepts `text` if it is a word.
    ///
    /// # Errors
    /// [`NotAWord`] with the text if a character is outside the set or the length is not 1 to 64.
    pub fn new(text: impl Into<EcoString>) -> Result<Self, NotAWord> {
        let text: EcoString = text.into();
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits {
            Ok(Self(text))
        } else {
            Err(NotAWord(text.into()))
        }
    }

    /// The outcome of what succeeded.
    pub(crate) fn ok() -> Self {
        Self(EcoString::inline("ok"))
    }

    /// `prefix-number`, for what has no name yet. The prefix is a literal of this program.
    #[must_use]
    pub(crate) fn numbered(prefix: &'static str, number: u32) -> Self {
        Self(eco_format!("{prefix}-{number}"))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(EcoString::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The text is no [`Word`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a name: a name has 1 to 64 letters, digits, '_' and '-'")]
pub struct NotAWord(String);
