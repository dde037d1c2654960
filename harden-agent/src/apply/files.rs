//! The files of a unit: what they say, and writing and removing them.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Applied, Backend, Unit, applied, place};
use crate::output::{self, Access, Ours, Output};

/// What was decided about a unit.
#[derive(Clone, Debug)]
pub struct Files {
    /// What confines it.
    pub backend: Backend,
    /// The drop-in.
    pub drop_in: String,
    /// Firejail's profile.
    pub profile: Option<String>,
    /// The digest of the observation.
    pub observation: String,
}

impl Files {
    /// Of the contents of the backend's formats, in their order.
    ///
    /// # Errors
    /// One is missing, or is no text.
    pub fn new(backend: Backend, contents: Vec<Vec<u8>>, observation: &[u8]) -> Result<Self> {
        let texts: Result<Vec<_>, _> = contents.into_iter().map(String::from_utf8).collect();
        let mut texts = texts?;
        let drop_in = texts.pop().context("there is no drop-in")?;
        Ok(Self {
            backend,
            drop_in,
            profile: texts.pop(),
            observation: applied::digest(observation),
        })
    }

    /// A drop-in that is there already.
    #[must_use]
    pub fn of_drop_in(text: String) -> Self {
        Self {
            backend: Backend::Systemd,
            observation: applied::digest(text.as_bytes()),
            drop_in: text,
            profile: None,
        }
    }

    /// The files that would stay: where, and what is in them.
    #[must_use]
    pub fn lasting(&self, unit: &Unit) -> Vec<(PathBuf, &str)> {
        let profile = self.profile.as_deref();
        let profile = profile.map(|text| (place::lasting_profile(unit).into(), text));
        let drop_in = (place::lasting(unit, self.backend), self.drop_in.as_str());
        profile.into_iter().chain([drop_in]).collect()
    }

    /// The files below /run: where, and what is in them.
    pub(super) fn of_runtime(&self, unit: &Unit) -> Vec<(PathBuf, String)> {
        let profile = self.profile.clone();
        let profile = profile.map(|text| (place::trial_profile(unit).into(), text));
        let drop_in = (place::trial(unit, self.backend), self.on_trial(unit));
        profile.into_iter().chain([drop_in]).collect()
    }

    /// The drop-in, with the profile where it lies on trial.
    pub(super) fn on_trial(&self, unit: &Unit) -> String {
        with_profile(
            &self.drop_in,
            &place::lasting_profile(unit),
            &place::trial_profile(unit),
        )
    }
}

/// A service edit that names another profile.
pub(super) fn with_profile(drop_in: &str, from: &str, to: &str) -> String {
    drop_in.replace(&format!("--profile={from} "), &format!("--profile={to} "))
}

/// Writes a file of the system's; never over somebody's own.
///
/// # Errors
/// It may not, or cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    // A drop-in of somebody's own, once installed, has no other mark of harden than its first line.
    let is_installed = read(path)?.is_some();
    put(path, text.as_bytes().to_vec(), Ours::Marker, is_installed)
}

/// Writes a file in a directory of harden's own, over an earlier one; never through a link.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_data(path: &Path, bytes: Vec<u8>) -> Result<()> {
    put(path, bytes, Ours::Json, true)
}

fn put(path: &Path, bytes: Vec<u8>, ours: Ours, force: bool) -> Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        anyhow::bail!("{} is no file", path.display());
    };
    make(directory).with_context(|| directory.display().to_string())?;
    let output = Output {
        name: name.to_string_lossy().into_owned(),
        content: output::Content::Bytes(bytes),
        ours,
    };
    output::stage_for(Access::System, directory, &[output], force)?.commit()?;
    Ok(())
}

/// Makes a directory that everybody can look into, whatever the umask is, and those above it.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        make(above)?;
    }
    fs::create_dir(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

/// Whether harden wrote the file, by whichever command.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_ours(path: &Path) -> Result<bool> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(false);
    }
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    Ok(Ours::Marker.recognises(file)?)
}

/// What an installed file says; `None` if there is none, or it is not one of `harden apply`.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<(Applied, String)>> {
    /// No drop-in and no profile is so long.
    const LONGEST: u64 = 16 << 20;
    let is_file = |found: fs::Metadata| found.is_file() && found.len() <= LONGEST;
    if !fs::symlink_metadata(path).is_ok_and(is_file) {
        return Ok(None);
    }
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    let file = String::from_utf8_lossy(&file);
    Ok(Applied::read(&file).map(|(applied, text)| (applied, text.to_owned())))
}

/// Removes a file if `harden apply` installed it, and its directory if that is a drop-in's and empty now. Returns whether
/// there was one.
///
/// # Errors
/// It cannot be removed.
pub(super) fn remove(path: &Path) -> Result<bool> {
    if read(path)?.is_none() {
        return Ok(false);
    }
    fs::remove_file(path).with_context(|| path.display().to_string())?;
    if let Some(directory) = path.parent()
        && directory.extension().is_some_and(|end| end == "d")
    {
        // One that has more in it stays.
        let _ = fs::remove_dir(directory);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn applied() -> Applied {
        Applied {
            backend: Backend::Systemd,
            since: Timestamp::UNIX_EPOCH,
            observation: String::new(),
            runtime: false,
            until: None,
            proof: None,
        }
    }

    #[test]
    fn only_what_was_installed_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.service.d/50-harden.conf");
        write(&path, &applied().over("# Written by harden\n")).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o644
        );
        let (found, text) = read(&path).unwrap().unwrap();
        assert_eq!((found, text.as_str()), (applied(), "# Written by harden\n"));
        assert!(remove(&path).unwrap());
        assert!(!path.parent().unwrap().exists());
        assert!(!remove(&path).unwrap());

        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "# Written by harden\n").unwrap();
        assert!(!remove(&path).unwrap());
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, applied().over("")).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(!remove(&path).unwrap());
        write(&path, "x").unwrap_err();
        assert!(elsewhere.exists());

        // One without a mark of its own is replaced, once it is installed.
        fs::remove_file(&path).unwrap();
        write(&path, &applied().over("[Service]\nUMask=0022\n")).unwrap();
        write(&path, &applied().over("[Service]\nUMask=0077\n")).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("=0077\n"));
    }

    #[test]
    fn the_edit_names_the_profile_where_it_is() {
        let unit = Unit::called("a.service");
        let files = Files::new(
            Backend::Firejail,
            vec![
                b"profile".to_vec(),
                b"# /etc/firejail/a.service.profile\nExecStart=firejail --profile=/etc/firejail/a.service.profile /bin/a\n".to_vec(),
            ],
            b"",
        )
        .unwrap();
        let trial = files.on_trial(&unit);
        assert!(
            trial.ends_with(
                "\nExecStart=firejail --profile=/run/harden-apply/a.service.profile /bin/a\n"
            ),
            "{trial}"
        );
        let back = with_profile(
            &trial,
            &place::trial_profile(&unit),
            &place::lasting_profile(&unit),
        );
        assert_eq!(back, files.drop_in);
        let lasting: Vec<_> = files.lasting(&unit);
        assert_eq!(lasting[0].0, Path::new("/etc/firejail/a.service.profile"));
        assert_eq!(lasting[0].1, "profile");
    }
}
