//! What the arguments of calls say, as far as a sandbox has a rule for it. On entry: what is asked
//! for counts, whether it is granted or not.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use harden_common::{
    Argument, FACT_FAMILY, FACT_SOCKET_TYPE, FAMILIES, IA32_OLD_MMAP, IA32_SOCKETCALL, SlotRecord,
};

use crate::{
    arch::{self, Call},
    attribution, capabilities, facts,
    kernel::Address,
};

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// `SHM_EXEC`
const SHM_EXEC: u64 = 0o100_000;
/// `S_ISUID | S_ISGID`
const SETID: u64 = 0o6000;
const O_CREAT: u64 = 0o100;
const SIGHUP: u32 = 1;

/// (flag of clone, fact); include/uapi/linux/sched.h
const NAMESPACES: [(u64, Argument); 7] = [
    (0x0002_0000, Argument::NamespaceMount),
    (0x0200_0000, Argument::NamespaceCgroup),
    (0x0400_0000, Argument::NamespaceUts),
    (0x0800_0000, Argument::NamespaceIpc),
    (0x1000_0000, Argument::NamespaceUser),
    (0x2000_0000, Argument::NamespacePid),
    (0x4000_0000, Argument::NamespaceNet),
];
/// `CLONE_NEWTIME` shares its bit with clone's exit signal: only clone3, unshare and setns have it.
const CLONE_NEWTIME: u64 = 0x80;

/// Where the facts of one call go.
#[derive(Clone, Copy)]
struct Facts {
    record: *mut SlotRecord,
    slot: u32,
}

impl Facts {
    #[inline(always)]
    fn set(self, argument: Argument) {
        facts::set(self.record, self.slot, argument.fact());
    }

    #[inline(always)]
    fn set_if(self, condition: bool, argument: Argument) {
        if condition {
            self.set(argument);
        }
    }
}

/// Looks at the arguments of `call`.
#[inline(never)]
pub fn entered(regs: Address, call: Call, record: *mut SlotRecord, slot: u32) -> u32 {
    let facts = Facts { record, slot };
    let argument = |index| arch::argument(regs, call, index);
    match call.native {
        // mmap, mprotect, pkey_mprotect
        9 => protection(facts, argument(2)),
        IA32_OLD_MMAP => protection(facts, u64::from(word(argument(0) + 8))),
        10 | 329 => facts.set_if(argument(2) & PROT_EXEC != 0, Argument::MprotectExec),
        30 => facts.set_if(argument(2) & SHM_EXEC != 0, Argument::ShmatExec),
        319 => facts.set(Argument::MemfdCreate),
        // clone, clone3, unshare, setns
        56 => namespaces(facts, argument(0) & !CLONE_NEWTIME),
        // struct clone_args begins with the flags.
        435 => namespaces(facts, double_word(argument(0))),
        272 => namespaces(facts, argument(0)),
        308 => {
            facts.set_if(argument(1) == 0, Argument::NamespaceAny);
            namespaces(facts, argument(1));
            attribution::look_again();
        }
        // open, openat; creat; openat2 (struct open_how: flags, mode)
        2 => setid(facts, argument(1) & O_CREAT != 0, argument(2)),
        257 => setid(facts, argument(2) & O_CREAT != 0, argument(3)),
        85 => setid(facts, true, argument(1)),
        437 => setid(
            facts,
            double_word(argument(2)) & O_CREAT != 0,
            double_word(argument(2) + 8),
        ),
        // chmod, fchmod, mkdir; fchmodat, fchmodat2, mkdirat; mknod, mknodat
        90 | 91 | 83 => setid(facts, true, argument(1)),
        268 | 452 | 258 => setid(facts, true, argument(2)),
        133 => node(facts, argument(1)),
        259 => node(facts, argument(2)),
        // sched_setscheduler; sched_setattr (struct sched_attr: size, policy)
        144 => policy(facts, argument(1) as u32),
        314 => policy(facts, word(argument(1) + 4)),
        135 => facts.set_if(
            argument(0) & 0xffff_ffff != 0xffff_ffff,
            Argument::PersonalitySet,
        ),
        425 => facts.set(Argument::IoUring),
        // rt_sigaction
        13 => facts.set_if(
            argument(0) as u32 == SIGHUP && is_handler(call, argument(1)),
            Argument::HandlesHangup,
        ),
        155 => attribution::look_again(),
        126 => {
            let sets = sets(argument(0), argument(1));
            if capabilities::raises_inheritable(sets.inheritable) {
                capabilities::needs_setpcap(record, slot, call);
            }
            capabilities::keeps(record, slot, &sets);
        }
        // prctl: PR_SET_SECUREBITS; PR_CAP_AMBIENT with PR_CAP_AMBIENT_RAISE
        157 => match (argument(0) as u32, argument(1)) {
            (28, _) => capabilities::needs_setpcap(record, slot, call),
            (47, 2) => capabilities::keeps_ambient(record, slot, argument(2)),
            _ => {}
        },
        // socket, socketpair
        41 | 53 => socket(facts, argument(0) as u32, argument(1) as u32),
        // socketcall: SYS_SOCKET, SYS_SOCKETPAIR
        IA32_SOCKETCALL if matches!(argument(0), 1 | 8) => {
            socket(facts, word(argument(1)), word(argument(1) + 4));
        }
        _ => {}
    }
    0
}

#[inline(always)]
fn protection(facts: Facts, protection: u64) {
    let both = PROT_WRITE | PROT_EXEC;
    facts.set_if(protection & both == both, Argument::MmapWriteExec);
}

#[inline(always)]
fn namespaces(facts: Facts, flags: u64) {
    for (flag, argument) in NAMESPACES {
        facts.set_if(flags & flag != 0, argument);
    }
    facts.set_if(flags & CLONE_NEWTIME != 0, Argument::NamespaceTime);
}

#[inline(always)]
fn setid(facts: Facts, creates: bool, mode: u64) {
    facts.set_if(creates && mode & SETID != 0, Argument::ModeSetid);
}

#[inline(always)]
fn node(facts: Facts, mode: u64) {
    setid(facts, true, mode);
    // S_IFCHR, S_IFBLK
    let device = matches!(mode & 0o170_000, 0o020_000 | 0o060_000);
    facts.set(if device {
        Argument::MknodDevice
    } else {
        Argument::MknodOther
    });
}

#[inline(always)]
fn policy(facts: Facts, policy: u32) {
    const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
    // SCHED_FIFO, SCHED_RR, SCHED_DEADLINE
    let realtime = matches!(policy & !SCHED_RESET_ON_FORK, 1 | 2 | 6);
    facts.set_if(realtime, Argument::SchedulerRealtime);
}

/// The sets that capset is asked for; the header tells whether there is an upper half
/// (include/uapi/linux/capability.h).
#[inline(always)]
fn sets(header: Address, data: Address) -> capabilities::Sets {
    const VERSION_1: u32 = 0x1998_0330;
    let has_upper = word(header) != VERSION_1;
    let set = |offset| {
        let low = u64::from(word(data + offset));
        if has_upper {
            low | u64::from(word(data + 12 + offset)) << 32
        } else {
            low
        }
    };
    // struct __user_cap_data_struct
    capabilities::Sets {
        effective: set(0),
        permitted: set(4),
        inheritable: set(8),
    }
}

/// Whether the kernel's `struct sigaction` at `action` names a function of the program: neither `SIG_DFL`
/// nor `SIG_IGN`.
#[inline(always)]
fn is_handler(call: Call, action: Address) -> bool {
    let handler = if call.compat {
        u64::from(word(action))
    } else {
        double_word(action)
    };
    handler > 1
}

#[inline(always)]
fn socket(facts: Facts, family: u32, kind: u32) {
    if family < FAMILIES {
        facts::set(facts.record, facts.slot, FACT_FAMILY + family);
    }
    facts::set(facts.record, facts.slot, FACT_SOCKET_TYPE + (kind & 15));
}

/// A u32 of the task's memory; 0 if it is not there. Structures read on entry may not be in
/// memory yet: 43 of 14,687 paths were not, so this is for what the program has just written.
#[inline(always)]
fn word(address: Address) -> u32 {
    let mut value = 0u32;
    // SAFETY: the helper writes 4 bytes to our stack, or fails.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 4, address as *const _) };
    value
}

#[inline(always)]
fn double_word(address: Address) -> u64 {
    let mut value = 0u64;
    // SAFETY: the helper writes 8 bytes to our stack, or fails.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _) };
    value
}
