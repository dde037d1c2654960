//! `cargo xtask soak`: what weeks, and many kills, do to the agent.

use anyhow::Result;

use crate::{
    build, process, programs,
    setup::{self, Scope},
    workspace,
};

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Args {
    /// How long the week takes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// How often the agent is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
}

/// `cargo xtask soak`
pub fn main(args: &Args) -> Result<()> {
    build::build(&setup::provide(Scope::Tests)?, false)?;
    programs::build()?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", "harden-tests", "--no-fail-fast"]);
    cargo.args(["--test", "survival", "--test", "soak"]);
    cargo.args(["--", "--nocapture", "--test-threads=1"]);
    cargo.env("HARDEN_BIN", workspace::harden(false));
    cargo.env("HARDEN_TEST_PROGRAMS", workspace::test_programs());
    cargo.env("HARDEN_TEST_KILLS", args.kills.to_string());
    cargo.env("HARDEN_SOAK_MINUTES", args.minutes.to_string());
    process::run_built_as_root(&mut cargo)?;
    process::run(&mut cargo)
}
