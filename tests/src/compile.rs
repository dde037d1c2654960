//! C programs made for a test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Compiles `source` to the program `name` in `dir`.
///
/// # Errors
/// gcc's, with what it printed.
pub fn c(dir: &Path, name: &str, source: &str, options: &[&str]) -> Result<PathBuf> {
    let program = dir.join(name);
    let file = dir.join(format!("{name}.c"));
    fs::write(&file, source)?;
    let output = Command::new("gcc")
        .args(["-O1", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(&file)
        .args(options)
        .output()
        .context("gcc")?;
    fs::remove_file(&file)?;
    ensure!(
        output.status.success(),
        "gcc {name}.c: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}
