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
mod counts;
mod emit;
mod exec;
mod facts;
mod files;
mod inode;
mod kernel;
mod log;
mod loss;
mod once;
mod path_event;
mod paths;
mod place;
mod records;
mod scratch;
mod shares;
mod signals;
mod slots;
mod sockets;
mod syscalls;
mod task_state;
mod text;
mod verifier;
mod walk;

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    macros::{btf_tracepoint, fexit, lsm, raw_tracepoint},
    programs::{BtfTracePointContext, FExitContext, LsmContext, RawTracePointContext},
};
use harden_common::PathOperation;

use crate::{capabilities::Check, kernel::Address};

/// A pointer to a kernel structure among a program's arguments.
type Pointer = *mut c_void;

/// `sys_enter(struct pt_regs *regs, long id)`, include/trace/events/syscalls.h; all supported kernels.
/// Fires after ptrace and seccomp.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    syscalls::on_enter(ctx.arg(0), ctx.arg(1));
    0
}

/// The same as [`sys_enter`], for the calls that it is skipped for.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter_again(ctx: BtfTracePointContext) -> i32 {
    syscalls::on_enter_again(ctx.arg(0), ctx.arg(1));
    0
}

/// `sys_exit(struct pt_regs *regs, long ret)`, include/trace/events/syscalls.h; all supported kernels.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    syscalls::on_exit(ctx.arg(0), ctx.arg(1));
    0
}

/// The same as [`sys_exit`], for the calls that it is skipped for.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_again(ctx: BtfTracePointContext) -> i32 {
    syscalls::on_exit_again(ctx.arg(0), ctx.arg(1));
    0
}

/// `task_newtask(struct task_struct *task, unsigned long clone_flags)`, include/trace/events/task.h;
/// all supported kernels (6.17 made the flags a u64). At the end of `copy_process`, in the parent,
/// before the child can run; also for `io_uring` workers, which `sched_process_fork` misses.
#[btf_tracepoint(function = "task_newtask")]
pub fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    attribution::on_fork(ctx.arg(0));
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`,
/// include/trace/events/sched.h; all supported kernels. The new image is in place.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> u32 {
    attribution::on_exec(ctx.arg(2));
    0
}

/// LSM hook `bprm_committed_creds(const struct linux_binprm *bprm)` (not const before 6.8),
/// `include/linux/lsm_hook_defs.h`; 5.7. Called by `begin_new_exec` (fs/exec.c): the new program and
/// its credentials are in place, and there is no way back.
#[lsm(hook = "bprm_committed_creds")]
pub fn bprm_committed_creds(ctx: LsmContext) -> i32 {
    // A number, and no pointer to the verifier: global functions take it.
    attribution::on_exec(kernel::read_at(ctx.as_ptr() as Address).unwrap_or(0));
    0
}

/// `sched_process_exit(struct task_struct *p)` (6.16 added `bool group_dead`),
/// include/trace/events/sched.h; all supported kernels. For each thread, in its own context.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(_ctx: RawTracePointContext) -> u32 {
    syscalls::on_thread_exit();
    attribution::on_thread_exit();
    0
}

/// `cap_capable(const struct cred *cred, struct user_namespace *target_ns,
/// const struct user_namespace *capable_ns, int cap, int ret)`, include/trace/events/capability.h; 6.14.
#[btf_tracepoint(function = "cap_capable")]
pub fn cap_capable(ctx: BtfTracePointContext) -> i32 {
    let check = Check {
        credentials: ctx.arg(0),
        namespace: ctx.arg(1),
        capability: ctx.arg(3),
        result: ctx.arg(4),
    };
    capabilities::on_check(ctx.as_ptr(), &check);
    0
}

/// LSM hook `capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)`,
/// `include/linux/lsm_hook_defs.h`; 5.7. Called for what the module `capability`, which stands before
/// all others, has granted.
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let check = Check {
        credentials: ctx.arg(0),
        namespace: ctx.arg(1),
        capability: ctx.arg(2),
        result: 0,
    };
    capabilities::on_check_with_options(&check, ctx.arg(3));
    0
}

/// `int cap_capable(const struct cred *cred, struct user_namespace *target_ns, int cap,
/// unsigned int opts)`, security/commoncap.c; all supported kernels.
#[fexit(function = "cap_capable")]
pub fn cap_capable_done(ctx: FExitContext) -> i32 {
    let check = Check {
        credentials: ctx.arg(0),
        namespace: ctx.arg(1),
        capability: ctx.arg(2),
        result: ctx.arg(4),
    };
    capabilities::on_check_with_options(&check, ctx.arg(3));
    0
}

/// LSM hook `file_open(struct file *file)`, `include/linux/lsm_hook_defs.h`; 5.7, with `bpf_d_path`
/// 5.11. Called by `do_dentry_open`, not for `O_PATH`.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    files::on_open(ctx.arg(0));
    0
}

/// `int security_file_open(struct file *file)`, security/security.c; all supported kernels.
#[fexit(function = "security_file_open")]
pub fn security_file_open(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(1) == 0 {
        files::on_open(ctx.arg(0));
    }
    0
}

/// A program for an LSM hook `NAME(const struct path *dir, struct dentry *dentry, …)`,
/// `include/linux/lsm_hook_defs.h`; 5.7, `CONFIG_SECURITY_PATH`.
macro_rules! in_directory {
    ($name:ident, $hook:literal, $operation:ident) => {
        #[lsm(hook = $hook)]
        pub fn $name(ctx: LsmContext) -> i32 {
            let (directory, dentry): (Pointer, Pointer) = (ctx.arg(0), ctx.arg(1));
            files::on_operation(
                PathOperation::$operation,
                dentry as Address,
                directory as Address,
            );
            0
        }
    };
}

in_directory!(path_mkdir, "path_mkdir", Mkdir);
in_directory!(path_rmdir, "path_rmdir", Rmdir);
in_directory!(path_unlink, "path_unlink", Unlink);
in_directory!(path_symlink, "path_symlink", Symlink);

/// A program for an LSM hook `NAME(const struct path *path, …)`, as above.
macro_rules! on_path {
    ($name:ident, $hook:literal, $operation:ident) => {
        #[lsm(hook = $hook)]
        pub fn $name(ctx: LsmContext) -> i32 {
            let path = ctx.arg::<Pointer>(0) as Address;
            files::on_operation(PathOperation::$operation, files::dentry_of(path), path);
            0
        }
    };
}

on_path!(path_chmod, "path_chmod", Chmod);
on_path!(path_chown, "path_chown", Chown);
on_path!(path_chroot, "path_chroot", Chroot);

/// LSM hook `path_truncate(const struct path *path)`, as above.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    let path = ctx.arg::<Pointer>(0) as Address;
    files::on_truncate(files::dentry_of(path), path);
    0
}

/// LSM hook `path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)`,
/// as above.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    let (directory, dentry): (Pointer, Pointer) = (ctx.arg(0), ctx.arg(1));
    files::on_mknod(dentry as Address, directory as Address, ctx.arg(2));
    0
}

/// LSM hook `path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`,
/// as above. Both names are in one mount (fs/namei.c, `do_linkat`).
#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    let (old, directory, new): (Pointer, Pointer, Pointer) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    files::on_operation(
        PathOperation::LinkFrom,
        old as Address,
        directory as Address,
    );
    files::on_operation(PathOperation::LinkTo, new as Address, directory as Address);
    0
}

/// LSM hook `path_rename(const struct path *old_dir, struct dentry *old_dentry,
/// const struct path *new_dir, struct dentry *new_dentry)` (5.19 added `unsigned int flags`), as above.
#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    let (from, old): (Pointer, Pointer) = (ctx.arg(0), ctx.arg(1));
    let (to, new): (Pointer, Pointer) = (ctx.arg(2), ctx.arg(3));
    files::on_operation(PathOperation::RenameFrom, old as Address, from as Address);
    files::on_operation(PathOperation::RenameTo, new as Address, to as Address);
    0
}

/// `void audit_seccomp(unsigned long syscall, long signr, int code)`, kernel/auditsc.c; all supported
/// kernels with `CONFIG_AUDITSYSCALL`. Called for what a filter asks to have logged, and for kills.
#[fexit(function = "audit_seccomp")]
pub fn audit_seccomp(ctx: FExitContext) -> i32 {
    syscalls::on_seccomp_action(ctx.arg(0), ctx.arg(2));
    0
}

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`,
/// include/trace/events/signal.h; all supported kernels. In the sender's context, once it may send the signal, whether that
/// is delivered or ignored; not for signal 0.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub fn signal_generate(ctx: RawTracePointContext) -> u32 {
    signals::on_signal(ctx.arg(1), ctx.arg(2));
    0
}

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`, include/trace/events/cgroup.h; all supported kernels.
/// BTF-typed for the sake of the map that it fills (see [`cgroups::CGROUP_PATHS`]).
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let (cgroup, path): (Pointer, Pointer) = (ctx.arg(0), ctx.arg(1));
    cgroups::on_born(cgroup as Address, path as Address);
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`, include/trace/events/cgroup.h; all supported kernels.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> u32 {
    cgroups::on_gone(ctx.arg(0), ctx.arg(1));
    0
}

/// An LSM hook that every supported kernel has: does nothing. Some kernels refuse all LSM programs, and
/// only once the verifier has been through them: this one costs it nothing.
#[lsm(hook = "file_open")]
pub fn any_lsm(_ctx: LsmContext) -> i32 {
    0
}

/// The same for fexit.
#[fexit(function = "security_file_open")]
pub fn any_fexit(_ctx: FExitContext) -> i32 {
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
