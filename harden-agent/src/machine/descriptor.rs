//! Descriptors that are waited for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Lets `inner` be awaited until it is readable. Must be called inside the runtime.
///
/// # Errors
/// The kernel cannot poll it.
pub(crate) fn watch<T: AsFd + AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `inner` lends its descriptor by AsFd, so it owns or borrows one that stays open and
    // the same as long as `inner` lives, which the AsyncFd keeps.
    let watched = unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}
