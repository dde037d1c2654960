//! The maps, by what they hold. Sizes are defaults: the agent sets them from its configuration.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
    macros::btf_map,
};
use harden_common::{
    CgroupRecord, Counts, Loss, Observed, Returned, SLOT_INDEX, ShareRecord, SlotKey, SlotRecord,
};

use crate::{
    emit::OnceKey,
    scratch::{LEVELS, Scratch},
};

/// Slot records, by slot number. The truth about every fact that has a byte.
#[btf_map]
static SLOTS: Array<SlotRecord, 1024> = Array::new();

/// The record of a slot.
#[inline(always)]
pub fn record(slot: u32) -> Option<*mut SlotRecord> {
    SLOTS.get_ptr_mut(slot & SLOT_INDEX)
}

/// Slot numbers by key. What is not in here has no slot, whatever its record says.
#[btf_map]
pub static SLOT_OF: HashMap<SlotKey, u32, 1024> = HashMap::new();

/// Slot numbers that are free; the agent fills it.
#[btf_map]
pub static FREE_SLOTS: Queue<u32, 1024> = Queue::new();

/// Observed cgroups, by id.
#[btf_map]
pub static CGROUPS: HashMap<u64, Observed, 1024> = HashMap::new();

/// What each payer has used. The agent takes out those that are gone.
#[btf_map]
pub static SHARES: HashMap<u64, ShareRecord, 1024> = HashMap::new();

/// How much of what a payer was given has come back, as the agent counts.
#[btf_map]
pub static RETURNED: HashMap<u64, Returned, 1024> = HashMap::new();

/// Where the cgroups are that were born below an observed one, or that the agent knows: by id. Not
/// allocated beforehand: a kilobyte each, and few of them at a time. Before 6.1 the kernel warns of that in
/// a raw tracepoint (kernel/bpf/verifier.c, `check_map_prog_compatibility`), not in a BTF-typed one.
#[btf_map]
pub static CGROUP_PATHS: HashMap<u64, CgroupRecord, 1024, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// One number, raised by the agent when a run begins or a cgroup comes under observation:
/// whoever has another one attributes itself anew.
#[btf_map]
pub static GENERATION: Array<u32, 1> = Array::new();

/// Calls counted per slot and CPU, for the first slots only: 8.5 KiB each on each CPU.
#[btf_map]
pub static COUNTS: PerCpuArray<Counts, 1> = PerCpuArray::new();

/// Paths, sockets and addresses already sent, by slot. An entry that falls out is sent again.
#[btf_map]
pub static ONCE: LruHashMap<OnceKey, u8, 65536> = LruHashMap::new();

/// Hints, and what has no byte.
#[btf_map]
pub static EVENTS: RingBuf<u8, 1_048_576> = RingBuf::new();

/// What was lost, by [`Loss`]: first what is in no slot's record, then what is in one.
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { 2 * Loss::COUNT as usize }> = PerCpuArray::new();

/// Room to build an event, too large for the stack.
#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, LEVELS> = PerCpuArray::new();
