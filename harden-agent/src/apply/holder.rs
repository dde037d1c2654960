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
    kill_process(process, Signal::TERM).context("the process of the trial")?;
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
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_holds_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        let soon = || Instant::now() + Duration::from_secs(20);
        assert!(!stop(&script, soon()).unwrap());
        std::fs::write(&script, "").unwrap();
        assert!(!stop(&script, soon()).unwrap());
        let mut child = Command::new("python3")
            .args(["-c", "import fcntl,sys,time; f=open(sys.argv[1],'a'); fcntl.lockf(f,fcntl.LOCK_EX); print(1,flush=True); time.sleep(60)"])
            .arg(&script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Holder::take(&script).err().expect("it is held");
        assert!(stop(&script, soon()).unwrap());
        child.wait().unwrap();
        drop(Holder::take(&script).unwrap());
    }
}
