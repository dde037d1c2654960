//! Calls that no program asks for, and every program needs: the kernel or the C library makes them when something
//! happens that need not have happened while it was recorded. docs/calls.md has the list for people.
//!
//! Each is harmless where it is given: it waits, reads a clock, gives memory, or ends the program. What could do harm is
//! given to nobody who has not asked for it.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod table;

/// What there has to be in the program for the call to happen.
enum Cause {
    /// Nothing: it happens to any program.
    Always,
    /// One of these calls was made.
    Made(&'static [&'static str]),
}

struct Unasked {
    call: &'static str,
    cause: Cause,
    why: &'static str,
}

const fn always(call: &'static str, why: &'static str) -> Unasked {
    Unasked {
        call,
        cause: Cause::Always,
        why,
    }
}

const fn made(call: &'static str, by: &'static [&'static str], why: &'static str) -> Unasked {
    Unasked {
        call,
        cause: Cause::Made(by),
        why,
    }
}

/// Every program of a C library begins with it (glibc `__libc_setup_tls`, musl `__init_tp`).
const LIBC: &[&str] = &["set_tid_address"];
/// A program whose threads or processes share memory that they lock.
const THREADS: &[&str] = &["clone", "clone3", "futex", "set_robust_list"];
const SOCKETS: &[&str] = &["socket", "socketpair", "accept", "accept4", "pipe", "pipe2"];
/// 32-bit programs alone make these.
const IA32: &[&str] = &[
    "socketcall",
    "set_thread_area",
    "mmap2",
    "_llseek",
    "fstat64",
];

const VDSO: &str = "made where the vDSO cannot read the clock, as on another machine or after the clock source was changed (vdso(7))";
const SLEEP: &str = "a retry sleeps: a lock that is held, a peer that is not there yet, a full buffer (glibc since 2.31 makes clock_nanosleep of all sleeps)";
const MALLOC: &str = "malloc(3) and free(3) make it as memory grows, shrinks or is shared by more threads (glibc malloc/sysmalloc, musl mallocng)";
const ABORT: &str = "abort(3) and raise(3) make it, as a failed assertion does (glibc sysdeps/posix/raise.c, nptl/pthread_kill.c)";

/// In the order of docs/calls.md.
const UNASKED: [Unasked; 31] = [
    always(
        "restart_syscall",
        "the kernel makes it after SIGSTOP and SIGCONT, a freeze or a suspend, in place of the call that was interrupted (restart_syscall(2))",
    ),
    always(
        "rt_sigreturn",
        "the return from a signal handler (sigreturn(2)), whether or not one ran while it was recorded",
    ),
    always("exit", "a thread ends"),
    always("exit_group", "the program ends"),
    always("clock_gettime", VDSO),
    always("clock_getres", VDSO),
    always("gettimeofday", VDSO),
    always("time", VDSO),
    always("getcpu", VDSO),
    always(
        "getrandom",
        "glibc and the vDSO (since 6.11) take a random number for malloc(3), arc4random(3)",
    ),
    always("clock_nanosleep", SLEEP),
    always("nanosleep", SLEEP),
    made(
        "futex",
        THREADS,
        "a lock that another thread holds is waited for (futex(2)); a free one takes no call",
    ),
    made(
        "sched_yield",
        THREADS,
        "spinning locks give way to their owner under load",
    ),
    made(
        "poll",
        SOCKETS,
        "a socket or pipe that is not ready is waited for, as the resolver of the C library does (glibc resolv/res_send.c)",
    ),
    made("brk", LIBC, MALLOC),
    made("mmap", LIBC, MALLOC),
    made("munmap", LIBC, MALLOC),
    made("mremap", LIBC, MALLOC),
    made("madvise", LIBC, MALLOC),
    made("mprotect", LIBC, MALLOC),
    made("getpid", LIBC, ABORT),
    made("gettid", LIBC, ABORT),
    made("tgkill", LIBC, ABORT),
    made("rt_sigprocmask", LIBC, ABORT),
    made(
        "sigreturn",
        IA32,
        "the return from a signal handler of a 32-bit program (sigreturn(2))",
    ),
    made("clock_gettime64", IA32, VDSO),
    made("clock_getres_time64", IA32, VDSO),
    made("clock_nanosleep_time64", IA32, SLEEP),
    made(
        "futex_time64",
        IA32,
        "a lock that another thread holds is waited for (futex(2))",
    ),
    made(
        "ppoll_time64",
        IA32,
        "a socket or pipe that is not ready is waited for",
    ),
];

/// Those that can happen to a program that made the calls in `seen`, and are not among them, each with the reason.
pub(super) fn unasked(seen: &BTreeSet<&str>) -> BTreeMap<&'static str, String> {
    UNASKED
        .iter()
        .filter(|one| !seen.contains(one.call))
        .filter(|one| match one.cause {
            Cause::Always => true,
            Cause::Made(calls) => calls.iter().any(|call| seen.contains(call)),
        })
        .map(|one| (one.call, format!("not seen: {}", one.why)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use syscalls::x86_64::Sysno;

    use super::*;

    fn of(seen: &[&str]) -> Vec<&'static str> {
        unasked(&seen.iter().copied().collect())
            .into_keys()
            .collect()
    }

    #[test]
    fn what_happens_to_any_program_is_given_to_any() {
        let any = of(&["read"]);
        assert!(any.contains(&"restart_syscall") && any.contains(&"clock_nanosleep"));
        assert!(!any.contains(&"futex") && !any.contains(&"tgkill"));
        assert!(of(&["clone3"]).contains(&"futex"));
        assert!(!of(&["futex"]).contains(&"futex"));
        assert!(of(&["set_tid_address"]).contains(&"tgkill"));
    }

    #[test]
    fn every_call_has_one_verdict() {
        let asked: BTreeSet<&str> = table::ASKED.split_whitespace().collect();
        let unasked: BTreeSet<&str> = UNASKED.iter().map(|one| one.call).collect();
        for call in Sysno::iter().map(|call| call.name()) {
            assert!(
                asked.contains(call) != unasked.contains(call),
                "{call}: can it happen without the program's asking? Put it into one of the two lists"
            );
        }
        for call in asked {
            assert!(Sysno::from_str(call).is_ok(), "{call} is no call");
        }
        for call in unasked {
            let known =
                Sysno::from_str(call).is_ok() || syscalls::x86::Sysno::from_str(call).is_ok();
            assert!(known, "{call} is no call");
        }
    }

    /// Those that the kernel's table has under another name than its function, or that only its function is left of.
    const OTHER_NAMES: [(&str, &str); 6] = [
        ("newfstat", "fstat"),
        ("newlstat", "lstat"),
        ("newstat", "stat"),
        ("newuname", "uname"),
        ("sendfile64", "sendfile"),
        ("umount", "umount2"),
    ];
    /// Functions of calls that only 32-bit programs or other machines have (include/linux/syscalls.h).
    const NOT_OURS: &str = "fadvise64_64 fstatfs64 statfs64 gethostname ipc llseek mmap_pgoff ni_syscall nice oldumount olduname \
        pciconfig_iobase pciconfig_read pciconfig_write recv rtas send sgetmask ssetmask signal sigpending sigprocmask \
        sigsuspend socketcall spu_create spu_run stime subpage_prot sync_file_range2 vm86 vm86old waitpid";

    #[test]
    fn the_running_kernel_has_no_call_without_a_verdict() {
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let functions = symbols
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("__x64_sys_"));
        let not_ours: BTreeSet<&str> = NOT_OURS.split_whitespace().collect();
        let is_of_others = |name: &str| {
            ["16", "time32", "utime32"]
                .iter()
                .any(|end| name.ends_with(end))
                || ["ia32_", "old_", "s390_"]
                    .iter()
                    .any(|start| name.starts_with(start))
                || not_ours.contains(name)
        };
        let others: std::collections::HashMap<_, _> = OTHER_NAMES.into_iter().collect();
        let unknown: BTreeSet<&str> = functions
            .filter(|name| !is_of_others(name) && name.find(['.', ':']).is_none())
            .map(|name| others.get(name).copied().unwrap_or(name))
            .filter(|name| Sysno::from_str(name).is_err())
            .collect();
        // A newer kernel's calls have no names here yet: an observation has their numbers.
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        if super::super::adapt::is_covered(&release) {
            assert_eq!(unknown, BTreeSet::new(), "Linux {release}");
        }
    }

    #[test]
    fn people_find_each_in_the_docs() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/calls.md");
        let page = std::fs::read_to_string(page).unwrap();
        for one in UNASKED {
            assert!(page.contains(&format!("`{}`", one.call)), "{}", one.call);
        }
    }
}
