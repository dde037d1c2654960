//! Where members of the running kernel's structures are, from its BTF
//! (Documentation/bpf/btf.rst).
//!
//! Our own reader of two hundred lines: aya-obj keeps its members private, and the crate `btf-rs`
//! is LGPL and takes a tenth of a second for what takes 10 ms here.

use std::path::{Path, PathBuf};

/// What went wrong with the kernel's type information.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is missing: the kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error(
        "{path} cannot be read ({error}): harden needs a kernel with CONFIG_DEBUG_INFO_BTF=y, which Debian has since 11, Ubuntu since 20.10, Fedora since 31"
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why. Not called `source`: the message has it already.
        error: std::io::Error,
    },
    /// The file is not what the format says.
    #[error("the kernel's BTF cannot be understood: {0}")]
    Malformed(&'static str),
    /// A kind of type that this reader does not know, so that it cannot step over it.
    #[error("the kernel's BTF has types of kind {0}, newer than this harden")]
    UnknownKind(u32),
}

/// A kernel's types.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type in `data`, by id - 1.
    types: Vec<usize>,
    /// Those of them that are structures with members: one in ten.
    structures: Vec<usize>,
}

const HEADER: usize = 24;
const MAGIC: u32 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

impl Btf {
    /// Reads the file at `path`, usually `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError`] if it is missing or not understood.
    pub(super) fn read(path: &Path) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|error| BtfError::Missing {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(data)
    }

    fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let header = |at| word(&data, at).ok_or(BtfError::Malformed("the header is cut off"));
        if header(0)? & 0xffff != MAGIC {
            return Err(BtfError::Malformed(
                "it does not begin with the magic number",
            ));
        }
        let body = header(4)? as usize;
        if body < HEADER {
            return Err(BtfError::Malformed("the header is too short"));
        }
        let start = body + header(8)? as usize;
        let end = start + header(12)? as usize;
        let strings = body + header(16)? as usize;
        let mut types = Vec::with_capacity(150_000);
        let mut structures = Vec::with_capacity(15_000);
        let mut at = start;
        while at < end {
            types.push(at);
            let info = word(&data, at + 4).ok_or(BtfError::Malformed("a type is cut off"))?;
            if kind(info) == KIND_STRUCT && info & 0xffff > 0 {
                structures.push(at);
            }
            at += 12 + trailer(info)?;
        }
        Ok(Self {
            data,
            strings,
            types,
            structures,
        })
    }

    /// The byte offset of a member of `structure`: a dotted path through embedded structures
    /// (`thread_info.status`); members of anonymous ones count as the outer's own. `None` if this
    /// kernel has no such member.
    #[must_use]
    pub(super) fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        self.structures
            .iter()
            .filter(|&&at| self.name(at) == Some(structure))
            .find_map(|&at| self.offset_in(at, member))
    }

    fn offset_in(&self, at: usize, path: &str) -> Option<u32> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let info = word(&self.data, at + 4)?;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = at + 12 + index * 12;
            let mut bits = word(&self.data, member + 8)?;
            if info >> 31 == 1 {
                bits &= 0x00ff_ffff;
            }
            let inner = || self.structure(word(&self.data, member + 4)?);
            match self.name(member)? {
                "" => Some(bits / 8 + self.offset_in(inner()?, path)?),
                found if found == name => match rest {
                    None => Some(bits / 8),
                    Some(rest) => Some(bits / 8 + self.offset_in(inner()?, rest)?),
                },
                _ => None,
            }
        })
    }

    /// The structure or union behind type `id`, past typedefs and qualifiers.
    fn structure(&self, mut id: u32) -> Option<usize> {
        // typedef, volatile, const, restrict, type tag
        const ALIASES: [u32; 5] = [8, 9, 10, 11, 18];
        // As many turns as any sane chain has: a cycle ends too.
        for _ in 0..32 {
            let &at = self.types.get((id as usize).checked_sub(1)?)?;
            match self.kind(at)? {
                KIND_STRUCT | KIND_UNION => return Some(at),
                kind if ALIASES.contains(&kind) => id = word(&self.data, at + 8)?,
                _ => return None,
            }
        }
        None
    }

    fn kind(&self, at: usize) -> Option<u32> {
        word(&self.data, at + 4).map(kind)
    }

    fn name(&self, at: usize) -> Option<&str> {
        let start = self.strings + word(&self.data, at)? as usize;
        let text = self.data.get(start..)?;
        let end = text.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&text[..end]).ok()
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes that follow a type's three words.
fn trailer(info: u32) -> Result<usize, BtfError> {
    let entries = (info & 0xffff) as usize;
    Ok(match kind(info) {
        // int, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // struct, union, data section, 64-bit enumeration
        KIND_STRUCT | KIND_UNION | 15 | 19 => entries * 12,
        // enumeration, function prototype
        6 | 13 => entries * 8,
        // pointer, forward, typedef, qualifiers, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        other => return Err(BtfError::UnknownKind(other)),
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
