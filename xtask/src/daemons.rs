//! `cargo xtask daemons`: daemons of Debian, recorded, confined, and at the same work again.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build, page,
    setup::{self, Scope},
    suites::Here,
    vm,
    workspace::{self, Profile},
};

/// Arguments of `cargo xtask daemons`.
#[derive(clap::Args)]
pub struct Args {
    /// The packages, such as nginx; all, where none is named: then docs/daemons.md is written again
    names: Vec<String>,
}

/// `cargo xtask daemons`
pub fn main(args: &Args) -> Result<()> {
    let harden = build::build(&setup::provide(Scope::Tests)?, Profile::Dev)?;
    let names = if args.names.is_empty() {
        "all".to_owned()
    } else {
        args.names.join(",")
    };
    let table = workspace::daemons();
    let variables = [
        ("HARDEN_TEST_ROOT", vm::large_image()?.display().to_string()),
        ("HARDEN_DAEMONS", names),
        ("HARDEN_DAEMONS_TABLE", table.display().to_string()),
    ];
    let suites = Here::build(harden)?.with(&variables, Duration::from_mins(30));
    let outcome = suites.run("daemons", "", true)?;
    ensure!(outcome.good, "daemons failed: see above");
    if args.names.is_empty() {
        let text = fs::read_to_string(&table).with_context(|| table.display().to_string())?;
        page::update("docs/daemons.md", "daemons", &text)?;
    }
    Ok(())
}
