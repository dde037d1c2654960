//! Whether capabilities can be set on a program's file, and whether the kernel would honour them.

use std::{
    fs,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, fsetxattr, lgetxattr, openat, unlinkat};
use serde::Serialize;

use super::{
    ask,
    check::Check,
    file_systems::{AUFS, Support, known},
    mounts::{self, Mount},
    safe,
};
use crate::{machine::proc, observation::Text};

/// The extended attribute (capabilities(7), 'File capabilities').
const ATTRIBUTE: &str = "security.capability";
/// A `struct vfs_cap_data` of revision 2 with `CAP_NET_BIND_SERVICE` (10) permitted
/// (include/uapi/linux/capability.h), which the file never lives to use.
const VALUE: [u8; 20] = [0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What was found out about one program or directory.
#[derive(Debug, Serialize)]
pub(super) struct FileCapabilities {
    /// As it was asked for.
    program: Text,
    /// The file itself, past symbolic links, which setcap does not follow everywhere.
    file: Option<Text>,
    /// Why nothing could be found out.
    error: Option<String>,
    /// The interpreter of a script: it, not the script, would need the capabilities.
    interpreter: Option<Text>,
    file_system: String,
    mount_point: Option<Text>,
    mount_options: Vec<String>,
    /// Whether they can be set.
    support: Support,
    /// How that is known: `tried`, or `known` of the file system because it could not be tried.
    evidence: &'static str,
    /// What the trial said, or why there was none, or what is known of the file system.
    reason: String,
    /// Whether the kernel honours them at exec.
    honoured: bool,
    /// Why it does not.
    ignored_because: Option<&'static str>,
    /// Whether the file has some now.
    present: bool,
}

/// Looks at each of `programs`; at harden itself and /usr/bin if there are none.
pub(super) fn examine(programs: &[PathBuf], mounts: &[Mount]) -> Vec<FileCapabilities> {
    let own = [
        std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
        PathBuf::from("/usr/bin"),
    ];
    let programs = if programs.is_empty() { &own } else { programs };
    programs
        .iter()
        .map(|program| one(program, mounts))
        .collect()
}

fn one(program: &Path, mounts: &[Mount]) -> FileCapabilities {
    let found = locate(program);
    let mut answer = FileCapabilities {
        program: program.as_os_str().as_encoded_bytes().into(),
        file: None,
        error: None,
        interpreter: None,
        file_system: "unknown".to_owned(),
        mount_point: None,
        mount_options: Vec::new(),
        support: Support::Unknown,
        evidence: "known",
        reason: String::new(),
        honoured: true,
        ignored_because: None,
        present: false,
    };
    match found {
        Ok(file) => look(&file, mounts, &mut answer),
        Err(error) => answer.error = Some(safe(error.to_string())),
    }
    answer
}

/// The file behind a path, or behind a name that is looked for as a shell would.
fn locate(program: &Path) -> io::Result<PathBuf> {
    let named = program.components().count() == 1 && program.file_name().is_some();
    let path = match program.to_str() {
        Some(name) if named && !program.exists() => ask::find(name),
        _ => None,
    };
    fs::canonicalize(path.as_deref().unwrap_or(program))
}

fn look(file: &Path, mounts: &[Mount], answer: &mut FileCapabilities) {
    answer.file = Some(file.as_os_str().as_encoded_bytes().into());
    answer.interpreter = interpreter(file);
    answer.present = lgetxattr(file, ATTRIBUTE, &mut [0; 64][..]).is_ok();
    let mount = mounts::of(file, mounts);
    if let Some(mount) = mount {
        answer.file_system = safe(&mount.file_system);
        answer.mount_point = Some(mount.point.as_os_str().as_encoded_bytes().into());
        answer.mount_options = mount.options.iter().map(safe).collect();
        answer.ignored_because = ignored(mount);
        answer.honoured = answer.ignored_because.is_none();
    }
    let (support, why) = known(&answer.file_system);
    (answer.support, answer.evidence, answer.reason) = match attempt(file, mount, mounts) {
        Ok(()) => (
            Support::Yes,
            "tried",
            "set on a temporary file beside it".to_owned(),
        ),
        Err(Trial::Refused(_)) if answer.file_system == "aufs" => {
            (Support::No, "tried", AUFS.to_owned())
        }
        Err(Trial::Refused(error)) => (Support::No, "tried", error.to_string()),
        Err(Trial::Impossible(reason)) => {
            (support, "known", format!("{why} (not tried: {reason})"))
        }
    };
}

/// `#!/usr/bin/python3 -u` names the program that would get the capabilities.
fn interpreter(file: &Path) -> Option<Text> {
    // Not of a directory, and nothing that would wait for somebody.
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    fs::File::open(file)
        .ok()?
        .take(256)
        .read_to_end(&mut head)
        .ok()?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let word = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    (!word.is_empty()).then(|| word.into())
}

/// `mnt_may_suid` (fs/namespace.c) and `get_file_caps` (security/commoncap.c).
fn ignored(mount: &Mount) -> Option<&'static str> {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if line
        .split_ascii_whitespace()
        .any(|word| word == "no_file_caps")
    {
        return Some("the kernel was started with no_file_caps");
    }
    mount
        .has("nosuid")
        .then_some("the mount has the option nosuid")
}

/// Why a trial gave no yes.
enum Trial {
    /// The file system, or the kernel, refused the attribute.
    Refused(io::Error),
    /// It could not be tried.
    Impossible(String),
}

/// Sets the attribute on a file of the same file system that has no name, or none for long.
fn attempt(file: &Path, mount: Option<&Mount>, mounts: &[Mount]) -> Result<(), Trial> {
    let set = proc::status("self").unwrap_or_default().effective;
    if !proc::has(set, caps::Capability::CAP_SETFCAP) {
        return Err(Trial::Impossible("it takes CAP_SETFCAP".to_owned()));
    }
    let directory = if file.is_dir() {
        file
    } else {
        file.parent().unwrap_or(file)
    };
    if mounts::of(directory, mounts).map(|mount| mount.id) != mount.map(|mount| mount.id) {
        return Err(Trial::Impossible(
            "the file is a mount of its own".to_owned(),
        ));
    }
    let temporary =
        Temporary::make(directory).map_err(|error| Trial::Impossible(describe(&error)))?;
    fsetxattr(&temporary.file, ATTRIBUTE, &VALUE, XattrFlags::empty())
        .map_err(|errno| Trial::Refused(errno.into()))
}

fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EROFS) => "it is mounted read-only".to_owned(),
        _ => format!("no file can be made there: {error}"),
    }
}

/// A file that is gone when this is dropped.
struct Temporary {
    file: OwnedFd,
    name: Option<PathBuf>,
}

impl Temporary {
    /// With `O_TMPFILE` it never has a name; overlayfs knows that since 6.1 (commit 2b1a77461f16),
    /// others not at all.
    fn make(directory: &Path) -> io::Result<Self> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = openat(CWD, directory, flags | OFlags::TMPFILE, mode) {
            return Ok(Self { file, name: None });
        }
        let name = directory.join(format!(".harden-doctor-{}", uuid::Uuid::new_v4()));
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(CWD, &name, flags, mode)?;
        Ok(Self {
            file,
            name: Some(name),
        })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // It is empty and ours alone, and an error could no longer be reported.
            let _ = unlinkat(CWD, name, AtFlags::empty());
        }
    }
}

impl FileCapabilities {
    /// Whether `setcap` would do what is hoped of it.
    pub(super) fn check(&self) -> Check {
        const NAME: &str = "file capabilities";
        if let Some(error) = &self.error {
            return Check::warning(NAME, format!("{}: {error}", self.program));
        }
        let file = self.file.as_ref().unwrap_or(&self.program);
        let says = format!("{file} on {}: {}", self.file_system, self.verdict());
        let advice = self.advice();
        let check = match (self.support, self.honoured) {
            (Support::Yes, true) => Check::ok(NAME, says),
            _ => Check::warning(NAME, says),
        };
        match advice {
            Some(advice) => check.advice(advice),
            None => check,
        }
    }

    fn verdict(&self) -> String {
        let word = match self.support {
            Support::Yes => "can be set",
            Support::No => "cannot be set",
            Support::Unknown => "not certain",
        };
        let ignored = self.ignored_because.map_or_else(String::new, |reason| {
            format!(", but the kernel ignores them: {reason}")
        });
        format!("{word} ({}){ignored}", self.reason)
    }

    fn advice(&self) -> Option<String> {
        if let Some(interpreter) = &self.interpreter {
            return Some(format!(
                "it is a script: {interpreter} would need them, and every script that it runs would have them"
            ));
        }
        if self.support == Support::No {
            return Some(
                "start the program as root, or from systemd with AmbientCapabilities=".to_owned(),
            );
        }
        (self.file.as_ref() != Some(&self.program) && self.program.as_path().is_symlink())
            .then(|| "name the file itself to setcap, not the link".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told() {
        let answer = one(Path::new("/nonexistent/\u{1b}[2J"), &[]);
        assert!(answer.error.is_some());
        assert!(!answer.check().line().contains('\u{1b}'));
        assert!(one(Path::new(""), &[]).error.is_some());
    }

    #[test]
    fn a_script_has_an_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s");
        fs::write(&script, "#! /bin/sh -e\n").unwrap();
        assert_eq!(interpreter(&script), Some("/bin/sh".into()));
        fs::write(&script, "#!").unwrap();
        assert_eq!(interpreter(&script), None);
        assert_eq!(interpreter(directory.path()), None);
    }

    #[test]
    fn a_trial_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(Temporary::make(directory.path()).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
