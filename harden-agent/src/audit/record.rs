//! One line of a log → the record in it.
//!
//! The same record comes in many forms: from the kernel (`audit: type=1326 audit(…): …`, behind whatever dmesg, the
//! kernel's log or syslog puts in front), from auditd (`type=SECCOMP msg=audit(…): …`, its fields enriched or not), from
//! `ausearch --interpret`, and from the journal, as text and as JSON.

use jiff::Timestamp;

use super::action::Action;
use super::architecture::Call;
use super::fields::{Fields, find};
use super::heads::{self, MESSAGES, TYPES};
use super::journal;
use super::loss::Loss;
use super::piece::{OVERLAP, Part, Piece};
use crate::observation::Text;

/// What a line holds that is of interest.
#[derive(Debug)]
pub enum Line {
    /// A record.
    Record(Box<Record>),
    /// The kernel or the journal says that it has dropped lines.
    Loss(Loss),
    /// A record, and no call can be made out in it.
    Unclear,
    /// It reads like a record, and another program than the kernel or auditd has written it.
    NotTheKernels,
}

/// What the kernel said of one call.
#[derive(Debug)]
pub struct Record {
    /// The kernel's time and number of it, the same in all logs that hold it. The short output of journalctl has none.
    pub(super) stamp: Option<Vec<u8>>,
    /// When, if the log has the kernel's own time.
    pub time: Option<Timestamp>,
    /// Who.
    pub process: Process,
    /// Which call.
    pub call: Call,
    /// What happened to it.
    pub action: Action,
    /// The cgroup that the journal has with it.
    pub cgroup: Option<Text>,
}

/// A process, as a record names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// Its number; that of the thread group, outside of all PID namespaces.
    pub pid: Option<u32>,
    /// The file that it ran, as a path in its own root.
    pub executable: Option<Text>,
    /// The name of the thread; whatever it likes.
    pub name: Option<Text>,
    /// The boot of which the journal has it.
    pub boot: Option<Text>,
}

impl Line {
    /// What any piece of any log holds: mostly one thing. Where line breaks were lost there are more.
    #[must_use]
    pub fn all(piece: Piece<'_>) -> Vec<Self> {
        let Piece { bytes, part } = piece;
        if let Part::TooLong { last } = part {
            let end = if last { 0 } else { OVERLAP };
            return unclear(heads::count(bytes, bytes.len().saturating_sub(end)));
        }
        // A byte order mark of UTF-8; what json-seq and json-sse of journalctl have in front.
        let line = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let line = line.strip_prefix(b"\x1e").unwrap_or(line).trim_ascii();
        let line = match line.strip_prefix(b"data: ") {
            Some(entry) if entry.starts_with(b"{") => entry,
            _ => line,
        };
        if line.first() == Some(&b'{') {
            return journal::parse(line);
        }
        Self::of_text(line, part == Part::Cut)
    }

    /// As a person or a program reads it. What is cut ends in the middle of something.
    pub(super) fn of_text(line: &[u8], is_cut: bool) -> Vec<Self> {
        let Some((before, after)) = record(line) else {
            return Self::of_rest(line);
        };
        if !is_the_kernels(before) {
            return vec![Self::NotTheKernels];
        }
        let (stamp, body) = stamp(after);
        // In an interpreted record names are not escaped: a program's may be a record.
        let is_raw = stamp.is_none_or(|stamp| time(stamp).is_some());
        let Some(next) = heads::next(body) else {
            return vec![Self::of_body(stamp, body, is_cut)];
        };
        if !is_raw {
            let mut all = unclear(heads::count(body, body.len()));
            all.push(Self::of_body(stamp, body, is_cut));
            return all;
        }
        let (own, glued) = body.split_at(next);
        let mut all = vec![Self::of_body(stamp, without_start(own), true)];
        let mut rest = glued;
        while let Some((_, after)) = record(rest) {
            let (stamp, body) = self::stamp(after);
            let next = heads::next(body);
            let (own, glued) = body.split_at(next.unwrap_or(body.len()));
            let is_cut = is_cut || next.is_some();
            let own = if next.is_some() {
                without_start(own)
            } else {
                own
            };
            all.push(Self::of_body(stamp, own, is_cut));
            rest = glued;
        }
        all
    }

    /// What has no record at its beginning. Records in it are another's text, or the rest of a line before them was lost.
    fn of_rest(line: &[u8]) -> Vec<Self> {
        let mut all = unclear(heads::count(line, line.len()));
        if let Some(loss) = Loss::parse(line) {
            all.push(Self::Loss(loss));
        }
        if all.is_empty() && heads::is_end(line) {
            all.push(Self::Unclear);
        }
        all
    }

    /// `auid=1000 uid=1000 …`, with the stamp that belongs to it. Of what is cut, the last value may be a part of one, and
    /// what another line begins with may stand behind it.
    pub(super) fn of_body(stamp: Option<&[u8]>, body: &[u8], is_cut: bool) -> Self {
        let fields = Fields::parse(body);
        // The kernel writes more behind it. Part of a number is another number.
        let call = fields.get("syscall").filter(|_| !fields.is_last("syscall"));
        let Some(call) = call.and_then(|syscall| Call::parse(fields.get("arch"), syscall)) else {
            return Self::Unclear;
        };
        let name = |key| fields.untrusted(key).map(Text::from);
        let process = Process {
            pid: fields.number("pid"),
            executable: name("exe"),
            name: name("comm"),
            boot: None,
        };
        let code = fields
            .get("code")
            .filter(|code| !is_cut || fields.is_enriched() || Action::is_whole(code));
        Self::Record(Box::new(Record {
            stamp: stamp.map(<[u8]>::to_owned),
            time: stamp.and_then(time),
            process,
            call,
            action: code.map_or(Action::Unknown, Action::parse),
            cgroup: None,
        }))
    }
}

pub(super) fn unclear(count: u64) -> Vec<Line> {
    (0..count).map(|_| Line::Unclear).collect()
}

/// Without what belongs to the record behind it.
fn without_start(body: &[u8]) -> &[u8] {
    let body = without_node(body.trim_ascii_end());
    let body = body.strip_suffix(b"audit:").unwrap_or(body);
    without_uptime(body.trim_ascii_end())
}

/// What lies before and behind the type of a record. The first type of a line counts: a record of another type may
/// quote this one.
fn record(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    while let Some(at) = find(&line[from..], b"type=") {
        let at = from + at;
        let is_word = at == 0 || !is_part_of_word(line[at - 1]);
        let value = &line[at + b"type=".len()..];
        if is_word {
            let end = value.iter().position(u8::is_ascii_whitespace);
            let (name, rest) = value.split_at(end.unwrap_or(value.len()));
            return TYPES.contains(&name).then_some((&line[..at], rest));
        }
        from = at + 1;
    }
    MESSAGES.iter().find_map(|message| {
        let at = find(line, message)?;
        let body = at + message.len() - b"auid=".len();
        Some((&line[..=at], &line[body..]))
    })
}

fn is_part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// Who has written a line that has `before` in front of `type=`. Whoever may log can write any text behind its own name;
/// the journal and the kernel's log do not let it take another's.
fn is_the_kernels(before: &[u8]) -> bool {
    let before = without_node(before.trim_ascii_end());
    let kernel = before.strip_suffix(b"audit:").unwrap_or(before);
    let before = without_uptime(kernel.trim_ascii_end());
    before.is_empty() || is_priority(before) || is_tagged(before)
}

/// Without the `node=NAME` of auditd.
fn without_node(before: &[u8]) -> &[u8] {
    let word = before.iter().rposition(u8::is_ascii_whitespace);
    let (rest, word) = before.split_at(word.map_or(0, |at| at + 1));
    if word.starts_with(b"node=") {
        rest.trim_ascii_end()
    } else {
        before
    }
}

/// The names under which syslog has what the kernel and auditd write.
const WRITERS: [&[u8]; 5] = [b"kernel", b"audit", b"auditd", b"audispd", b"audisp-syslog"];

/// Whether it ends in such a name, with a number or without: `Apr 6 10:47:01 debian audit[4643]:`.
fn is_tagged(before: &[u8]) -> bool {
    let Some(start) = before.strip_suffix(b":") else {
        return false;
    };
    // One name is whoever writes. What has another one in front is that one's text.
    if find(start, b": ").is_some() {
        return false;
    }
    let name = start.rsplit(u8::is_ascii_whitespace).next();
    let name = name.and_then(|name| name.split(|byte| *byte == b'[').next());
    // dmesg --decode: `kern  :notice:`
    before.starts_with(b"kern  :") || name.is_some_and(|name| WRITERS.contains(&name))
}

/// Without `[12255.533062]`, or `[Mon Apr  6 10:47:01 2015]`.
fn without_uptime(before: &[u8]) -> &[u8] {
    let Some(start) = before.strip_suffix(b"]") else {
        return before;
    };
    let is_time = |byte: &u8| byte.is_ascii_alphanumeric() || b" .:+-,".contains(byte);
    match start.iter().rposition(|byte| *byte == b'[') {
        // `audit[4643]` is a name.
        Some(at) if start[at + 1..].iter().all(is_time) => start[..at].trim_ascii_end(),
        _ => before,
    }
}

/// Whether it is what /dev/kmsg and `dmesg --raw` have in front, and the kernel's own: `5,123,456,-;`, `<5>`. Root may
/// write to that log, but not as the kernel (`devkmsg_write`, kernel/printk/printk.c).
fn is_priority(before: &[u8]) -> bool {
    let number = before
        .strip_prefix(b"<")
        .and_then(|rest| rest.strip_suffix(b">"))
        .or_else(|| {
            let fields = before.strip_suffix(b";")?;
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",-=".contains(byte);
            fields.iter().all(plain).then_some(fields)
        });
    let digits = number.and_then(|number| number.split(|byte| *byte == b',').next());
    let priority = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u32>().ok());
    // The facility is what lies above the three bits of the level; the kernel's is 0.
    priority.is_some_and(|priority| priority >> 3 == 0)
}

const LONGEST_STAMP: usize = 256;

/// `msg=audit(1428331621.110:4): ` in front of the fields.
fn stamp(after: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let after = after.trim_ascii_start();
    let message = after.strip_prefix(b"msg=").unwrap_or(after);
    let Some(inner) = message.strip_prefix(b"audit(") else {
        return (None, after);
    };
    // A date may be in it, in any language.
    let inner_start = &inner[..inner.len().min(LONGEST_STAMP)];
    match inner_start.iter().position(|byte| *byte == b')') {
        Some(end) => (Some(&inner[..end]), &inner[end + 1..]),
        None => (None, after),
    }
}

/// `1428331621.110:4`. What ausearch has interpreted is in the time zone and language of whoever ran it.
fn time(stamp: &[u8]) -> Option<Timestamp> {
    let (time, _) = str::from_utf8(stamp).ok()?.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    let millis: i64 = (millis.len() == 3).then(|| millis.parse().ok())??;
    let seconds: i64 = seconds.parse().ok()?;
    Timestamp::from_millisecond(seconds.checked_mul(1000)?.checked_add(millis)?).ok()
}
