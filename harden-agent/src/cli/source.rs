//! The text of a profile, with what belongs to it: what it includes, the drop-ins of a unit. And what it means for this
//! machine.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use super::text;
use crate::{
    machine,
    observation::{Observation, Text},
    policy::{
        firejail::{Launch, Target, Version},
        judge::{
            Read, Sandbox, Trap, firejail,
            firejail::{is_ignored, statement},
            oci,
            source::{self, Position, SourceLine},
            systemd,
        },
    },
    profile::{Request, Start},
};

/// What a profile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A Firejail profile
    Firejail,
    /// A systemd unit, or a drop-in
    Systemd,
    /// A file of an OCI container: a list of calls, or the runtime's config.json
    Oci,
}

/// A profile, line by line.
pub(in crate::cli) struct Source {
    /// As messages name it.
    pub(in crate::cli) name: String,
    pub(in crate::cli) sandbox: Sandbox,
    pub(in crate::cli) lines: Vec<SourceLine>,
    /// Of a container's file, the directory that it is in.
    bundle: Option<PathBuf>,
}

impl Source {
    /// Reads a file, standard input, or an installed unit.
    pub(in crate::cli) fn read(profile: &OsStr, kind: Option<Kind>) -> anyhow::Result<Self> {
        let shown = Text::from(profile.as_bytes());
        let path = Path::new(profile);
        let is_unit = profile.as_bytes().ends_with(b".service") && !path.exists();
        if is_unit {
            let text = machine::unit::text(&shown);
            let text = text.with_context(|| {
                format!("there is no file {shown}, and systemd has no such unit")
            })?;
            return Ok(Self {
                name: shown.to_string(),
                sandbox: Sandbox::Systemd,
                lines: of_unit(&text),
                bundle: None,
            });
        }
        let (name, text) = if profile == "-" {
            ("standard input".to_owned(), text::standard_input())
        } else {
            (shown.to_string(), text::file(path))
        };
        let text = text.with_context(|| name.clone())?;
        let sandbox = sandbox(path, &text, kind);
        let mut source = Self::of(name, sandbox, &text, path.parent())?;
        if sandbox == Sandbox::Systemd {
            source.lines.extend(drop_ins(path)?);
        }
        Ok(source)
    }

    /// A text, with what it includes, some of which may be `beside` it.
    pub(in crate::cli) fn of(
        name: String,
        sandbox: Sandbox,
        text: &str,
        beside: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut lines = source::lines(&name, text);
        if sandbox == Sandbox::Firejail {
            lines = Included::of(lines, beside)?;
        }
        let whole = beside.and_then(|directory| {
            if directory.as_os_str().is_empty() {
                std::env::current_dir().ok()
            } else {
                fs::canonicalize(directory).ok()
            }
        });
        Ok(Self {
            name,
            sandbox,
            lines,
            bundle: whole.filter(|_| sandbox == Sandbox::Oci),
        })
    }

    /// All lines as one text.
    pub(in crate::cli) fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }
}

fn sandbox(path: &Path, text: &str, kind: Option<Kind>) -> Sandbox {
    let extension = path.extension().and_then(OsStr::to_str);
    match (kind, extension) {
        (Some(Kind::Firejail), _) | (None, Some("profile" | "inc" | "local")) => Sandbox::Firejail,
        (Some(Kind::Systemd), _) | (None, Some("conf" | "service")) => Sandbox::Systemd,
        (Some(Kind::Oci), _) | (None, Some("json")) => Sandbox::Oci,
        (None, _) if text.trim_start().starts_with('{') => Sandbox::Oci,
        (None, _) if text.lines().any(|line| line.trim() == "[Service]") => Sandbox::Systemd,
        (None, _) => Sandbox::Firejail,
    }
}

/// What `systemctl cat` prints: before each file a comment with its path.
fn of_unit(text: &str) -> Vec<SourceLine> {
    let mut position = Position {
        file: "unit".into(),
        number: 0,
    };
    let mut lines = Vec::new();
    for text in text.lines() {
        if let Some(path) = text.strip_prefix("# ").filter(|path| path.starts_with('/')) {
            position = Position {
                file: path.into(),
                number: 0,
            };
            continue;
        }
        position.number += 1;
        lines.push(SourceLine {
            position: position.clone(),
            text: text.to_owned(),
        });
    }
    lines
}

/// The lines of `UNIT.service.d/*.conf`, in order.
fn drop_ins(unit: &Path) -> anyhow::Result<Vec<SourceLine>> {
    let mut directory = unit.as_os_str().to_owned();
    directory.push(".d");
    let Ok(entries) = fs::read_dir(&directory) else {
        return Ok(Vec::new());
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension() == Some("conf".as_ref()))
        .collect();
    paths.sort();
    let mut lines = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let text = text::file(&path).with_context(|| name.clone())?;
        lines.extend(source::lines(&name, &text));
    }
    Ok(lines)
}

/// Firejail does not start with more (`MAX_INCLUDE_LEVEL` in src/firejail/firejail.h).
const DEPTH: usize = 16;
/// A file that is included often enough would fill the memory.
const LONGEST: usize = 200_000;

/// The lines of a profile, with those of included files in the place of `include`. One that Firejail cannot read stays; that a
/// `.local` file is missing means nothing.
struct Included<'p> {
    beside: Option<&'p Path>,
    ignored: Vec<String>,
    lines: Vec<SourceLine>,
}

impl<'p> Included<'p> {
    fn of(lines: Vec<SourceLine>, beside: Option<&'p Path>) -> anyhow::Result<Vec<SourceLine>> {
        let mut included = Self {
            beside,
            ignored: Vec::new(),
            lines: Vec::new(),
        };
        included.add(lines, 0)?;
        Ok(included.lines)
    }

    fn add(&mut self, lines: Vec<SourceLine>, depth: usize) -> anyhow::Result<()> {
        for line in lines {
            let statement = statement(&line.text);
            if is_ignored(&self.ignored, &statement) {
                continue;
            }
            if let Some(start) = statement.strip_prefix("ignore ") {
                self.ignored.push(start.to_owned());
            }
            let name = statement.strip_prefix("include ");
            let Some(name) = name.filter(|_| depth < DEPTH) else {
                self.keep(line)?;
                continue;
            };
            let mut paths = candidates(name, self.beside).into_iter();
            match paths.find(|path| path.exists()) {
                Some(path) => {
                    let Ok(text) = text::file(&path) else {
                        self.keep(line)?;
                        continue;
                    };
                    let lines = source::lines(&path.display().to_string(), &text);
                    self.add(lines, depth + 1)?;
                }
                None if Path::new(name).extension() == Some("local".as_ref()) => {}
                None => self.keep(line)?,
            }
        }
        Ok(())
    }

    fn keep(&mut self, line: SourceLine) -> anyhow::Result<()> {
        ensure!(
            self.lines.len() < LONGEST,
            "with what it includes the profile has more than {LONGEST} lines, up to {}",
            line.position
        );
        self.lines.push(line);
        Ok(())
    }
}

/// Where Firejail looks for a file (`profile_read` and `profile_find_firejail` in src/firejail/profile.c).
fn candidates(name: &str, beside: Option<&Path>) -> Vec<PathBuf> {
    let etc = Path::new("/etc/firejail");
    if let Some(rest) = name.strip_prefix("${CFG}/") {
        return vec![etc.join(rest)];
    }
    let home = std::env::home_dir();
    let below = name.strip_prefix("${HOME}/").or(name.strip_prefix("~/"));
    if let Some(rest) = below {
        return home.into_iter().map(|home| home.join(rest)).collect();
    }
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let own = home.map(|home| home.join(".config/firejail").join(name));
    let beside = beside.map(|directory| directory.join(name));
    let installed = etc.join(name);
    own.into_iter().chain([installed]).chain(beside).collect()
}

/// What the installed sandboxes say of themselves.
pub(in crate::cli) struct Machine {
    pub(in crate::cli) target: Target,
    pub(in crate::cli) calls: Option<BTreeSet<String>>,
    /// Where the containers run.
    pub(in crate::cli) host: oci::Host,
}

impl Machine {
    /// Asks them, about those who did what `observation` shows.
    pub(in crate::cli) fn ask(
        sandbox: Sandbox,
        observation: &Observation,
        version: Option<Version>,
        start: Option<Start>,
    ) -> Self {
        let target = match sandbox {
            Sandbox::Firejail => {
                let asked = machine::firejail::ask(version, Launch::Direct);
                let request = Request {
                    target: asked.target,
                    start,
                    ..Request::default()
                };
                request.target(observation)
            }
            Sandbox::Systemd | Sandbox::Oci => Target::default(),
        };
        let calls = (sandbox == Sandbox::Systemd).then(machine::systemd::calls);
        Self {
            target,
            calls: calls.flatten(),
            host: oci::Host::of(observation),
        }
    }

    /// The home directories of those who start Firejail, as far as they are known.
    pub(in crate::cli) fn homes(&self) -> BTreeSet<Text> {
        self.target.homes.given().cloned().unwrap_or_default()
    }

    /// What the lines say, and which of them do not mean what they seem to mean.
    pub(in crate::cli) fn understand(&self, source: &Source) -> anyhow::Result<(Read, Vec<Trap>)> {
        let lines = &source.lines;
        Ok(match source.sandbox {
            Sandbox::Firejail => {
                let read = firejail::read_lines(lines, &self.homes());
                (read, firejail::traps(lines, &self.target))
            }
            Sandbox::Systemd => {
                let traps = systemd::traps(lines, self.calls.as_ref());
                (systemd::read_lines(lines), traps)
            }
            Sandbox::Oci => {
                let host = match &source.bundle {
                    Some(bundle) => self.host.clone().with_bundle(bundle.clone(), Path::exists),
                    None => self.host.clone(),
                };
                let read = oci::read_file(&source.name, &source.text(), &host);
                (read.with_context(|| source.name.clone())?, Vec::new())
            }
        })
    }
}
