//! The small C programs of `tests/programs`, as `cargo xtask build --tests` left them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::Scratch;

/// A program by its name: in `HARDEN_TEST_PROGRAMS`, which `cargo xtask test` sets, else in the
/// checkout.
fn built(name: &str) -> PathBuf {
    let directory = env::var_os("HARDEN_TEST_PROGRAMS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-programs"),
        PathBuf::from,
    );
    directory.join(name)
}

/// Copies a program into `dir`: where it lies and what lies beside it matters to a profile.
///
/// # Errors
/// It was not built.
pub fn install(name: &str, dir: &Scratch) -> Result<PathBuf> {
    let built = built(name);
    let program = dir.path().join(name);
    fs::copy(&built, &program).with_context(|| {
        format!(
            "{} cannot be copied: run `cargo xtask build --tests`, or name the directory in HARDEN_TEST_PROGRAMS",
            built.display()
        )
    })?;
    Ok(program)
}
