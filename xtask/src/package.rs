//! `cargo xtask package`: a Debian package of the program, the agent's unit and their documentation.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{
    build, process,
    setup::{self, Scope},
    workspace,
};

/// `cargo xtask package`
pub fn main() -> Result<()> {
    build::build(&setup::provide(Scope::Package)?, false)?;
    println!("packaged {}", make()?.display());
    Ok(())
}

/// Makes the package of the program that is built, and says where it is.
pub fn make() -> Result<PathBuf> {
    let directory = workspace::package();
    // The program knows its own commands best.
    process::run(
        Command::new(workspace::harden(false))
            .arg("generate")
            .arg(&directory),
    )?;
    let printed = process::output(
        Command::new(setup::cargo_deb())
            .current_dir(workspace::root())
            .args(["--package", "harden-agent", "--no-build", "--output"])
            .arg(&directory),
    )?;
    // It prints the package's path, and nothing else, on standard output.
    let package = PathBuf::from(printed.trim());
    ensure!(package.is_file(), "cargo-deb made no package: {printed}");
    Ok(package)
}
