//! What has changed since something was proved.

use std::{collections::BTreeSet, fmt, io, path::PathBuf};

use serde::Serialize;

use super::{
    Proof, digest, gather,
    unit_files::{ABSENT, UnitFiles, text},
};
use crate::{
    apply::{Applied, Backend, applied},
    observation::Text,
};

/// A change of what a proof rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// A file, the unit, `systemd` or `firejail`.
    pub what: Text,
    /// What became of it.
    pub how: How,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is another one.
    Changed,
    /// It is there no more.
    Gone,
    /// It was not there.
    New,
    /// systemd does not read it: another file of the same name hides it.
    Hidden,
    /// Its files were changed, and systemd has not read them yet.
    NotReloaded,
    /// It cannot be read by this user, so it may be the same.
    Unreadable(String),
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.how {
            How::Changed => write!(out, "{what} was changed"),
            How::Gone => write!(out, "{what} is gone"),
            How::New => write!(out, "{what} is new"),
            How::Hidden => write!(out, "systemd does not read {what}"),
            How::NotReloaded => write!(
                out,
                "files of {what} were changed, and systemd has not read them: systemctl daemon-reload"
            ),
            How::Unreadable(why) => write!(out, "{what} cannot be read: {why}"),
        }
    }
}

impl Change {
    fn of(what: &Text, how: How) -> Self {
        Self {
            what: what.clone(),
            how,
        }
    }

    /// Whether it is only that this user cannot look.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.how, How::Unreadable(_))
    }
}

impl Proof {
    /// What has changed since: nothing, and the proof holds. What is for certain comes first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = self.changed_files();
        changes.extend(self.changed_unit());
        let now = gather::system(self.backend);
        let versions = [
            ("systemd", now.systemd, &self.system.systemd),
            ("firejail", now.firejail, &self.system.firejail),
        ];
        for (what, now, then) in versions {
            match (now, then) {
                (now, then) if now == *then => {}
                // As Firejail refuses users that are not on its list.
                (None, Some(_)) => {
                    let how = How::Unreadable("it does not say its version".to_owned());
                    changes.push(Change::of(&what.into(), how));
                }
                _ => changes.push(Change::of(&what.into(), How::Changed)),
            }
        }
        changes.sort_by_key(Change::is_unknown);
        changes
    }

    /// Whether this is another kernel, which alone does not make a proof stale: its interfaces stay.
    #[must_use]
    pub fn other_kernel(&self) -> Option<Text> {
        let now = crate::machine::host::this().kernel;
        (now != self.system.kernel).then_some(now)
    }

    /// The files that are proved.
    pub(super) fn installed_paths(&self) -> BTreeSet<PathBuf> {
        let paths = self.installed.keys();
        paths.map(|path| path.as_path().to_owned()).collect()
    }

    fn changed_files(&self) -> Vec<Change> {
        let installed = self.installed.iter().filter_map(|(path, then)| {
            let now = digest::text(path.as_path());
            judged(
                path,
                now.map(|text| text.is_some_and(|text| below(&text) == *then)),
            )
        });
        let programs = self.programs.iter().filter_map(|(path, then)| {
            let now = digest::of(path.as_path());
            judged(path, now.map(|now| now.as_ref() == Some(then)))
        });
        let links = self.links.iter().filter_map(|(path, then)| {
            let now = path.as_path().canonicalize();
            judged(path, now.map(|now| text(&now) == *then))
        });
        installed.chain(programs).chain(links).collect()
    }

    /// What systemd and Firejail read for the unit now, beside what they read then.
    fn changed_unit(&self) -> Vec<Change> {
        let installed = self.installed_paths();
        let mut now = UnitFiles::of(&self.unit.to_string(), &installed);
        let mut changes = Vec::new();
        // All but the profile is a drop-in.
        let is_drop_in = |path: &&PathBuf| path.extension().is_some_and(|end| end == "conf");
        for path in installed.iter().filter(is_drop_in) {
            if !now.drop_ins.contains(path) && path.exists() {
                changes.push(Change::of(&text(path), How::Hidden));
            }
        }
        if now.needs_reload {
            changes.push(Change::of(&self.unit, How::NotReloaded));
        }
        if self.backend == Backend::Firejail {
            let profile = installed.iter().find(|path| !is_drop_in(path));
            let profile = profile.and_then(|path| digest::text(path).ok().flatten());
            now.add_firejail(&profile.unwrap_or_default());
        }
        for (path, then) in &self.unit_files {
            match now.digests.remove(path) {
                Some(Ok(now)) if now == *then => {}
                Some(Ok(now)) if now == ABSENT => changes.push(Change::of(path, How::Gone)),
                Some(Ok(_)) if then == ABSENT => changes.push(Change::of(path, How::New)),
                Some(Err(why)) => changes.push(Change::of(path, How::Unreadable(why))),
                Some(Ok(_)) => changes.push(Change::of(path, How::Changed)),
                None => changes.push(Change::of(path, How::Gone)),
            }
        }
        let new = now.digests.keys();
        changes.extend(new.map(|path| Change::of(path, How::New)));
        changes
    }
}

/// The digest of what is below the first line of an installed file; empty, if it has no such line.
fn below(file: &str) -> String {
    let found = Applied::read(file);
    found.map_or_else(String::new, |(_, text)| applied::digest(text.as_bytes()))
}

/// What became of a file that is, or is not, the same.
fn judged(path: &Text, same: io::Result<bool>) -> Option<Change> {
    let how = match same {
        Ok(true) => return None,
        Ok(false) => How::Changed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => How::Gone,
        Err(error) => How::Unreadable(error.to_string()),
    };
    Some(Change::of(path, how))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, path::Path};

    use jiff::Timestamp;

    use super::*;

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
            links: [].into(),
            not_followed: [].into(),
        }
    }

    fn said(proof: &Proof) -> Vec<String> {
        proof.changes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_of_change_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
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
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&program, &link).unwrap();
        let mut proof = proof();
        let sum = applied::digest(b"[Service]\n");
        proof.installed.insert(text(&drop_in), sum);
        for path in [&program, &library] {
            let digest = digest::of(path).unwrap().unwrap();
            proof.programs.insert(text(path), digest);
        }
        let target = text(&program.canonicalize().unwrap());
        proof.links.insert(text(&link), target);
        assert_eq!(said(&proof), [""; 0]);
        // Another head is the same text, and the same bytes are the same program.
        let applied = Applied {
            runtime: true,
            ..applied
        };
        fs::write(&drop_in, applied.over("[Service]\n")).unwrap();
        fs::rename(file("again", "1"), &program).unwrap();
        assert_eq!(said(&proof), [""; 0]);

        fs::write(&drop_in, applied.over("[Service]\nUser=root\n")).unwrap();
        fs::write(&program, "2").unwrap();
        fs::remove_file(&library).unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&drop_in, &link).unwrap();
        proof.system.systemd = Some("systemd 1".to_owned());
        proof
            .unit_files
            .insert("/nonexistent/a.service".into(), String::new());
        let now = gather::system(Backend::Systemd).systemd;
        let systemd = match now {
            Some(_) => "systemd was changed",
            None => "systemd cannot be read: it does not say its version",
        };
        let shown = |path: &Path| path.display().to_string();
        let expected = [
            format!("{} was changed", shown(&drop_in)),
            format!("{} is gone", shown(&library)),
            format!("{} was changed", shown(&program)),
            format!("{} was changed", shown(&link)),
            "/nonexistent/a.service is gone".to_owned(),
            systemd.to_owned(),
        ];
        assert_eq!(said(&proof), expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_said_to_be_changed() {
        let mut proof = proof();
        proof
            .programs
            .insert("/dev/null/program".into(), String::new());
        let changes = proof.changes();
        assert!(changes.iter().all(Change::is_unknown), "{changes:?}");
        assert_eq!(changes.len(), 1);
    }
}
