//! A network of one's own: every port is free, also those below 1024, and suites do not meet.

use std::{panic::resume_unwind, process::Command, thread};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// Runs `work` on a thread that has only a loopback interface. So have the programs that it starts.
///
/// # Errors
/// The network cannot be made, or `work` failed.
pub fn private<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Of this thread only, which is why it needs one.
            unshare(CloneFlags::CLONE_NEWNET).context("no network namespace can be made")?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status()
                .context("ip")?;
            ensure!(up.success(), "the loopback interface cannot be set up");
            work()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
