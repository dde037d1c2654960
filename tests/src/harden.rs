//! Runs the binary under test.

use std::{
    env,
    ffi::OsStr,
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{self, Observation};
use nix::sys::signal::Signal;

use crate::{Process, Profile, Scratch};

/// What a recording left.
pub struct Recorded {
    /// The directory that holds it.
    pub dir: Scratch,
    /// The profile as it was written.
    pub profile: Profile,
    /// The observation as it was written.
    pub observation: Observation,
    /// What was printed, by harden and by the program.
    pub output: String,
    /// The exit status.
    pub status: i32,
}

/// The binary: `HARDEN_BIN`, which `cargo xtask test` sets, else the one that `cargo build` made.
#[must_use]
pub fn binary() -> PathBuf {
    env::var_os("HARDEN_BIN").map_or_else(
        || {
            // A relative directory is one of the checkout's, wherever the tests run.
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
            root.join(target).join("debug/harden")
        },
        PathBuf::from,
    )
}

/// Records a command that ends by itself.
///
/// # Errors
/// There is no recording. That the command failed is no error: see [`Recorded::status`].
pub fn record<S: AsRef<OsStr> + Debug>(
    name: &str,
    options: &[&str],
    command: &[S],
) -> Result<Recorded> {
    let dir = Scratch::new(Path::new("/run"))?;
    let mut process = start(name, options, command, &dir)?;
    let status = process.wait().context(process.output())?;
    read(name, dir, &process, status.code())
}

/// Records a command that has to be ended: starts it, lets `work` have its way with it, and sends
/// `harden` a SIGTERM unless `work` has ended the command.
///
/// # Errors
/// `work` failed, or there is no recording.
pub fn record_daemon<S: AsRef<OsStr> + Debug>(
    name: &str,
    options: &[&str],
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<Recorded> {
    let dir = Scratch::new(Path::new("/run"))?;
    record_into(dir, name, options, command, work)
}

/// Records one more run, with `--append`: the profile is then for all of them.
///
/// # Errors
/// As [`record_daemon`].
pub fn record_again<S: AsRef<OsStr> + Debug>(
    earlier: Recorded,
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<Recorded> {
    let name = earlier.observation.name.to_string();
    record_into(earlier.dir, &name, &["--append"], command, work)
}

fn record_into<S: AsRef<OsStr> + Debug>(
    dir: Scratch,
    name: &str,
    options: &[&str],
    command: &[S],
    work: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<Recorded> {
    let mut process = start(name, options, command, &dir)?;
    work(&mut process).with_context(|| process.output())?;
    // If it has ended already, the status tells how.
    let _ = process.signal(Signal::SIGTERM);
    let status = process.wait().with_context(|| process.output())?;
    read(name, dir, &process, status.code())
}

fn start<S: AsRef<OsStr> + Debug>(
    name: &str,
    options: &[&str],
    command: &[S],
    dir: &Scratch,
) -> Result<Process> {
    let binary = binary();
    ensure!(
        binary.is_file(),
        "there is no {}: run `cargo xtask build`, or name the binary in HARDEN_BIN",
        binary.display()
    );
    // Such as `--tier FACT=NAME`: the same suites, and another way to record.
    let everywhere = env::var("HARDEN_TEST_OPTIONS").unwrap_or_default();
    let mut harden = Command::new(binary);
    harden
        .args(["run", "--name", name, "--out"])
        .arg(dir.path())
        .args(options)
        .args(everywhere.split_ascii_whitespace())
        .arg("--")
        .args(command);
    // Loading the programs and ending a daemon takes its time on a busy machine.
    Ok(Process::start(&mut harden)?.patience(Duration::from_mins(5)))
}

fn read(name: &str, dir: Scratch, process: &Process, status: Option<i32>) -> Result<Recorded> {
    let output = process.output();
    let status = status.with_context(|| format!("harden was killed\n{output}"))?;
    let observation = observation::read(&dir.path().join(format!("{name}.observation.json")))
        .with_context(|| output.clone())?;
    let profile = Profile::read(&dir.path().join(format!("{name}.profile")))?;
    Ok(Recorded {
        dir,
        profile,
        observation,
        output,
        status,
    })
}
