//! Signals to `harden run`, with the word who sent them: a Ctrl-C at the terminal has reached the
//! command already, a `kill` has not.

use std::io;

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use tokio::io::unix::AsyncFd;

use crate::machine::descriptor::watch;

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Which.
    pub signal: Signal,
    /// The kernel sent it, on behalf of the terminal: the whole foreground process group has it.
    pub from_terminal: bool,
}

/// The signals that mean "end", held back from this process.
pub(super) struct Signals {
    descriptor: AsyncFd<SignalFd>,
    before: SigSet,
}

impl Signals {
    /// Holds back SIGINT, SIGTERM, SIGHUP and SIGQUIT. Call it before there is a second thread.
    ///
    /// # Errors
    /// No descriptor can be made.
    pub(super) fn hold() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            set.add(signal);
        }
        let before = set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = watch(SignalFd::with_flags(&set, flags)?)?;
        Ok(Self { descriptor, before })
    }

    /// The mask as it was: the command's.
    #[must_use]
    pub(super) fn mask_before(&self) -> SigSet {
        self.before
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    pub(super) async fn next(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            match ready.try_io(|descriptor| Ok(descriptor.get_ref().read_signal()?)) {
                Ok(Ok(Some(info))) => {
                    let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                    return Ok(Received {
                        signal: Signal::try_from(number)?,
                        from_terminal: info.ssi_code == libc::SI_KERNEL,
                    });
                }
                Ok(Ok(None)) => ready.clear_ready(),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
}
