//! What is applied on this system, as the files say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{Applied, Backend, files, place, proof::Named};
use crate::observation::Text;

/// What is applied to a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The unit.
    pub unit: Text,
    /// What confines it.
    pub backend: Backend,
    /// Since when.
    pub since: Timestamp,
    /// The SHA-256 digest of the observation's file.
    pub observation: Text,
    /// How long it stays.
    pub state: State,
    /// The drop-in.
    pub path: PathBuf,
    /// The proof record.
    pub proof: Option<Named>,
}

/// How long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It stays.
    Kept,
    /// Until a reboot.
    Runtime,
    /// On trial: it is put back at this time, unless it is confirmed.
    Trial(Timestamp),
}

/// What `harden apply` has installed, by unit. What cannot be read is not listed: only root may have put it there.
#[must_use]
pub fn installed() -> Vec<Installed> {
    listed(Path::new(place::TRIAL), Path::new(place::LASTING))
}

fn listed(trial: &Path, lasting: &Path) -> Vec<Installed> {
    let trial = in_directory(trial, |applied| match applied.until {
        Some(until) => State::Trial(until),
        None => State::Runtime,
    });
    let lasting = in_directory(lasting, |_| State::Kept);
    let mut all: Vec<_> = trial.into_iter().chain(lasting).collect();
    all.sort_by(|one, other| one.unit.cmp(&other.unit));
    all
}

fn in_directory(directory: &Path, state: impl Fn(&Applied) -> State) -> Vec<Installed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(unit) = name.to_str().and_then(|name| name.strip_suffix(".d")) else {
            continue;
        };
        for backend in Backend::ALL {
            let path = entry.path().join(backend.drop_in());
            let Ok(Some((applied, _))) = files::read(&path) else {
                continue;
            };
            found.push(Installed {
                unit: unit.into(),
                backend: applied.backend,
                since: applied.since,
                observation: applied.observation.as_str().into(),
                state: state(&applied),
                path,
                proof: applied.proof,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_listed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (trial, lasting) = (directory.path().join("run"), directory.path().join("etc"));
        let until = Timestamp::new(65, 0).unwrap();
        let applied = Applied {
            backend: Backend::Systemd,
            since: Timestamp::new(5, 0).unwrap(),
            observation: "ab".to_owned(),
            runtime: false,
            until: Some(until),
            proof: None,
        };
        let write = |above: &Path, unit: &str, text: &str| {
            files::write(&above.join(format!("{unit}.d/50-harden.conf")), text).unwrap();
        };
        write(&lasting, "b.service", &applied.kept(None).over(""));
        write(&trial, "a.service", &applied.over(""));
        write(&trial, "b.service", &applied.kept(None).over(""));
        write(&lasting, "c.service", "# Written by harden\n");
        let all = listed(&trial, &lasting);
        let all: Vec<_> = all
            .iter()
            .map(|one| (one.unit.to_string(), one.state))
            .collect();
        let expected = [
            ("a.service", State::Trial(until)),
            ("b.service", State::Runtime),
            ("b.service", State::Kept),
        ];
        assert_eq!(all, expected.map(|(unit, state)| (unit.to_owned(), state)));
        assert_eq!(
            listed(Path::new("/nonexistent"), Path::new("/nonexistent")),
            []
        );
    }
}
