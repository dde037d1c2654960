//! Which files: what is hidden (`blacklist`), what alone is shown (`whitelist`), what cannot be
//! changed (`read-only`) and where that is lifted again (`read-write`).
//!
//! Each rule covers one top-level directory and is given only if every use below it survives:
//! - a path named in a rule must be there when the program starts, or Firejail skips the rule: a
//!   file that the program makes counts as the directory that holds it;
//! - a named path becomes a mount point, which rename(2) cannot replace (`EBUSY`): a file that was
//!   replaced counts as its directory too;
//! - two named paths become two mounts: see [`super::super::renames`].
//!
//! Firejail applies `read-only` and `read-write` in the order of the profile.

mod facts;
mod roots;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Serialize, Serializer};

use self::facts::Facts;
use super::super::Generalisation;
use super::super::basis::Basis;
use super::super::evidence::{Evidence, Item};
use super::super::paths::is_within;
use super::super::places::{Place, Places, arguments};
use super::defaults::Defaults;
use super::line::as_argument;
use crate::observation::{Facet, Observation, Text};

/// The rules about files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Directories that nobody so much as looked for.
    pub blacklist: Vec<Item>,
    /// All that stays visible of the directory at its top.
    pub whitelist: Vec<Item>,
    /// Directories that were used and not changed, but for those in `read_write`.
    pub read_only: Vec<Item>,
    /// What was changed.
    pub read_write: Vec<Item>,
    /// `writable-etc`: entries were made in /etc itself.
    pub writable_etc: Option<Evidence>,
    /// `writable-var`: entries were made in /var itself.
    pub writable_var: Option<Evidence>,
    /// Rules that could have been, and why they are not.
    pub withheld: Vec<Withheld>,
}

/// A rule that is not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// Which.
    pub rule: Rule,
    /// Why not.
    pub reason: String,
}

/// A rule about files, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `blacklist`, `whitelist` and `read-only`, each of any directory.
    All,
    /// `whitelist` below this directory.
    Whitelist(Text),
    /// `read-only` of this directory.
    ReadOnly(Text),
}

impl Rule {
    /// Whether it is of the directive, or of the directory, with this name.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive);
        match self {
            Self::All => is("blacklist") || is("whitelist") || is("read-only"),
            Self::Whitelist(directory) => {
                is("whitelist") || directory.as_bytes() == name.as_bytes()
            }
            Self::ReadOnly(directory) => is("read-only") || directory.as_bytes() == name.as_bytes(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("blacklist, whitelist, read-only"),
            Self::Whitelist(directory) => write!(out, "whitelist {directory}"),
            Self::ReadOnly(directory) => write!(out, "read-only {directory}"),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Directories that hold people's and services' data, hidden if nobody touched them. Others may
/// be needed by the loader, the C library or Firejail itself in ways that no run shows.
const HIDEABLE: [&str; 6] = ["/home", "/media", "/mnt", "/opt", "/root", "/srv"];

/// Where `whitelist` is used. Firejail takes other directories too, but /etc and /dev have rules of
/// their own, in homes it depends on who starts Firejail, and in /run it needs files itself.
const WHITELISTABLE: [&str; 6] = ["/media", "/mnt", "/opt", "/srv", "/usr/share", "/var"];

/// What the decisions of the other facets mean for this one.
pub(super) struct Context<'a> {
    pub defaults: &'a Defaults,
    /// /tmp is the program's own.
    pub private_tmp: bool,
    /// How far directories replace what is in them.
    pub generalisation: Generalisation,
}

/// Decides on files.
pub(super) fn decide(basis: &Basis<'_>, context: &Context<'_>) -> Files {
    let mut files = Files::default();
    let coverage = basis.coverage();
    if let Some(reason) = coverage.blind(Facet::Files) {
        files.withhold(Rule::All, reason);
        // Firejail makes both read-only by itself, and what was written there is not known.
        if !coverage.is_empty() {
            files.writable_etc = Some(Evidence::default());
            files.writable_var = Some(Evidence::default());
        }
        files.lift(b"/usr", basis.places());
        return files;
    }
    let facts = Facts::new(basis, context);
    files.hide(basis.observation(), basis.places());
    for directory in WHITELISTABLE {
        files.show(directory.as_bytes(), &facts);
    }
    files.freeze(&facts);
    files
}

impl Files {
    fn withhold(&mut self, rule: Rule, reason: impl Into<String>) {
        self.withheld.push(Withheld {
            rule,
            reason: reason.into(),
        });
    }

    /// Lifts what Firejail makes read-only by itself, if something was changed there.
    fn lift(&mut self, top: &[u8], places: &[Place<'_>]) {
        let mut evidence = Evidence::default();
        let written = places.iter().filter(|place| place.wrote());
        for place in written.filter(|place| is_within(&place.path, top)) {
            place.tell(&mut evidence);
        }
        let name = as_argument(top).filter(|_| !evidence.executables.is_empty());
        self.read_write
            .extend(name.map(|name| Item::new(name, evidence.clone())));
    }

    fn hide(&mut self, observation: &Observation, places: &Places<'_>) {
        for directory in HIDEABLE {
            let within = |path: &[u8]| is_within(path, directory.as_bytes());
            let touching = places.touching(&[directory.as_bytes()]).next();
            let touched = touching.is_some()
                || observation.runs.values().any(|run| {
                    arguments(run).any(within)
                        || run
                            .symlinks
                            .iter()
                            .any(|(link, text)| within(link.as_bytes()) || within(text.as_bytes()))
                });
            if !touched {
                self.blacklist.push(Item::noted(
                    directory,
                    "nothing there was used or looked for",
                ));
            }
        }
    }

    /// Decides on `whitelist` below `top`.
    fn show(&mut self, top: &[u8], facts: &Facts<'_, '_>) {
        let rule = Rule::Whitelist(Text::from(top));
        match facts.visible(top) {
            Ok(items) => self.whitelist.extend(items),
            Err(reason) => self.withhold(rule, reason),
        }
    }

    /// Decides on `read-only` for each top-level directory.
    fn freeze(&mut self, facts: &Facts<'_, '_>) {
        for (top, places) in facts.by_top() {
            let rule = Rule::ReadOnly(Text::from(&top));
            let mut evidence = Evidence::default();
            for place in &places {
                place.tell(&mut evidence);
            }
            // Firejail keeps its own state below /run and writes there later: it does not start.
            if top == b"/run" {
                self.withhold(rule, "Firejail itself needs to write there");
                continue;
            }
            let Some(name) = as_argument(&top) else {
                self.withhold(rule, "the name holds a character that a line cannot");
                continue;
            };
            match facts.changed(&top, &places) {
                Ok(changed) => {
                    self.read_only.push(Item::new(name, evidence));
                    self.read_write.extend(changed);
                }
                Err(reason) => {
                    match name {
                        "/etc" => self.writable_etc = Some(evidence),
                        "/var" => self.writable_var = Some(evidence),
                        // Read-only under every profile (`fs_basic_fs` in src/firejail/fs.c).
                        "/usr" => {
                            self.read_write.push(Item::new(name, evidence));
                        }
                        _ => {}
                    }
                    self.withhold(rule, reason);
                }
            }
        }
    }
}
