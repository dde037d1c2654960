//! A slot: what one executable in one cgroup did in one run.

use crate::{FACTS, Loss};

/// Which file a program is. The generation tells a reused inode number from the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecutableId {
    /// Inode number.
    pub inode: u64,
    /// `s_dev` in the kernel's coding: major << 20 | minor.
    pub device: u32,
    /// `i_generation`.
    pub generation: u32,
}

/// What a slot belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The cgroup (v2) that the task was in when it called exec: the inode number of its directory.
    pub cgroup: u64,
    /// The program.
    pub executable: ExecutableId,
    /// The run's number, given by the agent.
    pub run: u64,
    /// Which of the commands that were started in the cgroup: the thread group id of the process that
    /// entered it and called exec there. What such a process begins belongs to the same command. 0
    /// where it is not known: begun before there was anybody to see it.
    pub command: u32,
    /// 1 for what is done in a mount namespace whose root is not the one that the cgroup was entered with, else 0: no
    /// path there is one of the host's.
    pub other_root: u32,
}

/// One slot. A byte of `facts` is 0 or 1; it is set by a plain store, which two CPUs may do at
/// once, and never cleared while the slot is in use: the agent frees a slot when no task can hold its
/// number any more.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SlotRecord {
    /// What the slot belongs to.
    pub key: SlotKey,
    /// Set when a hint found the ring buffer full: the agent must read `facts`.
    pub rescan: u32,
    /// The slot's number: that under which the record is in use, or is to be given out next.
    pub slot: u32,
    /// The cgroup that pays for what the slot sends, see [`crate::Observed`].
    pub payer: u64,
    /// When the slot's own share of the ring buffer is whole again, as [`crate::ShareRecord::whole`].
    pub whole: u64,
    /// What was lost of what the slot did, by [`Loss`].
    pub losses: [u64; Loss::COUNT as usize],
    /// By fact number.
    pub facts: [u8; FACTS as usize],
}

/// The slot number of tasks that nobody observes.
pub const SLOT_EXCLUDED: u32 = u32::MAX;

/// The bits of a slot number that are its index in the array of records. Those above count how often
/// the record was given to a new owner, so that an event or a dedupe key of the former owner is never
/// taken for the new one's. The count begins again after 65,536 owners: by then the dedupe table,
/// which forgets what is oldest, has nothing left of the first.
pub const SLOT_INDEX: u32 = 0xffff;
/// The most slots that there can be: the last index is in no slot number, as all bits set mean
/// [`SLOT_EXCLUDED`].
pub const SLOTS_MAX: u32 = SLOT_INDEX;

/// The number under which the record of `slot` is given to its next owner.
#[must_use]
pub const fn next_owner(slot: u32) -> u32 {
    slot.wrapping_add(SLOT_INDEX + 1)
}

/// In the number of a cgroup's run: what is born in the cgroup is observed, in the run without this bit, but its
/// own tasks are not. For slices, and for the root.
pub const RUN_PASSES: u64 = 1 << 63;

/// How often each native call was entered in one slot on one CPU; and, from [`FAILED`] on, how often each came back
/// with an errno, those among them that the kernel restarts (`ERESTARTSYS` and the like), as strace(1) counts them.
/// From [`GRANTED`] on, how often each capability was granted.
pub type Counts = [u64; COUNTS];
/// How many there are.
pub const COUNTS: usize = GRANTED + 64;
/// Where the second half of [`Counts`] begins.
pub const FAILED: usize = crate::CALLS as usize;
/// Where its third part begins: a power of two places, more than there are capabilities.
pub const GRANTED: usize = 2 * crate::CALLS as usize;
