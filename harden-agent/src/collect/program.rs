//! What a program's file says about itself.

use std::{fs::File, path::Path};

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
pub fn interpreter(root: &File, program: &Path) -> Option<Text> {
    // Whatever lies there by now: a FIFO must not make us wait, a terminal not become ours, and a container's link
    // not lead out of it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(root, program, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let file = File::from(file);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let cache = ReadCache::new(file);
    named::<FileHeader64<Endianness>, _>(&cache)
        .or_else(|| named::<FileHeader32<Endianness>, _>(&cache))
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
    use super::interpreter;

    #[test]
    fn a_dynamic_program_names_its_interpreter() {
        let root = std::fs::File::open("/").unwrap();
        let own = interpreter(&root, &std::env::current_exe().unwrap()).unwrap();
        assert!(own.as_path().exists(), "{own}");
        assert_eq!(interpreter(&root, "/dev/null".as_ref()), None);
        assert_eq!(interpreter(&root, "/".as_ref()), None);
    }
}
