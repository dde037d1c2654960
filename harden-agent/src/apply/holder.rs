//! Which process tries something with a unit, for as long as it does.
//!
//! It holds a record lock on the guard's script (fcntl(2), `F_SETLK`): the kernel says who holds one, and takes it away when the
//! process ends, however it does.

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
    process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process},
};

/// The lock.
pub(super) struct Holder {
    _script: File,
}

impl Holder {
    /// Says that it is this process.
    ///
    /// # Errors
    /// The script is not there, or another process holds it.
    pub(super) fn take(script: &Path) -> Result<Self> {
        let shown = || script.display().to_string();
        let file = File::options().append(true).open(script);
        let file = file.with_context(shown)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).with_context(shown)?;
        Ok(Self { _script: file })
    }
}

/// Has the process that holds the script stop, as Ctrl-C would, and waits until it has put the unit back. Returns whether there
/// was one.
///
/// # Errors
/// It goes on all the same.
pub(super) fn stop(script: &Path, deadline: Instant) -> Result<bool> {
    const PAUSE: Duration = Duration::from_millis(50);
    let Ok(file) = File::open(script) else {
        return Ok(false);
    };
    let Some(process) = holder(&file)? else {
        return Ok(false);
    };
    match kill_process(process, Signal::TERM) {
        // It has ended by itself meanwhile.
        Err(Errno::SRCH) => {}
        killed => killed.context("the process of the trial")?,
    }
    while holder(&file)? == Some(process) {
        ensure!(
            Instant::now() < deadline,
            "process {process} tries something with this unit, and does not stop: kill {process}"
        );
        thread::sleep(PAUSE);
    }
    Ok(true)
}

fn holder(script: &File) -> Result<Option<Pid>> {
    let found = fcntl_getlk(script, &Flock::from(FlockType::WriteLock))?;
    Ok(found.and_then(|lock| lock.pid))
}

#[cfg(test)]
mod tests {
    use std::{
        mem,
        os::unix::process::CommandExt as _,
        process::{Child, Command},
    };

    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    /// A process that holds it: record locks stay when it executes a program, as long as the file stays open.
    fn holding(script: &Path) -> Child {
        let script = script.to_owned();
        let take = move || {
            let file = open(&script, OFlags::WRONLY, Mode::empty())?;
            fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
            mem::forget(file);
            Ok(())
        };
        let mut command = Command::new("sleep");
        command.arg("60");
        // SAFETY: between fork and exec there are two system calls; a short path is copied to the stack for the first.
        unsafe { command.pre_exec(take) };
        command.spawn().expect("sleep is started")
    }

    #[test]
    fn a_process_that_holds_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        let soon = || Instant::now() + Duration::from_secs(20);
        assert!(!stop(&script, soon()).unwrap());
        std::fs::write(&script, "").unwrap();
        assert!(!stop(&script, soon()).unwrap());
        let mut child = holding(&script);
        Holder::take(&script).err().expect("it is held");
        assert!(stop(&script, soon()).unwrap());
        child.wait().unwrap();
        drop(Holder::take(&script).unwrap());
    }
}
