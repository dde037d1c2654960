//! `cargo xtask test`: everything that has to hold before a change goes in.

mod tally;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};

pub use self::tally::Tally;
use crate::{
    build, package, process, programs,
    setup::{self, Scope, Toolchain},
    vm, workspace,
};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the end-to-end suites, which need root
    #[arg(long)]
    quick: bool,
}

/// `cargo xtask test`
pub fn main(args: &Args) -> Result<()> {
    let scope = if args.quick {
        Scope::Build
    } else {
        Scope::Tests
    };
    let toolchain = setup::provide(scope)?;
    thread::scope(|scope| {
        // Downloads, and dpkg in one thread: the compiler has the other processors meanwhile.
        let fetched = (!args.quick).then(|| scope.spawn(vm::fetch));
        build::build(&toolchain, false)?;
        formatting()?;
        lints(&toolchain)?;
        documentation()?;
        let fetched = fetched.map(thread::ScopedJoinHandle::join);
        fetched.map_or(Ok(()), |result| {
            result.map_err(|_| anyhow!("fetching panicked"))?
        })
    })?;
    tests(args.quick)
}

fn formatting() -> Result<()> {
    headline("formatting");
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    process::run(
        process::cargo()
            .current_dir(workspace::ebpf())
            .args(["fmt", "--check"]),
    )
}

fn lints(toolchain: &Toolchain) -> Result<()> {
    headline("lints");
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "--deny",
        "warnings",
    ];
    process::run(process::cargo().args(clippy))?;

    let Some(mut clippy) = toolchain.clippy()? else {
        let sysroot = toolchain.sysroot.display();
        println!("the kernel programs are not linted: the compiler in {sysroot} has no clippy");
        return Ok(());
    };
    process::run(clippy.args(["--release", "--locked", "--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    headline("documentation");
    let mut cargo = process::cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(cargo.args(["doc", "--workspace", "--no-deps"]))
}

/// Runs all tests, also after failures, and ends with the sum.
fn tests(quick: bool) -> Result<()> {
    let skipped = workspace::skipped();
    fs::write(&skipped, "").with_context(|| format!("could not write {}", skipped.display()))?;

    let mut tally = Tally::default();
    headline("tests");
    let mut cargo = process::cargo();
    cargo.args([
        "test",
        "--workspace",
        "--exclude",
        "harden-tests",
        "--no-fail-fast",
    ]);
    let mut good = count(&mut cargo, &mut tally)?;
    if quick {
        println!("the end-to-end suites are left out: --quick");
    } else {
        headline("end-to-end tests");
        good &= count(&mut end_to_end()?, &mut tally)?;
        headline("end-to-end tests on other kernels");
        good &= vm::all(&mut tally)?;
    }

    let text = fs::read_to_string(&skipped)
        .with_context(|| format!("could not read {}", skipped.display()))?;
    tally.skip(&text);
    for line in tally.skips() {
        println!("SKIPPED {line}");
    }
    println!("{tally}");
    ensure!(
        good,
        "tests failed, or could not be built or run: see above"
    );
    tally.refuse_skips()
}

/// The end-to-end suites, their test programs run as root.
fn end_to_end() -> Result<Command> {
    programs::build()?;
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", "harden-tests", "--no-fail-fast"]);
    cargo.env("HARDEN_BIN", workspace::harden(false));
    cargo.env("HARDEN_TEST_PROGRAMS", workspace::test_programs());
    cargo.env("HARDEN_TEST_ROOT", vm::image()?);
    cargo.env("HARDEN_PACKAGE", package::make()?);
    cargo.env("HARDEN_VARLINKCTL", vm::varlinkctl()?);
    process::run_built_as_root(&mut cargo)?;
    Ok(cargo)
}

/// Runs a `cargo test`, shows its output as it comes and adds its results up. Did all go well?
fn count(command: &mut Command, tally: &mut Tally) -> Result<bool> {
    let shown = process::show(command);
    let mut child = command
        .env("HARDEN_SKIPPED", workspace::skipped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start: {shown}"))?;
    let output = child.stdout.take().context("no pipe to the tests")?;
    for line in BufReader::new(output).split(b'\n') {
        // A test may print what is not UTF-8.
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    Ok(child.wait()?.success())
}

fn headline(title: &str) {
    println!("\n== {title}");
}
