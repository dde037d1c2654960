//! The command itself: in its cgroup before its first exec, otherwise as the shell would start it.

use std::{
    ffi::{CString, OsString},
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Child, Command},
};

use nix::{
    sys::signal::SigSet,
    unistd::{self, Gid, Uid},
};

/// The account that a command runs under.
#[derive(Clone, Debug)]
pub struct User {
    name: CString,
    uid: Uid,
    gid: Gid,
    environment: [(&'static str, OsString); 4],
}

/// Why there is no such account.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not in the database.
    #[error("there is no user {0:?}; `getent passwd` lists the users there are")]
    Unknown(String),
    /// The database cannot be asked.
    #[error("user {0:?} cannot be looked up: {1}")]
    Lookup(String, nix::Error),
}

impl User {
    /// Looks up a name or a number.
    ///
    /// # Errors
    /// [`UserError`].
    pub fn find(name: &str) -> Result<Self, UserError> {
        let found = match name.parse() {
            Ok(uid) => unistd::User::from_uid(Uid::from_raw(uid)),
            Err(_) => unistd::User::from_name(name),
        };
        let user = found
            .map_err(|error| UserError::Lookup(name.into(), error))?
            .ok_or_else(|| UserError::Unknown(name.into()))?;
        let unknown = || UserError::Unknown(name.into());
        Ok(Self {
            name: CString::new(user.name.as_str()).map_err(|_| unknown())?,
            uid: user.uid,
            gid: user.gid,
            environment: [
                ("HOME", user.dir.into_os_string()),
                ("SHELL", user.shell.into_os_string()),
                ("USER", user.name.clone().into()),
                ("LOGNAME", user.name.into()),
            ],
        })
    }

    /// Its number.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }
}

/// Starts `command`. It moves itself through `door` (a `cgroup.procs`), becomes `user`, gets back
/// the signal mask `mask`, and calls exec.
///
/// # Errors
/// What exec, or a step before it, said.
pub(crate) fn spawn(
    command: &[OsString],
    user: Option<&User>,
    door: &File,
    mask: SigSet,
) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(user) = user {
        command.envs(user.environment.iter().map(|(name, value)| (name, value)));
    }
    let user = user.cloned();
    let door = door.as_raw_fd();
    let prepare = move || {
        // SAFETY: the descriptor is the parent's, open until spawn returns; two bytes of a literal.
        if unsafe { libc::write(door, b"0\n".as_ptr().cast(), 2) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if let Some(user) = &user {
            unistd::initgroups(&user.name, user.gid)?;
            unistd::setgid(user.gid)?;
            unistd::setuid(user.uid)?;
        }
        mask.thread_set_mask()?;
        Ok(())
    };
    // SAFETY: the parent has one thread at this time, so the child may do as it likes between fork
    // and exec, initgroups(3) included, which is not async-signal-safe.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
