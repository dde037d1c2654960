//! What the kernel's verifier asks of these programs.
//!
//! A function that is `extern "C"` here is a *global* one: the verifier goes through it once, on its own, and not again
//! for each call and for each state in which a caller may be (kernel/bpf/verifier.c, `do_check_subprogs`; since 5.6). Of the
//! arguments it then knows nothing, so they are numbers, five at most: 5.10 allows no pointers. What it returns is one number,
//! with which its caller goes on, however many ways there are through it. A function that needs more is given the index
//! of a buffer that has it (see [`crate::scratch`]).
//!
//! The stacks of all functions that call each other have 512 bytes together (`check_max_stack_depth`).

use core::arch::asm;

/// `value & MASK`, done where the verifier sees it.
///
/// LLVM knows some bounds itself and leaves the mask out, or checks a copy of the register that is
/// then used; the verifier knows only what it sees done to that register.
#[inline(always)]
pub fn masked<const MASK: u64>(mut value: u64) -> u64 {
    // SAFETY: one instruction on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK) };
    value
}
