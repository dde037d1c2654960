//! Registers and calling conventions of x86-64: the only file that knows the machine.

use aya_ebpf::bindings::pt_regs;
use harden_common::{
    CALLS, CLASSES, FACT_IA32, FACT_NATIVE, FACT_X32, NATIVE_OF_IA32, PATH_CALLS, TABLE, class,
    native_of_x32,
};

use crate::{
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

/// The registers with which a task entered the kernel, as tracepoints of calls pass them: the verifier knows the pointer for
/// a `struct pt_regs *`.
pub type Registers = *const pt_regs;

/// The arguments of a call.
pub type Arguments = [u64; 6];

/// `struct pt_regs` is a user-space ABI: its offsets are fixed.
macro_rules! register {
    ($registers:ident, $name:ident) => {
        // SAFETY: a load through a typed pointer, which the verifier checks against BTF.
        unsafe { (&raw const (*$registers).$name).read_volatile() }
    };
}

/// The number of the call that is coming back: `orig_ax`. A tracer's skip and `rt_sigreturn` come back with -1.
#[inline(always)]
pub fn number(registers: Registers) -> i64 {
    register!(registers, orig_rax) as i64
}

/// Whether the call with number `id`, from which `task`, the current one, comes back, is a native one that leaves nothing to
/// be looked at.
#[inline(always)]
pub fn leaves_nothing(task: Task, id: i64) -> bool {
    if id as u64 >= u64::from(CALLS) {
        return false;
    }
    let index = masked::<{ TABLE as u64 - 1 }>(id as u64) as usize;
    // SAFETY: the mask keeps the index inside the table.
    let class = unsafe { *CLASSES.get_unchecked(index) };
    class & class::AT_EXIT == 0 && task_state::thread_status(task) & TS_COMPAT == 0
}

/// The arguments of `call`.
#[inline(always)]
pub fn arguments(registers: Registers, call: Call) -> Arguments {
    if call.compat {
        return [
            register!(registers, rbx) & 0xffff_ffff,
            register!(registers, rcx) & 0xffff_ffff,
            register!(registers, rdx) & 0xffff_ffff,
            register!(registers, rsi) & 0xffff_ffff,
            register!(registers, rdi) & 0xffff_ffff,
            register!(registers, rbp) & 0xffff_ffff,
        ];
    }
    [
        register!(registers, rdi),
        register!(registers, rsi),
        register!(registers, rdx),
        register!(registers, r10),
        register!(registers, r8),
        register!(registers, r9),
    ]
}
