//! Entries of the journal, as `journalctl --output=json` prints them.
//!
//! Names that begin with `_` are the journal's own: no program that logs can set them.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};

use super::fields::find;
use super::heads;
use super::loss::Loss;
use super::record::{Line, unclear};
use crate::collect::unit::{self, Unit};
use crate::observation::Text;

/// An entry.
#[derive(Debug)]
struct Entry<'l> {
    fields: HashMap<String, &'l RawValue>,
}

impl<'l> Entry<'l> {
    /// `None` if the line is no such entry.
    fn parse(line: &'l [u8]) -> Option<Self> {
        let fields = serde_json::from_slice(line).ok()?;
        Some(Self { fields })
    }

    /// The bytes of a field: a text, or numbers where it holds what is none. `None` if it has several.
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let value = serde_json::from_str(self.fields.get(name)?.get()).ok()?;
        match value {
            Value::String(text) => Some(text.into_bytes()),
            Value::Array(bytes) => bytes
                .iter()
                .map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect(),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        str::from_utf8(&self.get(name)?).ok()?.parse().ok()
    }

    fn micros(&self, name: &str) -> Option<i64> {
        i64::try_from(self.number(name)?).ok()
    }
}

/// What the entries in a line hold: one, where no line break was lost. What is no entry, and holds a record, is unclear.
pub(super) fn parse(line: &[u8]) -> Vec<Line> {
    let mut entries = serde_json::Deserializer::from_slice(line).into_iter();
    let mut all = Vec::new();
    let mut end = 0;
    while let Some(Ok(fields)) = entries.next() {
        of_entry(&Entry { fields }, &mut all);
        end = entries.byte_offset();
    }
    let rest = &line[end..];
    let is_audits = || find(rest, b"\"_AUDIT_TYPE\":\"1326\"").is_some();
    match heads::count(rest, rest.len()) {
        0 => all.extend((is_audits() || heads::is_end(rest)).then_some(Line::Unclear)),
        count => all.extend(unclear(count)),
    }
    all
}

fn of_entry(entry: &Entry<'_>, all: &mut Vec<Line>) {
    let message = entry.get("MESSAGE").unwrap_or_default();
    let transport = entry.get("_TRANSPORT").unwrap_or_default();
    let mut lines = match &transport[..] {
        b"audit" => of_audit(entry, &message),
        b"kernel" if entry.number("SYSLOG_FACILITY").unwrap_or(0) == 0 => {
            Line::of_text(&message, false)
        }
        // journald's own.
        b"driver" => Loss::parse(&message).map(Line::Loss).into_iter().collect(),
        _ => {
            let lines = Line::of_text(&message, false).into_iter();
            let lines = lines.filter(|line| !matches!(line, Line::Loss(_)));
            lines.map(|_| Line::NotTheKernels).collect()
        }
    };
    for line in &mut lines {
        if let Line::Record(record) = line {
            record.process.boot = entry.get("_BOOT_ID").map(Text::from);
            record.cgroup = entry.get("_SYSTEMD_CGROUP").map(Text::from);
        }
    }
    all.append(&mut lines);
}

/// What the journal has from the kernel's audit subsystem itself: the fields behind the type's name, and the stamp in fields
/// of its own.
fn of_audit(entry: &Entry<'_>, message: &[u8]) -> Vec<Line> {
    if entry.number("_AUDIT_TYPE") != Some(1326) {
        return Vec::new();
    }
    let body = message.iter().position(|byte| *byte == b' ');
    let body = body.map_or(&b""[..], |at| &message[at..]);
    let stamp = || {
        let micros = entry.number("_SOURCE_REALTIME_TIMESTAMP")?;
        let serial = entry.number("_AUDIT_ID")?;
        let (seconds, millis) = (micros / 1_000_000, micros / 1000 % 1000);
        Some(format!("{seconds}.{millis:03}:{serial}"))
    };
    let stamp = stamp();
    vec![Line::of_body(
        stamp.as_ref().map(String::as_bytes),
        body,
        false,
    )]
}

/// What an entry says of a process that has logged something, or has dumped core.
#[derive(Debug)]
pub struct Seen {
    /// Its number.
    pub pid: u32,
    /// What it ran; unknown if it had ended when the journal looked.
    pub executable: Option<Text>,
    /// Its unit, as `harden units` has it.
    pub unit: Text,
    /// When.
    pub time: Timestamp,
    /// The boot.
    pub boot: Text,
}

/// The fields that [`unit_of_process`] reads.
pub const FIELDS: [&str; 8] = [
    "_PID",
    "_EXE",
    "_SYSTEMD_CGROUP",
    "_SYSTEMD_UNIT",
    "_BOOT_ID",
    "COREDUMP_PID",
    "COREDUMP_EXE",
    "COREDUMP_CGROUP",
];

/// The process that an entry is of, and its unit.
#[must_use]
pub fn unit_of_process(line: &[u8]) -> Option<Seen> {
    let entry = Entry::parse(line)?;
    let time = Timestamp::from_microsecond(entry.micros("__REALTIME_TIMESTAMP")?).ok()?;
    let own = entry.get("_SYSTEMD_CGROUP");
    // It logs of the process that has dumped core, and any program can log a text of that name.
    let is_coredump = own.as_ref().is_some_and(|own| own.starts_with(COREDUMP));
    let of_another = is_coredump && entry.get("COREDUMP_PID").is_some();
    let (prefix, cgroup) = if of_another {
        ("COREDUMP_", entry.get("COREDUMP_CGROUP"))
    } else {
        ("_", own)
    };
    let unit = match cgroup {
        Some(cgroup) => unit::unit(&cgroup)?,
        // The journal knows of which unit an output is, which systemd has connected, when its process is gone.
        None => Unit::of_system(str::from_utf8(&entry.get("_SYSTEMD_UNIT")?).ok()?)?,
    };
    let pid = entry.number(&format!("{prefix}PID"))?;
    Some(Seen {
        pid: u32::try_from(pid).ok()?,
        executable: entry.get(&format!("{prefix}EXE")).map(Text::from),
        unit: Text::from(unit.to_string()),
        time,
        boot: Text::from(entry.get("_BOOT_ID")?),
    })
}

/// Where systemd starts systemd-coredump.
const COREDUMP: &[u8] = br"/system.slice/system-systemd\x2dcoredump.slice/";
