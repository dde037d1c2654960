//! What has changed since something was proved.

use std::{fmt, fs, io, path::Path};

use serde::Serialize;

use super::{Proof, gather};
use crate::{
    apply::{Applied, applied::digest},
    observation::Text,
};

/// A change of what a proof rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// A file, or `systemd`, or `firejail`.
    pub what: Text,
    /// What became of it.
    pub how: How,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is another one.
    Changed,
    /// It is there no more.
    Gone,
    /// It was not there.
    New,
    /// It cannot be read, so nobody knows.
    Unreadable(String),
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.how {
            How::Changed => write!(out, "{what} was changed"),
            How::Gone => write!(out, "{what} is gone"),
            How::New => write!(out, "{what} is new"),
            How::Unreadable(why) => write!(out, "{what} cannot be read: {why}"),
        }
    }
}

impl Proof {
    /// What has changed since: nothing, and the proof holds.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = self.changed_files();
        changes.extend(self.changed_unit());
        let now = gather::system(self.backend);
        let versions = [
            ("systemd", now.systemd, &self.system.systemd),
            ("firejail", now.firejail, &self.system.firejail),
        ];
        let versions = versions.into_iter().filter(|(_, now, then)| now != *then);
        changes.extend(versions.map(|(what, ..)| changed(&what.into())));
        changes
    }

    /// Whether this is another kernel, which alone does not make a proof stale: its interfaces stay.
    #[must_use]
    pub fn other_kernel(&self) -> Option<Text> {
        let now = crate::machine::host::this().kernel;
        (now != self.system.kernel).then_some(now)
    }

    fn changed_files(&self) -> Vec<Change> {
        let installed = self.installed.iter().filter_map(|(path, then)| {
            judged(
                path,
                fs::read(path.as_path()).map(|file| below(&file) == *then),
            )
        });
        let programs = self.programs.iter();
        let programs =
            programs.filter_map(|(path, stamp)| judged(path, stamp.is_of(path.as_path())));
        installed.chain(programs).collect()
    }

    /// What systemd reads of the unit now, beside what it read then.
    fn changed_unit(&self) -> Vec<Change> {
        let now = gather::unit_files(&self.unit.to_string());
        let mut changes = Vec::new();
        for (path, then) in &self.unit_files {
            match now.get(path) {
                Some(now) if now == then => {}
                Some(_) => changes.push(changed(path)),
                // It may be there, and not be read.
                None if is_there(path.as_path()) => changes.push(changed(path)),
                None => changes.push(Change {
                    what: path.clone(),
                    how: How::Gone,
                }),
            }
        }
        let new = now
            .into_keys()
            .filter(|path| !self.unit_files.contains_key(path));
        changes.extend(new.map(|what| Change {
            what,
            how: How::New,
        }));
        changes
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The digest of what is below the first line of an installed file; nobody's, if it has no such line.
fn below(file: &[u8]) -> String {
    let file = String::from_utf8_lossy(file);
    Applied::read(&file).map_or_else(String::new, |(_, text)| digest(text.as_bytes()))
}

/// What became of a file that is, or is not, the same.
fn judged(path: &Text, same: io::Result<bool>) -> Option<Change> {
    let how = match same {
        Ok(true) => return None,
        Ok(false) => How::Changed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => How::Gone,
        Err(error) => How::Unreadable(error.to_string()),
    };
    Some(Change {
        what: path.clone(),
        how,
    })
}

fn changed(what: &Text) -> Change {
    Change {
        what: what.clone(),
        how: How::Changed,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::{super::Stamp, *};
    use crate::apply::Backend;

    /// Of a unit that no systemd knows.
    pub(in crate::apply) fn proof() -> Proof {
        Proof {
            schema: Proof::SCHEMA,
            unit: "harden-nonexistent.service".into(),
            backend: Backend::Systemd,
            proved: Timestamp::UNIX_EPOCH,
            system: gather::system(Backend::Systemd),
            observation: String::new(),
            tests: Vec::new(),
            in_force: String::new(),
            installed: [].into(),
            unit_files: [].into(),
            programs: [].into(),
            not_followed: [].into(),
        }
    }

    #[test]
    fn each_kind_of_change_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let text = |path: &Path| Text::from(path.as_os_str().as_encoded_bytes());
        let applied = Applied {
            backend: Backend::Systemd,
            since: Timestamp::UNIX_EPOCH,
            observation: String::new(),
            runtime: false,
            until: None,
            proof: None,
        };
        let drop_in = file("drop-in", &applied.over("[Service]\n"));
        let (program, library) = (file("program", "1"), file("library", "1"));
        let mut proof = proof();
        let sum = digest(b"[Service]\n");
        proof.installed.insert(text(&drop_in), sum);
        for path in [&program, &library] {
            let stamp = Stamp::of(path).unwrap().unwrap();
            proof.programs.insert(text(path), stamp);
        }
        assert_eq!(proof.changes(), []);
        // Another head is the same text.
        let applied = Applied {
            runtime: true,
            ..applied
        };
        fs::write(&drop_in, applied.over("[Service]\n")).unwrap();
        assert_eq!(proof.changes(), []);

        fs::write(&drop_in, applied.over("[Service]\nUser=root\n")).unwrap();
        fs::write(&program, "2").unwrap();
        fs::remove_file(&library).unwrap();
        proof.system.systemd = Some("systemd 1".to_owned());
        proof
            .unit_files
            .insert("/nonexistent/a.service".into(), String::new());
        let changes: Vec<_> = proof.changes().iter().map(ToString::to_string).collect();
        let expected = [
            format!("{} was changed", drop_in.display()),
            format!("{} is gone", library.display()),
            format!("{} was changed", program.display()),
            "/nonexistent/a.service is gone".to_owned(),
            "systemd was changed".to_owned(),
        ];
        assert_eq!(changes, expected);
    }
}
