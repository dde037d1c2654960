//! `cargo xtask package`: a Debian package of the program, the agent's unit and their documentation.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, ensure};

use crate::{
    build, process,
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// `cargo xtask package`
pub fn main() -> Result<()> {
    let harden = build::build(&setup::provide(Scope::Package)?, Profile::Release)?;
    println!("packaged {}", make(&harden, &[])?.display());
    Ok(())
}

/// The package for the tests, quickly, and once: it has the `harden` that is tested, and suites read it side by side.
pub fn for_tests() -> Result<PathBuf> {
    static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(package) = &*made {
        return Ok(package.clone());
    }
    let package = make(&workspace::harden(Profile::Dev), &["--fast"])?;
    Ok(made.insert(package).clone())
}

/// Makes the package of a program, and says where it is.
fn make(harden: &Path, options: &[&str]) -> Result<PathBuf> {
    let directory = workspace::package();
    // The program knows its own commands best.
    process::run(Command::new(harden).arg("generate").arg(&directory))?;
    // Only a debugger reads the rest, which a build for tests has much of.
    process::strip(harden, &directory.join("harden"))?;
    let printed = process::output(
        Command::new(setup::cargo_deb())
            .current_dir(workspace::root())
            .args(["--package", "harden-agent", "--no-build", "--no-strip"])
            .args(options)
            .arg("--output")
            .arg(&directory),
    )?;
    // It prints the package's path, and nothing else, on standard output.
    let package = PathBuf::from(printed.trim());
    ensure!(package.is_file(), "cargo-deb made no package: {printed}");
    Ok(package)
}
