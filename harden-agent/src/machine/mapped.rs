//! Which files a process has mapped to run code from: its program and its libraries.

use std::{
    fs::{self, File},
    io,
};

use bstr::ByteSlice as _;

use crate::observation::Text;

/// A file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Its path, in the process's own view of the files.
    pub path: Text,
    /// It has no name any more, as after an upgrade.
    pub is_deleted: bool,
    /// Where it is mapped, as the kernel writes it: `START-END`.
    range: String,
}

impl Mapped {
    /// The file itself, whatever lies at its path by now.
    ///
    /// # Errors
    /// It cannot be opened: that takes `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE` (proc(5), `/proc/PID/map_files`).
    pub(crate) fn open(&self, pid: u32) -> io::Result<File> {
        File::open(format!("/proc/{pid}/map_files/{}", self.range))
    }
}

/// The files that process `pid` has mapped executable; none if there is no such process, or without the right to know.
pub(crate) fn executable(pid: u32) -> Vec<Mapped> {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect()
}

/// Of a line `START-END PERMISSIONS OFFSET DEVICE INODE PATH` (proc(5)). The kernel writes a newline in a path as `\012`,
/// and nothing else so (`show_map_vma`, `fs/proc/task_mmu.c`).
fn parse(line: &[u8]) -> Option<Mapped> {
    const DELETED: &[u8] = b" (deleted)";
    let mut rest = line;
    let mut fields = [&b""[..]; 5];
    for field in &mut fields {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        *field = &rest[..end];
        rest = &rest[end + 1..];
    }
    let [range, permissions, _, _, inode] = fields;
    let start = rest.iter().position(|byte| *byte != b' ')?;
    let path = &rest[start..];
    // A name in brackets, and memory without a file, have the number 0.
    if permissions.get(2) != Some(&b'x') || inode == b"0" || !path.starts_with(b"/") {
        return None;
    }
    let (path, is_deleted) = match path.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (path, false),
    };
    // The directory has the numbers without leading zeros, and so has this file.
    let range = str::from_utf8(range).ok()?;
    let (from, to) = range.split_once('-')?;
    let plain = |number: &str| u64::from_str_radix(number, 16).ok();
    Some(Mapped {
        path: Text::from(path.replace(br"\012", b"\n")),
        is_deleted,
        range: format!("{:x}-{:x}", plain(from)?, plain(to)?),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let of = |line: &[u8]| parse(line).map(|found| (found.path.to_string(), found.is_deleted));
        let path = "55e0-55e4 r-xp 00002000 fd:00 1234                       /usr/sbin/a b";
        assert_eq!(
            of(path.as_bytes()),
            Some(("/usr/sbin/a b".to_owned(), false))
        );
        let deleted = b"00055e0-55e4 r-xp 00002000 fd:00 1234   /usr/lib/x.so (deleted)";
        assert_eq!(of(deleted), Some(("/usr/lib/x.so".to_owned(), true)));
        assert_eq!(parse(deleted).unwrap().range, "55e0-55e4");
        let newline = parse(b"1-2 r-xp 0 0:1 9 /a\\012b\xff").unwrap();
        assert_eq!(newline.path.as_bytes(), b"/a\nb\xff");
        for other in [
            &b"55e0-55e4 r--p 00002000 fd:00 1234   /usr/sbin/a"[..],
            b"7ffd-7ffe r-xp 00000000 00:00 0    [vdso]",
            b"7ffd-7ffe r-xp 00000000 00:00 0 ",
            b"7ffd-7ffe r-xp",
            b"x-y r-xp 0 0:1 9 /a",
            b"",
        ] {
            assert_eq!(of(other), None);
        }
    }

    #[test]
    fn this_process_has_its_program_mapped() {
        let own = std::env::current_exe().unwrap();
        let text = Text::from(own.as_os_str().as_encoded_bytes());
        let mapped = executable(std::process::id());
        assert!(mapped.len() > 1, "{mapped:?}");
        let found = mapped.iter().find(|one| one.path == text).unwrap();
        assert!(!found.is_deleted);
        match found.open(std::process::id()) {
            Ok(file) => {
                let (mapped, there) = (file.metadata().unwrap(), own.metadata().unwrap());
                assert_eq!((mapped.ino(), mapped.len()), (there.ino(), there.len()));
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
