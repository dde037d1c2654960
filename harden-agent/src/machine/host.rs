//! Which machine this is.

use std::ffi::CStr;

use crate::observation::{Host, Text};

/// This machine.
#[must_use]
pub(crate) fn this() -> Host {
    let uname = rustix::system::uname();
    // SAFETY: glibc returns a static string.
    let libc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Host {
        name: Text::from(uname.nodename().to_bytes()),
        kernel: Text::from(uname.release().to_bytes()),
        architecture: Text::from(uname.machine().to_bytes()),
        libc: Some(Text::from([b"glibc ".as_slice(), libc.to_bytes()].concat())),
    }
}
