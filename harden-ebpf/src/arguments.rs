//! What the arguments of calls say, as far as a sandbox has a rule for it. On entry: what is asked
//! for counts, whether it is granted or not.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use harden_common::{
    Argument, FACT_FAMILY, FACT_SOCKET_TYPE, FAMILIES, IA32_OLD_MMAP, IA32_SOCKETCALL, SlotRecord,
    nr,
};

use crate::{
    arch::{Arguments, Call},
    attribution, capabilities, facts,
    kernel::Address,
    records::record,
};

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// `SHM_EXEC`
const SHM_EXEC: u64 = 0o100_000;
/// `S_ISUID | S_ISGID`
const SETID: u64 = 0o6000;
const O_CREAT: u64 = 0o100;
const SIGHUP: u32 = 1;
/// include/uapi/linux/prctl.h
const PR_SET_SECUREBITS: u32 = 28;
const PR_CAP_AMBIENT: u32 = 47;
const PR_CAP_AMBIENT_RAISE: u64 = 2;

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
struct SlotFacts {
    record: *mut SlotRecord,
    slot: u32,
}

impl SlotFacts {
    #[inline(always)]
    fn set(self, argument: Argument) {
        self.set_number(argument.fact());
    }

    #[inline(always)]
    fn set_number(self, fact: u32) {
        facts::set_in(self.record, self.slot, fact);
    }

    #[inline(always)]
    fn set_if(self, condition: bool, argument: Argument) {
        if condition {
            self.set(argument);
        }
    }
}

/// Records what the arguments of `call` say, which `slot` makes. No call is looked at beyond its fourth.
#[inline(always)]
pub fn on_entry(slot: u32, call: Call, arguments: &Arguments) {
    let [first, second, third, fourth, ..] = *arguments;
    let who = u64::from(slot) << 32 | u64::from(call.encode());
    record_arguments(who, first, second, third, fourth);
}

/// `who`: the slot, and the call as [`Call::encode`] has it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_arguments(who: u64, first: u64, second: u64, third: u64, fourth: u64) -> u32 {
    let (slot, call) = ((who >> 32) as u32, Call::decode(who as u32));
    let Some(record) = record(slot) else {
        return 0;
    };
    let facts = SlotFacts { record, slot };
    let argument = |index| match index {
        0 => first,
        1 => second,
        2 => third,
        _ => fourth,
    };
    match call.native {
        nr::MMAP => record_protection(facts, argument(2)),
        IA32_OLD_MMAP => record_protection(facts, u64::from(word(argument(0) + 8))),
        nr::MPROTECT | nr::PKEY_MPROTECT => {
            facts.set_if(argument(2) & PROT_EXEC != 0, Argument::MprotectExec)
        }
        nr::SHMAT => facts.set_if(argument(2) & SHM_EXEC != 0, Argument::ShmatExec),
        nr::MEMFD_CREATE => facts.set(Argument::MemfdCreate),
        nr::CLONE => record_namespaces(facts, argument(0) & !CLONE_NEWTIME),
        // struct clone_args begins with the flags.
        nr::CLONE3 => record_namespaces(facts, double_word(argument(0))),
        nr::UNSHARE => record_namespaces(facts, argument(0)),
        nr::SETNS => {
            facts.set_if(argument(1) == 0, Argument::NamespaceAny);
            record_namespaces(facts, argument(1));
            attribution::look_again();
        }
        nr::OPEN => record_setid(facts, argument(1) & O_CREAT != 0, argument(2)),
        nr::OPENAT => record_setid(facts, argument(2) & O_CREAT != 0, argument(3)),
        nr::CREAT => record_setid(facts, true, argument(1)),
        // struct open_how: flags, mode
        nr::OPENAT2 => record_setid(
            facts,
            double_word(argument(2)) & O_CREAT != 0,
            double_word(argument(2) + 8),
        ),
        nr::CHMOD | nr::FCHMOD | nr::MKDIR => record_setid(facts, true, argument(1)),
        nr::FCHMODAT | nr::FCHMODAT2 | nr::MKDIRAT => record_setid(facts, true, argument(2)),
        nr::MKNOD => record_node(facts, argument(1)),
        nr::MKNODAT => record_node(facts, argument(2)),
        nr::SCHED_SETSCHEDULER => record_scheduler(facts, argument(1) as u32),
        // struct sched_attr: size, policy
        nr::SCHED_SETATTR => record_scheduler(facts, word(argument(1) + 4)),
        nr::PERSONALITY => facts.set_if(
            argument(0) & 0xffff_ffff != 0xffff_ffff,
            Argument::PersonalitySet,
        ),
        nr::IO_URING_SETUP => facts.set(Argument::IoUring),
        nr::RT_SIGACTION => facts.set_if(
            argument(0) as u32 == SIGHUP && is_handler(call, argument(1)),
            Argument::HandlesHangup,
        ),
        nr::PIVOT_ROOT => attribution::look_again(),
        nr::CAPSET => {
            let sets = sets(argument(0), argument(1));
            if capabilities::raises_inheritable(sets.inheritable) {
                capabilities::record_need_of_setpcap(record, slot, call);
            }
            capabilities::record_kept(record, slot, &sets);
        }
        nr::PRCTL => match (argument(0) as u32, argument(1)) {
            (PR_SET_SECUREBITS, _) => capabilities::record_need_of_setpcap(record, slot, call),
            (PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE) => {
                capabilities::record_kept_ambient(record, slot, argument(2))
            }
            _ => {}
        },
        nr::SOCKET | nr::SOCKETPAIR => record_socket(facts, argument(0) as u32, argument(1) as u32),
        // socketcall: SYS_SOCKET, SYS_SOCKETPAIR
        IA32_SOCKETCALL if matches!(argument(0), 1 | 8) => {
            record_socket(facts, word(argument(1)), word(argument(1) + 4));
        }
        _ => {}
    }
    0
}

#[inline(always)]
fn record_protection(facts: SlotFacts, protection: u64) {
    let both = PROT_WRITE | PROT_EXEC;
    facts.set_if(protection & both == both, Argument::MmapWriteExec);
}

#[inline(always)]
fn record_namespaces(facts: SlotFacts, flags: u64) {
    for (flag, argument) in NAMESPACES {
        facts.set_if(flags & flag != 0, argument);
    }
    facts.set_if(flags & CLONE_NEWTIME != 0, Argument::NamespaceTime);
}

#[inline(always)]
fn record_setid(facts: SlotFacts, creates: bool, mode: u64) {
    facts.set_if(creates && mode & SETID != 0, Argument::ModeSetid);
}

#[inline(always)]
fn record_node(facts: SlotFacts, mode: u64) {
    record_setid(facts, true, mode);
    // S_IFCHR, S_IFBLK
    let device = matches!(mode & 0o170_000, 0o020_000 | 0o060_000);
    facts.set(if device {
        Argument::MknodDevice
    } else {
        Argument::MknodOther
    });
}

#[inline(always)]
fn record_scheduler(facts: SlotFacts, policy: u32) {
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
fn record_socket(facts: SlotFacts, family: u32, kind: u32) {
    if family < FAMILIES {
        facts.set_number(FACT_FAMILY + family);
    }
    facts.set_number(FACT_SOCKET_TYPE + (kind & 15));
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
