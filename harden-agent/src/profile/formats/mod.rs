//! The registry of formats: a file here, and a line in [`FORMATS`].

mod accounts;
mod firejail;
mod login;
mod observation;
mod oci;
mod report;
mod service;
mod systemd;
mod yocto;

use std::fmt;

use super::{Plan, Request};
use crate::{
    observation::Text,
    output::{self, Ours, Output},
    policy::Reasons,
};

/// Every format, in the order in which they are written: yocto comes after those of which it installs the files.
pub static FORMATS: &[Format] = &[
    firejail::FORMAT,
    systemd::FORMAT,
    service::FORMAT,
    oci::FORMAT,
    accounts::FORMAT,
    yocto::FORMAT,
    login::FORMAT,
    report::FORMAT,
    observation::FORMAT,
];

/// One format.
pub struct Format {
    /// As `--format` names it.
    pub name: &'static str,
    /// As `--help` describes it.
    pub about: &'static str,
    /// The name of its file for a unit or a command.
    pub file_name: fn(&Text, &Request) -> String,
    /// How an earlier version of the file is told from somebody's own.
    pub ours: Ours,
    /// What is in the file; and the files that were written before it.
    pub content: for<'r> fn(&Plan<'r>, &[Output<'r>]) -> Content<'r>,
}

/// What is in a file.
pub enum Content<'o> {
    /// All of it.
    Written(output::Content<'o>),
    /// There is none, and why.
    Withheld(String),
}

impl Format {
    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Whether it is what was recorded, and nothing that was decided.
    #[must_use]
    pub fn is_observation(&self) -> bool {
        self.name == observation::FORMAT.name
    }

    /// The file, with nothing in it yet.
    #[must_use]
    pub fn empty(&self, subject: &Text, request: &Request) -> Output<'static> {
        Output {
            name: (self.file_name)(subject, request),
            content: output::Content::Bytes(Vec::new()),
            ours: self.ours,
        }
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

impl Content<'_> {
    /// None, for these reasons.
    fn withheld(reasons: &Reasons) -> Self {
        let sentences: Vec<String> = reasons.sentences().collect();
        Self::Withheld(sentences.join("; "))
    }
}

impl From<String> for Content<'_> {
    fn from(text: String) -> Self {
        Self::Written(output::Content::Bytes(text.into_bytes()))
    }
}

impl<E: fmt::Display> From<Result<String, E>> for Content<'_> {
    fn from(text: Result<String, E>) -> Self {
        match text {
            Ok(text) => text.into(),
            // With all of its causes.
            Err(reason) => Self::Withheld(format!("{reason:#}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::fixture::Fixture;

    #[test]
    fn the_manual_lists_every_format() {
        let manual = include_str!("../../../../docs/run.md");
        for format in FORMATS {
            let name = format!("`{}`", format.name);
            assert!(manual.contains(&name), "docs/run.md, --format: no {name}");
        }
    }

    #[test]
    fn each_format_has_a_name_and_a_file_of_its_own_and_is_written_or_withheld_with_a_reason() {
        let fixture = Fixture::new().executable("/usr/sbin/d");
        let mut observation = fixture.syscalls(&["read"]).observation();
        observation.name = "d.service".into();
        let request = Request {
            formats: FORMATS.iter().collect(),
            overrides: "/nonexistent".into(),
            account_prefix: "ops".to_owned(),
            ..Request::default()
        };
        let adapted = request.adapt(&observation).unwrap();
        let files = request.plan(&observation, &adapted).files();
        let names: BTreeSet<&str> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        let written = files.written.iter().map(|output| &output.name);
        let withheld = files.withheld.iter().map(|withheld| &withheld.name);
        let all: BTreeSet<&String> = written.chain(withheld).collect();
        assert_eq!(all.len(), FORMATS.len(), "{all:?}");
        for output in files.written.clone() {
            let content = output.content.into_bytes().unwrap();
            assert!(
                output.ours.recognises(&content[..]).unwrap(),
                "{}: the next `harden render` would take it for somebody else's: it has to begin as {:?} says",
                output.name,
                output.ours
            );
        }
        // This machine has no such unit.
        let [unknown] = &files.withheld[..] else {
            panic!("{:?}", files.withheld);
        };
        assert!(unknown.reason.contains("--unit-file"), "{}", unknown.reason);
        assert!(
            FORMATS
                .iter()
                .all(|format| Format::named(format.name).is_some())
        );
    }
}
