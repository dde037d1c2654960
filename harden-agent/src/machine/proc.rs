//! Files of /proc/PID.

use std::{fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use crate::observation::Text;

/// What `/proc/PID/status` says of a process's confinement (Documentation/filesystems/proc.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// The process's name; whatever the process likes.
    #[serde(skip)]
    pub name: String,
    /// The process above.
    pub parent: u32,
    /// The effective user.
    #[serde(skip)]
    pub user: Option<u32>,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// How many filters; `None` before kernel 5.9.
    pub seccomp_filters: Option<u32>,
    /// No file gives it privileges any more.
    pub no_new_privileges: bool,
    /// The bounding set, a bit a capability.
    #[serde(skip)]
    pub bounding: u64,
    /// The effective set, a bit a capability.
    #[serde(skip)]
    pub effective: u64,
    /// The signals that are ignored, a bit each from 1.
    #[serde(skip)]
    pub ignored: u64,
}

impl Status {
    /// Whether the signal of this number is ignored.
    pub(crate) fn ignores(&self, signal: i32) -> bool {
        self.ignored >> (signal - 1) & 1 == 1
    }

    /// Whether seccomp filters its calls.
    pub(crate) fn is_filtered(&self) -> bool {
        /// `SECCOMP_MODE_FILTER` (include/uapi/linux/seccomp.h)
        const FILTER: u32 = 2;
        self.seccomp == FILTER
    }
}

/// Whether seccomp filters the calls of process `pid`; not, if there is none.
pub(crate) fn is_filtered(pid: u32) -> bool {
    status(&pid.to_string()).is_some_and(|status| status.is_filtered())
}

/// The status of process `pid`, or `None` if there is none.
pub(crate) fn status(pid: &str) -> Option<Status> {
    // A process may have any bytes in its name.
    let bytes = fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Status {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    };
    let number = |name| field(name).and_then(|value| value.parse().ok());
    let set = |name| field(name).and_then(|value| u64::from_str_radix(value, 16).ok());
    Status {
        name: field("Name").unwrap_or_default().to_owned(),
        parent: number("PPid").unwrap_or_default(),
        // Real, effective, saved, and that of the file system.
        user: field("Uid").and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse().ok()),
        seccomp: number("Seccomp").unwrap_or_default(),
        seccomp_filters: number("Seccomp_filters"),
        no_new_privileges: number("NoNewPrivs") == Some(1),
        bounding: set("CapBnd").unwrap_or_default(),
        effective: set("CapEff").unwrap_or_default(),
        ignored: set("SigIgn").unwrap_or_default(),
    }
}

/// What `/proc/PID/stat` tells (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process above.
    pub parent: u32,
    /// When it started, in nanoseconds since boot, time in suspend counted.
    pub start: u64,
    /// It has ended, and nobody has waited for it yet.
    pub is_over: bool,
}

/// The stat of process `pid`, or `None` if there is none.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

fn parse_stat(text: &str) -> Option<Stat> {
    /// `USER_HZ`, in which the kernel counts for user space on every architecture that harden runs on.
    const TICK: u64 = 1_000_000_000 / 100;
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of these is the third in proc(5).
    let field = |number: usize| fields.get(number - 3).copied();
    let threads: u64 = field(20)?.parse().ok()?;
    let start: u64 = field(22)?.parse().ok()?;
    Some(Stat {
        parent: field(4)?.parse().ok()?,
        start: start.saturating_mul(TICK),
        // Its first thread may have ended before the others.
        is_over: field(3)? == "Z" && threads <= 1,
    })
}

/// How long this machine has been in suspend since boot, in nanoseconds.
pub(crate) fn suspended() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let suspended = now(ClockId::CLOCK_BOOTTIME).saturating_sub(now(ClockId::CLOCK_MONOTONIC));
    u64::try_from(suspended.as_nanos()).unwrap_or(u64::MAX)
}

/// The program that process `pid` runs; `None` without the right to know.
pub(crate) fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The cgroup of process `pid`, from the root of version 2.
pub(crate) fn cgroup(pid: u32) -> Option<Text> {
    let bytes = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    lines
        .find_map(|line| line.strip_prefix(b"0::"))
        .map(Text::from)
}

/// When process `pid` started, by the clock of now.
pub(crate) fn started(pid: u32) -> Option<Timestamp> {
    use nix::time::{ClockId, clock_gettime};
    let up = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    let age = up.saturating_sub(Duration::from_nanos(stat(pid)?.start));
    Timestamp::now().checked_sub(age).ok()
}

/// Every process there is.
pub(crate) fn all() -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The text of a file, such as one below /proc/sys.
pub(crate) fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A number in a file of one line, as those below /proc/sys are.
pub(crate) fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Names of the capabilities in `set`; numbers for those newer than this harden.
pub(crate) fn capability_names(set: u64) -> Vec<String> {
    let known: Vec<_> = caps::all().into_iter().collect();
    (0..64u8)
        .filter(|bit| set >> bit & 1 == 1)
        .map(|bit| {
            known
                .iter()
                .find(|capability| capability.index() == bit)
                .map_or_else(|| bit.to_string(), ToString::to_string)
        })
        .collect()
}

/// Whether `capability` is in `set`.
pub(crate) fn has(set: u64, capability: caps::Capability) -> bool {
    set & capability.bitmask() != 0
}

#[cfg(test)]
mod tests {
    use super::{Stat, capability_names, parse, parse_stat};

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tnginx: w\nPPid:\t12\nUid:\t0\t33\t0\t33\nCapEff:\t0000000000000400\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let status = parse(text);
        assert_eq!(status.name, "nginx: w");
        assert_eq!((status.parent, status.seccomp), (12, 2));
        assert_eq!((status.user, status.seccomp_filters), (Some(33), Some(3)));
        assert!(status.no_new_privileges);
        assert_eq!(capability_names(status.effective), ["CAP_NET_BIND_SERVICE"]);
    }

    #[test]
    fn a_stat_is_read_whatever_the_name_is() {
        let fields = "12 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 THREADS 0 350 0";
        let stat = |state: &str, threads: &str| {
            let fields = fields.replace("THREADS", threads);
            parse_stat(&format!("15 (a) b (c) {state} {fields}"))
        };
        let expected = |is_over| Stat {
            parent: 12,
            start: 3_500_000_000,
            is_over,
        };
        assert_eq!(stat("S", "1"), Some(expected(false)));
        assert_eq!(stat("Z", "1"), Some(expected(true)));
        assert_eq!(stat("Z", "2"), Some(expected(false)));
        assert_eq!(parse_stat("15 (a) S 12"), None);
    }

    #[test]
    fn nonsense_is_nothing() {
        assert_eq!(parse("Seccomp: x\nCapEff: -1\n\0"), parse(""));
        assert_eq!(capability_names(1 << 63), ["63"]);
    }
}
