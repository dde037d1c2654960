//! Capability checks, told apart by whether they are the task's own need.

use core::ffi::c_void;

use aya_ebpf::{Global, helpers::generated::bpf_get_stack};
use harden_common::{
    CALLS, CAPABILITIES, CAPABILITY_CHECKS, FACT_CAPABILITY, FACT_KEPT, FACT_NATIVE, Loss,
    SlotRecord, check as kinds, class, nr,
};

use crate::{
    arch::Call,
    attribution::{self, Current},
    counts, facts,
    kernel::{self as k, Address},
    once, records,
};

/// Frames looked at: the asking function is at most this far above the hook.
const FRAMES: usize = 12;
/// Functions provided for.
const FUNCTIONS: usize = 6;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SETPCAP: u32 = 8;
const CAP_SYS_ADMIN: u32 = 21;
/// The capabilities that the kernel does not mask out, since 5.9.
const VALID: u64 = (1 << 41) - 1;

/// First and last address of the kernel's functions that ask with `CAP_OPT_NOAUDIT`
/// (`cap_vm_enough_memory`, `ns_capable_noaudit` …), for hooks that do not see the options.
#[unsafe(no_mangle)]
static NOAUDIT_CALLERS: Global<[[u64; 2]; FUNCTIONS]> = Global::new([[0; 2]; FUNCTIONS]);

/// `CAP_OPT_NOAUDIT` (include/linux/security.h): the asker only wants to know.
const NOAUDIT: u32 = 2;

/// The sets that capset(2) is asked for.
pub struct Sets {
    /// What is to be in effect.
    pub effective: u64,
    /// What may be put into effect.
    pub permitted: u64,
    /// What exec may pass on.
    pub inheritable: u64,
}

/// A check of a capability.
pub struct Check {
    /// For whom, a `struct cred *`.
    pub credentials: *const c_void,
    /// Where, a `struct user_namespace *`.
    pub namespace: *const c_void,
    /// Its number.
    pub capability: i32,
    /// 0 for granted.
    pub result: i32,
}

/// A check was made, seen by a hook that has its options.
#[inline(always)]
pub fn on_check_with_options(check: &Check, options: u32) {
    record_check(check, |_, _, _| options & NOAUDIT != 0);
}

/// A check was made, seen by a hook that does not have its options.
#[inline(always)]
pub fn on_check(ctx: *mut c_void, check: &Check) {
    let capability = check.capability as u32;
    record_check(check, |record, first, class| {
        is_question(ctx, record, first, class, capability)
    });
}

#[inline(always)]
fn record_check(check: &Check, is_question: impl Fn(*mut SlotRecord, u32, u8) -> bool) {
    let capability = check.capability as u32;
    if capability >= CAPABILITIES {
        return;
    }
    let Some(current) = attribution::current() else {
        return;
    };
    let Some(record) = records::record(current.slot) else {
        return;
    };
    let first = FACT_CAPABILITY + capability * CAPABILITY_CHECKS;
    let call = current.call();
    let class = call.map_or(0, Call::class);
    if capability == CAP_SETPCAP && class & class::CAPSET != 0 {
        return;
    }
    let kind = classify(check, class, || is_question(record, first, class));
    facts::set_in(record, current.slot, first + kind);
    if kind == kinds::GRANTED {
        record_granted(current, call, capability);
    }
}

/// Which kind of check it is, in a call of `class`.
#[inline(always)]
fn classify(check: &Check, class: u8, is_question: impl Fn() -> bool) -> u32 {
    let denied = u32::from(check.result != 0);
    let level: u32 = k::read(check.namespace as Address, &k::USER_NS_LEVEL).unwrap_or(0);
    if level != 0 {
        kinds::CHILD_USER_NAMESPACE
    } else if !is_need_of_task(check, class) {
        kinds::OVERRIDDEN_CREDENTIALS
    } else if is_question() {
        kinds::GRANTED_NOAUDIT + denied
    } else {
        kinds::GRANTED + denied
    }
}

/// Whether it is asked of the task itself, or for it by access(2).
#[inline(always)]
fn is_need_of_task(check: &Check, class: u8) -> bool {
    is_own(check.credentials as Address) || is_asked_by_access(class, check.capability as u32)
}

/// Counts that `capability` was granted, and says in which call, and what for.
#[inline(always)]
fn record_granted(current: Current, call: Option<Call>, capability: u32) {
    counts::count_granted(current.slot, capability);
    let Some(call) = call else {
        return;
    };
    // 0 is read(2), but also what a call of another convention has that no native one has the arguments of.
    let is_read = call.fact == Some(FACT_NATIVE + nr::READ);
    if call.native >= CALLS || (call.native == nr::READ && !is_read) {
        return;
    }
    // SAFETY: a call is known by the state, a whole value of the map that only its own task writes.
    unsafe {
        let granted = &mut (*current.state).capabilities;
        if *granted & 0xff != capability + 1 {
            *granted = *granted << 8 | (capability + 1);
        }
    }
    emit_granted(
        u64::from(current.slot),
        u64::from(capability),
        u64::from(call.native),
    );
}

/// Sends, once for each call, that `capability` was granted in the native call `call`, or in one with the same arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn emit_granted(slot: u64, capability: u64, call: u64) -> u64 {
    let fact = FACT_CAPABILITY + capability as u32 * CAPABILITY_CHECKS + kinds::GRANTED;
    once::emit_fact(slot as u32, fact, call as u32, Loss::CapabilityRingFull);
    0
}

/// Whether a new inheritable set has what the task neither inherits nor is permitted now.
///
/// capset asks for `CAP_SETPCAP` each time, but only this depends on the answer
/// (security/commoncap.c, `cap_capset`).
#[inline(always)]
pub fn raises_inheritable(new: u64) -> bool {
    let credentials = own_credentials();
    let inheritable: u64 = k::read(credentials, &k::CRED_INHERITABLE).unwrap_or(0);
    let permitted: u64 = k::read(credentials, &k::CRED_PERMITTED).unwrap_or(0);
    new & VALID & !(inheritable | permitted) != 0
}

/// The task calls capset(2) with `sets`: what it asks to keep, and would fail without.
///
/// capset refuses what is not permitted already (security/commoncap.c, `cap_capset`), without a check that a hook could
/// see. A program that names few out of many means these. One that takes a few away, or none, has the rest from
/// capget(2), and goes on with less where there is less. The same holds for what it newly puts into effect, or passes on.
#[inline(always)]
pub fn record_kept(record: *mut SlotRecord, slot: u32, sets: &Sets) {
    let credentials = own_credentials();
    if !are_of_the_host(credentials) {
        return;
    }
    let effective: u64 = k::read(credentials, &k::CRED_EFFECTIVE).unwrap_or(0);
    let permitted: u64 = k::read(credentials, &k::CRED_PERMITTED).unwrap_or(0);
    let inheritable: u64 = k::read(credentials, &k::CRED_INHERITABLE).unwrap_or(0);
    let asked = sets.permitted & VALID;
    if asked & !permitted != 0 {
        // It fails as it is.
        return;
    }
    let raised = (sets.effective & !effective | sets.inheritable & !inheritable) & VALID;
    let mut kept = 0;
    for named in [asked, raised] {
        let others = permitted & VALID & !named;
        if named.count_ones() <= others.count_ones() {
            kept |= named;
        }
    }
    set_kept(record, slot, kept);
}

/// The task raises `capability` in its ambient set: it has to be permitted and inheritable (`cap_task_prctl`).
#[inline(always)]
pub fn record_kept_ambient(record: *mut SlotRecord, slot: u32, capability: u64) {
    let credentials = own_credentials();
    let permitted: u64 = k::read(credentials, &k::CRED_PERMITTED).unwrap_or(0);
    if capability < u64::from(CAPABILITIES) && are_of_the_host(credentials) {
        set_kept(record, slot, permitted & 1 << capability);
    }
}

/// Whether these credentials are of the initial user namespace.
#[inline(always)]
fn are_of_the_host(credentials: Address) -> bool {
    let namespace: Address = k::read(credentials, &k::CRED_USER_NS).unwrap_or(0);
    k::read::<u32>(namespace, &k::USER_NS_LEVEL) == Some(0)
}

#[inline(always)]
fn set_kept(record: *mut SlotRecord, slot: u32, kept: u64) {
    for capability in 0..CAPABILITIES {
        if kept & 1 << capability != 0 {
            facts::set_in(record, slot, FACT_KEPT + capability);
        }
    }
}

/// The task is about to do what takes `CAP_SETPCAP`.
///
/// For what capset and `PR_SET_SECUREBITS` ask, which is `cap_capable` itself (security/commoncap.c):
/// the hook `capable` is not told.
#[inline(always)]
pub fn record_need_of_setpcap(record: *mut SlotRecord, slot: u32, call: Call) {
    let credentials = own_credentials();
    let namespace: Address = k::read(credentials, &k::CRED_USER_NS).unwrap_or(0);
    let level: u32 = k::read(namespace, &k::USER_NS_LEVEL).unwrap_or(0);
    let effective: u64 = k::read(credentials, &k::CRED_EFFECTIVE).unwrap_or(0);
    let check = if level != 0 {
        kinds::CHILD_USER_NAMESPACE
    } else if effective & 1 << CAP_SETPCAP != 0 {
        kinds::GRANTED
    } else {
        kinds::GRANTED + 1
    };
    let fact = FACT_CAPABILITY + CAP_SETPCAP * CAPABILITY_CHECKS + check;
    facts::set_in(record, slot, fact);
    if check == kinds::GRANTED {
        counts::count_granted(slot, CAP_SETPCAP);
        emit_granted(
            u64::from(slot),
            u64::from(CAP_SETPCAP),
            u64::from(call.native),
        );
    }
}

/// Whether access(2) asks under the credentials that it makes for itself, of the real user (fs/open.c,
/// `access_override_creds`): that is the task's need. What else is asked meanwhile, overlayfs asks under those of
/// the one that mounted it, `CAP_SYS_ADMIN` for its extended attributes (`generic_permission` in fs/namei.c asks for
/// these two alone).
#[inline(always)]
fn is_asked_by_access(class: u8, capability: u32) -> bool {
    class & class::ACCESS != 0 && matches!(capability, CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH)
}

#[inline(always)]
fn own_credentials() -> Address {
    let task = k::current_task();
    k::read(task, &k::TASK_CRED).unwrap_or(0)
}

/// Whether the credentials checked are those that the task has, and not lent for the moment.
#[inline(always)]
fn is_own(credentials: Address) -> bool {
    let task = k::current_task();
    k::read::<Address>(task, &k::TASK_REAL_CRED) == Some(credentials)
}

/// Whether the current task acts under credentials that are not its own, as overlayfs lets it for
/// the files below (fs/overlayfs, `ovl_override_creds`).
#[inline(always)]
pub fn are_credentials_lent() -> bool {
    let task = k::current_task();
    k::read::<Address>(task, &k::TASK_CRED) != k::read(task, &k::TASK_REAL_CRED)
}

/// Whether the kernel only asked, with no consequence but a number (`CAP_OPT_NOAUDIT`).
///
/// The tracepoint does not have the options, so the stack tells. Memory calls ask for
/// `CAP_SYS_ADMIN` all the time and only for overcommit (mm/util.c, `__vm_enough_memory`): there
/// the first answer holds for the rest.
#[inline(always)]
fn is_question(
    ctx: *mut c_void,
    record: *mut SlotRecord,
    first: u32,
    class: u8,
    capability: u32,
) -> bool {
    if class & class::MEMORY != 0 && capability == CAP_SYS_ADMIN {
        return true;
    }
    // Needed already, and asked already: nothing to learn.
    if facts::is_set(record, first + kinds::GRANTED)
        && facts::is_set(record, first + kinds::GRANTED_NOAUDIT)
    {
        return false;
    }
    let mut frames = [0u64; FRAMES];
    // SAFETY: the helper writes at most the array's size.
    let filled = unsafe {
        bpf_get_stack(
            ctx,
            (&raw mut frames).cast(),
            size_of_val(&frames) as u32,
            0,
        )
    };
    if filled < 0 {
        return false;
    }
    let functions = NOAUDIT_CALLERS.load();
    // In numbers and not in branches, which would be as many ways for the verifier: kernel addresses are in one half of all,
    // so that the highest bit of a difference is its sign.
    let mut found = 0;
    for frame in frames {
        for [start, end] in functions {
            found |= start.wrapping_sub(frame) & !end.wrapping_sub(frame);
        }
    }
    found >> 63 != 0
}
