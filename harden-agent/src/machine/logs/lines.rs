//! A stream of bytes → pieces of lines, in bounded memory, whatever the bytes are.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};

use bstr::ByteSlice as _;
use flate2::read::MultiGzDecoder;

use super::Gaps;
use crate::audit::{OVERLAP, Part, Piece};

/// Longer lines are no records: the kernel's own are shorter than 9 KiB (`MAX_AUDIT_MESSAGE_LENGTH`).
const LINE: usize = 1 << 18;
const BUFFER: usize = 1 << 16;

/// Of a stream that goes on for so long without an end of a line, no end is waited for.
const ENDLESS: u64 = 1 << 28;

const GZIP: &[u8] = b"\x1f\x8b";

/// How others begin, which hold records that cannot be seen in them.
const PACKED: [(&[u8], &str); 6] = [
    (
        b"\xfd7zXZ\0",
        "it is packed with xz: give what it unpacks to",
    ),
    (b"BZh", "it is packed with bzip2: give what it unpacks to"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is packed with zstd: give what it unpacks to",
    ),
    (
        b"LPKSHHRH",
        "it is a file of the journal: give what journalctl prints of it",
    ),
    (b"\xff\xfe", "it is in UTF-16: give it in UTF-8"),
    (b"\xfe\xff", "it is in UTF-16: give it in UTF-8"),
];
const LONGEST_MAGIC: u64 = 8;

/// Reads a stream to its end, gzipped or not.
///
/// # Errors
/// It cannot be read, or is no log.
pub fn stream(read: impl Read, piece: impl FnMut(Piece<'_>)) -> io::Result<Gaps> {
    stream_of(read, 0, piece)
}

/// The same, of a file that has so many bytes.
pub(super) fn stream_of(
    mut read: impl Read,
    length: u64,
    piece: impl FnMut(Piece<'_>),
) -> io::Result<Gaps> {
    let mut start = Vec::new();
    read.by_ref().take(LONGEST_MAGIC).read_to_end(&mut start)?;
    let packed = PACKED.iter().find(|(magic, _)| start.starts_with(magic));
    if let Some((_, how)) = packed {
        return Err(io::Error::new(ErrorKind::InvalidData, *how));
    }
    let is_packed = start.starts_with(GZIP);
    let read = Cursor::new(start).chain(read);
    let endless = ENDLESS.max(length);
    if is_packed {
        let read = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, read));
        return lines(BufReader::with_capacity(BUFFER, read), endless, piece);
    }
    lines(BufReader::with_capacity(BUFFER, read), endless, piece)
}

/// Reads pieces. A line ends at a line feed, at a carriage return, and where NUL bytes begin.
pub(super) fn lines(
    mut read: impl BufRead,
    endless: u64,
    mut piece: impl FnMut(Piece<'_>),
) -> io::Result<Gaps> {
    let mut line = Unended::default();
    // Since the last line feed.
    let mut count: u64 = 0;
    loop {
        let bytes = match read.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            line.end(Part::Cut, &mut piece);
            return Ok(line.gaps);
        }
        let length = bytes.len();
        count = match bytes.rfind_byte(b'\n') {
            Some(at) => u64::try_from(length - at).unwrap_or(u64::MAX),
            None => count.saturating_add(u64::try_from(length).unwrap_or(u64::MAX)),
        };
        if count > endless {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "a line in it does not end, so that it is no log",
            ));
        }
        line.take(bytes, &mut piece);
        read.consume(length);
    }
}

/// A line whose end was not seen yet.
#[derive(Default)]
struct Unended {
    bytes: Vec<u8>,
    /// Whether a part of it was given already.
    is_long: bool,
    gaps: Gaps,
}

impl Unended {
    fn take(&mut self, mut bytes: &[u8], piece: &mut impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            if self.bytes.is_empty() {
                let start = bytes.iter().position(|byte| *byte != 0);
                bytes = &bytes[start.unwrap_or(bytes.len())..];
            }
            let room = bytes.len().min(LINE - self.bytes.len());
            let Some(at) = bytes[..room].find_byteset(b"\n\r\0") else {
                self.bytes.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                self.give_if_full(piece);
                continue;
            };
            self.bytes.extend_from_slice(&bytes[..at]);
            let is_cut = bytes[at] == 0;
            self.end(if is_cut { Part::Cut } else { Part::Whole }, piece);
            bytes = &bytes[at + 1..];
        }
    }

    fn give_if_full(&mut self, piece: &mut impl FnMut(Piece<'_>)) {
        if self.bytes.len() < LINE {
            return;
        }
        self.gaps.too_long += u64::from(!self.is_long);
        self.is_long = true;
        self.give(Part::TooLong { last: false }, piece);
        self.bytes.drain(..LINE - OVERLAP);
    }

    fn end(&mut self, part: Part, piece: &mut impl FnMut(Piece<'_>)) {
        if self.is_long {
            self.give(Part::TooLong { last: true }, piece);
        } else if !self.bytes.is_empty() {
            self.give(part, piece);
        }
        self.bytes.clear();
        self.is_long = false;
    }

    fn give(&self, part: Part, piece: &mut impl FnMut(Piece<'_>)) {
        let bytes = &self.bytes;
        piece(Piece { bytes, part });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn read(bytes: impl Read) -> (Vec<(Vec<u8>, Part)>, Gaps) {
        let mut all = Vec::new();
        let gaps = stream(bytes, |piece| {
            all.push((piece.bytes.to_owned(), piece.part));
        });
        (all, gaps.unwrap())
    }

    fn whole(text: &str) -> (Vec<u8>, Part) {
        (text.into(), Part::Whole)
    }

    fn cut(text: &str) -> (Vec<u8>, Part) {
        (text.into(), Part::Cut)
    }

    /// One byte at each read, as a pipe may give them.
    struct Slow<'b>(&'b [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn a_gzipped_log_has_the_same_lines() {
        let text = b"one\n\xff\n\nlast";
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        let mut packed = packed.finish().unwrap();
        let plain = read(&text[..]);
        let expected = [whole("one"), (b"\xff".into(), Part::Whole), cut("last")];
        assert_eq!(plain.0, expected);
        assert_eq!(read(&packed[..]), plain);
        assert_eq!(read(Slow(&packed)), plain);
        assert_eq!(read(Slow(text)), plain);
        // As logrotate leaves it, if it was cut short: an error, and not the end.
        packed.truncate(packed.len() - 9);
        assert!(stream(&packed[..], |_| ()).is_err());
    }

    #[test]
    fn nul_bytes_and_carriage_returns_end_a_line() {
        let zeros = vec![0; 3 * LINE];
        let text = [b"a\r\nb\rc", &zeros[..], b"d\n", &zeros, b"\ne\0\n"].concat();
        let expected = [whole("a"), whole("b"), cut("c"), whole("d"), cut("e")];
        assert_eq!(read(&text[..]), (expected.into(), Gaps::default()));
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_parts_and_is_counted() {
        let long: Vec<u8> = (b'a'..b'x').cycle().take(3 * LINE).collect();
        let text = [b"a\n", &long[..], b"\nb\n"].concat();
        let (pieces, gaps) = read(&text[..]);
        assert_eq!(gaps.too_long, 1);
        assert_eq!(
            (&pieces[0], &pieces[pieces.len() - 1]),
            (&whole("a"), &whole("b"))
        );
        let parts = &pieces[1..pieces.len() - 1];
        let mut joined = Vec::new();
        for (at, (bytes, part)) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            assert_eq!(*part, Part::TooLong { last });
            assert!(bytes.len() <= LINE);
            let end = if last {
                bytes.len()
            } else {
                bytes.len() - OVERLAP
            };
            joined.extend_from_slice(&bytes[..end]);
        }
        assert_eq!(joined, long);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        for byte in [0, b'x'] {
            let result = lines(BufReader::new(io::repeat(byte)), 1 << 20, |piece| {
                assert!(piece.bytes.len() <= LINE);
            });
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }

    #[test]
    fn what_hides_its_records_is_an_error() {
        for (magic, _) in PACKED {
            let text = [magic, b" and more of it"].concat();
            assert!(stream(Slow(&text), |_| ()).is_err(), "{magic:?}");
        }
    }
}
