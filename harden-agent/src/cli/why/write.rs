//! `harden why --accept`: adds to the file with somebody's decisions about a unit.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{
    observation::Text,
    output::{self, Access, Content, Ours, Output},
    policy::{Accepted, accept, denials::Wish},
    profile::{overrides_file, overrides_text},
};

/// How long another command may take for its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Adds what is wished for to the overrides of `subject`, each with a remark, and says what is not added.
///
/// # Errors
/// The file cannot be read or written, or is no file of overrides.
pub(super) fn add(directory: &Path, subject: &Text, wishes: &[(&Wish, String)]) -> Result<()> {
    if wishes.is_empty() {
        eprintln!("harden: nothing to accept: no line refused anything");
        return Ok(());
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let _lock = Lock::take(directory).with_context(|| directory.display().to_string())?;
    let path = overrides_file(directory, subject);
    let text = overrides_text(directory, subject)?.unwrap_or_default();
    let wishes = wishes.iter().map(|(wish, remark)| (*wish, remark.clone()));
    let accepted = accept(&text, wishes).with_context(|| path.display().to_string())?;
    for denied in &accepted.denied {
        eprintln!(
            "harden: not accepted: {denied}: [deny] in {} has it",
            path.display()
        );
    }
    let Accepted { text: now, denied } = accepted;
    if now == text {
        let all = if denied.is_empty() {
            "all of it"
        } else {
            "the rest"
        };
        eprintln!("harden: {} allows {all} already", path.display());
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default();
    let output = Output {
        name: name.to_string_lossy().into_owned(),
        content: Content::Bytes(now.into_bytes()),
        ours: Ours::Marker,
    };
    // A new one belongs to root, even where sudo was called by another user.
    output::stage_for(Access::Kept, directory, &[output], true)?.commit()?;
    eprintln!("harden: written to {}", path.display());
    Ok(())
}

/// Held while the file is read and written: of two commands at once, each adds its own to what the other has added.
struct Lock {
    _directory: File,
}

impl Lock {
    fn take(directory: &Path) -> Result<Self> {
        let opened = File::open(directory)?;
        let began = Instant::now();
        loop {
            match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _directory: opened }),
                // Anybody who may read the directory can lock it: that is no reason to wait for ever.
                Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => bail!("another process has locked it: try again"),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observation::Word, policy::Overrides};

    #[test]
    fn commands_at_once_lose_nothing() {
        const CALLS: [&str; 8] = [
            "read", "write", "mkdir", "rmdir", "chown", "chmod", "mount", "chroot",
        ];
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("overrides");
        let subject = Text::from("d.service");
        thread::scope(|scope| {
            for call in CALLS {
                let (directory, subject) = (&directory, &subject);
                scope.spawn(move || {
                    let wish = Wish::Call(Word::new(call).unwrap());
                    add(directory, subject, &[(&wish, call.to_owned())]).unwrap();
                });
            }
        });
        let text = fs::read_to_string(directory.join("d.service.toml")).unwrap();
        let overrides = Overrides::parse(&text).unwrap();
        assert_eq!(overrides.allow.syscalls.len(), CALLS.len(), "{text}");
        // Nothing else is left.
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("d.service.toml");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let wish = Wish::Call(Word::new("read").unwrap());
        let added = add(
            directory.path(),
            &"d.service".into(),
            &[(&wish, String::new())],
        );
        let error = format!("{:#}", added.unwrap_err());
        assert!(
            error.contains("d.service.toml: this is not a regular file"),
            "{error}"
        );
    }
}
