//! The profile of a shadow, ready to judge by.

use std::{collections::BTreeSet, rc::Rc};

use crate::{
    agent::request::ShadowProfile,
    apply::{self, Backend},
    observation::{Observation, Text},
    policy::{
        Overrides,
        judge::{
            Judge, Line, Read, Rules, Sandbox, Surroundings, firejail,
            source::{Position, SourceLine},
            systemd,
        },
    },
};

/// The most bytes that a profile may have, with what it includes and without comments.
pub const LARGEST: usize = 512 << 10;

/// The most lines. Firejail's own lists of programs have two thousand together.
const LINES: usize = 20_000;

/// Directives that refuse nothing by themselves (systemd.exec(5)): they take back what others refuse, make directories, or
/// say who the unit is.
const REFUSE_NOTHING: [&str; 16] = [
    "AmbientCapabilities",
    "CacheDirectory",
    "CacheDirectoryMode",
    "ExecPaths",
    "IPAddressAllow",
    "LogsDirectory",
    "LogsDirectoryMode",
    "ReadWritePaths",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallErrorNumber",
    "UMask",
    "User",
];

/// A profile that was read.
pub struct Frozen {
    read: Read,
    homes: BTreeSet<Text>,
    links: Vec<(Text, Text)>,
    pub(super) overrides: Overrides,
}

impl Frozen {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be used, as a sentence: it is too large, or the sandbox does not start with it.
    pub fn new(profile: &ShadowProfile) -> Result<Self, String> {
        let size: usize = profile.parts.iter().map(|part| part.text.len()).sum();
        if size > LARGEST {
            return Err(format!("the profile has more than {} KiB", LARGEST >> 10));
        }
        let count: usize = profile
            .parts
            .iter()
            .map(|part| part.text.lines().count())
            .sum();
        if count > LINES {
            return Err(format!("the profile has more than {LINES} lines"));
        }
        let homes: BTreeSet<Text> = profile.homes.iter().cloned().collect();
        let lines = lines(profile);
        let read = match profile.backend {
            Backend::Firejail => firejail::read_lines(&lines, &homes),
            Backend::Systemd => systemd::read_lines(&lines),
        };
        if let Some(fatal) = read.unread.iter().find(|one| one.is_fatal) {
            let line = Text::from(fatal.line.trim());
            return Err(format!(
                "{}: {line}: the sandbox does not start with such a line: {}",
                fatal.position, fatal.reason
            ));
        }
        let overrides = profile.overrides.as_deref().map(Overrides::parse);
        let overrides = overrides.transpose().map_err(|error| error.to_string())?;
        let known = profile.links.iter();
        Ok(Self {
            read,
            homes,
            links: known
                .map(|link| (link.path.clone(), link.text.clone()))
                .collect(),
            overrides: overrides.unwrap_or_default(),
        })
    }

    /// What its lines mean among these facts.
    pub(super) fn judge(&self, observation: &Observation) -> Judge<'_> {
        let around = Surroundings::of(observation, self.homes.clone());
        Judge::new(&self.read.rules, &around)
    }

    /// Where a line stands.
    pub(super) fn position(&self, line: &Line) -> Option<Text> {
        let position = self.rules().position(line)?;
        Some(position.to_string().into())
    }

    fn rules(&self) -> &Rules {
        &self.read.rules
    }

    /// Whether no line of it, as far as they are judged, refuses anything. Firejail refuses some things whatever the
    /// profile says.
    pub(super) fn refuses_nothing(&self) -> bool {
        let mut lines = self.rules().lines().iter();
        self.rules().sandbox() == Sandbox::Systemd
            && lines.all(|line| REFUSE_NOTHING.contains(&line.directive))
    }

    /// Gives each run the links that are known.
    pub(super) fn add_links(&self, observation: &mut Observation) {
        for run in observation.runs.values_mut() {
            for (path, text) in &self.links {
                let links = run.symlinks.entry(path.clone());
                links.or_insert_with(|| text.clone());
            }
        }
    }

    /// The lines that are not judged, each with the reason.
    pub(super) fn unread(&self) -> impl Iterator<Item = Text> {
        let unread = self.read.unread.iter();
        unread.map(|one| {
            let text = format!("{}: {}: {}", one.position, one.line.trim(), one.reason);
            text.into()
        })
    }
}

/// The lines of a profile, each with its place.
fn lines(profile: &ShadowProfile) -> Vec<SourceLine> {
    let parts = profile.parts.iter().flat_map(|part| {
        let file: Rc<str> = part.file.to_string().into();
        let first = usize::try_from(part.first).unwrap_or(usize::MAX);
        part.text
            .lines()
            .enumerate()
            .map(move |(at, text)| SourceLine {
                position: Position {
                    file: Rc::clone(&file),
                    number: first.saturating_add(at),
                },
                text: text.to_owned(),
            })
    });
    parts.collect()
}

/// The digest of all lines, each with a line break.
pub(super) fn digest(profile: &ShadowProfile) -> String {
    let lines = profile.parts.iter().flat_map(|part| part.text.lines());
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    apply::digest(text.as_bytes())
}
