//! Programs of another Debian release, unpacked beside the kernels. Nothing is installed for them: a package
//! that is there for something else often bars another release's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt::Apt;
use crate::{process, workspace};

/// The release that they come from.
const RELEASE: &str = "trixie";

/// One program.
pub struct Foreign {
    /// Its name, and that of its directory.
    pub name: &'static str,
    /// The package that has it.
    pub package: &'static str,
    /// Where libraries lie that only this package uses, below that of the architecture's.
    pub libraries: &'static str,
}

impl Foreign {
    /// Where it is unpacked.
    pub fn directory(&self) -> PathBuf {
        workspace::vm().join(self.name)
    }

    /// Is there one, the machine's own or an unpacked one?
    pub fn is_here(&self) -> bool {
        process::exists(self.name) || self.directory().is_dir()
    }

    /// Fetches and unpacks it, unless there is one.
    pub fn fetch(&self) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        let name = self.name;
        println!("vm: fetching {name} from Debian {RELEASE}");
        self.unpack(&self.directory())
            .with_context(|| format!("could not get the {name} of Debian {RELEASE}"))
    }

    fn unpack(&self, directory: &Path) -> Result<()> {
        let apt = Apt::new(RELEASE)?;
        apt.unpack(&apt.brings(self.package)?, directory)
    }

    /// The command that starts it, without arguments.
    pub fn command(&self) -> Command {
        if process::exists(self.name) {
            return Command::new(self.name);
        }
        // With the dynamic linker and all libraries of its own release, whatever those of the machine.
        let root = self.directory();
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let mut path = libraries.clone().into_os_string();
        if !self.libraries.is_empty() {
            path.push(":");
            path.push(libraries.join(self.libraries));
        }
        let mut program = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        program.arg("--library-path").arg(path);
        program.arg(root.join("usr/bin").join(self.name));
        program
    }

    /// A file that can be executed as the program can.
    pub fn script(&self) -> Result<PathBuf> {
        let file = workspace::vm().join(format!("{}.sh", self.name));
        let command = self.command();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        fs::write(
            &file,
            format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")),
        )
        .with_context(|| format!("could not write {}", file.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(file)
    }
}

/// As a shell's word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
