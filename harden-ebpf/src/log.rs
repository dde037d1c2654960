//! What the programs log, for finding a fault in them: no observation needs it. The level is a constant when the
//! verifier looks, so that what is not logged costs nothing.
//!
//! Global functions, called where the stack is shallow.

use aya_log_ebpf::debug;

/// A slot was given away.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_slot(slot: u64, cgroup: u64, inode: u64) -> u32 {
    debug!(
        (),
        "slot {} is of inode {} in cgroup {}", slot as u32, inode, cgroup
    );
    0
}

/// A cgroup is observed in `run`, as its parent is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_cgroup(cgroup: u64, parent: u64, run: u64) -> u32 {
    debug!(
        (),
        "cgroup {} was born in {}, and is in run {}", cgroup, parent, run
    );
    0
}
