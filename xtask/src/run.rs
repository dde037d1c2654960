//! `cargo xtask run`: builds, then runs `harden` as root.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    build, process,
    setup::{self, Scope},
    workspace::Profile,
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
    let harden = build::build(&setup::provide(Scope::Build)?, Profile::Release)?;
    process::run(process::as_root(harden).args(&args.arguments))
}
