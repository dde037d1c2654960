//! What the programs of one payer may take of the ring buffer and of the slots, so that the others have the rest.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{Global, btf_maps::HashMap, helpers::generated::bpf_ktime_get_ns, macros::btf_map};
use harden_common::{ALL_PAYERS, Loss, RETURNED_NAMES, RETURNED_SLOTS, Returned, ShareRecord};

use crate::{
    emit,
    loss::{lost, lost_elsewhere, lost_of},
    records::record,
};

/// What each payer has used. The agent takes out those that are gone.
#[btf_map]
static SHARES: HashMap<u64, ShareRecord, 1024> = HashMap::new();

/// How much of what a payer was given has come back, as the agent counts.
#[btf_map]
static RETURNED: HashMap<u64, Returned, 1024> = HashMap::new();

/// How many paths and addresses a slot may send at once, 0 for any number: then there are no shares.
#[unsafe(no_mangle)]
static SHARE_BURST: Global<u64> = Global::new(0);

/// After how many nanoseconds it may send one more.
#[unsafe(no_mangle)]
static SHARE_INTERVAL: Global<u64> = Global::new(0);

/// How many cgroups there is room for.
#[unsafe(no_mangle)]
static CGROUP_COUNT: Global<u64> = Global::new(0);

/// How many paths of cgroups there is room for.
#[unsafe(no_mangle)]
static CGROUP_PATH_COUNT: Global<u64> = Global::new(0);

/// How many slots there are.
#[unsafe(no_mangle)]
static SLOT_COUNT: Global<u64> = Global::new(0);

/// While a quarter of the ring buffer waits to be read, a share is this part of itself.
const SCARCE: u64 = 32;

/// All slots of a payer have so many shares together: a container with many services, or a user's session, is no flood.
const SHARES_OF_PAYER: u64 = 8;

/// Whether a path or address of `slot` may be sent; if not, that is counted. Always, where there are no shares.
///
/// The last quarter of the ring buffer is for what nothing else tells: programs, and cgroups. Of the rest each slot has a
/// share, and each payer some shares, so that a flood in one takes no room from the others, by however many programs and
/// in however many cgroups it is made.
#[inline(always)]
pub fn may_send(slot: u32) -> bool {
    use_share(u64::from(slot)) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn use_share(slot: u64) -> u64 {
    let slot = slot as u32;
    let burst = SHARE_BURST.load();
    if burst == 0 {
        return 1;
    }
    let (used, size) = emit::fill();
    if used > size - size / 4 {
        lost_of(slot, Loss::PathRingFull);
        return 0;
    }
    let Some(record) = record(slot) else {
        return 1;
    };
    let is_scarce = used > size / 4;
    // SAFETY: the fields lie in the map values.
    let (own, payer) = unsafe { (&raw mut (*record).whole, (*record).payer) };
    let may_send = spend(own, is_scarce, 1)
        && SHARES.get_ptr_mut(payer).is_none_or(|share| {
            // SAFETY: as above.
            spend(
                unsafe { &raw mut (*share).whole },
                is_scarce,
                SHARES_OF_PAYER,
            )
        });
    if !may_send {
        lost_of(slot, Loss::OverShare);
        return 0;
    }
    1
}

/// Whether the birth or the end of a cgroup below `payer` may be sent; else it is counted: the agent finds it in the
/// table of cgroups, and nothing else is missing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_emit_cgroup(payer: u64) -> u64 {
    if SHARE_BURST.load() == 0 {
        return 1;
    }
    let Some(share) = SHARES.get_ptr_mut(payer) else {
        return 1;
    };
    let (used, size) = emit::fill();
    // SAFETY: the field lies in the map value.
    let whole = unsafe { &raw mut (*share).whole };
    // As many as of one slot: each costs as much as several paths.
    if !spend(whole, used > size / 4, 1) {
        lost_elsewhere(Loss::CgroupRingFull);
        return 0;
    }
    1
}

/// Takes one token of so many `shares`, which are whole again at that time. Says whether there was one: fewer are, where
/// room is scarce.
#[inline(always)]
fn spend(whole: *mut u64, is_scarce: bool, shares: u64) -> bool {
    let burst = SHARE_BURST.load() * shares;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let interval = SHARE_INTERVAL.load() / shares;
    // SAFETY: the caller's pointer is into a map value. Volatile, as other CPUs store to it.
    let then = unsafe { whole.read_volatile() }.max(now) + interval;
    let allowed = if is_scarce { burst / SCARCE } else { burst };
    if then - now > allowed * interval {
        return false;
    }
    // SAFETY: as above.
    unsafe { whole.write_volatile(then) };
    true
}

/// Whether one more cgroup may be observed, below `payer` if it `is_below`; it is counted either way. As with slots, no payer
/// may have more than are free. A payer itself always may.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_have_cgroup(payer: u64, is_below: u64) -> u64 {
    if SHARE_BURST.load() == 0 {
        return 1;
    }
    if is_below != 0 {
        let own = cgroups(payer);
        if own > 0 && own + cgroups(ALL_PAYERS) >= CGROUP_COUNT.load() {
            count_refused_cgroup(payer);
            return 0;
        }
        count_cgroup(payer, 1);
    }
    count_cgroup(ALL_PAYERS, 1);
    1
}

/// Counts a cgroup below `payer` that is not observed: for that payer alone, if it has a record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_refused_cgroup(payer: u64) -> u64 {
    let Some(share) = share(payer) else {
        lost(Loss::CgroupsFull);
        return 0;
    };
    // SAFETY: as in `count_refused_slot`.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).refused_cgroups, 1);
    }
    lost_elsewhere(Loss::CgroupsFull);
    0
}

/// One cgroup less is observed, below `payer` if it `is_below`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_gone_cgroup(payer: u64, is_below: u64) -> u64 {
    if is_below != 0 {
        take_cgroup(payer);
    }
    take_cgroup(ALL_PAYERS);
    0
}

/// One that the agent had observed was never counted.
#[inline(always)]
fn take_cgroup(payer: u64) {
    if cgroups(payer) > 0 {
        count_cgroup(payer, u64::MAX);
    }
}

#[inline(always)]
fn count_cgroup(payer: u64, change: u64) {
    if let Some(share) = share(payer) {
        // SAFETY: as in `count_refused_slot`.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).cgroups, change);
        }
    }
}

#[inline(always)]
fn cgroups(payer: u64) -> u64 {
    // SAFETY: a pointer into the map, to a word. Volatile, as other CPUs store to it.
    SHARES.get_ptr(payer).map_or(0, |share| unsafe {
        (&raw const (*share).cgroups).read_volatile()
    })
}

/// Whether the path of one more cgroup may be kept, below `payer` if it `is_below`; it is counted then. Paths outlive their
/// cgroups until the agent has them: one payer that makes cgroups and removes them would fill the table. As with slots, no
/// payer may have more than are free.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_have_name(payer: u64, is_below: u64) -> u64 {
    if SHARE_BURST.load() == 0 {
        return 1;
    }
    if is_below != 0 {
        let own = names(payer);
        if own > 0 && own + names(ALL_PAYERS) >= CGROUP_PATH_COUNT.load() {
            count_unnamed(payer);
            return 0;
        }
        count_name(payer);
    }
    count_name(ALL_PAYERS);
    1
}

/// Counts a cgroup of `payer` whose path is not kept: for that payer alone, if it has a record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_unnamed(payer: u64) -> u64 {
    let Some(share) = share(payer) else {
        lost(Loss::CgroupNamesFull);
        return 0;
    };
    // SAFETY: as in `count_refused_slot`.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).unnamed, 1);
    }
    lost_elsewhere(Loss::CgroupNamesFull);
    0
}

#[inline(always)]
fn count_name(payer: u64) {
    if let Some(share) = share(payer) {
        // SAFETY: as in `count_refused_slot`.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).named, 1);
        }
    }
}

/// How many paths of cgroups below `payer` are kept.
#[inline(always)]
fn names(payer: u64) -> u64 {
    // SAFETY: as in `held`.
    let named = SHARES.get_ptr(payer).map_or(0, |share| unsafe {
        (&raw const (*share).named).read_volatile()
    });
    named.saturating_sub(returned::<RETURNED_NAMES>(payer))
}

/// Whether `payer` may have one more slot; if not, that is counted.
///
/// It may not have more than are free (dynamic thresholds, as Choudhury and Hahne have them for the buffers of a switch,
/// 1998): one that takes all it can get leaves half of them, two leave a third, and one that has none gets one as long as
/// there is one. A fixed part would leave nothing once there are enough that take all of theirs.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_have_slot(payer: u64) -> u64 {
    if SHARE_BURST.load() == 0 {
        return 1;
    }
    let held = held(payer);
    if held == 0 || held + held_by_all() < SLOT_COUNT.load() {
        return 1;
    }
    count_refused_slot(payer);
    0
}

/// Counts a program of `payer` that gets no slot: for that payer alone, if it has a record.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_refused_slot(payer: u64) -> u64 {
    let Some(share) = share(payer) else {
        lost(Loss::SlotsExhausted);
        return 0;
    };
    // SAFETY: the field lies in the map value. The result is not used: 5.10 cannot fetch.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).refused, 1);
    }
    lost_elsewhere(Loss::SlotsExhausted);
    0
}

/// `payer` has got a slot.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_given_slot(payer: u64) -> u64 {
    for payer in [payer, ALL_PAYERS] {
        if let Some(share) = share(payer) {
            // SAFETY: as in `count_refused_slot`.
            unsafe {
                atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*share).given, 1);
            }
        }
    }
    0
}

/// The record of `payer`; made, if there is none. `None` where the table is full: such a payer is not limited in its
/// slots, and each slot of it has a share of its own.
#[inline(always)]
fn share(payer: u64) -> Option<*mut ShareRecord> {
    const BPF_NOEXIST: u64 = 1;
    if SHARES.get_ptr(payer).is_none() {
        let none = ShareRecord {
            whole: 0,
            given: 0,
            refused: 0,
            cgroups: 0,
            refused_cgroups: 0,
            named: 0,
            unnamed: 0,
        };
        // Another CPU may be first.
        let _ = SHARES.insert(payer, none, BPF_NOEXIST);
    }
    SHARES.get_ptr_mut(payer)
}

/// How many slots `payer` has.
#[inline(always)]
fn held(payer: u64) -> u64 {
    // SAFETY: a pointer into the map, to a word. Volatile, as other CPUs store to it.
    let given = SHARES.get_ptr(payer).map_or(0, |share| unsafe {
        (&raw const (*share).given).read_volatile()
    });
    // Their counting is behind by moments.
    given.saturating_sub(returned::<RETURNED_SLOTS>(payer))
}

/// How much has come back from `payer`.
#[inline(always)]
fn returned<const WHAT: usize>(payer: u64) -> u64 {
    // SAFETY: a pointer into the map, to two words. Volatile, as the agent stores to it.
    RETURNED.get_ptr(payer).map_or(0, |returned| unsafe {
        (&raw const (*returned)[WHAT]).read_volatile()
    })
}

/// How many slots all have.
#[inline(always)]
fn held_by_all() -> u64 {
    held(ALL_PAYERS)
}
