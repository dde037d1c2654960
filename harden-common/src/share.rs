//! Shares: what the programs of one unit may take of what all units use, however many they are.

/// What is kept of an observed cgroup: by [`OBSERVED_RUN`] and [`OBSERVED_PAYER`].
pub type Observed = [u64; 2];

/// In [`Observed`], the number of the run in progress.
pub const OBSERVED_RUN: usize = 0;
/// In [`Observed`], the cgroup whose share is used: the one above at [`PAYER_LEVEL`], or the cgroup itself where it is
/// not deeper.
pub const OBSERVED_PAYER: usize = 1;

/// How deep in the tree the cgroups lie that have a share; the root is 0. At 2 are the services, scopes and users of
/// systemd's own slices. Only the administrator and systemd make cgroups there: a unit makes its own below.
pub const PAYER_LEVEL: u32 = 2;

/// No cgroup's id. In the tables by payer, the sum over all.
pub const ALL_PAYERS: u64 = 0;

/// What has come back of what a payer was given, as the agent counts: by [`RETURNED_SLOTS`] and [`RETURNED_NAMES`].
pub type Returned = [u64; 2];

/// In [`Returned`], of [`ShareRecord::given`].
pub const RETURNED_SLOTS: usize = 0;
/// In [`Returned`], of [`ShareRecord::named`].
pub const RETURNED_NAMES: usize = 1;

/// What one payer has used. Written by the kernel side alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareRecord {
    /// When its shares of the ring buffer are whole again, nanoseconds of `CLOCK_MONOTONIC`: each path that is sent puts it
    /// off. The share is used up where that is too far ahead (a token bucket, as the generic cell rate algorithm of ITU-T
    /// I.371 keeps it: one number). Written by a plain store: two CPUs at once may use one token for two paths.
    pub whole: u64,
    /// Slots that were given out so far. Those that came back since, the agent counts.
    pub given: u64,
    /// Programs that got no slot.
    pub refused: u64,
    /// Cgroups below it that were born since the kernel side was loaded, and are there. Of [`ALL_PAYERS`], all cgroups.
    pub cgroups: u64,
    /// Cgroups below it that are not observed, as the others need the room.
    pub refused_cgroups: u64,
    /// Paths of cgroups below it that were kept so far, of [`ALL_PAYERS`] all paths. Those that were forgotten since, the
    /// agent counts.
    pub named: u64,
    /// Paths of cgroups below it that were not kept, as the others need the room.
    pub unnamed: u64,
}
