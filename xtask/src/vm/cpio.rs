//! Writes a cpio archive as the kernel unpacks it into its first root file system: everything in it
//! belongs to root, no matter who made it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    names: BTreeSet<PathBuf>,
}

impl Archive {
    /// A directory, and those above it, unless they are in already.
    pub fn directory(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        if self.take(path) {
            self.entry(path, DIRECTORY | 0o755, 0, &[]);
        }
    }

    /// A file with this content. The first of a name stays.
    pub fn file(&mut self, path: impl AsRef<Path>, mode: u32, content: &[u8]) {
        let path = path.as_ref();
        if self.take(path) {
            self.entry(path, FILE | (mode & 0o7777), 0, content);
        }
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        let path = path.as_ref();
        if self.take(path) {
            let target = target.as_ref().as_os_str().as_bytes();
            self.entry(path, SYMLINK | 0o777, 0, target);
        }
    }

    /// A file of the host under another name, with its permissions.
    pub fn copy(&mut self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        let content =
            fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.file(to, fs::metadata(from)?.permissions().mode(), &content);
        Ok(())
    }

    /// A file, a symbolic link with what it leads to, or a whole directory of the host, under its
    /// own name.
    pub fn host(&mut self, path: &Path) -> Result<()> {
        self.host_at(path)
            .with_context(|| format!("could not take {} into the image", path.display()))
    }

    fn host_at(&mut self, path: &Path) -> Result<()> {
        // The directory may be a link, as /bin is, and is one in the image too.
        let directory = path.parent().unwrap_or(path).canonicalize()?;
        let path = directory.join(path.file_name().context("a path without a name")?);
        if self.names.contains(&path) {
            return Ok(());
        }
        let metadata = path.symlink_metadata()?;
        if metadata.is_symlink() {
            let target = fs::read_link(&path)?;
            self.symlink(&path, &target);
            return self.host_at(&directory.join(target));
        }
        if metadata.is_dir() {
            self.directory(&path);
            for entry in fs::read_dir(&path)? {
                self.host_at(&entry?.path())?;
            }
        } else if metadata.is_file() {
            // Python compiles again what does not have the time that it knows.
            let mode = FILE | (metadata.permissions().mode() & 0o7777);
            if self.take(&path) {
                self.entry(&path, mode, metadata.mtime(), &fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// The archive, complete.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, 0, &[]);
        self.bytes
    }

    /// Makes room for a new name. False if it is there.
    fn take(&mut self, path: &Path) -> bool {
        if path.parent().is_none() || !self.names.insert(path.to_owned()) {
            return false;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        true
    }

    fn entry(&mut self, path: &Path, mode: u32, time: i64, content: &[u8]) {
        let name = path
            .strip_prefix("/")
            .unwrap_or(path)
            .as_os_str()
            .as_bytes();
        self.entries += 1;
        // Inode, mode, owner, group, links, time, size, two devices of two numbers, length of the name
        // with its final zero, checksum: eight hexadecimal digits each.
        let fields = [
            self.entries as usize,
            mode as usize,
            0,
            0,
            1,
            usize::try_from(time).unwrap_or(0),
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = 0;
        let number = |at: usize| {
            let digits = std::str::from_utf8(&bytes[at..at + 8]).expect("digits");
            usize::from_str_radix(digits, 16).expect("a number")
        };
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (size, name) = (number(at + 6 + 6 * 8), number(at + 6 + 11 * 8));
            let start = at + 110;
            names.push(String::from_utf8_lossy(&bytes[start..start + name - 1]).into_owned());
            at = (start + name).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        names
    }

    #[test]
    fn directories_come_first_and_every_name_once() {
        let mut archive = Archive::default();
        archive.symlink("/bin", "usr/bin");
        archive.file("/usr/bin/one", 0o755, b"12345");
        archive.file("/usr/bin/two", 0o755, b"");
        archive.file("/usr/bin/one", 0o755, b"again");
        let expected = [
            "bin",
            "usr",
            "usr/bin",
            "usr/bin/one",
            "usr/bin/two",
            "TRAILER!!!",
        ];
        assert_eq!(names(&archive.finish()), expected);
    }
}
