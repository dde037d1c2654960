//! The logs of this machine, piece by piece: the journal, the kernel's own, and files.

mod lines;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, IsTerminal as _, Read, Seek as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;

pub use self::lines::stream;
use self::lines::{lines, stream_of};
use crate::audit::Piece;
use crate::observation::Text;

/// Where the kernel's own log is read.
pub const KERNEL: &str = "/dev/kmsg";
/// Where auditd writes.
pub const AUDITD: &str = "/var/log/audit/audit.log";

/// What a log did not give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Lines that were too long.
    pub too_long: u64,
    /// Lines that newer ones have replaced.
    pub overwritten: u64,
    /// What journalctl says besides: that the caller may not read all of it.
    pub said: Option<String>,
}

/// Reads what the kernel has said, by way of the journal, since then.
///
/// # Errors
/// There is no journalctl, or it fails.
pub fn journal(since: Option<Timestamp>, piece: impl FnMut(Piece<'_>)) -> io::Result<Gaps> {
    let mut arguments = vec![
        "_TRANSPORT=audit",
        "_AUDIT_TYPE=1326",
        "+",
        "_TRANSPORT=kernel",
    ];
    // What the journal missed of the kernel's log, it says itself.
    arguments.extend(["+", "_TRANSPORT=driver"]);
    let since = since.map(|since| format!("--since=@{}", since.as_second()));
    let fields = "--output-fields=MESSAGE,_TRANSPORT,SYSLOG_FACILITY,_BOOT_ID,_SYSTEMD_CGROUP,\
                  _AUDIT_TYPE,_AUDIT_ID,_SOURCE_REALTIME_TIMESTAMP";
    let mut all: Vec<&str> = vec![fields];
    all.extend(since.as_deref());
    all.append(&mut arguments);
    journalctl(&all, piece)
}

/// The entries from the first moment to the second that match any of these: `_PID=12`. Only some of their fields.
///
/// # Errors
/// As [`journal`].
pub fn entries(
    (from, to): (Timestamp, Timestamp),
    matches: &[String],
    fields: &[&str],
    mut line: impl FnMut(&[u8]),
) -> io::Result<Gaps> {
    let from = format!("--since=@{}", from.as_second());
    let to = format!("--until=@{}", to.as_second());
    let fields = format!("--output-fields={}", fields.join(","));
    let mut arguments = vec![&*from, &*to, &*fields];
    for (number, one) in matches.iter().enumerate() {
        // Those of the same field are alternatives; of different fields, both would be wanted.
        if number > 0 {
            arguments.push("+");
        }
        arguments.push(one);
    }
    journalctl(&arguments, |piece| line(piece.bytes))
}

fn journalctl(arguments: &[&str], piece: impl FnMut(Piece<'_>)) -> io::Result<Gaps> {
    let mut said = tempfile::tempfile()?;
    let mut command = Command::new("journalctl");
    // --all: what is no text, or long, too.
    command.args(["--output=json", "--all", "--no-pager"]);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(said.try_clone()?)
        .spawn()?;
    let gaps = match child.stdout.take() {
        Some(out) => lines(BufReader::new(out), u64::MAX, piece),
        None => Ok(Gaps::default()),
    };
    let status = child.wait()?;
    said.rewind()?;
    let mut bytes = Vec::new();
    said.take(1 << 12).read_to_end(&mut bytes)?;
    let said = Text::from(bytes.trim_ascii()).to_string();
    if !status.success() {
        let reason = if said.is_empty() {
            status.to_string()
        } else {
            said
        };
        return Err(io::Error::other(format!("journalctl: {reason}")));
    }
    let said = (!said.is_empty()).then_some(said);
    Ok(Gaps { said, ..gaps? })
}

/// Reads what the kernel's log holds now.
///
/// # Errors
/// It may not be read (`kernel.dmesg_restrict`).
pub fn kernel(mut piece: impl FnMut(Piece<'_>)) -> io::Result<Gaps> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(KERNEL)?;
    let mut gaps = Gaps::default();
    let mut next = 0;
    // Each read gives one message, and one that does not fit is an error (Documentation/ABI/testing/dev-kmsg).
    let mut buffer = vec![0; 1 << 14];
    loop {
        match log.read(&mut buffer) {
            Ok(0) => return Ok(gaps),
            Ok(length) => {
                let message = &buffer[..length];
                if let Some(number) = sequence(message) {
                    gaps.overwritten += number.saturating_sub(next);
                    next = number + 1;
                }
                // The lines that follow are the message's fields.
                let mut lines = message.split(|byte| *byte == b'\n');
                piece(Piece::line(lines.next().unwrap_or(message)));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(gaps),
                // A broken pipe: it was replaced while it was read. The next one has the number that says how many were.
                ErrorKind::Interrupted | ErrorKind::BrokenPipe => {}
                ErrorKind::InvalidInput => gaps.too_long += 1,
                _ => return Err(error),
            },
        }
    }
}

/// The number of a message, counted since boot: `5,123,456,-;…`.
fn sequence(message: &[u8]) -> Option<u64> {
    let number = message.split(|byte| *byte == b',').nth(1)?;
    str::from_utf8(number).ok()?.parse().ok()
}

/// `/dev/null` and `/dev/kmsg` (Documentation/admin-guide/devices.txt).
const NULL_DEVICE: u64 = libc::makedev(1, 3);
const KERNEL_DEVICE: u64 = libc::makedev(1, 11);

/// Reads a file, gzipped or not; `/dev/kmsg` as [`kernel`].
///
/// # Errors
/// It cannot be read, or is no log.
pub fn file(path: &Path, piece: impl FnMut(Piece<'_>)) -> io::Result<Gaps> {
    let file = File::open(path)?;
    let status = file.metadata()?;
    if status.file_type().is_char_device() {
        match status.rdev() {
            KERNEL_DEVICE => return kernel(piece),
            NULL_DEVICE => return Ok(Gaps::default()),
            _ if file.is_terminal() => {}
            _ => return Err(io::Error::other("a device, and no log")),
        }
    }
    stream_of(file, status.len(), piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_number() {
        assert_eq!(sequence(b"5,123,456,-;audit: x"), Some(123));
        assert_eq!(sequence(b"x"), None);
    }

    #[test]
    fn a_device_is_no_log() {
        for device in ["/dev/zero", "/dev/urandom"] {
            assert!(file(Path::new(device), |_| ()).is_err(), "{device}");
        }
        assert_eq!(
            file(Path::new("/dev/null"), |_| ()).unwrap(),
            Gaps::default()
        );
    }
}
