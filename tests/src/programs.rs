//! The small C programs of `tests/programs`, as `cargo xtask build --tests` left them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

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
    copy(&built, &program).with_context(|| {
        format!(
            "{} cannot be copied: run `cargo xtask build --tests`, or name the directory in HARDEN_TEST_PROGRAMS",
            built.display()
        )
    })?;
    Ok(program)
}

/// Copies a program that is started at once. cp(1) does it: a file that this process had open for writing would be open in each
/// child that another thread forks meanwhile, until that executes its own program, and the kernel starts no program that somebody
/// may write (`ETXTBSY`).
///
/// # Errors
/// It cannot be copied.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let mut cp = Command::new("cp");
    let output = cp.arg("-p").arg(from.as_ref()).arg(to.as_ref()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(())
}
