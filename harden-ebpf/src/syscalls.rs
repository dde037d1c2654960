//! Every call: the byte of its number on entry; paths and sockets at its exit.

use harden_common::{Argument, FAILED, Loss, class};

use aya_ebpf::{Global, helpers::generated::bpf_get_current_task};

use crate::{
    arch::{self, Call},
    arguments,
    attribution::{self, Current},
    counts::count,
    facts,
    kernel::{self, Address},
    loss::lost_of,
    paths, records, sockets,
    task_state::note,
};

/// `SECCOMP_RET_LOG` (include/uapi/linux/seccomp.h): the call goes on.
const SECCOMP_RET_LOG: u32 = 0x7ffc_0000;

/// Calls of which the number is not there any more when they are missed: (native, 32-bit) number.
const EXIT: (i64, i64) = (60, 1);
/// Calls that may give the task another root, by their native numbers.
const PIVOT_ROOT: u32 = 155;
const CHROOT: u32 = 161;
const SETNS: u32 = 308;

const EXIT_GROUP: (i64, i64) = (231, 252);
const RT_SIGRETURN: (i64, i64) = (15, 173);
/// include/linux/err.h
const MAX_ERRNO: i64 = 4095;
const ENOSYS: i64 = 38;
/// include/linux/sched/signal.h
const SIGNAL_GROUP_EXIT: u32 = 4;
const SIGSYS: u32 = 31;

/// 0 where paths are wanted from other hooks only.
#[unsafe(no_mangle)]
static PATHS_AT_EXIT: Global<u32> = Global::new(1);

/// 1 where the kernel preempts programs, and so skips others.
#[unsafe(no_mangle)]
static SKIPS_PROGRAMS: Global<u32> = Global::new(0);

/// `sys_enter`: after ptrace and seccomp, before the call.
#[inline(always)]
pub fn enter(regs: Address, id: i64) {
    if let Some(current) = attribution::current() {
        entered(regs, id, current, note::ENTERED | note::FRESH);
    }
}

/// `sys_enter` once more, in a copy of the program: it looks at the calls that the first could not,
/// as the kernel does not run a program inside itself (see `recursion_misses`).
#[inline(always)]
pub fn enter_again(regs: Address, id: i64) {
    let Some(current) = attribution::current() else {
        return;
    };
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        let notes = unsafe { &mut (*current.state).notes };
        if *notes & note::FRESH != 0 {
            *notes = note::ENTERED;
            return;
        }
    }
    entered(regs, id, current, note::ENTERED);
}

#[inline(always)]
fn entered(regs: Address, id: i64, current: Current, notes: u32) {
    let call = Call::of(current.task, id);
    if !current.state.is_null() {
        // SAFETY: as in `enter_again`.
        let former = unsafe {
            (*current.state).notes = notes;
            (*current.state).capabilities = 0;
            core::mem::replace(&mut (*current.state).call, call.mark())
        };
        if former != 0 {
            exit_skipped(Call::from_mark(former), current.slot);
        }
    }
    record(regs, call, current);
}

/// The task goes on, and no program has seen `call` come back.
#[inline(always)]
fn exit_skipped(call: Call, slot: u32) {
    if call.class() & (class::PATH | class::SOCKET) != 0 {
        lost_of(slot, Loss::ExitSkipped);
    }
}

/// Records that the call was made.
#[inline(always)]
fn record(regs: Address, call: Call, current: Current) {
    let Some(fact) = call.fact else {
        lost_of(current.slot, Loss::UnknownCall);
        return;
    };
    let Some(record) = records::record(current.slot) else {
        return;
    };
    facts::set(record, current.slot, fact);
    count::<0>(current.slot, fact);
    if call.class() & class::ARGUMENTS != 0 {
        arguments::entered(regs, call, record, current.slot);
    }
}

/// The capabilities that were granted during the call that is coming back. None are left for the next, whose entry may be
/// skipped; that takes them away too, as this exit may be.
#[inline(always)]
fn take_capabilities(current: Current) -> u32 {
    if current.state.is_null() {
        return 0;
    }
    // SAFETY: a whole value of the map, written by its own task only.
    let capabilities = unsafe { &mut (*current.state).capabilities };
    let taken = *capabilities;
    if taken != 0 {
        *capabilities = 0;
    }
    taken
}

/// `sys_exit`: the call is done, its arguments are still in the registers and in memory.
#[inline(always)]
pub fn exit(regs: Address, result: i64) {
    let Some(current) = attribution::returning() else {
        return;
    };
    let capabilities = take_capabilities(current);
    if let Some(call) = call_of(regs, current) {
        returned(regs, call, result, current.slot, capabilities);
    }
}

/// `sys_exit` once more, in a copy of the program: the first takes the mark of the call away.
#[inline(always)]
pub fn exit_again(regs: Address, result: i64) {
    let Some(current) = attribution::returning() else {
        return;
    };
    // SAFETY: a whole value of the map.
    if current.state.is_null() || unsafe { (*current.state).call } == 0 {
        return;
    }
    let capabilities = take_capabilities(current);
    if let Some(call) = call_of(regs, current) {
        returned(regs, call, result, current.slot, capabilities);
    }
}

/// Looks at what a call has done.
#[inline(always)]
fn returned(regs: Address, call: Call, result: i64, slot: u32, capabilities: u32) {
    if let Some(fact) = call.fact
        && (-MAX_ERRNO..0).contains(&result)
    {
        count::<FAILED>(slot, fact);
    }
    if call.is_x32() && result != -ENOSYS {
        facts::fact(slot, Argument::X32Answered.fact());
    }
    // Where it began another look was taken, at a root that was still the old one: a check of a capability inside the call
    // finds out at once where the task belongs.
    if result == 0 && matches!(call.native, PIVOT_ROOT | CHROOT | SETNS) {
        attribution::look_again();
    }
    let class = call.class();
    if class == 0 || (class & class::EXEC != 0 && result == 0) {
        return;
    }
    if class & class::PATH != 0 && PATHS_AT_EXIT.load() != 0 {
        paths::returned(regs, call, result, slot, capabilities);
    }
    if class & class::SOCKET != 0 {
        sockets::returned(regs, call, result, slot, capabilities);
    }
}

/// A filter took `action` on the call in progress, and had it logged.
#[inline(always)]
pub fn refused(action: u32) {
    if action == SECCOMP_RET_LOG {
        return;
    }
    if let Some(current) = attribution::current() {
        facts::fact(current.slot, Argument::CallRefused.fact());
    }
}

/// A thread ends.
#[inline(always)]
pub fn ended() {
    let Some(current) = attribution::returning() else {
        return;
    };
    let task = current.task as Address;
    let code: u32 = kernel::read(task, &kernel::TASK_EXIT_CODE).unwrap_or(0);
    // The low seven bits are the signal (wait(2)).
    match code & 0x7f {
        SIGSYS => facts::fact(current.slot, Argument::KilledBySeccomp.fact()),
        0 => exited(current, task),
        _ => {}
    }
}

/// The thread has called exit, or another of its process `exit_group`. No such call comes back: if the
/// programs on `sys_enter` were skipped for it, it is recorded now.
#[inline(always)]
fn exited(current: Current, task: Address) {
    if current.state.is_null() {
        return;
    }
    // SAFETY: a whole value of the map.
    let (mark, notes) = unsafe { ((*current.state).call, (*current.state).notes) };
    if mark != 0 || notes & note::ENTERED == 0 {
        return;
    }
    let signal: Address = kernel::read(task, &kernel::TASK_SIGNAL).unwrap_or(0);
    let flags: u32 = kernel::read(signal, &kernel::SIGNAL_FLAGS).unwrap_or(0);
    let calls = if flags & SIGNAL_GROUP_EXIT != 0 {
        EXIT_GROUP
    } else {
        EXIT
    };
    made(current, calls);
}

/// Records a call of which nothing is left but that it was made: (native, 32-bit) number.
#[inline(always)]
fn made(current: Current, (native, ia32): (i64, i64)) {
    let compat = Call::of(current.task, native).compat;
    let call = Call::of(current.task, if compat { ia32 } else { native });
    if let Some(fact) = call.fact {
        facts::fact(current.slot, fact);
    }
}

/// The call that is coming back, by the mark that its entry left, unless that is of an earlier one.
#[inline(always)]
fn call_of(regs: Address, current: Current) -> Option<Call> {
    let mut entered = false;
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        let (mark, notes) = unsafe {
            let mark = (*current.state).call;
            let notes = (*current.state).notes;
            (*current.state).call = 0;
            (*current.state).notes = notes & (note::ENTERED | note::UNTOLD);
            (mark, notes)
        };
        if mark != 0 {
            let marked = Call::from_mark(mark);
            if is_back(regs, current, mark) {
                return Some(marked);
            }
            exit_skipped(marked, current.slot);
        }
        entered = notes & note::ENTERED != 0;
    }
    let id = arch::number(regs)?;
    let call = Call::of(current.task, id);
    // If this task's entries are seen, a filter has refused the call; or, where there is none, the
    // programs on `sys_enter` were skipped. Else it began before we looked.
    if entered {
        match (is_filtered(), id < 0) {
            (true, false) => facts::fact(current.slot, Argument::CallRefused.fact()),
            (false, false) => record(regs, call, current),
            (false, true) => made(current, RT_SIGRETURN),
            (true, true) => {}
        }
    }
    Some(call)
}

/// Whether it is the call with this mark that comes back.
#[inline(always)]
fn is_back(regs: Address, current: Current, mark: u32) -> bool {
    let class = Call::from_mark(mark).class();
    // Reading the number takes time: not where it is hardly ever another, and nothing is looked at.
    // The program that exec began may have other numbers.
    if (class == 0 && SKIPS_PROGRAMS.load() == 0) || class & class::EXEC != 0 {
        return true;
    }
    // A tracer's skip and rt_sigreturn come back with number -1 on x86.
    let id = arch::number(regs).unwrap_or(-1);
    id < 0 || Call::of(current.task, id).mark() == mark
}

/// Whether the current task is under a seccomp filter.
#[inline(always)]
fn is_filtered() -> bool {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    kernel::read::<u32>(task, &kernel::TASK_SECCOMP_MODE) != Some(0)
}
