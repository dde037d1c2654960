//! The command line: one file a command.

pub mod agent;
pub mod apply;
mod ask;
pub mod audit;
pub mod check;
pub mod confirm;
pub mod diff;
pub mod doctor;
mod evidence;
pub mod explain;
mod failure;
pub mod forget;
pub mod generate;
pub mod mark;
pub mod merge;
mod profile;
pub mod proof;
pub mod render;
pub mod revert;
pub mod run;
pub mod shadow;
pub mod snapshot;
mod source;
pub mod status;
mod summary;
mod text;
pub mod trial;
pub mod units;
mod values;
pub mod watch;
pub mod why;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// Makes confinement profiles for Linux daemons from what the kernel saw them do.
#[derive(Debug, Parser)]
#[command(name = "harden", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command, record what it does, and write a profile under which it still works
    ///
    /// The exit status is the command's own, or 128 + n if signal n ended it. 127: the command does not
    /// exist; 126: it cannot be run; 125: harden failed, and says how.
    Run(run::Run),
    /// Write profiles or drop-ins from a recorded observation; does not need root
    Render(render::Render),
    /// Merge observations of the same program, from any number of runs and machines
    Merge(merge::Merge),
    /// Show which facts only one of two observations has
    ///
    /// The exit status is like that of diff(1): 0 if they have the same facts, 1 if not, and 2 if one cannot be
    /// read or no agent knows the unit.
    Diff(diff::Diff),
    /// Install what was decided about a unit, look whether the unit works under it, and put it back if not; needs root
    ///
    /// The exit status is 0 if it is installed, 1 if it was put back, with the reason, and 6 if it could not be put back.
    /// Nothing was changed after 3 (no agent answers), 4 (this user may not query it), 5 (it does not know the unit), and
    /// 2 (any other error).
    Apply(apply::Apply),
    /// Keep what `harden apply --confirm` has on trial; needs root
    ///
    /// The exit status is 0, 1 if nothing waits for it, or it was put back already, and 2 for any other error.
    Confirm(confirm::Confirm),
    /// Take away what `harden apply` has installed for a unit, and restart it if it runs; needs root
    ///
    /// The exit status is 0, 1 if nothing of it is there, and 2 for any other error.
    Revert(revert::Revert),
    /// Show what was tried before the files of a unit were kept, and what has changed since
    ///
    /// `harden apply` writes a proof record. The proof is stale once a program or library that the unit runs, one of the
    /// unit's files, or systemd or Firejail was changed. The exit status is 0 if every proof holds, 1 if one is stale or
    /// there is none, and 2 if nothing is applied to the unit.
    Proof(proof::ProofOf),
    /// Find the lines of a drop-in or a profile that break a test, by running it; needs root
    ///
    /// Restarts the unit for each test run, and puts it back at the end. The exit status is 0 if the files under which the
    /// test passes were written, 1 if there are none, with the reason, and 6 if the unit could not be put back. It is
    /// that of `harden apply` for any other error.
    Trial(trial::Trial),
    /// Check whether a profile would have broken recorded runs, and show by which line
    ///
    /// The exit status is 0 if everything that was recorded is allowed, 1 if something is refused or the sandbox does not
    /// start with such a profile (with --strict also if a line could not be judged), 2 if a file cannot be read or no
    /// agent knows a unit, and 3 if nothing is refused, but a line could not be judged.
    Check(check::Check),
    /// Show what a unit was refused, by which line of what confines it, and what would allow it
    ///
    /// The exit status is 0 if a line refused nothing, 1 if one did, and 2 if the unit or the agent cannot be asked.
    Why(why::Why),
    /// Explain why a profile contains a rule: which program needed it, in which runs, when, how often, and which
    /// hook saw it
    ///
    /// The exit status is 0 if the fact was seen or a file has the directive. It is 1 if not: explain then says whether
    /// the fact could have been seen, and which files allow it all the same. It is 2 if the observation cannot be read,
    /// no agent knows the unit, or the word is nothing that can be asked for.
    Explain(explain::Explain),
    /// Read the kernel's records of calls that a filter refused or logged, and propose which to allow
    ///
    /// Reads the journal, /var/log/audit/audit.log and the kernel's log, or each FILE. A record of the kernel
    /// (type=1326) says which program made which call. harden adds the unit, and counts each record once. The exit
    /// status is 0 if there is none, 1 if there is, and 2 if the logs cannot be read.
    Audit(audit::Audit),
    /// Show what this machine lets harden do, and what to do about the rest
    ///
    /// The exit status is 0 if a command can be recorded here, and 1 if it cannot.
    Doctor(doctor::Doctor),
    /// Observe every unit of the system until SIGTERM; the records survive
    ///
    /// systemd starts it as harden.service. The exit status is 0, or 1 if nothing can be recorded.
    Agent(agent::Agent),
    /// List the units that the agent has recorded, and how much it saw of each
    ///
    /// The exit status is 0, 3 if no agent answers, 4 if this user may not query it, and 1 for
    /// any other error.
    Units(units::Units),
    /// Show the agent's status
    ///
    /// The exit status is that of `harden units`, 6 if the agent answers and something is wrong with it, and 8 if
    /// systemd started the agent and it failed. The output says what is wrong.
    Status(status::Status),
    /// Write the observations of units, and files made from them, as recorded so far
    ///
    /// The exit status is that of `harden units`, 5 if a unit is not known, and 7 if nothing is recorded of a unit. With
    /// status 7 the files of the other units are written; after any other error no file is. --all leaves out units of
    /// which nothing is recorded.
    Snapshot(snapshot::Snapshot),
    /// Begin a named run in the agent, such as a test case, and print its identifier; needs root
    ///
    /// The exit status is that of `harden units`, and 5 if the unit is not known. After status 0, everything that a
    /// unit does counts for the new run.
    Mark(mark::Mark),
    /// Drop the agent's records of units, in memory and on disk; needs root
    ///
    /// An open run goes on from zero. The exit status is that of `harden units`, and 5 if a unit is not
    /// known; in that case nothing is dropped.
    Forget(forget::Forget),
    /// Note what a profile would refuse of a unit from now on, without enforcing it; needs root, except to look
    ///
    /// The exit status is that of `harden units`, and 5 if the unit is not known. With --ready it is 0 if so many tests, or
    /// so much time, brought no refusal and no loss, 1 if not, with the reason, and 2 if the command line is wrong.
    Shadow(shadow::Shadow),
    /// Print every new fact as the agent finds it, one on each line
    ///
    /// The exit status is 0 after Ctrl-C or when the agent ends, otherwise that of `harden units`.
    Watch(watch::Watch),
    /// Write man pages and shell completions into a directory
    #[command(hide = true)]
    Generate(generate::Generate),
}

impl Cli {
    /// Does what was asked. Returns the exit status.
    ///
    /// # Errors
    /// Whatever stopped the command, as text for the user.
    pub fn run(&self) -> anyhow::Result<u8> {
        match &self.command {
            Command::Run(run) => run.run(),
            Command::Render(render) => render.run().map(|()| 0),
            Command::Merge(merge) => merge.run().map(|()| 0),
            Command::Diff(diff) => diff.run(),
            Command::Apply(apply) => apply.run(),
            Command::Confirm(confirm) => confirm.run(),
            Command::Revert(revert) => revert.run(),
            Command::Proof(proof) => proof.run(),
            Command::Why(why) => why.run(),
            Command::Trial(trial) => trial.run(),
            Command::Check(check) => check.run(),
            Command::Explain(explain) => explain.run(),
            Command::Audit(audit) => audit.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Agent(agent) => agent.run().map(|()| 0),
            Command::Units(units) => units.run().map(|()| 0),
            Command::Status(status) => status.run(),
            Command::Snapshot(snapshot) => snapshot.run().map(|()| 0),
            Command::Mark(mark) => mark.run().map(|()| 0),
            Command::Forget(forget) => forget.run().map(|()| 0),
            Command::Shadow(shadow) => shadow.run(),
            Command::Watch(watch) => watch.run().map(|()| 0),
            Command::Generate(generate) => generate.run().map(|()| 0),
        }
    }

    /// Whether errors are to be said in JSON, as everything else.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match &self.command {
            Command::Run(run) => run.json,
            Command::Diff(diff) => diff.json,
            Command::Check(check) => check.json,
            Command::Audit(audit) => audit.json,
            Command::Doctor(doctor) => doctor.json,
            Command::Units(units) => units.json,
            Command::Status(status) => status.json,
            Command::Snapshot(snapshot) => snapshot.json,
            Command::Mark(mark) => mark.json,
            Command::Forget(forget) => forget.json,
            Command::Shadow(shadow) => shadow.json,
            Command::Proof(proof) => proof.json,
            Command::Watch(watch) => watch.json,
            Command::Render(_)
            | Command::Merge(_)
            | Command::Explain(_)
            | Command::Apply(_)
            | Command::Trial(_)
            | Command::Confirm(_)
            | Command::Revert(_)
            | Command::Why(_)
            | Command::Agent(_)
            | Command::Generate(_) => false,
        }
    }

    /// The exit status for `error`. For `run` those of env(1), which stay clear of the command's
    /// own: 127 no such command, 126 it cannot be run, 125 anything of harden's. Otherwise 1, and
    /// some of their own for the commands that ask the agent.
    #[must_use]
    pub fn failure_status(&self, error: &anyhow::Error) -> u8 {
        match &self.command {
            Command::Run(_) => run::failure_status(error),
            Command::Apply(_) | Command::Trial(_) => apply::failure_status(error),
            Command::Diff(_)
            | Command::Check(_)
            | Command::Explain(_)
            | Command::Audit(_)
            | Command::Confirm(_)
            | Command::Revert(_)
            | Command::Proof(_)
            | Command::Why(_) => 2,
            Command::Render(_) | Command::Merge(_) | Command::Doctor(_) | Command::Generate(_) => 1,
            _ => ask::failure_status(error),
        }
    }
}
