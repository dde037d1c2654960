//! `harden audit`: what the logs say of calls that a filter did not simply allow.

mod report;
mod since;
#[cfg(test)]
mod tests;
mod units;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;

use self::report::{Log, Report};
use self::since::Since;
use self::units::Sources;
use super::ask::{self, Ask};
use crate::audit::{Intake, LogState, Piece, Taken, unseen};
use crate::machine::{logs, proc};
use crate::observation::{Observation, Text};

/// `harden audit`
#[derive(Debug, Args)]
pub struct Audit {
    /// Logs to read instead of this machine's: text, the output of journalctl, dmesg or ausearch, gzipped or not; `-` is
    /// the standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Leave out what is older: a duration such as 2h, a date, a date and time, or @SECONDS
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// An observation, or a unit that the agent knows, to which the programs in it belong; with FILE, no process or unit of
    /// this machine is then asked about
    #[arg(long, value_name = "OBSERVATION|UNIT")]
    pub observation: Vec<OsString>,
    /// The directory with your own decisions, in NAME.toml for the unit NAME
    #[arg(long, value_name = "DIR", default_value = "/etc/harden/overrides")]
    pub overrides: PathBuf,
    /// Print JSON, one object on each line
    #[arg(long)]
    pub json: bool,
    /// How to reach the agent
    #[command(flatten)]
    pub ask: Ask,
}

impl Audit {
    /// Reads the logs, and prints what they say. Returns 1 if that is anything.
    ///
    /// # Errors
    /// None of the logs can be read, or one that was named; or an observation or the overrides cannot.
    pub fn run(&self) -> Result<u8> {
        let observations = self.observation.iter();
        let observations = observations.map(|one| ask::observation(one, &self.ask));
        let observations: Vec<_> = observations.collect::<Result<_>>()?;
        let mut intake = Intake::new(self.since.map(|since| since.0));
        let logs = self.read(&mut intake)?;
        let sources = Sources {
            is_here: self.files.is_empty() || observations.is_empty(),
            observations: &observations,
            ask: &self.ask,
            overrides: &self.overrides,
        };
        let units = sources.units(&intake.finish())?;
        let state = if self.files.is_empty() {
            log_state()
        } else {
            LogState::default()
        };
        let report = Report {
            logs: &logs,
            units: &units,
            unseen: &unseen::unseen(&state),
            overrides: &self.overrides,
        };
        ask::print(&if self.json {
            report.json()
        } else {
            report.text()
        })?;
        Ok(u8::from(!units.findings.0.is_empty()))
    }

    fn read(&self, intake: &mut Intake) -> Result<Vec<Log>> {
        if self.files.is_empty() {
            let since = self.since.map(|since| since.0);
            let logs = vec![
                log("the journal", intake, |piece| logs::journal(since, piece)),
                log(logs::AUDITD, intake, |piece| {
                    logs::file(Path::new(logs::AUDITD), piece)
                }),
                log(logs::KERNEL, intake, |piece| logs::kernel(piece)),
            ];
            if logs.iter().all(|log| log.taken.is_err()) {
                let errors = logs
                    .iter()
                    .filter_map(|log| Some((&log.name, log.taken.as_ref().err()?)));
                let errors: Vec<String> = errors
                    .map(|(name, error)| format!("{name}: {error}"))
                    .collect();
                return Err(anyhow!(
                    "no log can be read: {}\nrun it as root",
                    errors.join("; ")
                ));
            }
            return Ok(logs);
        }
        let files = self.files.iter().map(|file| {
            let log = if file.as_os_str() == "-" {
                log("the standard input", intake, |piece| {
                    logs::stream(io::stdin().lock(), piece)
                })
            } else {
                log(file.as_os_str().as_encoded_bytes(), intake, |piece| {
                    logs::file(file, piece)
                })
            };
            match &log.taken {
                Err(error) => Err(anyhow!("{}: {error}", log.name)),
                Ok(_) => Ok(log),
            }
        });
        files.collect()
    }
}

fn log(
    name: impl AsRef<[u8]>,
    intake: &mut Intake,
    read: impl FnOnce(&mut dyn FnMut(Piece<'_>)) -> io::Result<logs::Gaps>,
) -> Log {
    let mut taken = Taken::default();
    let gaps = read(&mut |piece| intake.piece(&mut taken, piece));
    let said = gaps.as_ref().ok().and_then(|gaps| gaps.said.as_ref());
    let said = said.map(Text::from);
    let taken = gaps.map(|gaps| {
        taken.losses.unread += gaps.too_long;
        taken.losses.overwritten += gaps.overwritten;
        taken
    });
    Log {
        name: Text::from(name),
        taken: taken.map_err(|error| Text::from(error.to_string())),
        said,
    }
}

/// What is printed, as text and as JSON, of a log from elsewhere whose programs are those of `observations`: the command
/// without a machine.
///
/// # Errors
/// The log is gzipped, and damaged; or overrides cannot be read.
pub fn printed(
    bytes: &[u8],
    observations: &[Observation],
    overrides: &Path,
) -> Result<[String; 2]> {
    let mut intake = Intake::new(None);
    let logs = [log("a log", &mut intake, |piece| {
        logs::stream(bytes, piece)
    })];
    let sources = Sources {
        is_here: false,
        observations,
        ask: &Ask {
            socket: PathBuf::new(),
        },
        overrides,
    };
    let report = Report {
        logs: &logs,
        units: &sources.units(&intake.finish())?,
        unseen: &unseen::unseen(&LogState::default()),
        overrides,
    };
    Ok([report.text(), report.json()])
}

fn log_state() -> LogState {
    let command_line = proc::text("/proc/cmdline").unwrap_or_default();
    let mut words = command_line.split_ascii_whitespace();
    let is_off = words.any(|word| matches!(word, "audit=0" | "audit=off"));
    LogState {
        // Only a kernel with an audit subsystem has it.
        is_auditing: Some(!is_off && Path::new("/proc/self/loginuid").exists()),
        actions: proc::text("/proc/sys/kernel/seccomp/actions_logged"),
    }
}
