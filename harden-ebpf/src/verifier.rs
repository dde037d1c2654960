//! What the kernel's verifier asks of these programs.
//!
//! A function that is `extern "C"` here is a *global* one: the verifier goes through it once, on its own, and not again
//! at each call (kernel/bpf/verifier.c, `do_check_subprogs`, since 5.6). It then knows nothing of the arguments. So they are
//! numbers, five at most, as 5.10 allows no pointers. The result is one number too: the caller goes on in one way, however
//! many ways there are through the function. What needs more is given the index of a buffer (see [`crate::scratch`]).
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
