//! What a program's file says about itself.

use std::{fs::File, io::Read as _, path::Path};

use object::{
    Endianness, ReadCache, ReadRef,
    elf::{FileHeader32, FileHeader64},
    read::elf::{FileHeader, ProgramHeader},
};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::observation::Text;

/// The interpreter that an ELF program names (`PT_INTERP`): the kernel opens it before the program
/// runs, in the parent's slot. `None` for a static program, a script, or no file below `root`.
#[must_use]
pub(super) fn interpreter(root: &File, program: &Path) -> Option<Text> {
    let cache = ReadCache::new(open(root, program)?);
    named::<FileHeader64<Endianness>, _>(&cache)
        .or_else(|| named::<FileHeader32<Endianness>, _>(&cache))
}

/// The program that a script names behind `#!`. `None` for what is no script, or no file below `root`.
#[must_use]
pub(super) fn script_interpreter(root: &File, script: &Path) -> Option<Text> {
    /// As much as the kernel reads (`BINPRM_BUF_SIZE`, include/uapi/linux/binfmts.h, since 5.1).
    const BEGINNING: u64 = 256;
    let mut beginning = Vec::new();
    let file = open(root, script)?;
    file.take(BEGINNING).read_to_end(&mut beginning).ok()?;
    let line = beginning.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    // Spaces and tabs part it from its argument (`load_script` in fs/binfmt_script.c).
    let name = line.split(|byte| b" \t".contains(byte)).next()?;
    name.starts_with(b"/").then(|| Text::from(name))
}

fn open(root: &File, path: &Path) -> Option<File> {
    // Whatever lies there by now: a FIFO must not make us wait, a terminal not become ours, and a container's link
    // not lead out of it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let file = File::from(file);
    file.metadata().ok()?.is_file().then_some(file)
}

fn named<'data, Elf, R>(data: R) -> Option<Text>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let headers = header.program_headers(endian, data).ok()?;
    let name = headers
        .iter()
        .find_map(|header| header.interpreter(endian, data).ok()?)?;
    name.starts_with(b"/").then(|| Text::from(name))
}

#[cfg(test)]
mod tests {
    use super::{interpreter, script_interpreter};

    #[test]
    fn a_script_names_its_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(directory.path()).unwrap();
        for (text, name) in [
            ("#!/bin/sh\necho\n", Some("/bin/sh")),
            ("#! /usr/bin/env\tpython3\n", Some("/usr/bin/env")),
            ("#!sh\n", None),
            ("#!", None),
            ("echo\n", None),
        ] {
            std::fs::write(directory.path().join("script"), text).unwrap();
            let found = script_interpreter(&root, "/script".as_ref());
            assert_eq!(
                found.map(|name| name.to_string()).as_deref(),
                name,
                "{text}"
            );
        }
    }

    #[test]
    fn a_dynamic_program_names_its_interpreter() {
        let root = std::fs::File::open("/").unwrap();
        let own = interpreter(&root, &std::env::current_exe().unwrap()).unwrap();
        assert!(own.as_path().exists(), "{own}");
        assert_eq!(interpreter(&root, "/dev/null".as_ref()), None);
        assert_eq!(interpreter(&root, "/".as_ref()), None);
    }
}
