//! What is to be tested: `harden`, the suites, and the programs that the suites run. All of it is
//! built on the host; the guest has no compiler.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Settings, cpio::Archive, guest::Boot};
use crate::{package, process, programs, suites::Program, workspace};

const RUN: &str = include_str!("guest/run");

/// What every boot takes along.
pub struct Payload<'a> {
    program: &'a Program,
    // Without what only a debugger reads: they are a quarter as large, and all of it is in the guest's memory.
    harden: PathBuf,
    suites: PathBuf,
}

impl<'a> Payload<'a> {
    /// Collects it; `harden` has to be built.
    pub fn build(program: &'a Program, harden: &Path) -> Result<Self> {
        programs::build()?;
        let directory = workspace::vm().join("payload");
        fs::create_dir_all(&directory)?;
        let (stripped, suites) = (directory.join("harden"), directory.join("suites"));
        process::strip(harden, &stripped)?;
        process::strip(program.executable(), &suites)?;
        Ok(Self {
            program,
            harden: stripped,
            suites,
        })
    }

    /// Puts everything that a boot needs into /harden, and gives back the programs among it.
    pub fn add(
        &self,
        archive: &mut Archive,
        boot: &Boot,
        settings: &Settings,
    ) -> Result<Vec<PathBuf>> {
        archive.file("/harden/run", 0o755, RUN.as_bytes());
        if boot.doctor {
            archive.file("/harden/doctor", 0o644, b"");
        }
        archive.copy(&self.harden, "/harden/bin/harden")?;
        archive.copy(&self.suites, "/harden/bin/suites")?;
        let mut programs = vec![self.harden.clone(), self.suites.clone()];

        let mut list = String::new();
        for (guest, part) in &boot.guests {
            let name = guest.name;
            let tests = self.tests(name, part, settings)?;
            archive.file(
                format!("/harden/tests/{name}"),
                0o644,
                tests.join("\n").as_bytes(),
            );
            let scale = settings.scale.unwrap_or(guest.scale);
            let _ = writeln!(list, "{name} {} {scale}", settings.seconds(guest));
        }
        archive.file("/harden/suites", 0o644, list.as_bytes());
        if boot.is_installed() {
            archive.copy(&package::for_tests()?, "/harden/harden.deb")?;
        }

        for entry in fs::read_dir(workspace::test_programs())? {
            let entry = entry?;
            let to = Path::new("/harden/programs").join(entry.file_name());
            archive.copy(&entry.path(), to)?;
            programs.push(entry.path());
        }
        Ok(programs)
    }

    /// How many tests a boot runs.
    pub fn count(&self, boot: &Boot, settings: &Settings) -> Result<usize> {
        let guests = boot.guests.iter();
        let counts = guests.map(|(guest, part)| Ok(self.tests(guest.name, part, settings)?.len()));
        counts.sum()
    }

    /// The tests of a suite that run: those that are asked for, else the part that is usual.
    fn tests(&self, name: &str, part: &str, settings: &Settings) -> Result<Vec<&str>> {
        let filter = match &*settings.filter {
            "" => part,
            filter => filter,
        };
        self.program.tests(name, filter)
    }
}

/// Puts a program of the host into the archive, with the libraries that it loads.
pub fn add_program(archive: &mut Archive, program: &Path) -> Result<()> {
    archive.host(program)?;
    add_libraries(archive, program)
}

/// Puts the libraries that a program loads into the archive.
pub fn add_libraries(archive: &mut Archive, program: &Path) -> Result<()> {
    let output = Command::new("ldd").arg(program).output();
    // It fails for what is static, and prints no library then.
    let text = output.context("ldd cannot be run")?.stdout;
    for library in parse_libraries(&String::from_utf8_lossy(&text)) {
        archive.host(Path::new(library))?;
    }
    Ok(())
}

fn parse_libraries(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .collect()
}

/// Finds a program as root would.
pub fn find(program: &str) -> Result<PathBuf> {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = places
        .iter()
        .map(|place| Path::new(place).join(program))
        .find(|file| file.is_file());
    let found = found.with_context(|| format!("{program} is not installed"));
    ensure!(
        found.is_ok(),
        "the small image needs {program}, which is not installed: run `cargo xtask setup --tests`"
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_program() {
        let text =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(parse_libraries(text), ["/lib/libc.so.6", "/lib64/ld.so"]);
        assert_eq!(parse_libraries("\tnot a dynamic executable\n"), [""; 0]);
    }
}
