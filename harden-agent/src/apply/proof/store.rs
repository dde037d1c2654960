//! Where a proof lies: below /run while its files are on trial or until a reboot, else below /var/lib.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{Change, Named, Proof};
use crate::apply::{Installed, Unit, applied::digest, files, place};

/// What is known of the proof of what is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The files name none: an older harden installed them.
    None,
    /// The record that they name cannot be used; and why.
    Lost(String),
    /// The record, and what has changed since: nothing, if it holds.
    Known(Box<Proof>, Vec<Change>),
}

/// Writes the proof of what is on trial.
///
/// # Errors
/// It cannot be written.
pub(in crate::apply) fn stage(unit: &Unit, proof: &Proof) -> Result<()> {
    let mut text = serde_json::to_string_pretty(proof)?;
    text.push('\n');
    files::write_data(&place::trial_proof(unit), text.into_bytes())
}

/// Whether the test of what is on trial is over, and succeeded.
pub(in crate::apply) fn is_staged(unit: &Unit) -> bool {
    place::trial_proof(unit).is_file()
}

/// Makes the proof of what is on trial lasting, if there is one, and returns its name. With `runtime` it stays where it is.
/// An older one stays too: the files name that until they are replaced.
///
/// # Errors
/// It cannot be read or written.
pub(in crate::apply) fn keep(unit: &Unit, runtime: bool) -> Result<Option<Named>> {
    let from = place::trial_proof(unit);
    let bytes = match fs::read(&from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(|| from.display().to_string())?,
    };
    let sha256 = digest(&bytes);
    let file = if runtime {
        from
    } else {
        let file = place::lasting_proof(unit, &sha256);
        for directory in [Path::new(place::PROOFS), &place::proofs(unit)] {
            let is_link = fs::symlink_metadata(directory).is_ok_and(|found| !found.is_dir());
            ensure!(
                !is_link,
                "{} has to be a directory: move it away first",
                directory.display()
            );
        }
        files::write_data(&file, bytes)?;
        file
    };
    Ok(Some(Named { file, sha256 }))
}

/// Removes the proof of what was on trial.
pub(in crate::apply) fn discard(unit: &Unit) {
    let _ = fs::remove_file(place::trial_proof(unit));
}

/// Removes the lasting proofs of a unit but for this one. What cannot be removed is named by no file, and does no harm.
pub(in crate::apply) fn clear(unit: &Unit, but: Option<&Named>) {
    let directory = place::proofs(unit);
    // Never through a link.
    if !fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()) {
        return;
    }
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let is_other = but.is_none_or(|kept| kept.file != entry.path());
        if is_other && is_record(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    // One with a record in it stays.
    let _ = fs::remove_dir(directory);
}

/// Whether this is the name of a record: `DIGEST.json`.
fn is_record(name: &str) -> bool {
    let digest = name.strip_suffix(".json").unwrap_or_default();
    digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is known of the proof of what is installed.
#[must_use]
pub fn standing(installed: &Installed) -> Standing {
    let Some(named) = &installed.proof else {
        return Standing::None;
    };
    let proof = read(&named.file, &named.sha256).and_then(|proof| {
        let path = &installed.path;
        ensure!(
            proof.unit == installed.unit && proof.installed_paths().contains(path),
            "{} is not about {}",
            named.file.display(),
            path.display()
        );
        Ok(proof)
    });
    match proof {
        Ok(proof) => {
            let changes = proof.changes();
            Standing::Known(Box::new(proof), changes)
        }
        Err(error) => Standing::Lost(format!("{error:#}")),
    }
}

fn read(file: &Path, sha256: &str) -> Result<Proof> {
    /// No record is so long.
    const LONGEST: u64 = 64 << 20;
    let shown = || file.display().to_string();
    let found = fs::metadata(file).with_context(shown)?;
    ensure!(
        found.is_file() && found.len() <= LONGEST,
        "{} is no proof record",
        shown()
    );
    let bytes = fs::read(file).with_context(shown)?;
    ensure!(
        digest(&bytes) == sha256,
        "{} was changed since it was written",
        shown()
    );
    let proof: Proof = serde_json::from_slice(&bytes).with_context(shown)?;
    ensure!(
        proof.schema == Proof::SCHEMA,
        "{} was written by another version of harden",
        shown()
    );
    Ok(proof)
}

#[cfg(test)]
mod tests {
    use super::{super::stale::tests::proof, *};
    use crate::{apply::State, observation::Text};

    #[test]
    fn a_record_is_used_only_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("proof.json");
        let drop_in = directory.path().join("50-harden.conf");
        let mut proof = proof();
        proof.not_followed.insert("/a\nb".into());
        let text = Text::from(drop_in.as_os_str().as_encoded_bytes());
        proof.installed.insert(text, String::new());
        let bytes = serde_json::to_vec(&proof).unwrap();
        let mut installed = Installed {
            unit: proof.unit.clone(),
            backend: proof.backend,
            since: proof.proved,
            observation: "".into(),
            state: State::Kept,
            path: drop_in,
            proof: None,
        };
        assert_eq!(standing(&installed), Standing::None);
        installed.proof = Some(Named {
            file: file.clone(),
            sha256: digest(&bytes),
        });
        let lost_of = |installed: &Installed, part: &str| match standing(installed) {
            Standing::Lost(why) => assert!(why.contains(part), "{why}"),
            other => panic!("{other:?}"),
        };
        let lost = |part: &str| lost_of(&installed, part);
        lost("No such file");
        fs::write(&file, &bytes).unwrap();
        assert!(matches!(standing(&installed), Standing::Known(found, _) if *found == proof));
        // The drop-in of another unit, or a copy beside it.
        let other = Installed {
            unit: "other.service".into(),
            ..installed.clone()
        };
        lost_of(&other, "is not about");
        let copy = Installed {
            path: directory.path().join("99-copy.conf"),
            ..installed.clone()
        };
        lost_of(&copy, "is not about");
        proof.tests.push("true".to_owned());
        fs::write(&file, serde_json::to_vec(&proof).unwrap()).unwrap();
        lost("was changed since");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        lost("is no proof record");
    }
}
