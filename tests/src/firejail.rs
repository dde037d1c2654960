//! Runs programs under a profile, with the real Firejail.

use std::{ffi::OsStr, fmt::Debug, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{Process, Profile, Scratch};

/// A program that is denied something may wait for ever for it. What works takes a fraction of
/// this.
const PATIENCE_WITH_FAILURE: Duration = Duration::from_secs(2);

/// Starts `command` under `profile` as the profile says it wants to be started, lets `work` have its
/// way with it, and ends it.
///
/// # Errors
/// `work` failed; what the program and Firejail printed is in the error.
pub fn run<S: AsRef<OsStr> + Debug>(
    profile: &Profile,
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<()> {
    under(profile, command, work, |process| process)
}

/// As [`run`], for work that is about to fail: waits no longer than that takes to be sure.
///
/// # Errors
/// As expected.
pub fn run_to_fail<S: AsRef<OsStr> + Debug>(
    profile: &Profile,
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<()> {
    under(profile, command, work, |process| {
        process.patience(PATIENCE_WITH_FAILURE)
    })
}

fn under<S: AsRef<OsStr> + Debug>(
    profile: &Profile,
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
    adjust: impl FnOnce(Process) -> Process,
) -> Result<()> {
    let dir = Scratch::new(Path::new("/run"))?;
    let file = dir.path().join("under-test.profile");
    profile.write(&file)?;
    let mut firejail = Command::new("firejail");
    firejail.arg(format!("--profile={}", file.display()));
    if !profile.starts_directly() {
        firejail.arg("--");
    }
    firejail.args(command);
    let mut process = adjust(Process::start(&mut firejail)?);
    work(&mut process).with_context(|| process.output())?;
    // As an administrator would, so that the daemon can save what it holds.
    let _ = process.signal(Signal::SIGTERM);
    let _ = process.wait();
    Ok(())
}
