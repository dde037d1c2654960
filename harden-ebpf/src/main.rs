//! The kernel programs. This file attaches; each facet's work is in its own file.
//!
//! Every program states the prototype of what it attaches to and the kernels that have it.
#![no_std]
#![no_main]
#![allow(internal_features)]
#![feature(asm_experimental_arch, core_intrinsics)]

mod arch;
mod arguments;
mod attribution;
mod capabilities;
mod cgroups;
mod emit;
mod kernel;
mod maps;
mod paths;
mod scratch;
mod sockets;
mod syscalls;
mod task_state;
mod walk;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

/// `sys_enter(struct pt_regs *regs, long id)`, include/trace/events/syscalls.h; all supported kernels.
/// Fires after ptrace and seccomp.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> u32 {
    syscalls::enter(ctx.arg(0), ctx.arg(1));
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`, include/trace/events/syscalls.h; all supported kernels.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> u32 {
    syscalls::exit(ctx.arg(0), ctx.arg(1));
    0
}

/// `task_newtask(struct task_struct *task, unsigned long clone_flags)`, include/trace/events/task.h;
/// all supported kernels (6.17 made the flags a u64). At the end of `copy_process`, in the parent,
/// before the child can run; also for `io_uring` workers, which `sched_process_fork` misses.
#[btf_tracepoint(function = "task_newtask")]
pub fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    attribution::inherit(ctx.arg(0));
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`,
/// include/trace/events/sched.h; all supported kernels. The new image is in place.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> u32 {
    attribution::exec(ctx.arg(2));
    0
}

/// `sched_process_exit(struct task_struct *p)` (6.16 added `bool group_dead`),
/// include/trace/events/sched.h; all supported kernels. For each thread, in its own context.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(_ctx: RawTracePointContext) -> u32 {
    attribution::exit();
    0
}

/// `cap_capable(const struct cred *cred, struct user_namespace *target_ns,
/// const struct user_namespace *capable_ns, int cap, int ret)`, include/trace/events/capability.h; 6.14.
#[btf_tracepoint(function = "cap_capable")]
pub fn cap_capable(ctx: BtfTracePointContext) -> i32 {
    capabilities::checked(ctx.as_ptr(), ctx.arg(0), ctx.arg(1), ctx.arg(3), ctx.arg(4));
    0
}

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`, include/trace/events/cgroup.h; all supported kernels.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> u32 {
    cgroups::born(ctx.arg(0), ctx.arg(1));
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`, include/trace/events/cgroup.h; all supported kernels.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> u32 {
    cgroups::gone(ctx.arg(0), ctx.arg(1));
    0
}

/// `sys_enter(struct pt_regs *regs, long id)`: does nothing. Only the benchmark loads it, as the
/// price of the tracepoint itself.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn empty(_ctx: RawTracePointContext) -> u32 {
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no code path of a loaded program panics: the verifier would refuse the endless loop.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The programs call helpers that the kernel gives to GPL-compatible programs only; "Dual MIT/GPL"
/// is the kernel's word for a permissive licence that is compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
