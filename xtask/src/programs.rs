//! The C programs of `tests/programs`, built ahead: where the suites run there may be no compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{process, workspace};

/// What is built from another file than its own, or with options: name, file and options.
const VARIANTS: &[(&str, &str, &[&str])] = &[
    #[cfg(target_arch = "x86_64")]
    ("files-32", "files", &["-m32"]),
    // Static: it is held against strace, and calls the same everywhere.
    #[cfg(target_arch = "x86_64")]
    ("tasks-32", "tasks", &["-m32", "-static"]),
    // The only program in its root.
    ("chores-static", "chores", &["-static"]),
];

/// Builds what is missing or older than the sources: each file under its own name, and the variants.
pub fn build() -> Result<()> {
    let sources = workspace::root().join("tests/programs");
    fs::create_dir_all(workspace::test_programs())?;
    let files: Vec<PathBuf> = fs::read_dir(&sources)
        .with_context(|| sources.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    // Any of them, as they may include each other.
    let changed = files.iter().filter_map(|file| modified(file)).max();
    for file in files
        .iter()
        .filter(|file| file.extension() == Some("c".as_ref()))
    {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        compile(&name, file, &[], changed)?;
    }
    for (name, file, options) in VARIANTS {
        compile(
            name,
            &sources.join(file).with_extension("c"),
            options,
            changed,
        )?;
    }
    Ok(())
}

fn compile(name: &str, source: &Path, options: &[&str], changed: Option<SystemTime>) -> Result<()> {
    let program = workspace::test_programs().join(name);
    if modified(&program) > changed {
        return Ok(());
    }
    let mut gcc = Command::new("gcc");
    gcc.args(["-Wall", "-Wextra", "-Werror", "-pthread"])
        .args(options)
        .arg("-o")
        .args([&program, source]);
    process::run(&mut gcc).context("a program that the tests run cannot be built")
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}
