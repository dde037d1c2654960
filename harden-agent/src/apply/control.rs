//! Other programs, which may take longer than there is time.

use std::{
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::interruption;

/// How often is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Has systemctl do something.
///
/// # Errors
/// It fails, with what it says, or takes too long.
pub(super) fn systemctl(arguments: &[&str], deadline: Instant) -> Result<()> {
    systemctl_unless(arguments, deadline, || Ok(()))
}

/// Has systemctl do something that is given up where harden is interrupted.
///
/// # Errors
/// As [`systemctl`]; or it was interrupted.
pub(super) fn try_systemctl(arguments: &[&str], deadline: Instant) -> Result<()> {
    systemctl_unless(arguments, deadline, interruption::check)
}

fn systemctl_unless(
    arguments: &[&str],
    deadline: Instant,
    check: impl Fn() -> Result<()>,
) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.args(arguments).stderr(Stdio::piped());
    let ended = finish_unless(&mut command, deadline, check);
    ended.with_context(|| format!("systemctl {}", arguments.join(" ")))
}

/// Runs a test to its end, or ends it with its process group.
///
/// # Errors
/// It fails, takes too long, or was interrupted.
pub(super) fn test(script: &str, deadline: Instant) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]);
    finish_unless(&mut shell, deadline, interruption::check)
}

/// Runs a command to its end, or ends it with its process group.
///
/// # Errors
/// It fails, with what it says where that is piped, or takes too long.
pub(super) fn finish(command: &mut Command, deadline: Instant) -> Result<()> {
    finish_unless(command, deadline, || Ok(()))
}

fn finish_unless(
    command: &mut Command,
    deadline: Instant,
    check: impl Fn() -> Result<()>,
) -> Result<()> {
    check()?;
    command.stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let may_go_on = check().and_then(|()| {
            ensure!(Instant::now() < deadline, "it takes too long (--within)");
            Ok(())
        });
        if let Err(error) = may_go_on {
            // Its number is its group's, and stays so until it is waited for.
            let group = i32::try_from(child.id()).context("no process number")?;
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            child.wait()?;
            return Err(error);
        }
        thread::sleep(PAUSE);
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    match said.trim() {
        "" => bail!("{status}"),
        said => bail!("{said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stderr(Stdio::piped());
        match finish(&mut command, Instant::now() + limit) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn how_it_ends_is_told() {
        let long = Duration::from_mins(1);
        assert_eq!(run("exit 0", long), "");
        assert_eq!(run("exit 3", long), "exit status: 3");
        assert_eq!(run("echo no >&2; exit 3", long), "no");
        let late = run("sleep 60 & wait", Duration::from_millis(50));
        assert!(late.contains("too long"), "{late}");
    }
}
