//! `harden doctor`: what this machine lets harden do.

use std::path::PathBuf;

use clap::Args;

use super::ask;
use crate::doctor::{Questions, Report};

/// `harden doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON, one object
    #[arg(long)]
    pub json: bool,
    /// Show the end of the verifier's log for each refused program
    #[arg(short, long)]
    pub verbose: bool,
    /// Check whether these processes already run under a filter: a systemd unit, as `harden units` prints it or
    /// in short, the path of a cgroup that begins with a slash, or a process number
    #[arg(long, value_name = "NAME")]
    pub unit: Vec<String>,
    /// Check whether capabilities can be set on the files of these programs [default: harden, /usr/bin]
    #[arg(value_name = "PROGRAM")]
    pub programs: Vec<PathBuf>,
}

impl Doctor {
    /// Looks, and prints what there is. Returns the exit status.
    ///
    /// # Errors
    /// The report cannot be printed.
    pub fn run(&self) -> anyhow::Result<u8> {
        use std::io::Write;
        let units = self.unit.iter().map(|unit| {
            let unit = ask::name(unit.as_ref());
            String::from_utf8_lossy(unit.as_bytes()).into_owned()
        });
        let units: Vec<String> = units.collect();
        let report = Report::make(&Questions {
            units: &units,
            programs: &self.programs,
        });
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&report)?)
        } else {
            report.text(self.verbose)
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            // The reader has read enough: harden doctor | head.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(u8::from(!report.ready))
    }
}
