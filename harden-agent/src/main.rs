//! The command `harden`.

use std::process::ExitCode;

use clap::Parser;
use harden_agent::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("harden: {error:#}");
            ExitCode::from(cli.failure_status(&error))
        }
    }
}
