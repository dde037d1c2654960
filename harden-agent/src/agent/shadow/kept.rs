//! The file of a shadow: `shadows/STEM.json` in the state directory.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        quarantine,
        request::{Denial, ShadowProfile, ShadowSummary, Time},
    },
    frozen,
    look::{Key, Looked, facts, key},
};
use crate::{
    observation::{Observation, Run, Text, Word},
    output::{self, Content, Ours, Output, file_stem},
};

/// So many denials are kept for a unit; more are counted.
const MOST: usize = 1000;

/// The largest file that is read: a profile, the runs before it, and [`MOST`] denials with the longest paths.
const FILE_LIMIT: u64 = 64 << 20;

const EXTENSION: &str = ".json";

/// What is kept of a shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    comment: [String; 1],
    pub(super) unit: Text,
    since: Timestamp,
    digest: String,
    pub(super) profile: ShadowProfile,
    /// The runs that had begun by then.
    before: BTreeSet<Word>,
    pub(super) denials: Vec<Denial>,
    left_out: u64,
    /// Those that were left out since this process began, as hashes.
    #[serde(skip)]
    seen_out: HashSet<u64>,
    tests: u64,
    losses: BTreeMap<Word, u64>,
    /// How often the unit may have done something that was not recorded.
    #[serde(default)]
    gaps: u64,
    time: Counted,
}

/// The time in which the unit could be observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    seconds: u64,
    /// By this kernel side,
    instance: Option<Word>,
    /// in this boot,
    #[serde(default)]
    boot: Option<Word>,
    /// up to then.
    until: Timestamp,
    /// The agent has ended, and the unit was not there.
    #[serde(default)]
    is_over: bool,
}

/// What records.
pub struct Side {
    /// The loaded kernel side, a UUID.
    pub id: Word,
    /// The machine's boot.
    pub boot: Word,
    /// When it was loaded.
    pub started: Timestamp,
}

/// What an agent that begins finds of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The configuration excludes it.
    Excluded,
    /// It is there.
    There,
    /// It is not there.
    Absent,
}

impl Kept {
    pub(super) fn new(
        unit: Text,
        profile: ShadowProfile,
        before: BTreeSet<Word>,
        side: Option<&Side>,
    ) -> Self {
        let now = Timestamp::now();
        Self {
            comment: ["Written by harden, which reads it again: harden shadow".to_owned()],
            unit,
            since: now,
            digest: frozen::digest(&profile),
            profile,
            before,
            denials: Vec::new(),
            left_out: 0,
            seen_out: HashSet::new(),
            tests: 0,
            losses: BTreeMap::new(),
            gaps: 0,
            time: Counted {
                seconds: 0,
                instance: side.map(|side| side.id.clone()),
                boot: side.map(|side| side.boot.clone()),
                until: now,
                is_over: false,
            },
        }
    }

    /// Whether the run began since: by its identifier, as the clock may be set.
    pub(super) fn is_since(&self, id: &Word, run: &Run) -> bool {
        let mut ids = std::iter::once(id).chain(&run.stands_for);
        ids.all(|id| !self.before.contains(id))
    }

    /// Counts up: runs that were folded do not take anything back. Says whether anything changed.
    pub(super) fn count(&mut self, tests: u64, losses: BTreeMap<Word, u64>) -> bool {
        let mut is_changed = tests > self.tests;
        self.tests = self.tests.max(tests);
        for (kind, count) in losses {
            let known = self.losses.entry(kind).or_default();
            is_changed |= count > *known;
            *known = count.max(*known);
        }
        is_changed
    }

    /// Notes what was found in the runs `new`. Returns what was not known, and whether anything changed.
    pub(super) fn note(
        &mut self,
        looked: &Looked,
        observation: &Observation,
        new: &BTreeSet<&Word>,
    ) -> (Vec<Denial>, bool) {
        let before = self.denials.len();
        self.take_back(looked, observation, new);
        let mut is_changed = self.denials.len() != before;
        let known: BTreeSet<Key> = self.denials.iter().map(key).collect();
        let found = looked.refused.iter();
        let found = found.filter(|(key, _)| !known.contains(key));
        let mut found: Vec<Denial> = found.map(|(_, denial)| denial.clone()).collect();
        found.sort_by_key(|denial| (denial.first, key(denial)));
        let room = MOST.saturating_sub(self.denials.len());
        let left_out = found.split_off(room.min(found.len()));
        self.seen_out.extend(left_out.iter().map(hash));
        // After a restart all of them are found again.
        let left_out = self.seen_out.len() as u64;
        is_changed |= left_out > self.left_out;
        self.left_out = self.left_out.max(left_out);
        is_changed |= !found.is_empty();
        self.denials.extend(found.iter().cloned());
        (found, is_changed)
    }

    /// Takes back what was refused at an earlier look and turns out to be none: a call is seen before its answer, and
    /// systemd says later which command a process was.
    fn take_back(&mut self, looked: &Looked, observation: &Observation, new: &BTreeSet<&Word>) {
        let is_left = |denial: &Denial| {
            new.contains(&denial.run) && !looked.refused.contains_key(&key(denial))
        };
        let runs = self.denials.iter().filter(|denial| is_left(denial));
        let runs: BTreeSet<Word> = runs.map(|denial| denial.run.clone()).collect();
        for id in runs {
            let Some(run) = observation.runs.get(&id) else {
                continue;
            };
            let facts = facts(run);
            self.denials.retain(|denial| {
                let (_, executable, kind, fact) = key(denial);
                let is_there = facts.contains(&(executable, kind, fact));
                denial.run != id || !is_left(denial) || !is_there
            });
        }
    }

    /// An agent begins. Counts it as a gap if the unit may have done something since the last record of it. Says whether
    /// it is one.
    ///
    /// Kernel programs that were taken over have recorded all the time. With others, nothing is known of the time before
    /// them; unless the machine was started again, the last agent ended after the unit, and this one began before it.
    pub(super) fn begin(&mut self, side: &Side, sight: Sight) -> bool {
        let time = &mut self.time;
        let is_same = time.instance.as_ref() == Some(&side.id);
        let is_booted = time.boot.as_ref().is_some_and(|boot| *boot != side.boot);
        let is_gap = match sight {
            Sight::Excluded => true,
            Sight::There => !is_same,
            Sight::Absent => !(is_same || is_booted && time.is_over),
        };
        time.is_over = false;
        self.gaps = self.gaps.saturating_add(is_gap.into());
        self.count_time(side);
        is_gap
    }

    /// The agent ends.
    pub(super) fn end(&mut self, is_there: bool) {
        self.time.is_over = !is_there;
    }

    /// Counts the time up to now, which this kernel side has recorded.
    pub(super) fn count_time(&mut self, side: &Side) {
        let now = Timestamp::now();
        let time = &mut self.time;
        let is_same = time.instance.as_ref() == Some(&side.id);
        let from = if is_same {
            time.until
        } else {
            side.started.max(self.since)
        };
        let passed = now.as_second().saturating_sub(from.as_second());
        let passed = u64::try_from(passed).unwrap_or(0);
        time.seconds = time.seconds.saturating_add(passed);
        // Parts of a second are counted the next time.
        let until = i64::try_from(passed).unwrap_or(0);
        let until = from.checked_add(jiff::SignedDuration::from_secs(until));
        time.until = if now < from {
            now
        } else {
            until.unwrap_or(now)
        };
        time.instance = Some(side.id.clone());
        time.boot = Some(side.boot.clone());
    }

    pub(super) fn count_denials(&self) -> u64 {
        self.denials.len() as u64 + self.left_out
    }

    /// What the file knows.
    pub(super) fn summary(&self) -> ShadowSummary {
        let losses = self.losses.iter();
        ShadowSummary {
            unit: self.unit.clone(),
            backend: self.profile.backend,
            source: self.profile.source.clone(),
            digest: self.digest.clone(),
            since: Time(self.since),
            seconds: self.time.seconds,
            tests: self.tests,
            facts: 0,
            denials: self.count_denials(),
            left_out: self.left_out,
            unjudged: BTreeMap::new(),
            unread: Vec::new(),
            refuses_nothing: false,
            gaps: self.gaps,
            losses: losses
                .map(|(kind, count)| (kind.to_string(), *count))
                .collect(),
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let outputs = [Output {
            name: name(&self.unit),
            content: Content::Bytes(serde_json::to_vec(self)?),
            ours: Ours::Json,
        }];
        output::write(directory, &outputs, false).map_err(io::Error::other)
    }
}

fn hash(denial: &Denial) -> u64 {
    let mut hasher = DefaultHasher::new();
    key(denial).hash(&mut hasher);
    hasher.finish()
}

fn name(unit: &Text) -> String {
    format!("{}{EXTENSION}", file_stem(unit))
}

/// Removes the files of the unit, those among them that were moved aside. One that is not there is no error.
pub(super) fn remove(directory: &Path, unit: &Text) -> io::Result<()> {
    let path = directory.join(name(unit));
    let aside = quarantine::of(&path).unwrap_or_default();
    for path in std::iter::once(path).chain(aside) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// All files in the directory. One that cannot be used is moved aside.
pub(super) fn all(directory: &Path, notices: &mut Vec<String>) -> Vec<Kept> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            notices.push(format!("{}: {error}", directory.display()));
            return Vec::new();
        }
        Ok(entries) => entries,
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut all = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        if output::is_temporary(&name) {
            // What a killed agent has left half done.
            let _ = fs::remove_file(&path);
        } else if name.ends_with(EXTENSION) {
            match read(&path) {
                Ok(kept) => all.push(kept),
                Err(error) => notices.push(aside(&path, &error)),
            }
        }
    }
    all
}

fn aside(path: &Path, error: &io::Error) -> String {
    let to = match quarantine::move_aside(path) {
        Ok(to) => format!("it is now {}", to.display()),
        Err(error) => format!("and cannot be renamed: {error}"),
    };
    let path = Text::from(path.as_os_str().as_encoded_bytes());
    format!("{path} cannot be used: {error}; {to}")
}

fn read(path: &Path) -> io::Result<Kept> {
    use io::Read as _;

    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut text)?;
    let kept: Kept = serde_json::from_slice(&text)?;
    let is_its_own = path.file_name() == Some(name(&kept.unit).as_ref());
    if !is_its_own {
        return Err(io::Error::other("it is of another unit"));
    }
    Ok(kept)
}
