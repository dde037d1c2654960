//! QEMU: the machine's own, or Debian's, unpacked beside the kernels. Nothing is installed for it: a
//! package of QEMU that is there for something else often bars the release's others.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt::Apt;
use crate::{process, workspace};

const PROGRAM: &str = "qemu-system-x86_64";

/// The release of Debian that it comes from.
const RELEASE: &str = "trixie";

fn directory() -> PathBuf {
    workspace::vm().join("qemu")
}

/// Is there one?
pub fn is_here() -> bool {
    process::exists(PROGRAM) || directory().is_dir()
}

/// Fetches and unpacks it, unless there is one.
pub fn fetch() -> Result<()> {
    if is_here() {
        return Ok(());
    }
    println!("vm: fetching QEMU from Debian {RELEASE}");
    unpack(&directory()).with_context(|| format!("could not get the QEMU of Debian {RELEASE}"))
}

fn unpack(directory: &Path) -> Result<()> {
    let apt = Apt::new(RELEASE)?;
    apt.unpack(&apt.brings("qemu-system-x86")?, directory)
}

/// The command that starts it, without arguments.
pub fn command() -> Command {
    if process::exists(PROGRAM) {
        return Command::new(PROGRAM);
    }
    // With the dynamic linker and all libraries of its own release, whatever those of the machine.
    let root = directory();
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut qemu = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    qemu.arg("--library-path").arg(&libraries);
    qemu.arg(root.join("usr/bin").join(PROGRAM));
    qemu.arg("-L").arg(root.join("usr/share/qemu"));
    qemu.arg("-L").arg(root.join("usr/share/seabios"));
    // It looks for its modules, emulation among them, relative to its own program.
    qemu.env("QEMU_MODULE_DIR", libraries.join("qemu"));
    qemu
}
