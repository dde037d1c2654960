//! Runs programs under a profile, with the real Firejail.

use std::{ffi::OsStr, fmt::Debug, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{Process, Profile, Scratch};

/// A program that is denied something may wait for ever for it. What works takes a fraction of
/// this.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let dir = Scratch::new(Path::new("/run"))?;
    let file = dir.path().join("under-test.profile");
    profile.write(&file)?;
    let mut firejail = Command::new("firejail");
    firejail.arg(format!("--profile={}", file.display()));
    if !profile.starts_directly() {
        firejail.arg("--");
    }
    firejail.args(command);
    let mut process = Process::start(&mut firejail)?.patience(PATIENCE);
    let result = work(&mut process);
    // As an administrator would. That `work` succeeded says nothing about an orderly end, and what
    // does not heed the signal is killed.
    let _ = process.signal(Signal::SIGTERM);
    let _ = process.wait();
    result.with_context(|| process.output())
}
