//! `cargo xtask run`: builds, then runs `harden` as root.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    build, process,
    setup::{self, Scope},
    workspace,
};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Args {
    /// The arguments of `harden`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// `cargo xtask run`
pub fn main(args: &Args) -> Result<()> {
    build::build(&setup::provide(Scope::Build)?, false)?;
    process::run(process::as_root(workspace::harden(false)).args(&args.arguments))
}
