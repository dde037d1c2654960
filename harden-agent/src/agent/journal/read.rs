//! Reads a file of the journal, no matter which process wrote it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::record::{RECORD_LIMIT, Record};
use super::{FRAME, checksum, error};
use crate::observation::Text;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// How many records.
    pub records: u64,
    /// Where files could not be read on.
    pub faults: Vec<Fault>,
}

/// A file could not be read from one place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: Text,
    /// The place, in bytes.
    pub offset: u64,
    /// How many bytes were there that could not be used.
    pub dropped: u64,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It ends in the middle of a record: its writer was killed, or the power failed.
    Torn,
    /// What is there was never written by harden so.
    Corrupt,
    /// It is no journal, or one of another format.
    Foreign,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            offset,
            dropped,
            kind,
        } = self;
        match kind {
            FaultKind::Torn => write!(
                out,
                "{path} ends in the middle of a record at byte {offset}, as harden was killed or the power \
                 failed: {dropped} bytes are dropped, and nothing that was recorded before"
            ),
            FaultKind::Corrupt => write!(
                out,
                "{path} is corrupt at byte {offset}: what is before was read, the {dropped} bytes from \
                 there on were not; the file is kept as {path}.corrupt-N"
            ),
            FaultKind::Foreign => write!(
                out,
                "{path} is no journal that this harden can read: its {dropped} bytes are left out, and kept as \
                 {path}.corrupt-N"
            ),
        }
    }
}

impl Replay {
    /// Reads one file from its beginning.
    pub(super) fn file(
        &mut self,
        head: &[u8],
        path: &Path,
        file: File,
        each: &mut impl FnMut(Record),
    ) -> io::Result<()> {
        let mut reader = Reader {
            input: BufReader::with_capacity(1 << 16, file),
            offset: 0,
        };
        let kind = reader.all(head, |record| {
            self.records += 1;
            each(record);
        })?;
        if let Some(mut kind) = kind {
            let offset = reader.offset;
            let file = reader.input.get_mut();
            let size = file.metadata()?.len();
            if kind == FaultKind::Torn && offset > 0 && hides_a_record(file, offset)? {
                kind = FaultKind::Corrupt;
            }
            self.faults.push(Fault {
                path: error::text(path),
                offset,
                dropped: size.saturating_sub(offset),
                kind,
            });
        }
        Ok(())
    }
}

/// Whether a whole record begins somewhere behind `offset`, where one does that promises more than there
/// is: then its length is wrong, and the file did not end there.
fn hides_a_record(file: &mut File, offset: u64) -> io::Result<bool> {
    /// Lengths may be chosen so that checking each takes for ever; nobody tears a file like that.
    const PATIENCE: usize = 64 << 20;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    file.take(FRAME as u64 + u64::from(RECORD_LIMIT))
        .read_to_end(&mut rest)?;
    let mut checked = 0;
    for at in 1..rest.len() {
        let Some((frame, behind)) = rest[at..].split_first_chunk::<FRAME>() else {
            break;
        };
        let ([length, sum], _) = frame.as_chunks() else {
            break;
        };
        let size = u32::from_le_bytes(*length) as usize;
        let Some(payload) = behind.get(..size).filter(|payload| !payload.is_empty()) else {
            continue;
        };
        checked += size;
        if checked > PATIENCE || checksum(*length, payload) == u32::from_le_bytes(*sum) {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Reader<R> {
    input: R,
    /// The end of the last whole record.
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// Hands out the records. Returns what is wrong at `offset`, if not all could be read.
    fn all(&mut self, head: &[u8], mut each: impl FnMut(Record)) -> io::Result<Option<FaultKind>> {
        let mut bytes = Vec::new();
        self.fill(head.len(), &mut bytes)?;
        if bytes != head {
            return Ok(Some(if head.starts_with(&bytes) {
                FaultKind::Torn
            } else {
                FaultKind::Foreign
            }));
        }
        self.offset = head.len() as u64;
        loop {
            if !self.fill(FRAME, &mut bytes)? {
                return Ok((!bytes.is_empty()).then_some(FaultKind::Torn));
            }
            let ([length, sum], _) = bytes.as_chunks() else {
                return Ok(Some(FaultKind::Torn));
            };
            let (length, sum) = (*length, u32::from_le_bytes(*sum));
            let size = u32::from_le_bytes(length);
            if size == 0 || size > RECORD_LIMIT {
                return Ok(Some(FaultKind::Corrupt));
            }
            let size = size as usize;
            if !self.fill(size, &mut bytes)? {
                return Ok(Some(FaultKind::Torn));
            }
            if checksum(length, &bytes) != sum {
                return Ok(Some(FaultKind::Corrupt));
            }
            let Some(record) = Record::decode(&bytes) else {
                return Ok(Some(FaultKind::Corrupt));
            };
            self.offset += (FRAME + size) as u64;
            each(record);
        }
    }

    /// Reads `length` bytes into `bytes`, or what there is: whether all were there. Memory is taken
    /// for what is read, not for what a length promises.
    fn fill(&mut self, length: usize, bytes: &mut Vec<u8>) -> io::Result<bool> {
        bytes.clear();
        self.input.by_ref().take(length as u64).read_to_end(bytes)?;
        Ok(bytes.len() == length)
    }
}
