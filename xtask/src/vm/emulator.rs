//! QEMU: the machine's own, or Debian's.

use std::process::Command;

use super::foreign::Foreign;
use crate::process;

/// The emulator.
pub const QEMU: Foreign = Foreign {
    name: "qemu-system-x86_64",
    package: "qemu-system-x86",
    libraries: "",
};

/// The command that starts it, without arguments.
pub fn command() -> Command {
    let mut qemu = QEMU.command();
    if !process::exists(QEMU.name) {
        let root = QEMU.directory();
        qemu.arg("-L").arg(root.join("usr/share/qemu"));
        qemu.arg("-L").arg(root.join("usr/share/seabios"));
        // It looks for its modules, emulation among them, relative to its own program.
        qemu.env(
            "QEMU_MODULE_DIR",
            root.join("usr/lib/x86_64-linux-gnu/qemu"),
        );
    }
    qemu
}
