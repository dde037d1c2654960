//! Numbers of the kernel → the names that the observation uses.

use harden_common::{
    Argument, CAPABILITIES, CAPABILITY_CHECKS, ERRNO_UNKNOWN, FACT_ARGUMENT, FACT_CAPABILITY,
    FACT_FAMILY, FACT_IA32, FACT_KEPT, FACT_NATIVE, FACT_SOCKET_TYPE, FACT_X32, check,
};

use crate::observation::{Abi, CapabilityCheck, Deed, Outcome, Told, Word};

/// A fact that has a byte in the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A call.
    Syscall(Abi, Word),
    /// A capability check.
    Capability(Word, CapabilityCheck),
    /// A socket family.
    Family(Word),
    /// A socket type.
    SocketType(Word),
    /// What an argument said.
    Argument(Word),
}

impl From<&Fact> for Told {
    fn from(fact: &Fact) -> Self {
        match fact {
            Fact::Syscall(abi, name) => Deed::Syscall(*abi, name),
            Fact::Capability(name, check) => Deed::Capability(name, *check),
            Fact::Family(name) => Deed::Family(name),
            Fact::SocketType(name) => Deed::SocketType(name),
            Fact::Argument(name) => Deed::Argument(name),
        }
        .into()
    }
}

/// What fact number `number` says. `None` for a number without meaning in this build.
#[must_use]
pub(super) fn fact(number: u32) -> Option<Fact> {
    Some(match number {
        FACT_NATIVE..FACT_IA32 => {
            let call = number - FACT_NATIVE;
            Fact::Syscall(Abi::Native, numbered(native(call), "syscall", call))
        }
        FACT_IA32..FACT_X32 => {
            let call = number - FACT_IA32;
            Fact::Syscall(Abi::Ia32, numbered(ia32(call), "syscall", call))
        }
        FACT_X32..FACT_CAPABILITY => {
            let call = number - FACT_X32;
            Fact::Syscall(Abi::X32, numbered(x32(call), "syscall", call))
        }
        FACT_CAPABILITY..FACT_FAMILY => {
            let number = number - FACT_CAPABILITY;
            let check = check(number % CAPABILITY_CHECKS)?;
            Fact::Capability(capability(number / CAPABILITY_CHECKS), check)
        }
        FACT_FAMILY..FACT_SOCKET_TYPE => Fact::Family(family(number - FACT_FAMILY)),
        FACT_SOCKET_TYPE..FACT_ARGUMENT => Fact::SocketType(socket_type(number - FACT_SOCKET_TYPE)),
        FACT_KEPT.. => Fact::Capability(capability(number - FACT_KEPT), CapabilityCheck::Kept),
        _ => {
            let (_, name) = Argument::ALL
                .iter()
                .find(|(argument, _)| argument.fact() == number)?;
            Fact::Argument(Word::new(*name).ok()?)
        }
    })
}

/// The call of a [`harden_common::FactEvent`].
#[must_use]
pub(super) fn call(told: u32) -> Option<Word> {
    let call = told.checked_sub(1)?;
    Some(numbered(native(call), "syscall", call))
}

/// The call of a [`harden_common::FactEvent`] that says that one was refused.
#[must_use]
pub(super) fn refused(told: u32) -> Option<(Abi, Word)> {
    match fact(told.checked_sub(1)?)? {
        Fact::Syscall(abi, call) => Some((abi, call)),
        _ => None,
    }
}

/// The capabilities of a [`harden_common::PathEvent`].
pub(super) fn capabilities(told: u32) -> impl Iterator<Item = Word> {
    let bytes = told.to_ne_bytes().into_iter();
    let numbers = bytes.filter_map(|byte| u32::from(byte).checked_sub(1));
    numbers
        .filter(|number| *number < CAPABILITIES)
        .map(capability)
}

/// The name of call `number` of x86-64, by its ABI.
#[must_use]
pub fn call_name(abi: Abi, number: u32) -> Option<&'static str> {
    match abi {
        Abi::Native => native(number),
        Abi::Ia32 => ia32(number),
        Abi::X32 => x32(number),
    }
}

fn ia32(call: u32) -> Option<&'static str> {
    syscalls::x86::Sysno::new(call as usize).map(|call| call.name())
}

fn native(call: u32) -> Option<&'static str> {
    syscalls::x86_64::Sysno::new(call as usize).map(|call| call.name())
}

/// Calls of x32 alone have numbers from 512 (`arch/x86/entry/syscalls/syscall_64.tbl`, Linux 6.18).
const X32: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

fn x32(call: u32) -> Option<&'static str> {
    match call {
        0..512 => native(call),
        _ => X32.get(call as usize - 512).copied(),
    }
}

fn check(number: u32) -> Option<CapabilityCheck> {
    Some(match number {
        check::GRANTED => CapabilityCheck::Granted,
        check::DENIED => CapabilityCheck::Denied,
        check::GRANTED_NOAUDIT => CapabilityCheck::GrantedNoaudit,
        check::DENIED_NOAUDIT => CapabilityCheck::DeniedNoaudit,
        check::OVERRIDDEN_CREDENTIALS => CapabilityCheck::OverriddenCredentials,
        check::CHILD_USER_NAMESPACE => CapabilityCheck::ChildUserNamespace,
        _ => return None,
    })
}

pub(super) fn capability(number: u32) -> Word {
    debug_assert!(number < CAPABILITIES);
    let name = caps::all()
        .into_iter()
        .find(|capability| u32::from(capability.index()) == number)
        .map(|capability| capability.to_string().to_ascii_lowercase());
    let name = name.as_deref().and_then(|name| name.strip_prefix("cap_"));
    numbered(name, "capability", number)
}

/// include/linux/socket.h, Linux 6.18, in the order of the numbers.
pub(crate) const FAMILIES: [&str; 46] = [
    "unspec",
    "unix",
    "inet",
    "ax25",
    "ipx",
    "appletalk",
    "netrom",
    "bridge",
    "atmpvc",
    "x25",
    "inet6",
    "rose",
    "decnet",
    "netbeui",
    "security",
    "key",
    "netlink",
    "packet",
    "ash",
    "econet",
    "atmsvc",
    "rds",
    "sna",
    "irda",
    "pppox",
    "wanpipe",
    "llc",
    "ib",
    "mpls",
    "can",
    "tipc",
    "bluetooth",
    "iucv",
    "rxrpc",
    "isdn",
    "phonet",
    "ieee802154",
    "caif",
    "alg",
    "nfc",
    "vsock",
    "kcm",
    "qipcrtr",
    "smc",
    "xdp",
    "mctp",
];

/// The name of address family `number`.
#[must_use]
pub(super) fn family(number: u32) -> Word {
    numbered(FAMILIES.get(number as usize).copied(), "af", number)
}

/// Whether the kernel has a capability of this name.
#[must_use]
pub fn is_capability(name: &Word) -> bool {
    (0..CAPABILITIES).any(|number| capability(number) == *name)
}

/// Whether Linux has a socket family of this name.
#[must_use]
pub fn is_family(name: &Word) -> bool {
    FAMILIES.contains(&name.as_str())
}

/// include/linux/net.h.
const SOCKET_TYPES: [(u32, &str); 7] = [
    (1, "stream"),
    (2, "dgram"),
    (3, "raw"),
    (4, "rdm"),
    (5, "seqpacket"),
    (6, "dccp"),
    (10, "packet"),
];

/// Whether Linux has a socket type of this name.
#[must_use]
pub fn is_socket_type(name: &Word) -> bool {
    SOCKET_TYPES.iter().any(|(_, one)| *one == name.as_str())
}

/// The name of socket type `number`.
#[must_use]
pub(super) fn socket_type(number: u32) -> Word {
    let mut known = SOCKET_TYPES.iter();
    let name = known.find(|(one, _)| *one == number);
    numbered(name.map(|(_, name)| *name), "type", number)
}

/// `ok`, the errno's name, or `tried` from a hook that stands before the outcome.
#[must_use]
pub(super) fn outcome(errno: u32) -> Outcome {
    if errno == ERRNO_UNKNOWN {
        return Outcome(numbered(Some("tried"), "errno", errno));
    }
    if errno == 0 {
        return Outcome(numbered(Some("ok"), "errno", 0));
    }
    let name = i32::try_from(errno)
        .ok()
        .and_then(|errno| syscalls::Errno::new(errno).name());
    Outcome(numbered(name, "errno", errno))
}

/// The name, or for a number newer than this build `prefix-number`.
fn numbered(name: Option<&str>, prefix: &'static str, number: u32) -> Word {
    name.and_then(|name| Word::new(name).ok())
        .unwrap_or_else(|| Word::numbered(prefix, number))
}

#[cfg(test)]
mod tests {
    use harden_common::{NATIVE_OF_IA32, native_of_x32, nr};

    use super::{native, x32};

    /// 32-bit calls that have another name than the native call with the same arguments.
    const RENAMED: [(&str, &str); 20] = [
        ("oldstat", "stat"),
        ("oldlstat", "lstat"),
        ("oldfstat", "fstat"),
        ("umount", "umount2"),
        ("mmap2", "mmap"),
        ("truncate64", "truncate"),
        ("ftruncate64", "ftruncate"),
        ("stat64", "stat"),
        ("lstat64", "lstat"),
        ("fstat64", "fstat"),
        ("fstatat64", "newfstatat"),
        ("statfs64", "statfs"),
        ("fstatfs64", "fstatfs"),
        ("lchown32", "lchown"),
        ("fchown32", "fchown"),
        ("chown32", "chown"),
        ("utimensat_time64", "utimensat"),
        ("mmap", "old mmap"),
        ("socketcall", "socketcall"),
        ("fanotify_mark", "fanotify_mark"),
    ];

    #[test]
    fn each_number_has_the_name_of_its_call() {
        for &(name, number) in nr::ALL {
            // Three are newer than the table of names.
            let known = native(number).map(str::to_uppercase);
            assert!(
                known
                    .as_deref()
                    .map_or(number >= 467, |known| known == name),
                "{name} ({number}) is {known:?}"
            );
        }
    }

    #[test]
    fn calls_of_32_bits_are_taken_for_native_ones_with_the_same_arguments() {
        let mut compared = 0;
        for (number, &to) in NATIVE_OF_IA32.iter().enumerate() {
            let Some(name) = syscalls::x86::Sysno::new(number).map(|call| call.name()) else {
                continue;
            };
            // 512 and above: shapes that only 32-bit calls have. 0: not looked at.
            let to = u32::from(to);
            if to == 0 || to >= 512 {
                continue;
            }
            let native = native(to).unwrap_or_default();
            assert!(
                name == native || RENAMED.contains(&(name, native)),
                "{name} ({number}) is taken for {native} ({to})"
            );
            compared += 1;
        }
        assert!(compared > 80, "{compared}");
    }

    #[test]
    fn calls_of_x32_are_taken_for_native_ones_of_the_same_name() {
        for number in 0..548 {
            let to = native_of_x32(number);
            assert!(
                to == 0 || x32(number) == native(to),
                "{number} is taken for {to}"
            );
        }
    }
}
