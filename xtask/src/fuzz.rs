//! `cargo xtask fuzz`: bytes that nobody has thought of, for what reads other programs' files.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build, process,
    setup::{self, Scope},
    workspace,
};

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What libFuzzer needs the compiler to write: counters, and what is compared (as cargo-fuzz has it). The stable compiler
/// has these passes too; only sanitizers need a nightly one.
const FLAGS: &str = "--cfg=fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
                     -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Where they are for. With a target named, cargo leaves build scripts without them.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `cargo xtask fuzz`
pub fn main(args: &Args) -> Result<()> {
    build::kernel_programs(&setup::provide(Scope::Tests)?)?;
    let directory = workspace::root().join("fuzz");
    let target = workspace::fuzz();
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).env("RUSTFLAGS", FLAGS);
    cargo.args(["build", "--locked", "--target", TARGET, "--manifest-path"]);
    cargo.arg(directory.join("Cargo.toml"));
    process::run(cargo.arg("--target-dir").arg(&target))?;

    let found = target.join("corpus/audit");
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut fuzz = Command::new(target.join(TARGET).join("debug/audit"));
    // What makes it fail lies there, too.
    fuzz.current_dir(&target);
    fuzz.arg(format!("-max_total_time={}", args.seconds));
    fuzz.arg(format!("-dict={}", directory.join("audit.dict").display()));
    fuzz.args(["-max_len=4096", "-timeout=10", "-print_final_stats=1"]);
    process::run(fuzz.arg(&found).arg(directory.join("seeds/audit")))
}
