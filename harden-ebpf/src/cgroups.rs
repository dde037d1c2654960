//! Cgroups born below an observed one are observed too, in the same run.

use core::mem::offset_of;

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::HashMap,
    helpers::generated::{bpf_ktime_get_ns, bpf_map_update_elem, bpf_probe_read_kernel_str},
    macros::btf_map,
};
use harden_common::{
    CGROUP_PATH_MAX, CgroupEvent, CgroupRecord, Loss, OBSERVED_PAYER, OBSERVED_RUN, Observed,
    PAYER_LEVEL, RUN_PASSES, SLOT_EXCLUDED, kind,
};

use crate::{
    emit,
    kernel::{self as k, Address},
    log::log_cgroup,
    loss::lost,
    scratch::{self, Scratch},
    shares,
    verifier::masked,
};

/// Observed cgroups, by id.
#[btf_map]
pub static CGROUPS: HashMap<u64, Observed, 1024> = HashMap::new();

/// Where the cgroups are that were born below an observed one, or that the agent knows: by id. Not
/// allocated beforehand: a kilobyte each, and few of them at a time. Before 6.1 the kernel warns of that in
/// a raw tracepoint (kernel/bpf/verifier.c, `check_map_prog_compatibility`), not in a BTF-typed one.
#[btf_map]
static CGROUP_PATHS: HashMap<u64, CgroupRecord, 1024, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// 1 where somebody wants paths to be kept.
#[unsafe(no_mangle)]
static KEEP_CGROUP_PATHS: Global<u32> = Global::new(0);

/// Room for the path where an event is built. The path is written first; the head of the record that
/// keeps it, and then that of the event that sends it, go directly before it.
const TEXT: usize = size_of::<CgroupEvent>();
const RECORD: usize = TEXT - offset_of!(CgroupRecord, path);
const _: () = assert!(TEXT >= offset_of!(CgroupRecord, path) && RECORD.is_multiple_of(8));

/// A cgroup was made; no task is in it yet.
#[inline(always)]
pub fn on_born(cgroup: Address, path: Address) {
    let Some((id, parent)) = ids(cgroup) else {
        return;
    };
    let Some(above) = CGROUPS.get_ptr(parent) else {
        return;
    };
    // SAFETY: a pointer into the map, to two words.
    let (run, payer) = unsafe {
        (
            (*above)[OBSERVED_RUN] & !RUN_PASSES,
            (*above)[OBSERVED_PAYER],
        )
    };
    let payer = match k::read::<u32>(cgroup, &k::CGROUP_LEVEL) {
        Some(level) if level <= PAYER_LEVEL => id,
        _ => payer,
    };
    let is_below = u64::from(payer != id);
    if shares::may_have_cgroup(payer, is_below) == 0 {
        return;
    }
    if CGROUPS.insert(id, [run, payer], 0).is_err() {
        shares::count_gone_cgroup(payer, is_below);
        // No unit is known yet that only this cgroup would show.
        if is_below == 0 {
            return lost(Loss::CgroupsFull);
        }
        shares::count_refused_cgroup(payer);
        return;
    }
    log_cgroup(id, parent, run);
    scratch::with(SLOT_EXCLUDED, |level| {
        if let Some(scratch) = scratch::at(level) {
            let length = read_path(scratch, path);
            if KEEP_CGROUP_PATHS.load() != 0 && shares::may_have_name(payer, is_below) != 0 {
                keep(scratch, id, parent, payer, length);
            }
            if is_below == 0 || shares::may_emit_cgroup(payer) != 0 {
                emit_cgroup(scratch, kind::CGROUP_BORN, id, parent, length);
            }
        }
    });
}

/// A cgroup was removed; its id is never used again.
#[inline(always)]
pub fn on_gone(cgroup: Address, path: Address) {
    let Some((id, parent)) = ids(cgroup) else {
        return;
    };
    let Some(observed) = CGROUPS.get_ptr(id) else {
        return;
    };
    // SAFETY: a pointer into the map, to two words.
    let payer = unsafe { (*observed)[OBSERVED_PAYER] };
    if CGROUPS.remove(id).is_err() {
        return;
    }
    let is_below = u64::from(payer != id);
    shares::count_gone_cgroup(payer, is_below);
    scratch::with(SLOT_EXCLUDED, |level| {
        if let Some(scratch) = scratch::at(level) {
            let length = read_path(scratch, path);
            if is_below == 0 || shares::may_emit_cgroup(payer) != 0 {
                emit_cgroup(scratch, kind::CGROUP_GONE, id, parent, length);
            }
        }
    });
}

/// The ids of a cgroup and of its parent. Only of version 2: on hybrid hosts the other hierarchies
/// fire the same tracepoints with ids that clash.
#[inline(always)]
fn ids(cgroup: Address) -> Option<(u64, u64)> {
    let root = k::pointer(cgroup, &k::CGROUP_ROOT)?;
    if k::read::<u32>(root, &k::CGROUP_ROOT_HIERARCHY)? != 0 {
        return None;
    }
    let parent = k::pointer(k::pointer(cgroup, &k::CGROUP_PARENT_CSS)?, &k::CSS_CGROUP)?;
    Some((id(cgroup)?, id(parent)?))
}

#[inline(always)]
fn id(cgroup: Address) -> Option<u64> {
    k::read(k::pointer(cgroup, &k::CGROUP_KN)?, &k::KERNFS_NODE_ID)
}

/// Copies the path to its place in `scratch`. Its length; 0 for one that was cut: it may name another
/// unit than the whole would.
#[inline(always)]
fn read_path(scratch: *mut Scratch, path: Address) -> u32 {
    // SAFETY: the scratch is the caller's own, with more room than that.
    let read = unsafe {
        let text = (&raw mut (*scratch).bytes).cast::<u8>().add(TEXT);
        bpf_probe_read_kernel_str(text.cast(), CGROUP_PATH_MAX as u32, path as *const _)
    };
    if read <= 0 || read >= CGROUP_PATH_MAX as i64 {
        return 0;
    }
    read as u32 - 1
}

/// Keeps the path in the map. One that cannot be kept is `payer`'s loss, in whose cgroups this is.
#[inline(always)]
fn keep(scratch: *mut Scratch, cgroup: u64, parent: u64, payer: u64, path_length: u32) {
    if path_length == 0 {
        shares::count_unnamed(payer);
        return;
    }
    // SAFETY: the scratch is the caller's own; a whole record fits behind RECORD. Written by member, as
    // the path is there already. The helpers have no preconditions but the pointers.
    let kept = unsafe {
        let record = (&raw mut (*scratch).bytes)
            .cast::<u8>()
            .add(RECORD)
            .cast::<CgroupRecord>();
        (&raw mut (*record).parent).write_unaligned(parent);
        (&raw mut (*record).born).write_unaligned(bpf_ktime_get_ns());
        (&raw mut (*record).payer).write_unaligned(payer);
        (&raw mut (*record).path_length).write_unaligned(path_length);
        (&raw mut (*record).reserved).write_unaligned(0);
        bpf_map_update_elem(
            (&raw const CGROUP_PATHS).cast_mut().cast(),
            (&raw const cgroup).cast_mut().cast(),
            record.cast(),
            0,
        )
    };
    if kept != 0 {
        shares::count_unnamed(payer);
    }
}

/// Tells the agent, with the path that is in `scratch`. An event without room is counted for all: which run it would have
/// begun or ended is not known.
#[inline(always)]
fn emit_cgroup(scratch: *mut Scratch, kind: u32, cgroup: u64, parent: u64, path_length: u32) {
    // SAFETY: the scratch is the caller's own; the event and the path behind it fit into `bytes`.
    let sent = unsafe {
        let event = (&raw mut (*scratch).bytes).cast::<CgroupEvent>();
        event.write_unaligned(CgroupEvent {
            header: emit::header(kind, SLOT_EXCLUDED),
            cgroup,
            parent,
            path_length,
            reserved: 0,
        });
        emit::send_bytes(
            event.cast(),
            TEXT as u64 + masked::<{ CGROUP_PATH_MAX as u64 - 1 }>(u64::from(path_length)),
        )
    };
    if sent.is_err() {
        lost(Loss::CgroupRingFull);
    }
}
