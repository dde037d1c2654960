//! What is to be tested: `harden`, the suites, and the programs that the suites run. All of it is
//! built on the host; the guest has no compiler.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Told, cpio::Archive, suite::Boot};
use crate::{package, process, programs, workspace};

const RUN: &str = include_str!("guest/run");

/// Test programs by the names of their targets.
pub struct Payload {
    suites: Vec<(String, PathBuf)>,
    package: PathBuf,
}

impl Payload {
    /// Builds the suites and their programs; `harden` has to be built.
    pub fn build() -> Result<Self> {
        programs::build()?;
        let mut cargo = process::cargo();
        cargo.args(["test", "--package", "harden-tests", "--features", "vm"]);
        cargo.args(["--no-run", "--message-format=json"]);
        let messages = process::output(&mut cargo).context("the suites cannot be built")?;
        let directory = workspace::vm().join("suites");
        fs::create_dir_all(&directory)?;
        let mut suites = Vec::new();
        for (name, executable) in parse_executables(&messages) {
            // They are fifteen times as large with what only a debugger reads.
            let stripped = directory.join(&name);
            let mut strip = Command::new("strip");
            process::run(strip.args(["-o"]).arg(&stripped).arg(&executable))?;
            suites.push((name, stripped));
        }
        let package = package::make()?;
        Ok(Self { suites, package })
    }

    /// Puts everything that a boot needs into /harden, and gives back the programs among it.
    pub fn add(&self, archive: &mut Archive, boot: &Boot, told: &Told) -> Result<Vec<PathBuf>> {
        archive.file("/harden/run", 0o755, RUN.as_bytes());
        archive.file("/harden/arguments", 0o644, told.arguments.as_bytes());
        if boot.doctor {
            archive.file("/harden/doctor", 0o644, b"");
        }
        let mut programs = vec![workspace::harden(false)];
        archive.copy(&programs[0], "/harden/bin/harden")?;

        let mut list = String::new();
        for suite in &boot.suites {
            let mut built = self.suites.iter();
            let found = built.find(|(name, _)| name == suite.name);
            let (name, file) =
                found.with_context(|| format!("harden-tests has no suite `{}`", suite.name))?;
            archive.copy(file, format!("/harden/tests/{name}"))?;
            let scale = told
                .scale
                .map_or(suite.scale.to_owned(), |scale| scale.to_string());
            let _ = writeln!(list, "{name} {} {scale}", told.seconds(suite));
            programs.push(file.clone());
        }
        if boot.is_installed() {
            archive.copy(&self.package, "/harden/harden.deb")?;
        }
        archive.file("/harden/suites", 0o644, list.as_bytes());

        for entry in fs::read_dir(workspace::test_programs())? {
            let entry = entry?;
            let to = Path::new("/harden/programs").join(entry.file_name());
            archive.copy(&entry.path(), to)?;
            programs.push(entry.path());
        }
        Ok(programs)
    }
}

/// Name and file of every test program, from what cargo prints.
fn parse_executables(messages: &str) -> Vec<(String, PathBuf)> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?;
            let executable = message["executable"].as_str()?;
            Some((name.to_owned(), executable.into()))
        })
        .collect()
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
    fn cargo_names_the_test_programs() {
        let text = r#"{"target":{"name":"paths"},"profile":{"test":true},"executable":"/t/paths-1"}
{"target":{"name":"lib"},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            parse_executables(text),
            [("paths".to_owned(), PathBuf::from("/t/paths-1"))]
        );
    }

    #[test]
    fn libraries_of_a_program() {
        let text =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(parse_libraries(text), ["/lib/libc.so.6", "/lib64/ld.so"]);
        assert_eq!(parse_libraries("\tnot a dynamic executable\n"), [""; 0]);
    }
}
