//! Every call: the byte of its number on entry; paths and sockets at its exit.

use harden_common::{Argument, FAILED, Loss, class, nr};

use aya_ebpf::Global;

use crate::{
    arch::{self, Call, Registers},
    arguments,
    attribution::{self, Current},
    counts::{are_counted, count},
    facts,
    kernel::{self, Address},
    loss::lost_of,
    once, paths, records, scratch, sockets,
    task_state::{self, note},
};

/// `SECCOMP_RET_LOG` (include/uapi/linux/seccomp.h): the call goes on.
const SECCOMP_RET_LOG: u32 = 0x7ffc_0000;

/// Calls of which the number is not there any more when they are missed: (native, 32-bit) number.
const EXIT: (u32, u32) = (nr::EXIT, 1);
const EXIT_GROUP: (u32, u32) = (nr::EXIT_GROUP, 252);
const RT_SIGRETURN: (u32, u32) = (nr::RT_SIGRETURN, 173);
const ENOSYS: i64 = 38;
/// include/linux/sched/signal.h
const SIGNAL_GROUP_EXIT: u32 = 4;
const SIGSYS: u32 = 31;

/// 0 where paths are wanted from other hooks only.
#[unsafe(no_mangle)]
static PATHS_AT_EXIT: Global<u32> = Global::new(1);

/// 1 where the kernel preempts programs, and so skips others; also where that is not known.
#[unsafe(no_mangle)]
static SKIPS_PROGRAMS: Global<u32> = Global::new(0);

/// `sys_enter`: after ptrace and seccomp, before the call.
#[inline(always)]
pub fn on_enter(registers: Registers, id: i64) {
    if let Some(current) = attribution::current() {
        record_entry(
            registers,
            id,
            current,
            note::ENTERED | note::ENTRY_UNCHECKED,
        );
    }
}

/// `sys_enter` once more, in a copy of the program: it looks at the calls that the first could not,
/// as the kernel does not run a program inside itself (see `recursion_misses`).
#[inline(always)]
pub fn on_enter_again(registers: Registers, id: i64) {
    let Some(current) = attribution::current() else {
        return;
    };
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        let notes = unsafe { &mut (*current.state).notes };
        if *notes & note::ENTRY_UNCHECKED != 0 {
            *notes = note::ENTERED;
            return;
        }
    }
    record_entry(registers, id, current, note::ENTERED);
}

#[inline(always)]
fn record_entry(registers: Registers, id: i64, current: Current, notes: u32) {
    let call = Call::of(current.task, id);
    if !current.state.is_null() {
        // SAFETY: as in `on_enter_again`.
        let former = unsafe {
            (*current.state).notes = notes;
            (*current.state).capabilities = 0;
            core::mem::replace(&mut (*current.state).call, call.encode())
        };
        if former != 0 {
            count_skipped_exit(Call::decode(former), current.slot);
        }
    }
    record_call(registers, call, current);
}

/// The task goes on, and no program has seen `call` come back.
#[inline(always)]
fn count_skipped_exit(call: Call, slot: u32) {
    if call.class() & (class::PATH | class::SOCKET) != 0 {
        lost_of(slot, Loss::ExitSkipped);
    }
}

/// Records that the call was made.
#[inline(always)]
fn record_call(registers: Registers, call: Call, current: Current) {
    let Some(fact) = call.fact else {
        lost_of(current.slot, Loss::UnknownCall);
        return;
    };
    let Some(record) = records::record(current.slot) else {
        return;
    };
    facts::set_in(record, current.slot, fact);
    count::<0>(current.slot, fact);
    if call.class() & class::ARGUMENTS != 0 {
        let arguments = arch::arguments(registers, call);
        arguments::on_entry(current.slot, call, &arguments);
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
pub fn on_exit(registers: Registers, result: i64) {
    if needs_nothing(registers, result) {
        return;
    }
    if let Some(current) = attribution::returning() {
        finish(registers, result, current);
    }
}

/// `sys_exit` once more, in a copy of the program: the first takes the call out of the state.
#[inline(always)]
pub fn on_exit_again(registers: Registers, result: i64) {
    let Some(current) = attribution::returning() else {
        return;
    };
    // SAFETY: a whole value of the map.
    if !current.state.is_null() && unsafe { (*current.state).call } != 0 {
        finish(registers, result, current);
    }
}

/// Whether the call's entry has said all that there is to be known of it: that is so of nearly all calls, and is found out
/// without the task's state. That keeps the call until the next one, and what asks for a capability in between, such as a
/// page fault, counts as its.
#[inline(always)]
fn needs_nothing(registers: Registers, result: i64) -> bool {
    if SKIPS_PROGRAMS.load() != 0 || (are_counted() && arch::errno(result) != 0) {
        return false;
    }
    let task = task_state::current();
    // What a filter refuses comes back without an entry.
    arch::leaves_nothing(task, arch::number(registers)) && !task_state::is_filtered(task)
}

#[inline(always)]
fn finish(registers: Registers, result: i64, current: Current) {
    let capabilities = take_capabilities(current);
    if let Some(call) = take_call(registers, current) {
        record_exit(registers, call, result, current.slot, capabilities);
    }
}

/// Records what a call has done.
#[inline(always)]
fn record_exit(registers: Registers, call: Call, result: i64, slot: u32, capabilities: u32) {
    if let Some(fact) = call.fact
        && arch::errno(result) != 0
    {
        count::<FAILED>(slot, fact);
    }
    if call.is_x32() && result != -ENOSYS {
        facts::set(slot, Argument::X32Answered.fact());
    }
    // Where it began another look was taken, at a root that was still the old one: a check of a capability inside the call
    // finds out at once where the task belongs.
    let class = call.class();
    if result == 0 && class & class::ROOT != 0 {
        attribution::look_again();
    }
    if class == 0 || (class & class::EXEC != 0 && result == 0) {
        return;
    }
    let has_paths = class & class::PATH != 0 && PATHS_AT_EXIT.load() != 0;
    let has_socket = class & class::SOCKET != 0;
    if !has_paths && !has_socket {
        return;
    }
    let arguments = arch::arguments(registers, call);
    scratch::with_call(call, arguments, result, slot, capabilities, |level| {
        let paths = if has_paths { call.paths() } else { 0 };
        record_returned(level, u64::from(paths), u64::from(has_socket));
    });
}

/// Looks at the call in the scratch: at its `paths`, as `PATH_CALLS` has them, and at its socket if it has one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_returned(level: u64, paths: u64, has_socket: u64) -> u32 {
    if paths != 0 {
        paths::on_exit(level, paths as u32);
    }
    if has_socket != 0 {
        sockets::on_exit(level);
    }
    0
}

/// A filter took `action` on the call in progress, which has this number, and had it logged.
#[inline(always)]
pub fn on_seccomp_action(id: i64, action: u32) {
    if action == SECCOMP_RET_LOG {
        return;
    }
    if let Some(current) = attribution::current() {
        record_refused(current.slot, Call::of(current.task, id));
    }
}

/// Records that a call was refused, and which.
#[inline(always)]
fn record_refused(slot: u32, call: Call) {
    facts::set(slot, Argument::CallRefused.fact());
    if let Some(fact) = call.fact {
        emit_refused(u64::from(slot), u64::from(fact));
    }
}

/// Sends, once for each call, that it was refused.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_refused(slot: u64, call: u64) -> u64 {
    let fact = Argument::CallRefused.fact();
    once::emit_fact(slot as u32, fact, call as u32, Loss::RefusedRingFull);
    0
}

/// A thread ends.
#[inline(always)]
pub fn on_thread_exit() {
    let Some(current) = attribution::returning() else {
        return;
    };
    let task = current.task as Address;
    let code: u32 = kernel::read(task, &kernel::TASK_EXIT_CODE).unwrap_or(0);
    // The low seven bits are the signal (wait(2)).
    match code & 0x7f {
        SIGSYS => facts::set(current.slot, Argument::KilledBySeccomp.fact()),
        0 => record_missed_exit(current, task),
        _ => {}
    }
}

/// The thread has called exit, or another of its process `exit_group`. No such call comes back: if the
/// programs on `sys_enter` were skipped for it, it is recorded now.
#[inline(always)]
fn record_missed_exit(current: Current, task: Address) {
    if current.state.is_null() {
        return;
    }
    // SAFETY: a whole value of the map.
    let (code, notes) = unsafe { ((*current.state).call, (*current.state).notes) };
    if code != 0 || notes & note::ENTERED == 0 {
        return;
    }
    let signal: Address = kernel::read(task, &kernel::TASK_SIGNAL).unwrap_or(0);
    let flags: u32 = kernel::read(signal, &kernel::SIGNAL_FLAGS).unwrap_or(0);
    let calls = if flags & SIGNAL_GROUP_EXIT != 0 {
        EXIT_GROUP
    } else {
        EXIT
    };
    record_missed(current, calls);
}

/// Records a call of which nothing is left but that it was made: (native, 32-bit) number.
#[inline(always)]
fn record_missed(current: Current, (native, ia32): (u32, u32)) {
    let compat = Call::of(current.task, native.into()).compat;
    let call = Call::of(current.task, if compat { ia32 } else { native }.into());
    if let Some(fact) = call.fact {
        facts::set(current.slot, fact);
    }
}

/// The call that is coming back, which its entry left in the state, unless that is an earlier one.
#[inline(always)]
fn take_call(registers: Registers, current: Current) -> Option<Call> {
    let mut entered = false;
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        let (code, notes) = unsafe {
            let code = (*current.state).call;
            let notes = (*current.state).notes;
            (*current.state).call = 0;
            (*current.state).notes = notes & (note::ENTERED | note::EXEC_UNREPORTED);
            (code, notes)
        };
        if code != 0 {
            let expected = Call::decode(code);
            if is_back(registers, current, code) {
                return Some(expected);
            }
            count_skipped_exit(expected, current.slot);
        }
        entered = notes & note::ENTERED != 0;
    }
    let id = arch::number(registers);
    let call = Call::of(current.task, id);
    // If this task's entries are seen, a filter has refused the call; or, where there is none, the
    // programs on `sys_enter` were skipped. Else it began before we looked.
    if entered {
        match (task_state::is_filtered(current.task), id < 0) {
            (true, false) => record_refused(current.slot, call),
            (false, false) => record_call(registers, call, current),
            (false, true) => record_missed(current, RT_SIGRETURN),
            (true, true) => {}
        }
    }
    Some(call)
}

/// Whether it is the call encoded as `code` that comes back.
#[inline(always)]
fn is_back(registers: Registers, current: Current, code: u32) -> bool {
    // The program that exec began may have other numbers. A tracer's skip and rt_sigreturn come back with -1.
    let id = arch::number(registers);
    id < 0
        || Call::decode(code).class() & class::EXEC != 0
        || Call::of(current.task, id).encode() == code
}
