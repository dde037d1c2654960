//! A piece of a log, as a reader gives it: mostly a line.

/// Bytes of a log, without a line break in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'l> {
    /// The bytes.
    pub bytes: &'l [u8],
    /// What part of a line they are.
    pub part: Part,
}

/// What part of a line a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its beginning: the log ends here, or goes on with NUL bytes. After a crash a file system leaves those in the place of
    /// what was not written yet.
    Cut,
    /// A part of a line that is too long for a record. The last [`OVERLAP`] bytes of a part that is not the `last` come
    /// again in the next one.
    TooLong {
        /// Whether the line ends here.
        last: bool,
    },
}

/// Longer than all by which a record is known.
pub const OVERLAP: usize = 64;

impl<'l> Piece<'l> {
    /// A whole line.
    #[must_use]
    pub fn line(bytes: &'l [u8]) -> Self {
        Self {
            bytes,
            part: Part::Whole,
        }
    }
}
