//! What came of each test run, on disk: a search that is begun again with the same answers comes to the same place.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Relaxation;
use crate::apply::digest;

/// What a record is about. If any of it has changed, the record is of another search.
#[derive(Clone, Debug)]
pub struct Key<'a> {
    /// The unit.
    pub unit: &'a str,
    /// Its files, as systemd has them.
    pub unit_text: &'a str,
    /// What is tried.
    pub files: &'a [&'a str],
    /// What can be relaxed.
    pub candidates: &'a [String],
    /// The test.
    pub test: &'a str,
}

impl Key<'_> {
    fn digest(&self) -> String {
        let mut all = Vec::new();
        let texts = [self.unit, self.unit_text, self.test];
        let candidates = self.candidates.iter().map(String::as_str);
        for text in texts
            .into_iter()
            .chain(self.files.iter().copied())
            .chain(candidates)
        {
            all.extend(text.len().to_le_bytes());
            all.extend(text.as_bytes());
        }
        digest(&all)
    }
}

/// A test run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// What was relaxed, by name; none: nothing was confined.
    relaxed: Option<Vec<String>>,
    passed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    schema: u32,
    digest: String,
    /// How long the search has taken.
    seconds: u64,
    /// What is tried first.
    suspects: Vec<Relaxation>,
    runs: Vec<Run>,
}

const SCHEMA: u32 = 1;

/// The runs of a search.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    kept: Kept,
    /// So many of them were asked for again.
    replayed: usize,
}

impl Record {
    /// A new one. An older one is gone: what is kept beside it from now on is of the new one.
    #[must_use]
    pub fn new(directory: &Path, stem: &str, key: &Key<'_>) -> Self {
        let record = Self::empty(directory, stem, key);
        let _ = fs::remove_file(&record.path);
        record
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_kept(directory: &Path, stem: &str) -> bool {
        file(directory, stem).exists()
    }

    fn empty(directory: &Path, stem: &str, key: &Key<'_>) -> Self {
        Self {
            path: file(directory, stem),
            kept: Kept {
                schema: SCHEMA,
                digest: key.digest(),
                seconds: 0,
                suspects: Vec::new(),
                runs: Vec::new(),
            },
            replayed: 0,
        }
    }

    /// One that was kept.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is about something else.
    pub fn resumed(directory: &Path, stem: &str, key: &Key<'_>) -> Result<Self> {
        let mut record = Self::empty(directory, stem, key);
        let shown = record.path.display().to_string();
        let text = fs::read(&record.path).with_context(|| shown.clone())?;
        let kept: Kept = serde_json::from_slice(&text).context(shown)?;
        ensure!(
            kept.schema == SCHEMA && kept.digest == record.kept.digest,
            "the unit, the files or the test have changed since the trial was interrupted: begin again without --resume"
        );
        record.kept = kept;
        Ok(record)
    }

    /// What came of the next run, if it is kept. From the first that differs on, nothing is.
    pub(super) fn replay(&mut self, relaxed: Option<&[String]>) -> Option<bool> {
        let run = self.kept.runs.get(self.replayed)?;
        if run.relaxed.as_deref() != relaxed {
            self.kept.runs.truncate(self.replayed);
            return None;
        }
        self.replayed += 1;
        Some(run.passed)
    }

    /// Adds a run, and writes all of them.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn add(
        &mut self,
        relaxed: Option<Vec<String>>,
        passed: bool,
        time: Duration,
    ) -> Result<()> {
        self.kept.runs.push(Run { relaxed, passed });
        self.replayed = self.kept.runs.len();
        self.kept.seconds = time.as_secs();
        self.write()
            .with_context(|| self.path.display().to_string())
    }

    /// How long the search had taken when it was interrupted.
    #[must_use]
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.kept.seconds)
    }

    /// Has these be tried first, which a resumed search does too.
    pub fn suspect(&mut self, suspects: Vec<Relaxation>) {
        self.kept.suspects = suspects;
    }

    /// What is tried first.
    #[must_use]
    pub fn suspects(&self) -> &[Relaxation] {
        &self.kept.suspects
    }

    /// How many runs are kept.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.kept.runs.len()
    }

    /// Where that lies which was known of the unit when the search began.
    #[must_use]
    pub fn observation(directory: &Path, stem: &str) -> PathBuf {
        directory.join(format!("{stem}.observation.json"))
    }

    /// Keeps it there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_observation(directory: &Path, stem: &str, json: &[u8]) -> Result<()> {
        let path = Self::observation(directory, stem);
        put(&path, json).with_context(|| path.display().to_string())
    }

    /// The search is over.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.path.with_extension("observation.json"));
    }

    fn write(&self) -> Result<()> {
        put(&self.path, &serde_json::to_vec(&self.kept)?)
    }
}

fn file(directory: &Path, stem: &str) -> PathBuf {
    directory.join(format!("{stem}.json"))
}

/// Writes a file of a search, for root and its group.
///
/// # Errors
/// It cannot be written.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("no directory")?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o750).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.flush()?;
    let file_itself = file.as_file();
    file_itself.set_permissions(fs::Permissions::from_mode(0o640))?;
    file_itself.sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(test: &'a str, files: &'a [&'a str]) -> Key<'a> {
        Key {
            unit: "a.service",
            unit_text: "[Service]",
            files,
            candidates: &[],
            test,
        }
    }

    #[test]
    fn runs_are_replayed_until_the_first_that_differs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trials");
        let files = ["x"];
        let mut record = Record::new(&path, "a", &key("true", &files));
        let one = vec!["read".to_owned()];
        let second = Duration::from_secs(1);
        record.add(None, true, second).unwrap();
        record.add(Some(one.clone()), false, second).unwrap();
        record.add(Some(Vec::new()), true, 2 * second).unwrap();
        let mode = fs::metadata(path.join("a.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);

        Record::keep_observation(&path, "a", b"{}").unwrap();
        let kept = Record::observation(&path, "a");
        assert_eq!(fs::read(&kept).unwrap(), b"{}");

        let mut again = Record::resumed(&path, "a", &key("true", &files)).unwrap();
        assert_eq!((again.runs(), again.time()), (3, 2 * second));
        assert_eq!(again.replay(None), Some(true));
        assert_eq!(again.replay(Some(&one)), Some(false));
        assert_eq!(again.replay(Some(&one)), None);
        assert_eq!(again.replay(Some(&[])), None);
        assert_eq!(again.runs(), 2);

        for other in [key("false", &files), key("true", &["y"])] {
            let error = Record::resumed(&path, "a", &other).unwrap_err().to_string();
            assert!(error.contains("have changed"), "{error}");
        }
        record.remove();
        Record::resumed(&path, "a", &key("true", &files)).unwrap_err();
    }
}
