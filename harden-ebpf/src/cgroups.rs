//! Cgroups born below an observed one are observed too, in the same run.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_ringbuf_output};
use harden_common::{CgroupEvent, Loss, SLOT_EXCLUDED, kind};

use crate::{
    emit::{self, lost},
    kernel::{self as k, Address},
    maps::{CGROUPS, EVENTS},
    scratch,
};

/// The longest cgroup path sent.
const PATH_MAX: u32 = 1024;

/// A cgroup was made; no task is in it yet.
#[inline(always)]
pub fn born(cgroup: Address, path: Address) {
    let Some((id, parent)) = ids(cgroup) else {
        return;
    };
    let Some(run) = CGROUPS.get_ptr(parent) else {
        return;
    };
    // SAFETY: a pointer into the map, to one word.
    if CGROUPS.insert(id, unsafe { *run }, 0).is_err() {
        return lost(Loss::CgroupsFull);
    }
    tell(kind::CGROUP_BORN, id, parent, path);
}

/// A cgroup was removed; its id is never used again.
#[inline(always)]
pub fn gone(cgroup: Address, path: Address) {
    let Some((id, parent)) = ids(cgroup) else {
        return;
    };
    if CGROUPS.remove(id).is_ok() {
        tell(kind::CGROUP_GONE, id, parent, path);
    }
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

#[inline(always)]
fn tell(kind: u32, cgroup: u64, parent: u64, path: Address) {
    scratch::with(|level| {
        let Some(scratch) = scratch::at(level) else {
            return;
        };
        // SAFETY: the scratch is ours until we return; both the event and PATH_MAX bytes behind it
        // fit into `bytes`.
        let sent = unsafe {
            let event = (&raw mut (*scratch).bytes).cast::<CgroupEvent>();
            let text = event.add(1).cast::<u8>();
            let read = bpf_probe_read_kernel_str(text.cast(), PATH_MAX, path as *const _);
            let length = read.clamp(1, i64::from(PATH_MAX)) as u32 - 1;
            event.write_unaligned(CgroupEvent {
                header: emit::header(kind, SLOT_EXCLUDED),
                cgroup,
                parent,
                path_length: length,
                reserved: 0,
            });
            bpf_ringbuf_output(
                (&raw const EVENTS).cast_mut().cast(),
                event.cast(),
                size_of::<CgroupEvent>() as u64 + u64::from(length),
                0,
            )
        };
        if sent != 0 {
            lost(Loss::CgroupRingFull);
        }
    });
}
