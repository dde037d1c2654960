//! Set-up, build, run and test of harden: `cargo xtask VERB`. One file a verb.

mod bench;
mod build;
mod daemons;
mod demo;
mod fuzz;
mod package;
mod page;
mod process;
mod programs;
mod run;
mod setup;
mod soak;
mod suites;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, build, run and test harden.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the build needs (and, with --tests, what the tests need); do nothing where it is there
    Setup(setup::Args),
    /// Set up, then build the kernel programs and the program `harden`
    Build(build::Args),
    /// Build, then run `harden` with the given arguments as root
    Run(run::Args),
    /// Record a small web server, show its Firejail profile and run it again under that profile
    Demo,
    /// Build, then measure what observing costs, beside what other tools cost
    Bench(bench::Args),
    /// Build, check formatting, lints and documentation, and run all tests; or run one suite
    Test(test::Args),
    /// Build, then confine daemons of Debian, all or those that are named, and have them work confined
    Daemons(daemons::Args),
    /// Build, then kill the agent 200 times under load, and have it live through a week in an hour
    Soak(soak::Args),
    /// Build what reads logs with libFuzzer, and give it bytes that no log has
    Fuzz(fuzz::Args),
    /// Build, then make a Debian package in target/package
    Package,
    /// Build, then run the suites on other kernels, in virtual machines
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(args) => setup::main(&args),
        Verb::Build(args) => build::main(&args),
        Verb::Run(args) => run::main(&args),
        Verb::Demo => demo::main(),
        Verb::Bench(args) => bench::main(&args),
        Verb::Test(args) => test::main(&args),
        Verb::Daemons(args) => daemons::main(&args),
        Verb::Soak(args) => soak::main(&args),
        Verb::Fuzz(args) => fuzz::main(&args),
        Verb::Package => package::main(),
        Verb::Vm(args) => vm::main(&args),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    // The chain of causes is for the reader; a backtrace of this small program would not be.
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
