//! The running kernel's structures: where their members are, and how they are read.
//!
//! No offset is compiled in. The agent finds each in the running kernel's BTF and overrides the
//! constants here before loading; frozen, the verifier takes them as known numbers.

use core::mem::MaybeUninit;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel},
};

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $structure:literal $member:literal;)*) => {
        $(
            #[doc = concat!("`", $structure, ".", $member, "`")]
            ///
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub static $name: Global<u32> = Global::new(0);
        )*
    };
}

harden_common::kernel_offsets!(constants);

/// A kernel address.
pub type Address = u64;

/// The current task's `struct task_struct`.
#[inline(always)]
pub fn current_task() -> Address {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Reads a `T` at `address` + `offset`. `None` if the address is not mapped.
///
/// `T` must be plain data. Members are read one by one: a kernel may have randomised its layouts.
#[inline(always)]
pub fn read<T: Copy>(address: Address, offset: &Global<u32>) -> Option<T> {
    read_at(address.wrapping_add(u64::from(offset.load())))
}

/// Reads a `T` at `address`.
#[inline(always)]
pub fn read_at<T: Copy>(address: Address) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes size_of::<T>() bytes to our stack, or fails; all callers ask for
    // integers, for which every bit pattern is a value.
    unsafe {
        let failed = bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        (failed == 0).then(|| value.assume_init())
    }
}

/// Reads members of eight bytes of the structure at `address`: at once where they lie close to each other, as a read costs more
/// than what it reads. 0 for what is not mapped.
#[inline(always)]
pub fn read_all<const MEMBERS: usize>(
    address: Address,
    members: [&Global<u32>; MEMBERS],
) -> [u64; MEMBERS] {
    // No more: the stacks of all functions that call each other have 512 bytes together.
    const BLOCK: u64 = 32;
    let offsets = members.map(|member| u64::from(member.load()));
    let first = offsets.iter().copied().fold(u64::MAX, u64::min);
    // The verifier knows the offsets, and sees one of the two ways.
    if offsets.iter().any(|offset| offset - first > BLOCK - 8) {
        return members.map(|member| read(address, member).unwrap_or(0));
    }
    let mut block = MaybeUninit::<[u64; BLOCK as usize / 8]>::uninit();
    // SAFETY: the helper writes the size of the block, zeroes if it cannot read.
    unsafe {
        bpf_probe_read_kernel(
            block.as_mut_ptr().cast(),
            BLOCK as u32,
            address.wrapping_add(first) as *const _,
        );
    }
    offsets.map(|offset| {
        // SAFETY: the offset was compared above.
        unsafe {
            block
                .as_ptr()
                .cast::<u8>()
                .add((offset - first) as usize)
                .cast::<u64>()
                .read_unaligned()
        }
    })
}

/// Reads a pointer and takes NULL for missing.
#[inline(always)]
pub fn pointer(address: Address, offset: &Global<u32>) -> Option<Address> {
    read::<Address>(address, offset).filter(|&pointer| pointer != 0)
}
