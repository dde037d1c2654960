//! The small C programs of `tests/programs`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::Scratch;

/// Compiles `tests/programs/NAME.c` into `dir`.
///
/// # Errors
/// There is no compiler, or it refuses.
pub fn compile(name: &str, options: &[&str], dir: &Scratch) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("programs/{name}.c"));
    let program = dir.path().join(name);
    let output = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Werror", "-pthread"])
        .args(options)
        .arg("-o")
        .args([&program, &source])
        .output()
        .context("gcc cannot be run")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}
