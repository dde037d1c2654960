//! Calls that replace each other: the next C library, or another kernel, makes the one where this one made the
//! other.
//!
//! A call is an equivalent only if it is the same operation, asks for no capability that the other does not ask
//! for, and hides no argument from a filter behind a pointer. So these are none:
//!
//! - `openat2` for `openat`, `clone3` for `clone`: flags are in memory (openat2(2), clone(2)); a filter that
//!   cannot see them answers ENOSYS, and the libraries go back to the older call;
//! - `prlimit64` for `getrlimit`: it sets limits, of other processes too (prlimit(2));
//! - `clone` for `fork`: it makes namespaces, too (clone(2));
//! - `futex_waitv` for `futex`, `epoll_pwait2` for `epoll_wait`, `accept4` for `accept`, `copy_file_range` for
//!   `sendfile`: programs choose them, libraries do not swap them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// How far a list of calls goes beyond what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// Not at all.
    Exact,
    /// Add only the implicit system calls.
    #[default]
    None,
    /// Also add the calls that another version of the C library makes instead.
    Libc,
    /// Also add the calls that it makes on another kernel or architecture.
    Kernel,
}

impl Compatibility {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::None => "none",
            Self::Libc => "libc",
            Self::Kernel => "kernel",
        }
    }
}

/// Calls of which each can replace each.
struct Group {
    calls: &'static [&'static str],
    /// Who swaps them.
    by: Compatibility,
    /// Since when, and where that is written.
    source: &'static str,
}

const fn libc(calls: &'static [&'static str], source: &'static str) -> Group {
    Group {
        calls,
        by: Compatibility::Libc,
        source,
    }
}

const fn kernel(calls: &'static [&'static str], source: &'static str) -> Group {
    Group {
        calls,
        by: Compatibility::Kernel,
        source,
    }
}

/// The generic table, which arm64 and newer architectures have, leaves the older names out.
const GENERIC: &str =
    "newer architectures have one of them alone: include/uapi/asm-generic/unistd.h";
/// Where the vDSO cannot read the clock, the library makes the call (vdso(7)).
const VDSO: &str = "vdso(7): a call where the kernel's clock source cannot be read without one";

const GROUPS: [Group; 29] = [
    libc(
        &["stat", "lstat", "fstat", "newfstatat"],
        "glibc 2.33 calls newfstatat for all of them, 2.39 fstat again",
    ),
    libc(&["open", "openat"], "glibc 2.26: open() is openat"),
    libc(
        &["faccessat", "faccessat2"],
        "glibc 2.33 calls faccessat2 for faccessat() with flags",
    ),
    libc(
        &["fchmodat", "fchmodat2"],
        "glibc 2.39 calls fchmodat2 for fchmodat() with flags",
    ),
    libc(
        &["nanosleep", "clock_nanosleep"],
        "glibc 2.31: nanosleep() is clock_nanosleep",
    ),
    libc(
        &["select", "pselect6"],
        "sysdeps/unix/sysv/linux/select.c: newer glibc calls pselect6 for select()",
    ),
    libc(
        &["getdents", "getdents64"],
        "glibc 2.28: readdir() is getdents64",
    ),
    libc(
        &["epoll_create", "epoll_create1"],
        "musl, src/linux/epoll.c: epoll_create() is epoll_create1",
    ),
    libc(
        &["signalfd", "signalfd4"],
        "signalfd(2): the wrapper calls signalfd4 where there is one",
    ),
    libc(
        &["eventfd", "eventfd2"],
        "eventfd(2): the wrapper calls eventfd2 where there is one",
    ),
    kernel(&["newfstatat", "statx"], GENERIC),
    kernel(&["creat", "openat"], GENERIC),
    kernel(&["access", "faccessat"], GENERIC),
    kernel(&["chmod", "fchmodat"], GENERIC),
    kernel(&["chown", "lchown", "fchownat"], GENERIC),
    kernel(&["utime", "utimes", "futimesat", "utimensat"], GENERIC),
    kernel(&["poll", "ppoll"], GENERIC),
    kernel(&["epoll_wait", "epoll_pwait"], GENERIC),
    kernel(&["inotify_init", "inotify_init1"], GENERIC),
    kernel(&["pipe", "pipe2"], GENERIC),
    kernel(&["dup2", "dup3"], GENERIC),
    kernel(&["rename", "renameat", "renameat2"], GENERIC),
    kernel(&["mkdir", "mkdirat"], GENERIC),
    kernel(&["rmdir", "unlink", "unlinkat"], GENERIC),
    kernel(&["link", "linkat"], GENERIC),
    kernel(&["symlink", "symlinkat"], GENERIC),
    kernel(&["readlink", "readlinkat"], GENERIC),
    kernel(&["getpgrp", "getpgid"], GENERIC),
    kernel(&["time", "gettimeofday", "clock_gettime"], VDSO),
];

/// What a program that the C library starts calls unasked, in one version and not in another.
const STARTUP: [(&str, &str); 2] = [
    (
        "rseq",
        "glibc 2.35 registers restartable sequences in every thread",
    ),
    ("getrandom", "glibc 2.34 takes a random number for malloc()"),
];

/// The calls that can replace those in `seen` and are not among them, each with the reason.
pub(super) fn equivalents(
    seen: &BTreeSet<&str>,
    compatibility: Compatibility,
) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    if compatibility <= Compatibility::None {
        return found;
    }
    for group in GROUPS.iter().filter(|group| group.by <= compatibility) {
        let Some(made) = group.calls.iter().find(|call| seen.contains(**call)) else {
            continue;
        };
        for call in group.calls.iter().filter(|call| !seen.contains(**call)) {
            found
                .entry(*call)
                .or_insert_with(|| format!("widened: can replace {made} ({})", group.source));
        }
    }
    // Every program of a C library makes this call first.
    if seen.contains("set_tid_address") {
        for (call, source) in STARTUP.iter().filter(|(call, _)| !seen.contains(call)) {
            found
                .entry(*call)
                .or_insert_with(|| format!("widened: {source}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn of(seen: &[&str], compatibility: Compatibility) -> Vec<&'static str> {
        let seen = seen.iter().copied().collect();
        equivalents(&seen, compatibility).into_keys().collect()
    }

    #[test]
    fn nothing_is_added_unasked() {
        assert_eq!(
            of(&["open", "poll", "set_tid_address"], Compatibility::None),
            [""; 0]
        );
    }

    #[test]
    fn a_library_swaps_calls_and_a_kernel_more() {
        assert_eq!(of(&["openat"], Compatibility::Libc), ["open"]);
        assert_eq!(of(&["poll"], Compatibility::Libc), [""; 0]);
        assert_eq!(of(&["poll"], Compatibility::Kernel), ["ppoll"]);
        assert_eq!(
            of(&["set_tid_address"], Compatibility::Libc),
            ["getrandom", "rseq"]
        );
    }

    #[test]
    fn a_call_whose_arguments_no_filter_sees_stands_for_none() {
        let mut all: Vec<&str> = GROUPS
            .iter()
            .flat_map(|group| group.calls)
            .copied()
            .collect();
        all.extend(STARTUP.iter().map(|(call, _)| call));
        for hidden in [
            "openat2",
            "clone3",
            "clone",
            "prlimit64",
            "futex_waitv",
            "epoll_pwait2",
        ] {
            assert!(!all.contains(&hidden), "{hidden}");
        }
        // A misspelt name would be passed by in silence, or refused, by the program that reads the list.
        for name in all {
            assert!(syscalls::x86_64::Sysno::from_str(name).is_ok(), "{name}");
        }
    }
}
