//! `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).

use std::{
    fs,
    os::fd::AsRawFd,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number, as `fdinfo` names it.
    pub id: u64,
    /// Where it is.
    pub point: PathBuf,
    /// `ext4`, `fuse.sshfs`.
    pub file_system: String,
    /// Options of this mount: `rw`, `nosuid`.
    pub options: Vec<String>,
    /// Options of the file system behind it, which may be read-only where the mount is not.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether it has `option`, by itself or by its file system.
    pub(super) fn has(&self, option: &str) -> bool {
        let mut all = self.options.iter().chain(&self.super_options);
        all.any(|found| found == option)
    }
}

/// The mounts that this process sees; none without /proc.
pub(super) fn read() -> Vec<Mount> {
    parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    // Optional fields end with a dash.
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |bytes: &[u8]| text(bytes).split(',').map(str::to_owned).collect();
    Some(Mount {
        id: text(fields.first()?).parse().ok()?,
        point: PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.get(4)?))),
        options: list(fields.get(5)?),
        file_system: text(fields.get(dash + 1)?),
        super_options: list(fields.get(dash + 3)?),
    })
}

/// Blank, tab, line feed and backslash are `\` and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

/// The mount that `path` is on.
pub(super) fn of<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let file = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let id: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())?;
    mounts.iter().find(|mount| mount.id == id)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::path::Path;

    #[test]
    fn a_line_is_read_with_its_blanks() {
        let text = b"36 35 98:0 /m /mnt\\040two rw,nosuid shared:1 - ext3 /dev/root ro,errors=continue\nbroken\n\xff\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].id, 36);
        assert_eq!(mounts[0].point, Path::new("/mnt two"));
        assert_eq!(mounts[0].file_system, "ext3");
        assert!(mounts[0].has("nosuid") && mounts[0].has("ro") && !mounts[0].has("noexec"));
    }

    #[test]
    fn half_an_escape_is_itself() {
        assert_eq!(super::unescape(b"a\\04"), b"a\\04");
        assert_eq!(super::unescape(b"\\999\\"), b"\\999\\");
    }
}
