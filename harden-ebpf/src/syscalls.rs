//! Every call: the byte of its number on entry; paths and sockets at its exit.

use harden_common::{Argument, Loss, SLOT_INDEX, class};

use aya_ebpf::Global;

use crate::{
    arch::{self, Call},
    arguments,
    attribution::{self, Current},
    emit::{self, lost},
    kernel::Address,
    maps::{self, COUNTS},
    paths, sockets,
};

/// How many slots have counts; 0 turns counting off.
#[unsafe(no_mangle)]
static COUNTED_SLOTS: Global<u32> = Global::new(0);

/// `sys_enter`: after ptrace and seccomp, before the call.
#[inline(always)]
pub fn enter(regs: Address, id: i64) {
    let Some(current) = attribution::current() else {
        return;
    };
    let call = Call::of(current.task, id);
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        unsafe {
            (*current.state).call = call.mark();
            (*current.state).notes = attribution::note::ENTERED;
        }
    }
    let Some(fact) = call.fact else {
        lost(Loss::UnknownCall);
        return;
    };
    let Some(record) = maps::record(current.slot) else {
        return;
    };
    emit::set(record, current.slot, fact);
    let index = current.slot & SLOT_INDEX;
    if index < COUNTED_SLOTS.load() && fact < harden_common::CALLS {
        count(index, fact);
    }
    if call.class() & class::ARGUMENTS != 0 {
        arguments::entered(regs, call, record, current.slot);
    }
}

#[inline(always)]
fn count(index: u32, call: u32) {
    if let Some(counts) = COUNTS.get_ptr_mut(index) {
        // SAFETY: `call` is below CALLS, the array's length; the entry is this CPU's own.
        unsafe { *counts.cast::<u64>().add(call as usize) += 1 };
    }
}

/// `sys_exit`: the call is done, its arguments are still in the registers and in memory.
#[inline(always)]
pub fn exit(regs: Address, result: i64) {
    let Some(current) = attribution::returning() else {
        return;
    };
    let Some(call) = call_of(regs, current) else {
        return;
    };
    let class = call.class();
    if class == 0 || (class & class::EXEC != 0 && result == 0) {
        return;
    }
    if class & class::PATH != 0 {
        paths::returned(regs, call, result, current.slot);
    }
    if class & class::SOCKET != 0 {
        sockets::returned(regs, call, result, current.slot);
    }
}

/// The call that is coming back, by the mark that its entry left.
#[inline(always)]
fn call_of(regs: Address, current: Current) -> Option<Call> {
    let mut entered = false;
    if !current.state.is_null() {
        // SAFETY: a whole value of the map, written by its own task only.
        let (mark, notes) = unsafe {
            let mark = (*current.state).call;
            (*current.state).call = 0;
            (mark, (*current.state).notes)
        };
        if mark != 0 {
            return Some(Call::from_mark(mark));
        }
        entered = notes & attribution::note::ENTERED != 0;
    }
    // Begun before we looked; or refused by a filter or tracer, if this task's entries are seen.
    // A tracer's skip and rt_sigreturn come back with number -1 on x86.
    let id = arch::number(regs)?;
    if entered && id >= 0 {
        emit::fact(current.slot, Argument::CallRefused.fact());
    }
    Some(Call::of(current.task, id))
}
