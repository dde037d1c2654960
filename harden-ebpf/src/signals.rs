//! Signals to processes of other cgroups.

use harden_common::Argument;

use crate::{
    attribution, facts,
    kernel::{self as k, Address},
};

/// `SEND_SIG_PRIV` (include/linux/sched/signal.h): it and `SEND_SIG_NOINFO`, 0, stand in for a pointer where the kernel
/// sends a signal of its own.
const SEND_SIG_PRIV: Address = 1;
const SI_USER: i32 = 0;
const SI_QUEUE: i32 = -1;
const SI_TKILL: i32 = -6;

/// The current task sends a signal to `target`, with the `struct kernel_siginfo` `info`.
#[inline(always)]
pub fn on_signal(info: Address, target: Address) {
    if !is_by_call(info) {
        return;
    }
    let Some(current) = attribution::current() else {
        return;
    };
    let sender = k::current_task();
    if let (Some(from), Some(to)) = (cgroup(sender), cgroup(target))
        && from != to
    {
        facts::set(current.slot, Argument::SignalOtherCgroup.fact());
    }
}

/// Whether a call asked for the signal: what timers, children and files send has other codes
/// (include/uapi/asm-generic/siginfo.h). It is the task's own then, and no interrupt's.
#[inline(always)]
fn is_by_call(info: Address) -> bool {
    info > SEND_SIG_PRIV
        && matches!(
            k::read(info, &k::SIGINFO_CODE),
            Some(SI_USER | SI_QUEUE | SI_TKILL)
        )
}

/// The `struct cgroup` of version 2 that the task's process is in. Its threads may be in others, below that one, whose
/// domain it is (kernel/cgroup/cgroup.c).
#[inline(always)]
fn cgroup(task: Address) -> Option<Address> {
    let set = k::pointer(task, &k::TASK_CGROUPS)?;
    let domain = k::pointer(set, &k::CSS_SET_DOMAIN)?;
    k::pointer(domain, &k::CSS_SET_CGROUP)
}
