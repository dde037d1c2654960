//! The logs of this machine, line by line: the journal, the kernel's own, and files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use crate::observation::Text;

/// Where the kernel's own log is read.
pub const KERNEL: &str = "/dev/kmsg";
/// Where auditd writes.
pub const AUDITD: &str = "/var/log/audit/audit.log";

/// Longer lines are no records: the kernel's own are shorter than 9 KiB (`MAX_AUDIT_MESSAGE_LENGTH`).
const LINE: usize = 1 << 18;

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
pub fn journal(since: Option<Timestamp>, line: impl FnMut(&[u8])) -> io::Result<Gaps> {
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
    journalctl(&all, line)
}

/// The entries from the first moment to the second that match any of these: `_PID=12`. Only some of their fields.
///
/// # Errors
/// As [`journal`].
pub fn entries(
    (from, to): (Timestamp, Timestamp),
    matches: &[String],
    fields: &[&str],
    line: impl FnMut(&[u8]),
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
    journalctl(&arguments, line)
}

fn journalctl(arguments: &[&str], line: impl FnMut(&[u8])) -> io::Result<Gaps> {
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
        Some(out) => lines(BufReader::new(out), line),
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
pub fn kernel(mut line: impl FnMut(&[u8])) -> io::Result<Gaps> {
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
                line(
                    message
                        .split(|byte| *byte == b'\n')
                        .next()
                        .unwrap_or(message),
                );
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

/// Reads a file, gzipped or not; for `/dev/kmsg` as [`kernel`].
///
/// # Errors
/// It cannot be read.
pub fn file(path: &Path, line: impl FnMut(&[u8])) -> io::Result<Gaps> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_char_device() && path == Path::new(KERNEL) {
        return kernel(line);
    }
    stream(File::open(path)?, line)
}

/// Reads a stream to its end, gzipped or not.
///
/// # Errors
/// It cannot be read.
pub fn stream(read: impl Read, line: impl FnMut(&[u8])) -> io::Result<Gaps> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut read = BufReader::new(read);
    if read.fill_buf()?.starts_with(&GZIP) {
        return lines(BufReader::new(MultiGzDecoder::new(read)), line);
    }
    lines(read, line)
}

fn lines(mut read: impl BufRead, mut line: impl FnMut(&[u8])) -> io::Result<Gaps> {
    let mut gaps = Gaps::default();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let limit = u64::try_from(LINE).unwrap_or(u64::MAX);
        if read.by_ref().take(limit).read_until(b'\n', &mut buffer)? == 0 {
            return Ok(gaps);
        }
        if buffer.len() < LINE || buffer.ends_with(b"\n") {
            line(&buffer);
        } else {
            gaps.too_long += 1;
            read.skip_until(b'\n')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Gaps) {
        let mut all = Vec::new();
        let gaps = stream(bytes, |line| all.push(line.trim_ascii_end().to_owned())).unwrap();
        (all, gaps)
    }

    #[test]
    fn a_gzipped_log_has_the_same_lines() {
        let text = b"one\n\xff\n\nlast";
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        let mut packed = packed.finish().unwrap();
        let plain = read(text);
        assert_eq!(plain.0, [&b"one"[..], b"\xff", b"", b"last"]);
        assert_eq!(read(&packed), plain);
        // As logrotate leaves it, if it was cut short: an error, and not the end.
        packed.truncate(packed.len() - 9);
        assert!(stream(&packed[..], |_| ()).is_err());
    }

    #[test]
    fn a_line_without_end_is_counted_and_left_out() {
        let long = [b"a\n", &vec![b'x'; 3 * LINE][..], b"\nb\n"].concat();
        let (lines, gaps) = read(&long);
        assert_eq!(lines, [b"a", b"b"]);
        assert_eq!(gaps.too_long, 1);
    }

    #[test]
    fn a_message_has_its_number() {
        assert_eq!(sequence(b"5,123,456,-;audit: x"), Some(123));
        assert_eq!(sequence(b"x"), None);
    }
}
