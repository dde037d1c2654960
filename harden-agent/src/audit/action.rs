//! What the filter did: `code=` of a record, the action without its data (include/uapi/linux/seccomp.h).

use serde::Serialize;

/// What happened to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `SECCOMP_RET_KILL_PROCESS`
    KillProcess,
    /// `SECCOMP_RET_KILL_THREAD`; before Linux 4.14 the only one that kills.
    KillThread,
    /// `SECCOMP_RET_TRAP`
    Trap,
    /// `SECCOMP_RET_ERRNO`
    Errno,
    /// `SECCOMP_RET_USER_NOTIF`
    UserNotif,
    /// `SECCOMP_RET_TRACE`
    Trace,
    /// `SECCOMP_RET_LOG`
    Log,
    /// None that this harden knows, or none at all.
    Unknown,
}

/// Their codes, and their names in `ausearch --interpret` (`auparse/seccomp_table.h` of audit; `kill` is of audit 2).
const ACTIONS: [(Action, u32, &[&str]); 7] = [
    (Action::KillProcess, 0x8000_0000, &["kill-process"]),
    (Action::KillThread, 0, &["kill-thread", "kill"]),
    (Action::Trap, 0x0003_0000, &["trap"]),
    (Action::Errno, 0x0005_0000, &["errno"]),
    (Action::UserNotif, 0x7fc0_0000, &["user-notif"]),
    (Action::Trace, 0x7ff0_0000, &["trace"]),
    (Action::Log, 0x7ffc_0000, &["log"]),
];

/// `SECCOMP_RET_ACTION_FULL`: the rest is data, such as the errno. Kernels before 4.14 log it too.
const ACTION_FULL: u32 = 0xffff_0000;

impl Action {
    /// By `0x7ffc0000`, or by a name.
    pub(super) fn parse(value: &[u8]) -> Self {
        let known = |is: &dyn Fn(u32, &[&str]) -> bool| {
            let mut actions = ACTIONS.iter();
            let found = actions.find(|(_, code, names)| is(*code, names));
            found.map_or(Self::Unknown, |(action, ..)| *action)
        };
        if let Some(digits) = value.strip_prefix(b"0x") {
            // The kernel's digits are lower case. auditd writes what it knows besides behind them, and whoever passes
            // the line on may drop the separator: `code=0x7ffc0000AUID="unset"`.
            let end = digits.iter().position(|byte| !is_digit(*byte));
            let digits = str::from_utf8(&digits[..end.unwrap_or(digits.len())]);
            let Some(code) = digits
                .ok()
                .and_then(|text| u32::from_str_radix(text, 16).ok())
            else {
                return Self::Unknown;
            };
            return known(&|known, _| known == code & ACTION_FULL);
        }
        let name = String::from_utf8_lossy(value).replace('_', "-");
        known(&|_, names| names.contains(&name.as_str()))
    }

    /// Whether nothing can be missing at its end: the codes of all actions but the first have five or eight digits.
    pub(super) fn is_whole(value: &[u8]) -> bool {
        let Some(digits) = value.strip_prefix(b"0x") else {
            return false;
        };
        let length = digits.iter().take_while(|byte| is_digit(**byte)).count();
        digits[..length] == *b"0" || matches!(length, 5 | 8)
    }

    /// What it did, behind the name of the call.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::KillProcess => "the process was killed",
            Self::KillThread => "the thread was killed",
            Self::Trap => "the program got a signal (SIGSYS)",
            Self::Errno => "the call failed with an error",
            Self::UserNotif => "a supervisor answered",
            Self::Trace => "a tracer answered",
            Self::Log => "the call was let through, and logged",
            Self::Unknown => "the record does not say what happened to the call",
        }
    }

    /// Its name in `/proc/sys/kernel/seccomp/actions_logged`.
    pub(super) fn logged_as(self) -> Option<&'static str> {
        Some(match self {
            Self::KillProcess => "kill_process",
            Self::KillThread => "kill_thread",
            Self::Trap => "trap",
            Self::Errno => "errno",
            Self::UserNotif => "user_notif",
            Self::Trace => "trace",
            Self::Log => "log",
            Self::Unknown => return None,
        })
    }

    /// Those that a kernel has.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ACTIONS.iter().map(|(action, ..)| *action)
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::Action;

    #[test]
    fn codes_and_names_say_the_same() {
        for (value, action) in [
            ("0x0", Action::KillThread),
            ("kill", Action::KillThread),
            ("0x80000000", Action::KillProcess),
            ("kill_process", Action::KillProcess),
            ("kill-process", Action::KillProcess),
            ("0x7ffc0000", Action::Log),
            ("0x7ffc0000AUID=\"unset\"", Action::Log),
            ("0x50000", Action::Errno),
            ("0x50001", Action::Errno),
            ("0x30000", Action::Trap),
            ("0x12340000", Action::Unknown),
            ("0x", Action::Unknown),
            ("0x1234567890", Action::Unknown),
            ("", Action::Unknown),
        ] {
            assert_eq!(Action::parse(value.as_bytes()), action, "{value}");
        }
    }
}
