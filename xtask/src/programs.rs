//! The C programs of `tests/programs`, built ahead: where the suites run there may be no compiler.

use std::{fs, path::Path, process::Command, time::SystemTime};

use anyhow::{Context as _, Result};

use crate::{process, workspace};

/// What is built from another file than its own, or with options: name, file and options.
const VARIANTS: &[(&str, &str, &[&str])] = &[
    #[cfg(target_arch = "x86_64")]
    ("files-32", "files", &["-m32"]),
    // Static: it is held against strace, and calls the same everywhere.
    #[cfg(target_arch = "x86_64")]
    ("tasks-32", "tasks", &["-m32", "-static"]),
];

/// Builds what is missing or older than its source: each file under its own name, and the variants.
pub fn build() -> Result<()> {
    let sources = workspace::root().join("tests/programs");
    fs::create_dir_all(workspace::test_programs())?;
    let entries = fs::read_dir(&sources).with_context(|| sources.display().to_string())?;
    for entry in entries {
        let source = entry?.path();
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        compile(&name, &source, &[])?;
    }
    for (name, file, options) in VARIANTS {
        compile(name, &sources.join(file).with_extension("c"), options)?;
    }
    Ok(())
}

fn compile(name: &str, source: &Path, options: &[&str]) -> Result<()> {
    let program = workspace::test_programs().join(name);
    if modified(&program).is_ok_and(|built| modified(source).is_ok_and(|source| source < built)) {
        return Ok(());
    }
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-pthread"])
        .args(options)
        .arg("-o")
        .args([&program, source]);
    process::run(&mut gcc).context("a program that the tests run cannot be built")
}

fn modified(file: &Path) -> Result<SystemTime> {
    Ok(fs::metadata(file)?.modified()?)
}
