//! Ring buffer items as typed events. The kernel side wrote them, but this build may not be its
//! twin: every length is checked.

use std::collections::BTreeMap;

use crate::{observation::Word, probe::Record};
use harden_common::{
    CgroupEvent, FactEvent, Header, Loss, PathEvent, SlotRecord, SocketEvent, kind,
};

/// An event, with what followed its struct.
pub enum Event<'a> {
    /// First sight of a fact.
    Fact(FactEvent),
    /// A path, an exec or an address, by the header's kind.
    Path(PathEvent, Bytes<'a>),
    /// A socket.
    Socket(SocketEvent),
    /// A cgroup born or gone, and its path.
    Cgroup(CgroupEvent, &'a [u8]),
}

impl Event<'_> {
    /// What all events begin with.
    #[must_use]
    pub fn header(&self) -> &Header {
        match self {
            Self::Fact(event) => &event.header,
            Self::Path(event, _) => &event.header,
            Self::Socket(event) => &event.header,
            Self::Cgroup(event, _) => &event.header,
        }
    }
}

/// The three parts behind a [`PathEvent`].
pub struct Bytes<'a> {
    /// What the call was given.
    pub text: &'a [u8],
    /// Walk of the file.
    pub target: &'a [u8],
    /// Walk of the directory that the text starts from.
    pub prefix: &'a [u8],
}

/// Types of which every bit pattern is a value, with no padding that matters.
///
/// # Safety
/// Only for `repr(C)` structs of integers and arrays of integers.
unsafe trait Plain: Copy {}
// SAFETY: repr(C), integers only.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for FactEvent {}
// SAFETY: as above.
unsafe impl Plain for PathEvent {}
// SAFETY: as above.
unsafe impl Plain for SocketEvent {}
// SAFETY: as above.
unsafe impl Plain for CgroupEvent {}
// SAFETY: as above.
unsafe impl Plain for SlotRecord {}

fn read<T: Plain>(item: &[u8]) -> Option<(T, &[u8])> {
    let (head, rest) = item.split_at_checked(size_of::<T>())?;
    // SAFETY: `head` has the size of `T`, and every bit pattern is a `T`.
    Some((unsafe { head.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// What the kernel side put into `item`. `None` for one that is too short or of an unknown kind.
#[must_use]
pub fn parse(item: &[u8]) -> Option<Event<'_>> {
    let (header, _) = read::<Header>(item)?;
    Some(match header.kind {
        kind::FACT => Event::Fact(read(item)?.0),
        kind::SOCKET => Event::Socket(read(item)?.0),
        kind::CGROUP_BORN | kind::CGROUP_GONE => {
            let (event, rest) = read::<CgroupEvent>(item)?;
            Event::Cgroup(event, rest.get(..event.path_length as usize)?)
        }
        kind::PATH | kind::EXEC | kind::ADDRESS => {
            let (event, rest) = read::<PathEvent>(item)?;
            let (text, rest) = rest.split_at_checked(event.text_length as usize)?;
            let (target, rest) = rest.split_at_checked(event.target_length as usize)?;
            let (prefix, _) = rest.split_at_checked(event.prefix_length as usize)?;
            Event::Path(
                event,
                Bytes {
                    text,
                    target,
                    prefix,
                },
            )
        }
        _ => return None,
    })
}

/// What an item says of itself.
#[must_use]
pub fn header(item: &[u8]) -> Option<Header> {
    read(item).map(|(header, _)| header)
}

/// Stands for how items lie in memory: who has another number cannot read what was kept of them.
#[must_use]
pub const fn layout() -> u64 {
    /// Raised when a member changes its place or its meaning, and no size tells.
    const NUMBER: usize = 3;
    let sizes = [
        NUMBER,
        size_of::<Header>(),
        size_of::<FactEvent>(),
        size_of::<PathEvent>(),
        size_of::<SocketEvent>(),
        size_of::<CgroupEvent>(),
        size_of::<SlotRecord>(),
        std::mem::offset_of!(PathEvent, inode),
        std::mem::offset_of!(PathEvent, operation),
        std::mem::offset_of!(SlotRecord, facts),
    ];
    // FNV-1a, a number at a time.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut rest = sizes.as_slice();
    while let [size, others @ ..] = rest {
        hash = (hash ^ *size as u64).wrapping_mul(0x0100_0000_01b3);
        rest = others;
    }
    hash
}

/// What was lost of a slot, by kind; kinds with no loss are left out.
#[must_use]
pub fn losses(record: &SlotRecord) -> BTreeMap<Word, u64> {
    let kinds = Loss::ALL.iter();
    kinds
        .filter_map(|(loss, name)| {
            let count = record.losses[*loss as usize];
            Some((Word::new(*name).ok()?, count)).filter(|_| count > 0)
        })
        .collect()
}

/// Capabilities that [`super::Facts::withheld`] counts, as a loss.
#[must_use]
pub fn withheld(capabilities: u64) -> BTreeMap<Word, u64> {
    let kind = Word::new("withheld-capability").ok();
    let kind = kind.filter(|_| capabilities > 0);
    kind.map(|kind| (kind, capabilities)).into_iter().collect()
}

/// A slot as it lies in the map.
#[must_use]
pub fn slot(bytes: &Record) -> Option<SlotRecord> {
    read(bytes).map(|(record, _)| record)
}
