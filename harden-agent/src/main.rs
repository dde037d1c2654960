//! The command `harden`.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use harden_agent::cli::{Cli, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && wants_json() => {
            complain(&Failure::of_usage(&error).json());
            return ExitCode::from(USAGE);
        }
        Err(error) => error.exit(),
    };
    match cli.run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            if cli.is_json() {
                complain(&Failure::of(&error).json());
            } else {
                complain(&format!("harden: {error:#}"));
            }
            ExitCode::from(cli.failure_status(&error))
        }
    }
}

/// Standard error may be gone; the exit status is not.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The exit status for a wrong command line, as clap has it.
const USAGE: u8 = 2;

/// Whether `--json` is among the options, on a command line that cannot be understood.
fn wants_json() -> bool {
    let mut options = env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--");
    options.any(|argument| argument == "--json")
}
