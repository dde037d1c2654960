//! Where records begin, in what may hold several, a part of one, or one in another's text.

use super::fields::find;

/// What `type=` has to say; the last is auditd's, where it is older than the kernel.
pub(super) const TYPES: [&[u8]; 3] = [b"1326", b"SECCOMP", b"UNKNOWN[1326]"];

/// What the journal puts before the fields of a record that it has from the kernel (`process_audit_string`,
/// src/journal/journald-audit.c); the second is of systemd 220 and before.
pub(super) const MESSAGES: [&[u8]; 2] = [b": SECCOMP auid=", b": <audit-1326> auid="];

/// By which a record is known, wherever it stands. No record has two of them.
const MARKS: [&[u8]; 5] = [
    b"type=1326",
    b"type=SECCOMP",
    b"UNKNOWN[1326]",
    b"SECCOMP auid=",
    b"<audit-1326>",
];

/// How many records begin in `text` before the byte `end`.
pub(super) fn count(text: &[u8], end: usize) -> u64 {
    let mut count = 0;
    for mark in MARKS {
        let mut from = 0;
        while let Some(at) = find(&text[from..], mark) {
            let at = from + at;
            count += u64::from(at < end);
            from = at + mark.len();
        }
    }
    count
}

/// Whether a text with no beginning of a record in it is the end of one, whose beginning was lost. Other records have no
/// such fields.
pub(super) fn is_end(text: &[u8]) -> bool {
    let follows = |first: &[u8], then: &[u8]| {
        find(text, first).is_some_and(|at| find(&text[at..], then).is_some())
    };
    follows(b"syscall=", b" compat=") || follows(b" ip=0x", b" code=")
}

/// Where the next record begins that is whole as far as its stamp: where a line break was lost, two stand in one line.
pub(super) fn next(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = find(&text[from..], b"type=") {
        let at = from + at;
        let rest = &text[at + b"type=".len()..];
        let is_type = |name: &&[u8]| rest.strip_prefix(*name).is_some_and(begins_stamp);
        if TYPES.iter().any(is_type) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn begins_stamp(rest: &[u8]) -> bool {
    let stamp = rest.trim_ascii_start();
    let stamp = stamp.strip_prefix(b"msg=").unwrap_or(stamp);
    rest.first() == Some(&b' ') && stamp.starts_with(b"audit(")
}
