//! `cargo xtask daemons`: daemons of Debian, recorded, confined, and at the same work again.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    build, page, process, programs,
    setup::{self, Scope},
    vm, workspace,
};

/// Arguments of `cargo xtask daemons`.
#[derive(clap::Args)]
pub struct Args {
    /// The packages, such as nginx; all, where none is named: then docs/daemons.md is written anew
    names: Vec<String>,
}

/// `cargo xtask daemons`
pub fn main(args: &Args) -> Result<()> {
    build::build(&setup::provide(Scope::Tests)?, false)?;
    programs::build()?;
    let names = if args.names.is_empty() {
        "all".to_owned()
    } else {
        args.names.join(",")
    };
    let table = workspace::daemons();
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", "harden-tests", "--test", "daemons"]);
    cargo.args(["--", "--nocapture"]);
    cargo.env("HARDEN_BIN", workspace::harden(false));
    cargo.env("HARDEN_TEST_ROOT", vm::large_image()?);
    cargo.env("HARDEN_DAEMONS", names);
    cargo.env("HARDEN_DAEMONS_TABLE", &table);
    process::run_built_as_root(&mut cargo)?;
    process::run(&mut cargo)?;
    if args.names.is_empty() {
        let text = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        page::update("docs/daemons.md", "daemons", &text)?;
    }
    Ok(())
}
