//! The table of calls that take paths, held against the running kernel's own description of its
//! calls (the syscall tracepoints' `format` files): no path argument of any call is left out.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use harden_common::PATH_CALLS;
use harden_tests::{Scratch, met, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// What the kernel names its path arguments.
const PATHS: [&str; 14] = [
    "filename",
    "pathname",
    "path",
    "oldname",
    "newname",
    "dev_name",
    "dir_name",
    "special",
    "specialfile",
    "from_pathname",
    "to_pathname",
    "new_root",
    "put_old",
    "library",
];
/// Calls whose path argument is just a `name`, which elsewhere is an attribute's or a host's.
const NAMES: [&str; 3] = ["acct", "umount", "name_to_handle_at"];
/// A symbolic link's text is no path that is looked up when it is made.
const TEXTS: [(&str, usize); 2] = [("symlink", 0), ("symlinkat", 0)];

/// The file system with the descriptions, mounted while this lives.
struct Tracefs(Scratch);

impl Tracefs {
    fn mount() -> Result<Self> {
        let place = Scratch::new(Path::new("/run"))?;
        let none: Option<&str> = None;
        mount(
            Some("tracefs"),
            place.path(),
            Some("tracefs"),
            MsFlags::empty(),
            none,
        )?;
        Ok(Self(place))
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn no_path_argument_of_the_kernel_is_left_out() -> Result<()> {
    if !met("no_path_argument_of_the_kernel_is_left_out", &[]) {
        return Ok(());
    }
    let tracefs = Tracefs::mount()?;
    let events = tracefs.0.path().join("events/syscalls");
    if !events.is_dir() {
        // CONFIG_FTRACE_SYSCALLS
        skip(
            "no_path_argument_of_the_kernel_is_left_out",
            "this kernel does not describe its calls",
        );
        return Ok(());
    }
    let mut checked = 0;
    let mut missing = Vec::new();
    for event in fs::read_dir(events)? {
        let event = event?;
        let file_name = event.file_name().into_string().unwrap_or_default();
        let Some(call) = file_name.strip_prefix("sys_enter_") else {
            continue;
        };
        let format = fs::read_to_string(event.path().join("format"))?;
        for argument in path_arguments(call, &format) {
            checked += 1;
            let number = number(call)
                .with_context(|| format!("{call} has no number in the table of names"))?;
            if !is_listed(number, argument) {
                missing.push(format!("argument {argument} of {call} ({number})"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    // As many as Linux 5.10 has, at least.
    assert!(checked >= 70, "only {checked} path arguments were found");
    Ok(())
}

/// Which arguments of `call` are paths, counted from 0.
fn path_arguments(call: &str, format: &str) -> Vec<usize> {
    let fields = format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next())
        .filter(|field| !field.contains("common_") && !field.ends_with("__syscall_nr"))
        // Newer kernels add the contents of user memory to some events.
        .filter(|field| !field.contains("__data_loc"));
    fields
        .enumerate()
        .filter(|(_, field)| field.contains("char") && field.contains('*'))
        .filter(|&(index, field)| {
            let name = field.rsplit([' ', '*']).next().unwrap_or_default();
            (PATHS.contains(&name) || (name == "name" && NAMES.contains(&call)))
                && !TEXTS.contains(&(call, index))
        })
        .map(|(index, _)| index)
        .collect()
}

/// The number of the call that the kernel's source calls `call`.
fn number(call: &str) -> Option<usize> {
    let name = match call {
        "newstat" => "stat",
        "newlstat" => "lstat",
        "umount" => "umount2",
        // 6.17 and later; not in the table of names yet.
        "file_getattr" => return Some(468),
        "file_setattr" => return Some(469),
        "open_tree_attr" => return Some(467),
        other => other,
    };
    usize::try_from(name.parse::<syscalls::x86_64::Sysno>().ok()?.id()).ok()
}

/// Whether the table has `argument` as a path of call `number`.
fn is_listed(number: usize, argument: usize) -> bool {
    let entry = PATH_CALLS[number];
    let is = |half: u32| half != 0 && (half >> 6 & 7) as usize == argument;
    is(entry & 0xffff) || is(entry >> 16)
}
