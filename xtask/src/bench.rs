//! `cargo xtask bench`: what observing costs, beside what other tools cost.

use anyhow::Result;

use crate::{
    build, process,
    setup::{self, Scope},
    workspace::Profile,
};

/// `cargo xtask bench`
pub fn main() -> Result<()> {
    build::build(&setup::provide(Scope::Tests)?, Profile::Release)?;
    let mut cargo = process::cargo();
    cargo.args(["bench", "--package", "harden-agent", "--bench", "syscall"]);
    process::run_built_as_root(&mut cargo)?;
    process::run(&mut cargo)
}
