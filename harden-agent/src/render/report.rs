//! All of it for people: what was seen, what was decided, and why. `NAME.report.md`, or `NAME.report.txt`.

mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::observation::{File, Observation, Operation, RunKind, Text};
use crate::output::{MARKER_PREFIX, file_stem};
use crate::policy::account::{Account, Proposal, Recommendation};
use crate::policy::firejail::Profile;
use crate::policy::systemd::DropIn;
use crate::policy::{Decision, Evidence, Item, Reasons};

use super::page::{Options, head, warned};
use write::{Cell, Writer, code, plain};

/// How the report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// Markdown, as code forges show it
    #[default]
    Markdown,
    /// Plain text
    Text,
}

impl Syntax {
    /// Its name on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The name of the file.
#[must_use]
pub fn file_name(subject: &Text, syntax: Syntax) -> String {
    let ending = match syntax {
        Syntax::Markdown => "md",
        Syntax::Text => "txt",
    };
    format!("{}.report.{ending}", file_stem(subject))
}

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What was seen.
    pub observation: &'a Observation,
    /// What the Firejail profile says.
    pub profile: &'a Profile,
    /// What the drop-in says.
    pub drop_in: &'a DropIn,
    /// Whether it can do without root.
    pub account: &'a Account,
}

/// Files are named one by one up to this many; the observation has all.
const FILES: usize = 40;

impl Report<'_> {
    /// The text.
    #[must_use]
    pub fn text(&self, syntax: Syntax, options: &Options) -> String {
        let mut out = Writer::new(syntax);
        // In Markdown the marker is a heading, too.
        out.title(MARKER_PREFIX, &self.observation.name);
        self.coverage(&mut out, options);
        self.warnings(&mut out, options);
        self.account(&mut out);
        self.capabilities(&mut out);
        self.calls(&mut out);
        self.sockets(&mut out);
        self.programs(&mut out);
        self.files(&mut out);
        self.directives(&mut out);
        out.text()
    }

    fn coverage(&self, out: &mut Writer, options: &Options) {
        let coverage = &self.profile.coverage;
        let machines: Vec<&str> = coverage.machines.iter().map(String::as_str).collect();
        let mut lines = head(coverage);
        lines.insert(1, format!("On {}", machines.join(", ")));
        lines.extend(self.profile.syscalls.advice.shown());
        lines.extend(options.remarks.iter().cloned());
        let lost = coverage
            .losses
            .iter()
            .map(|(kind, count)| format!("Lost: {kind}: {count}"));
        lines.extend(lost);
        if coverage.failed > 0 {
            lines.push(format!(
                "Failed, and may have stopped half-way: {}",
                coverage.failed
            ));
        }
        out.list(lines.iter().map(|line| vec![plain(line)]));
    }

    fn warnings(&self, out: &mut Writer, options: &Options) {
        let mut all = Vec::new();
        for warning in [
            &self.profile.warnings,
            &self.drop_in.warnings,
            &self.account.warnings,
        ]
        .into_iter()
        .flatten()
        {
            if !all.contains(warning) {
                all.push(warning.clone());
            }
        }
        out.heading("Warnings");
        out.list(warned(&all, options).iter().map(|line| vec![plain(line)]));
    }

    fn account(&self, out: &mut Writer) {
        out.heading("Root or not");
        let account = self.account;
        let recommendation = match account.recommendation() {
            Recommendation::Unknown(reasons) => reasons.join("; "),
            Recommendation::NotRoot => "it is not started as root".to_owned(),
            Recommendation::Nameless(reasons) => reasons.join("; "),
            Recommendation::StaysRoot => "it has to stay root, for the reasons below".to_owned(),
            Recommendation::Proposed(Proposal { name, .. }) => {
                format!("it can run as {name}, with the remedies below")
            }
        };
        out.paragraph(&recommendation);
        out.table(
            &["would be refused", "remedy", "seen by"],
            account.obstacles.iter().map(|one| {
                let remedy = super::account::remedy(&one.remedy);
                vec![
                    plain(&one.what),
                    plain(&remedy),
                    plain(&one.evidence.to_string()),
                ]
            }),
        );
    }

    fn capabilities(&self, out: &mut Writer) {
        out.heading("Capabilities");
        match &self.profile.capabilities.keep {
            Decision::Withheld(reasons) => out.paragraph(&told(reasons)),
            Decision::Given(kept) if kept.is_empty() => out.paragraph("none"),
            Decision::Given(kept) => out.table(&["kept", "seen by"], kept.iter().map(row)),
        }
        out.table(
            &["not kept", "because"],
            self.profile.capabilities.noise.iter().map(|item| {
                vec![
                    code(&item.value),
                    plain(item.note.as_deref().unwrap_or_default()),
                ]
            }),
        );
    }

    /// Like the table of `strace -qcf`.
    fn calls(&self, out: &mut Writer) {
        let mut calls: BTreeMap<String, Evidence> = BTreeMap::new();
        for (test, run) in self.observation.tests() {
            for (path, facts) in &run.executables {
                for (abi, names) in &facts.syscalls {
                    for (name, seen) in names {
                        let prefix = match abi {
                            crate::observation::Abi::Native => "",
                            crate::observation::Abi::Ia32 => "ia32 ",
                            crate::observation::Abi::X32 => "x32 ",
                        };
                        calls
                            .entry(format!("{prefix}{name}"))
                            .or_default()
                            .add(test, path, seen);
                    }
                }
            }
        }
        let mut calls: Vec<_> = calls.into_iter().collect();
        calls.sort_by_key(|(_, evidence)| std::cmp::Reverse(evidence.count));
        out.heading("System calls");
        out.table(
            &["call", "times", "runs", "by"],
            calls.iter().map(|(name, evidence)| {
                let times = evidence
                    .count
                    .map_or_else(|| "?".to_owned(), |count| count.to_string());
                vec![
                    code(name),
                    plain(&times),
                    plain(&evidence.runs.len().to_string()),
                    by(evidence),
                ]
            }),
        );
    }

    fn sockets(&self, out: &mut Writer) {
        out.heading("Socket families");
        match &self.profile.protocols {
            Decision::Withheld(reasons) => out.paragraph(&told(reasons)),
            Decision::Given(families) => {
                out.table(&["family", "seen by"], families.iter().map(row));
            }
        }
        let mut addresses: BTreeSet<(String, &Text)> = BTreeSet::new();
        for facts in self
            .observation
            .runs
            .values()
            .flat_map(|run| run.executables.values())
        {
            for (operation, names) in &facts.addresses {
                let operation = format!("{operation:?}").to_lowercase();
                addresses.extend(names.keys().map(|name| (operation.clone(), name)));
            }
        }
        out.table(
            &["did", "address"],
            addresses
                .iter()
                .take(FILES)
                .map(|(operation, name)| vec![plain(operation), code(&name.to_string())]),
        );
        out.more(addresses.len(), FILES, "addresses");
    }

    fn programs(&self, out: &mut Writer) {
        out.heading("Programs");
        let programs = &self.profile.coverage.executables;
        out.list(
            programs
                .iter()
                .map(|program| vec![code(&program.to_string())]),
        );
        if !self.profile.coverage.control.is_empty() {
            let names: Vec<String> = self
                .profile
                .coverage
                .control
                .iter()
                .map(|one| format!("{one:?}"))
                .collect();
            out.paragraph(&format!(
                "Other commands of the unit that were seen: {}",
                names.join(", ")
            ));
        }
    }

    fn files(&self, out: &mut Writer) {
        let runs = self
            .observation
            .runs
            .values()
            .filter(|run| run.kind != RunKind::Override);
        let programs = runs.flat_map(|run| run.executables.values());
        let mut files: Vec<(&Text, &File)> = programs.flat_map(|facts| &facts.files).collect();
        // What several programs did with a file lies side by side then.
        files.sort_by_key(|(path, _)| *path);
        let (mut changed, mut used, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for file in files.chunk_by(|one, next| one.0 == next.0) {
            let among = if done(file).any(Operation::writes) {
                &mut changed
            } else if done(file).next().is_some() {
                &mut used
            } else {
                &mut absent
            };
            among.push(file);
        }
        out.heading("Files that were changed");
        out.table(
            &["file", "how"],
            changed.iter().take(FILES).map(|file| {
                let how: BTreeSet<Operation> = done(file).filter(|one| one.writes()).collect();
                let how: Vec<String> = how
                    .iter()
                    .map(|one| format!("{one:?}").to_lowercase())
                    .collect();
                vec![code(&file[0].0.to_string()), plain(&how.join(", "))]
            }),
        );
        out.more(changed.len(), FILES, "files");
        for (title, files) in [
            ("Files that were used and not changed", used),
            ("Files that were looked for in vain", absent),
        ] {
            out.heading(title);
            out.list(
                files
                    .iter()
                    .take(FILES)
                    .map(|file| vec![code(&file[0].0.to_string())]),
            );
            out.more(files.len(), FILES, "files");
        }
    }

    fn directives(&self, out: &mut Writer) {
        out.heading("What systemd can refuse");
        out.table(
            &["directive", "given", "because"],
            self.drop_in.directives.iter().map(|one| match &one.value {
                Decision::Given(items) => {
                    let words: Vec<&str> = items.iter().map(|item| item.value.as_str()).collect();
                    let words = if words.len() > 8 {
                        format!("{} words", words.len())
                    } else {
                        words.join(" ")
                    };
                    vec![
                        code(one.name),
                        code(&words),
                        plain("all that was seen can live with it"),
                    ]
                }
                Decision::Withheld(reasons) => {
                    vec![
                        code(one.name),
                        plain("no"),
                        plain(reasons.kept().first().map_or("", String::as_str)),
                    ]
                }
            }),
        );
    }
}

/// What programs did with one file.
fn done<'f>(file: &'f [(&Text, &File)]) -> impl Iterator<Item = Operation> + 'f {
    let all = file.iter().flat_map(|(_, file)| file.operations.iter());
    let succeeded = all.filter(|(_, outcome, _)| outcome.is_ok());
    succeeded.map(|(one, ..)| one)
}

fn told(reasons: &Reasons) -> String {
    reasons.sentences().collect::<Vec<_>>().join("; ")
}

fn row(item: &Item) -> Vec<Cell> {
    let evidence = item.evidence.to_string();
    let why = match &item.note {
        Some(note) if evidence.is_empty() => note.clone(),
        Some(note) => format!("{evidence}; {note}"),
        None => evidence,
    };
    vec![code(&item.value), plain(&why)]
}

fn by(evidence: &Evidence) -> Cell {
    let names: Vec<String> = evidence
        .executables
        .iter()
        .take(3)
        .map(ToString::to_string)
        .collect();
    plain(&names.join(", "))
}

#[cfg(test)]
mod tests;
