//! Registers and calling conventions of x86-64: the only file that knows the machine.

use aya_ebpf::bindings::pt_regs;
use harden_common::{
    CLASSES, FACT_IA32, FACT_NATIVE, FACT_X32, NATIVE_OF_IA32, PATH_CALLS, TABLE, native_of_x32,
};

use crate::{
    kernel::{self, Address},
    task_state::{self, Task},
    verifier::masked,
};

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h): a 32-bit call is in progress; also set for
/// `int 0x80` from a 64-bit program, whose code segment still says 64-bit.
const TS_COMPAT: u32 = 2;
/// `__X32_SYSCALL_BIT`
const X32_BIT: u32 = 1 << 30;
/// Numbers provided for in the x32 range of facts.
const X32_CALLS: u32 = 576;
/// include/linux/err.h
const MAX_ERRNO: i64 = 4095;

/// A call as it entered the kernel.
#[derive(Clone, Copy)]
pub struct Call {
    /// Number in the native table with the same arguments.
    pub native: u32,
    /// Number of its fact; `None` if the number is beyond the table.
    pub fact: Option<u32>,
    /// Arguments come in the 32-bit registers.
    pub compat: bool,
}

impl Call {
    /// The call with number `id` that `task`, the current one, is in.
    #[inline(always)]
    pub fn of(task: Task, id: i64) -> Self {
        // `id` is negative for a call that a tracer cancelled: no number matches it.
        let number = id as u32;
        if task_state::thread_status(task) & TS_COMPAT != 0 {
            let native = NATIVE_OF_IA32.get(number as usize).copied().unwrap_or(0);
            return Self {
                native: u32::from(native),
                fact: (number < 512).then_some(FACT_IA32 + number),
                compat: true,
            };
        }
        if number & X32_BIT != 0 && id > 0 {
            let number = number & !X32_BIT;
            return Self {
                native: native_of_x32(number),
                fact: (number < X32_CALLS).then_some(FACT_X32 + number),
                compat: false,
            };
        }
        let known = number < 512;
        Self {
            native: if known { number } else { 0 },
            fact: known.then_some(FACT_NATIVE + number),
            compat: false,
        }
    }

    /// What the call is looked at for: bits of `harden_common::class`.
    #[inline(always)]
    pub fn class(self) -> u8 {
        // SAFETY: the mask keeps the index inside the table.
        unsafe { *CLASSES.get_unchecked(self.index()) }
    }

    /// Where its paths are: an entry of `PATH_CALLS`.
    #[inline(always)]
    pub fn paths(self) -> u32 {
        // SAFETY: the mask keeps the index inside the table.
        unsafe { *PATH_CALLS.get_unchecked(self.index()) }
    }

    #[inline(always)]
    fn index(self) -> usize {
        masked::<{ TABLE as u64 - 1 }>(u64::from(self.native)) as usize
    }

    /// Whether it came with x32's bit. One with a number beyond the native table looks the same, and no kernel answers that.
    #[inline(always)]
    pub fn is_x32(self) -> bool {
        !self.compat && self.fact.is_none_or(|fact| fact >= FACT_X32)
    }

    /// The call as one number, never 0, for [`Call::decode`].
    #[inline(always)]
    pub fn encode(self) -> u32 {
        let compat = if self.compat { CODE_COMPAT } else { 0 };
        let other = if self.fact == Some(FACT_NATIVE + self.native) {
            0
        } else {
            CODE_OTHER
        };
        (self.native + 1) | compat | other
    }

    /// The call that was encoded as `code`; the fact of one that is not native is lost.
    #[inline(always)]
    pub fn decode(code: u32) -> Self {
        let native = (code & !(CODE_COMPAT | CODE_OTHER)).saturating_sub(1);
        Self {
            native,
            fact: (code & CODE_OTHER == 0).then_some(FACT_NATIVE + native),
            compat: code & CODE_COMPAT != 0,
        }
    }
}

/// Bits of an encoded call. The second: it is no call of the native convention.
const CODE_COMPAT: u32 = 1 << 31;
const CODE_OTHER: u32 = 1 << 30;

/// The errno that `result` is; 0 if it is none.
#[inline(always)]
pub fn errno(result: i64) -> u32 {
    if (-MAX_ERRNO..0).contains(&result) {
        -result as u32
    } else {
        0
    }
}

/// The number of the call that is coming back: `orig_ax`.
#[inline(always)]
pub fn number(regs: Address) -> Option<i64> {
    kernel::read_at(regs + core::mem::offset_of!(pt_regs, orig_rax) as u64)
}

/// Argument `index` (0–5) of the call; 0 if it cannot be read.
#[inline(always)]
pub fn argument(regs: Address, call: Call, index: u32) -> u64 {
    argument_at(regs, u64::from(call.compat), u64::from(index))
}

/// `struct pt_regs` is a user-space ABI: its offsets are fixed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn argument_at(regs: Address, compat: u64, index: u64) -> u64 {
    use core::mem::offset_of;
    let offset = if compat != 0 {
        match index {
            0 => offset_of!(pt_regs, rbx),
            1 => offset_of!(pt_regs, rcx),
            2 => offset_of!(pt_regs, rdx),
            3 => offset_of!(pt_regs, rsi),
            4 => offset_of!(pt_regs, rdi),
            _ => offset_of!(pt_regs, rbp),
        }
    } else {
        match index {
            0 => offset_of!(pt_regs, rdi),
            1 => offset_of!(pt_regs, rsi),
            2 => offset_of!(pt_regs, rdx),
            3 => offset_of!(pt_regs, r10),
            4 => offset_of!(pt_regs, r8),
            _ => offset_of!(pt_regs, r9),
        }
    };
    let value: u64 = kernel::read_at(regs + offset as u64).unwrap_or(0);
    if compat != 0 {
        value & 0xffff_ffff
    } else {
        value
    }
}
