//! `cargo xtask demo`: from a fresh checkout to a program that runs under its own profile.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    build, process,
    setup::{self, Scope},
    workspace::{self, Profile},
};

const NAME: &str = "demo";

/// `cargo xtask demo`
pub fn main() -> Result<()> {
    // It is about what harden does, not about what it costs: a build for use takes minutes more.
    let harden = build::build(&setup::provide(Scope::Demo)?, Profile::Dev)?;

    // The interpreter by its full path: a wrapper of the user's would be recorded in its place.
    let server = workspace::root().join("xtask/src/demo/server.py");
    let program = ["/usr/bin/python3".as_ref(), server.as_os_str()];
    let directory = workspace::demo();
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not make {}", directory.display()))?;

    println!("\n== recording a small web server");
    let mut record = process::as_root(harden);
    record
        .args(["run", "--name", NAME, "--out"])
        .arg(&directory);
    process::run(record.arg("--").args(program))?;

    let profile = directory.join(format!("{NAME}.profile"));
    let text = fs::read_to_string(&profile)
        .with_context(|| format!("`harden run` ended well and left no {}", profile.display()))?;
    println!("\n== its profile\n{text}");

    println!("== the same server under that profile");
    let mut confined = process::as_root("firejail");
    confined
        .arg("--quiet")
        .arg(format!("--profile={}", profile.display()));
    process::run(confined.arg("--").args(program))
        .context("the server does not run under the profile that was recorded from it")?;

    println!("\nThe profile is {}", profile.display());
    Ok(())
}
