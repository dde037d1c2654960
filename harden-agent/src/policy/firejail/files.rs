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

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::observation::{Facet, Observation, Operation, Text};

use super::super::Generalisation;
use super::super::basis::Basis;
use super::super::evidence::{Evidence, Item};
use super::super::paths::{components, is_within, parent};
use super::super::places::{Place, Places, arguments, distinct, passes};
use super::super::renames::Crossing;
use super::super::shared::{SITES, lasting, many_owners, outermost, own_directory, siblings};
use super::defaults::{Defaults, EMPTIED};
use super::line::as_argument;

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

/// Directories with more than this many entries in a list are listed whole.
const CROWD: usize = 8;

/// Rules with more paths than this are not given: each is a mount.
const LIMIT: usize = 128;

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

/// What the rules are derived from.
struct Facts<'p, 'a> {
    places: &'p Places<'a>,
    /// Paths that may be absent, or others, when the program starts.
    made: HashSet<&'p [u8]>,
    crossings: &'p [Crossing],
    /// Links: rules about what lies behind belong to where they lead.
    links: HashSet<&'p [u8]>,
    /// Directories that Firejail mounts empty: nothing below is there at the start.
    emptied: Vec<&'static [u8]>,
    private_tmp: bool,
    /// Paths are named as they were used.
    exact: bool,
}

impl<'p, 'a> Facts<'p, 'a> {
    fn new(basis: &'p Basis<'a>, context: &Context<'_>) -> Self {
        let places = basis.places();
        let mut emptied = EMPTIED.to_vec();
        if context.defaults.keep_var_tmp.is_none() {
            emptied.push(b"/var/tmp");
        }
        Self {
            places,
            made: distinct(
                places
                    .iter()
                    .filter(|place| place.made() && !place.founded()),
            ),
            crossings: basis.crossings(),
            links: basis
                .observation()
                .runs
                .values()
                .flat_map(|run| run.symlinks.keys().map(Text::as_bytes))
                .collect(),
            emptied,
            private_tmp: context.private_tmp,
            exact: context.generalisation == Generalisation::Exact,
        }
    }

    /// What is named so that a change at `place` lasts.
    fn root<'b>(&self, place: &'b Place<'_>) -> &'b [u8] {
        let anchor = self.anchor(&place.path);
        if self.exact {
            anchor
        } else {
            lasting(place, anchor)
        }
    }

    /// What is named so that `path`, which `place` used, is shown, and what will lie beside it as well.
    fn shown<'b>(&self, path: &'b [u8]) -> &'b [u8] {
        let anchor = self.anchor(path);
        if self.exact {
            return anchor;
        }
        many_owners(anchor)
            .or_else(|| own_directory(anchor))
            .unwrap_or(anchor)
    }

    /// The innermost path at or above `path` that a rule can name: there at the start, never
    /// replaced, and of characters that a line can hold.
    fn anchor<'b>(&self, path: &'b [u8]) -> &'b [u8] {
        let mut anchor = path;
        let mut at = path;
        // Where a line can hold the whole path, it can hold its directories.
        let is_plain = as_argument(path).is_some();
        let is_nameable = |at: &[u8]| is_plain || as_argument(at).is_some();
        while at != b"/" {
            if let Some(empty) = self.emptied.iter().find(|empty| **empty == at) {
                return &path[..empty.len()];
            }
            if self.made.contains(at) || !is_nameable(at) {
                anchor = parent(at);
            }
            at = parent(at);
        }
        anchor
    }

    /// The places below each top-level directory that rules are made for.
    fn by_top(&self) -> BTreeMap<Vec<u8>, Vec<&'p Place<'a>>> {
        let mut tops: BTreeMap<Vec<u8>, Vec<&Place<'_>>> = BTreeMap::new();
        for place in self.places.iter().filter(|place| place.found()) {
            let mut names = components(&place.path);
            let (Some(top), second) = (names.next(), names.next()) else {
                continue;
            };
            let top = [b"/", top].concat();
            let skipped = match top.as_slice() {
                // From /bin on: read-only under every profile, and often links into /usr.
                b"/dev" | b"/proc" | b"/sys" | b"/bin" | b"/sbin" | b"/lib" | b"/lib32"
                | b"/lib64" | b"/libx32" => true,
                b"/tmp" => self.private_tmp,
                _ => self.links.contains(top.as_slice()),
            };
            // A file in the root directory is no directory to make read-only.
            if !skipped && (second.is_some() || place.listed() || place.wrote() || place.is_folded)
            {
                tops.entry(top).or_default().push(place);
            }
        }
        tops
    }

    /// What was changed below `top`, as paths that a rule can name.
    fn changed(&self, top: &[u8], places: &[&Place<'_>]) -> Result<Vec<Item>, String> {
        let mut roots: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        for place in places
            .iter()
            .filter(|place| place.wrote() || self.makes_again(place))
        {
            // Another user's files are in another home the next time.
            let root = if top == b"/home" && !self.exact {
                top
            } else {
                self.root(place)
            };
            if !is_within(root, top) || root == top {
                return Err(format!(
                    "{} was changed, whose nearest lasting directory is {}",
                    Text::from(&place.path),
                    Text::from(root)
                ));
            }
            place.tell(roots.entry(root.to_vec()).or_default());
        }
        self.join(top, &mut roots)?;
        if !self.exact {
            spread(&mut roots);
        }
        items(top, roots)
    }

    /// Whether it is a directory that the program would have made if it had not been there: in one that Firejail mounts
    /// empty, it is not.
    fn makes_again(&self, place: &Place<'_>) -> bool {
        let mut uses = place.uses.iter();
        let tried = uses.any(|one| one.operation == Operation::Mkdir);
        let mut emptied = self.emptied.iter();
        tried && emptied.any(|empty| is_within(&place.path, empty))
    }

    /// Puts what files were moved between into one root.
    fn join(&self, top: &[u8], roots: &mut BTreeMap<Vec<u8>, Evidence>) -> Result<(), String> {
        for crossing in self.crossings {
            let Some(one) = crossing
                .directories
                .iter()
                .find(|directory| is_within(directory, top))
            else {
                continue;
            };
            let root = self.anchor(&crossing.common);
            if !is_within(root, top) || root == top {
                let other = crossing.directories.iter().find(|other| *other != one);
                return Err(format!(
                    "files were moved or linked between {} and {}, which has to stay one mount",
                    Text::from(one),
                    Text::from(other.unwrap_or(one))
                ));
            }
            roots.entry(root.to_vec()).or_default();
        }
        Ok(())
    }

    /// All that has to stay visible below `top`.
    fn visible(&self, top: &[u8]) -> Result<Vec<Item>, String> {
        let mut roots: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        // Files that lie in a directory that programs share.
        let mut alone: BTreeSet<&[u8]> = BTreeSet::new();
        let mut looked_for: BTreeMap<&str, Evidence> = BTreeMap::new();
        // Directories that were only passed through or looked at: there without a rule of their
        // own, if something below them is shown.
        let mut passed: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
        // The links that were passed are names of a place.
        for place in self.places.touching(&[top]) {
            let links = place.links.iter().map(Vec::as_slice);
            let paths = std::iter::once(&*place.path)
                .chain(links)
                .filter(|path| is_within(path, top));
            for path in paths {
                if !place.found() {
                    if let Some(name) = as_argument(path).filter(|_| path != top) {
                        let evidence = looked_for.entry(name).or_default();
                        for one in &place.uses {
                            evidence.add(place.run, place.executable, one.seen);
                        }
                    }
                    continue;
                }
                let light = *path == *place.path && place.done().all(passes);
                if light {
                    place.tell(passed.entry(path.to_vec()).or_default());
                    continue;
                }
                let root = self.shown(path);
                if root == top || !is_within(root, top) {
                    let path = Text::from(path);
                    return Err(format!("{path} can only be shown with the whole directory"));
                }
                if *root == *place.path && !place.is_directory() && !self.exact {
                    alone.insert(root);
                }
                place.tell(roots.entry(root.to_vec()).or_default());
            }
        }
        for directory in several(&alone) {
            if directory == top {
                return Err(format!(
                    "several files were used that lie in {} itself, where the next would be hidden",
                    Text::from(top)
                ));
            }
            roots.entry(directory).or_default();
        }
        let sites = roots.keys().filter(|root| parent(root) == SITES);
        if !self.exact && sites.count() > 1 {
            roots.entry(SITES.to_vec()).or_default();
        }
        self.join(top, &mut roots)?;
        for (path, evidence) in passed.into_iter().rev() {
            if path == top || has_within(&roots, &path) {
                continue;
            }
            let root = self.shown(&path);
            if root == top || !is_within(root, top) {
                let path = Text::from(path);
                return Err(format!("{path} can only be shown with the whole directory"));
            }
            roots.entry(root.to_vec()).or_default().merge(&evidence);
        }
        if roots.is_empty() {
            // Hidden altogether, or nothing to say. But what was looked for in vain may be there at the next start, and to
            // name it hides the rest.
            if looked_for.len() > CROWD {
                return Err(format!(
                    "{} names were looked for in vain, and nothing else was used",
                    looked_for.len()
                ));
            }
            let item = |(name, evidence): (&str, Evidence)| Item {
                evidence,
                ..Item::noted(
                    name,
                    "looked for in vain; nothing else in the directory was used",
                )
            };
            return Ok(looked_for.into_iter().map(item).collect());
        }
        items(top, roots)
    }
}

/// Directories of which more than one of these files is.
fn several(files: &BTreeSet<&[u8]>) -> BTreeSet<Vec<u8>> {
    let mut above: BTreeMap<&[u8], usize> = BTreeMap::new();
    for file in files {
        *above.entry(parent(file)).or_default() += 1;
    }
    let several = above.into_iter().filter(|(_, count)| *count > 1);
    several.map(|(directory, _)| directory.to_vec()).collect()
}

/// Puts the directory in the place of those that lie side by side in it.
fn spread(roots: &mut BTreeMap<Vec<u8>, Evidence>) {
    loop {
        let above = siblings(roots.keys().map(Vec::as_slice));
        if above.is_empty() {
            break;
        }
        for directory in above {
            roots.entry(directory).or_default();
        }
        outermost(roots);
    }
}

/// The roots as items: none below another, crowds as their directory.
fn items(top: &[u8], mut roots: BTreeMap<Vec<u8>, Evidence>) -> Result<Vec<Item>, String> {
    outermost(&mut roots);
    disperse(top, &mut roots);
    if roots.len() > LIMIT {
        return Err(format!(
            "{} paths would have to be named, more than {LIMIT}",
            roots.len()
        ));
    }
    roots
        .into_iter()
        .map(|(root, evidence)| match as_argument(&root) {
            Some(path) => Ok(Item::new(path, evidence)),
            None => Err(format!(
                "{} holds a character that a line cannot",
                Text::from(root)
            )),
        })
        .collect()
}

/// Puts each directory in the place of a crowd in it, those further down first: it may be one of a crowd itself then.
fn disperse(top: &[u8], roots: &mut BTreeMap<Vec<u8>, Evidence>) {
    // What lies below a directory has a longer path.
    let key = |directory: &[u8]| (directory.len(), directory.to_vec());
    let mut above: BTreeMap<(usize, Vec<u8>), usize> = BTreeMap::new();
    for root in roots.keys() {
        *above.entry(key(parent(root))).or_default() += 1;
    }
    while let Some(((_, directory), count)) = above.pop_last() {
        if count <= CROWD || directory == top {
            continue;
        }
        let mut evidence = Evidence::default();
        let below = prefix(&directory);
        let crowd = roots.range(below.clone()..).map(|(root, _)| root);
        let crowd = crowd.take_while(|root| root.starts_with(&below));
        let crowd: Vec<Vec<u8>> = crowd.cloned().collect();
        for root in crowd {
            evidence.merge(&roots.remove(&root).unwrap_or_default());
        }
        *above.entry(key(parent(&directory))).or_default() += 1;
        roots.insert(directory, evidence);
    }
}

/// Whether one of the roots lies at or below `path`.
fn has_within(roots: &BTreeMap<Vec<u8>, Evidence>, path: &[u8]) -> bool {
    let below = prefix(path);
    let mut from = roots.range(below.clone()..);
    roots.contains_key(path)
        || from
            .next()
            .is_some_and(|(root, _)| root.starts_with(&below))
}

/// What the paths below a directory begin with.
fn prefix(directory: &[u8]) -> Vec<u8> {
    match directory {
        b"/" => b"/".to_vec(),
        directory => [directory, b"/"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;
    use crate::observation::Operation;

    fn decided(fixture: Fixture) -> Files {
        let observation = fixture.observation();
        let basis = Basis::of(&observation);
        let defaults = super::super::defaults::decide(&basis);
        let context = Context {
            defaults: &defaults,
            private_tmp: true,
            generalisation: Generalisation::Normal,
        };
        decide(&basis, &context)
    }

    fn values(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.value.as_str()).collect()
    }

    fn program() -> Fixture {
        Fixture::new().executable("/usr/sbin/d")
    }

    #[test]
    fn directories_that_nobody_touched_are_hidden() {
        let files = decided(
            program()
                .file("/root/.rc", Operation::Read, "ENOENT")
                .command(&["/usr/sbin/d", "/home/x"])
                .link("/data", "/srv/data"),
        );
        assert_eq!(values(&files.blacklist), ["/media", "/mnt", "/opt"]);
    }

    #[test]
    fn what_was_changed_is_lifted_out_of_what_is_frozen() {
        let files = decided(
            program()
                .file("/var/lib/d/state", Operation::Create, "ok")
                .file("/var/lib/d/sub", Operation::Mkdir, "ok")
                .file("/var/lib/d/sub/x", Operation::Create, "ok")
                .file("/srv/data", Operation::Write, "ok")
                .file("/srv/other", Operation::Read, "ok"),
        );
        assert_eq!(values(&files.read_only), ["/srv", "/usr", "/var"]);
        assert_eq!(values(&files.read_write), ["/srv/data", "/var/lib/d"]);
        // The next file of /srv would be hidden.
        assert_eq!(values(&files.whitelist), ["/var/lib/d"]);
    }

    #[test]
    fn a_crowd_is_its_directory_and_may_make_another_crowd() {
        let root = |path: String| (path.into_bytes(), Evidence::default());
        let few = ["/srv/d/a".to_owned(), "/srv/d-e/a".to_owned()];
        let many = (0..=CROWD).map(|number| format!("/srv/d/many-{number}"));
        let deep =
            (0..=CROWD).flat_map(|one| (0..=CROWD).map(move |two| format!("/srv/e/{one}/{two}")));
        let mut roots = few.into_iter().chain(many).chain(deep).map(root).collect();
        disperse(b"/srv", &mut roots);
        let left: Vec<Text> = roots
            .keys()
            .map(|root| Text::from(root.as_slice()))
            .collect();
        assert_eq!(left, ["/srv/d", "/srv/d-e/a", "/srv/e"].map(Text::from));
        assert!(has_within(&roots, b"/srv/d-e"));
        assert!(has_within(&roots, b"/srv/d"));
        assert!(!has_within(&roots, b"/srv/d-"));
    }

    #[test]
    fn a_file_made_at_the_top_forbids_the_rules_there() {
        let files = decided(program().file("/srv/new", Operation::Create, "ok").file(
            "/var/new",
            Operation::Create,
            "ok",
        ));
        assert_eq!(values(&files.read_only), ["/usr"]);
        assert!(files.whitelist.is_empty());
        assert!(files.writable_var.is_some());
    }

    #[test]
    fn what_was_changed_in_usr_stays_writable_where_other_files_are_not_known() {
        let blind = |path| {
            let mut fixture = program().file(path, Operation::Write, "ok");
            fixture.run().hooks.remove("files");
            values(&decided(fixture).read_write).join(" ")
        };
        assert_eq!(blind("/usr/share/d/x"), "/usr");
        assert_eq!(blind("/var/lib/d/x"), "");
    }

    #[test]
    fn a_replaced_file_stands_for_its_directory() {
        let files = decided(
            program()
                .file("/srv/a/f.new", Operation::RenameFrom, "ok")
                .file("/srv/a/f.new", Operation::Create, "ok")
                .file("/srv/a/f", Operation::RenameTo, "ok"),
        );
        assert_eq!(values(&files.whitelist), ["/srv/a"]);
        assert_eq!(values(&files.read_write), ["/srv/a"]);
    }

    #[test]
    fn what_files_move_between_stays_one_mount() {
        let files = decided(
            program()
                .file("/srv/d/in/f", Operation::RenameFrom, "ok")
                .file("/srv/d/out/f", Operation::RenameTo, "ok"),
        );
        assert_eq!(values(&files.whitelist), ["/srv/d"]);
        assert_eq!(values(&files.read_write), ["/srv/d"]);
        let files = decided(
            program()
                .file("/srv/in/f", Operation::RenameFrom, "ok")
                .file("/opt/out/f", Operation::RenameTo, "ok"),
        );
        assert_eq!(values(&files.read_only), ["/usr"]);
        assert!(files.whitelist.is_empty());
    }

    #[test]
    fn several_sites_are_shown_with_what_will_lie_beside_them() {
        let with = |other: &str| {
            let fixture = Fixture::new()
                .executable("/a")
                .file("/var/www/html/index.html", Operation::Read, "ok")
                .file(other, Operation::Read, "ok");
            decided(fixture).whitelist
        };
        assert_eq!(values(&with("/var/www/html/d/x")), ["/var/www/html"]);
        assert_eq!(values(&with("/var/www/first/x")), ["/var/www"]);
    }

    #[test]
    fn a_listed_directory_is_shown_whole_and_a_passed_one_is_not() {
        let files = decided(
            program()
                .file("/srv/a", Operation::Stat, "ok")
                .file("/srv/a/b", Operation::Read, "ok")
                .file("/srv/c", Operation::Stat, "ok")
                .listing("/opt"),
        );
        assert_eq!(values(&files.whitelist), ["/srv/a", "/srv/c"]);
        assert!(
            files
                .withheld
                .iter()
                .any(|one| one.rule.to_string() == "whitelist /opt")
        );
    }

    #[test]
    fn links_on_the_way_are_shown() {
        let files = decided(
            program()
                .link("/opt/current", "app-1.2")
                .file_asked(
                    "/opt/app-1.2/x",
                    Some("/opt/current/x"),
                    Operation::Read,
                    "ok",
                )
                .link("/var/run", "/run")
                .file_asked("/run/x", Some("/var/run/x"), Operation::Read, "ok"),
        );
        assert_eq!(
            values(&files.whitelist),
            ["/opt/app-1.2", "/opt/current", "/var/run"]
        );
    }

    #[test]
    fn a_path_that_no_line_can_hold_is_shown_with_its_directory() {
        let files = decided(program().file("/srv/a/b\nc", Operation::Read, "ok").file(
            "/opt/#",
            Operation::Read,
            "ok",
        ));
        assert_eq!(values(&files.whitelist), ["/srv/a"]);
    }

    #[test]
    fn crowds_are_listed_whole() {
        let mut fixture = program();
        for at in 0..100 {
            fixture = fixture.file(format!("/usr/share/z/{at}"), Operation::Read, "ok");
        }
        assert_eq!(values(&decided(fixture).whitelist), ["/usr/share/z"]);
    }
}
