//! Ctrl-C and the like while a unit is on trial: the test is ended and the unit put back, at once and not by the timer.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    flag,
};

use crate::machine::proc;

/// Set by the handler, which is the process's as signals are.
static CAME: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on a signal is noted, and does not end harden: a terminal that is closed sends two (the shell's, and the kernel's for
/// its session), and so does systemd to a session (`SendSIGHUP=`).
///
/// # Errors
/// The kernel refuses a handler.
pub(super) fn watch() -> Result<()> {
    // What is ignored from the start stays so: nohup(1), or a shell's background without job control.
    let own = proc::status("self").context("/proc/self/status cannot be read")?;
    let signals = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter();
    for signal in signals.filter(|signal| !own.ignores(*signal)) {
        flag::register(signal, Arc::clone(&CAME))?;
    }
    Ok(())
}

/// Whether one came.
pub(super) fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}

/// # Errors
/// One came.
pub(super) fn check() -> Result<()> {
    ensure!(!came(), "it was interrupted");
    Ok(())
}
