//! How much room the kernel side has, and how much of it each payer.

/// How large the maps are. Each limit, when hit, is counted as a loss.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Slots: one for each executable in each cgroup and run, at most [`harden_common::SLOTS_MAX`];
    /// 2,256 bytes each.
    pub slots: u32,
    /// Cgroups observed at once.
    pub cgroups: u32,
    /// Cgroups whose path is kept, those that are gone and not taken yet among them; a kilobyte each, as
    /// they come.
    pub cgroup_paths: u32,
    /// Paths, sockets and addresses remembered as sent; about 120 bytes each.
    pub once: u32,
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring: u32,
    /// Slots whose calls are counted, 8.5 KiB each on each CPU; 0 turns counting off.
    pub counted_slots: u32,
    /// Tasks whose state is kept, where the kernel has no task storage.
    pub tasks: u32,
    /// What each payer may put into the ring buffer, see [`harden_common::ShareRecord`]; `None`: as much as there is room
    /// for, and as many slots.
    pub share: Option<Share>,
}

/// How many paths and addresses a payer may send: others have the rest of the ring buffer, and of the reader's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// So many at once.
    pub at_once: u32,
    /// And then so many a second.
    pub per_second: u32,
}

impl Sizes {
    /// Payers that have used something, those that are gone and not taken out yet among them, and the sum of all.
    pub(super) fn payers(&self) -> u32 {
        self.cgroups.saturating_mul(2)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            slots: 4096,
            cgroups: 4096,
            cgroup_paths: 8192,
            once: 65_536,
            // As much as two processors report in half a second: who takes it may have to wait that long for
            // its turn.
            ring: 32 << 20,
            counted_slots: 256,
            tasks: 65_536,
            share: None,
        }
    }
}
