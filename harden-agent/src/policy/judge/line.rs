//! The lines of a file, as typed things: what a judgement names, whatever the file's syntax is.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use super::{
    super::evidence::{Decision, Item},
    source::Position,
};

/// A sandbox that enforces files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sandbox {
    /// A Firejail profile.
    Firejail,
    /// A systemd drop-in.
    Systemd,
    /// The file of an OCI container: its list of calls, or the runtime's.
    Oci,
}

impl Sandbox {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Firejail, Self::Systemd, Self::Oci];

    /// What its file is called.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Firejail => "profile",
            Self::Systemd => "drop-in",
            Self::Oci => "oci",
        }
    }
}

/// A line of a file, or one element of a line that is a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// Which sandbox reads it.
    pub sandbox: Sandbox,
    /// `caps.keep`, `ReadWritePaths`, `names`
    pub directive: &'static str,
    /// `chown`, `-/srv`; none: the line itself, which may be a list.
    pub element: Option<String>,
}

/// As the file has it, of a list with this element alone: `caps.keep chown`, `ReadWritePaths=-/srv`, `"names": "read"`.
impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = self.element.as_deref();
        write!(out, "{}", written(self.sandbox, self.directive, element))
    }
}

fn written(sandbox: Sandbox, directive: &str, value: Option<&str>) -> String {
    match (sandbox, value) {
        (Sandbox::Firejail, None) => directive.to_owned(),
        (Sandbox::Firejail, Some(value)) => format!("{directive} {value}"),
        (Sandbox::Systemd, value) => format!("{directive}={}", value.unwrap_or_default()),
        (Sandbox::Oci, None) => format!("\"{directive}\""),
        (Sandbox::Oci, Some(value)) if is_json(value) => format!("\"{directive}\": {value}"),
        (Sandbox::Oci, Some(value)) => format!("\"{directive}\": \"{value}\""),
    }
}

/// Whether it is no text in a file of JSON.
fn is_json(value: &str) -> bool {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.starts_with('{') || matches!(value, "true" | "false") || is_number
}

/// How a directive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A word alone: `private-tmp`.
    Flag,
    /// One list: `caps.keep chown,kill`. It is there even if nothing is on it.
    List,
    /// A line, or a word, for each: `read-only /var`. Without any, there is no line.
    Each,
}

/// What is said of one directive: its value, or why it is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub directive: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Its elements with what asks for them; of a flag, perhaps one without a value, for its evidence.
    pub value: Decision<Vec<Item>>,
}

/// The first element of a list of what is refused.
pub(super) const REFUSED: &str = "~";

/// All lines of one file, in order.
#[derive(Clone, Debug)]
pub struct Rules {
    sandbox: Sandbox,
    lines: Vec<Line>,
    /// The number of the first line of each directive.
    first: HashMap<&'static str, usize>,
    /// What `whitelist` names, or named before a line was taken out: their directories stay hidden.
    whitelisted: BTreeSet<String>,
    /// Where the lines stand, as far as they were read.
    positions: HashMap<Line, Position>,
    /// Where what is added now stands.
    here: Option<Position>,
}

/// Two files are the same if their lines are, wherever these stand.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        let all = |rules: &Self| (rules.sandbox, rules.whitelisted.clone());
        self.lines == other.lines && all(self) == all(other)
    }
}

impl Eq for Rules {}

impl Rules {
    /// No lines.
    #[must_use]
    pub fn new(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            lines: Vec::new(),
            first: HashMap::new(),
            whitelisted: BTreeSet::new(),
            positions: HashMap::new(),
            here: None,
        }
    }

    /// `whitelist` of a path that is not shown after all: what is beside it is hidden.
    pub(super) fn hide_beside(&mut self, path: String) {
        self.whitelisted.insert(path);
    }

    /// What is added from now on stands there.
    pub(super) fn stand_at(&mut self, position: &Position) {
        self.here = Some(position.clone());
    }

    /// Where a line stands, if it was read; of a list, where it begins.
    #[must_use]
    pub fn position(&self, line: &Line) -> Option<&Position> {
        self.positions.get(line)
    }

    /// The lines of what is said.
    #[must_use]
    pub fn of(sandbox: Sandbox, said: impl IntoIterator<Item = Said>) -> Self {
        let mut rules = Self::new(sandbox);
        for one in said {
            if let Decision::Given(items) = one.value {
                let elements = items.into_iter().map(|item| item.value);
                rules.add(one.directive, one.shape, elements);
            }
        }
        rules
    }

    /// Adds a directive.
    pub(super) fn add(
        &mut self,
        directive: &'static str,
        shape: Shape,
        elements: impl Iterator<Item = String>,
    ) {
        let mut elements: Vec<String> = elements.collect();
        if shape != Shape::Each {
            // A list of what is refused has that in its first line, not in its first element.
            let first = elements
                .first()
                .filter(|_| self.sandbox == Sandbox::Systemd);
            let refuses = first.is_some_and(|one| one.starts_with(REFUSED));
            self.push(directive, refuses.then(|| REFUSED.to_owned()));
            if refuses {
                for one in &mut elements {
                    *one = format!("{REFUSED}{}", one.trim_start_matches(REFUSED));
                }
                elements.retain(|one| one != REFUSED);
            }
        }
        if shape != Shape::Flag {
            for one in elements {
                self.push(directive, Some(one));
            }
        }
    }

    /// Adds to a list, which begins here if there is none yet: one of what is refused, or of what is allowed.
    pub(super) fn extend(
        &mut self,
        directive: &'static str,
        refuses: bool,
        elements: impl Iterator<Item = String>,
    ) {
        if self.line(directive).is_none() {
            self.push(directive, refuses.then(|| REFUSED.to_owned()));
        }
        for one in elements {
            self.push(directive, Some(one));
        }
    }

    /// Takes a directive out, as a later line of a file replaces it.
    pub(super) fn clear(&mut self, directive: &str) {
        self.keep(|line| line.directive != directive);
        self.positions.retain(|line, _| line.directive != directive);
    }

    /// Takes elements out of a list.
    pub(super) fn remove(&mut self, directive: &str, is_taken: impl Fn(&str) -> bool) {
        self.keep(|line| {
            let element = line.element.as_deref().filter(|one| *one != REFUSED);
            line.directive != directive || !element.is_some_and(&is_taken)
        });
    }

    fn keep(&mut self, is_kept: impl Fn(&Line) -> bool) {
        self.lines.retain(is_kept);
        self.first.clear();
        for (number, line) in self.lines.iter().enumerate() {
            self.first.entry(line.directive).or_insert(number);
        }
    }

    fn push(&mut self, directive: &'static str, element: Option<String>) {
        let line = Line {
            sandbox: self.sandbox,
            directive,
            element,
        };
        if let (Sandbox::Firejail, "whitelist", Some(path)) =
            (self.sandbox, line.directive, &line.element)
        {
            self.whitelisted.insert(path.clone());
        }
        if let Some(here) = &self.here {
            let here = || here.clone();
            self.positions.entry(line.clone()).or_insert_with(here);
        }
        self.first.entry(directive).or_insert(self.lines.len());
        self.lines.push(line);
    }

    /// The sandbox that reads them.
    #[must_use]
    pub fn sandbox(&self) -> Sandbox {
        self.sandbox
    }

    /// The lines in order: of a list, first itself, then its elements.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What `whitelist` names, or named before a line was taken out.
    pub(super) fn whitelisted(&self) -> &BTreeSet<String> {
        &self.whitelisted
    }

    /// The first line of a directive.
    pub(super) fn line(&self, directive: &str) -> Option<&Line> {
        self.first.get(directive).map(|first| &self.lines[*first])
    }

    /// The elements of a directive, without the first line of a list.
    pub(super) fn elements<'r>(
        &'r self,
        directive: &'r str,
    ) -> impl Iterator<Item = (&'r str, &'r Line)> {
        let first = self.first.get(directive).copied();
        let lines = first.map_or(&[][..], |first| &self.lines[first..]);
        let lines = lines.iter().filter(move |line| line.directive == directive);
        lines.filter_map(|line| {
            let element = line.element.as_deref()?;
            (element != REFUSED).then_some((element, line))
        })
    }

    /// The same file without a line. A list without its line is not there; without all of its elements it is an empty
    /// list. So is a directory of which `whitelist` shows nothing any more.
    #[must_use]
    pub fn without(&self, line: &Line) -> Self {
        let is_whole = line.element.as_deref().is_none_or(|one| one == REFUSED);
        let mut rules = self.clone();
        rules.keep(|one| {
            if is_whole {
                one.directive != line.directive
            } else {
                one != line
            }
        });
        rules
    }

    /// The whole line that a line or an element stands on, as the file has it: `caps.keep chown,kill`.
    #[must_use]
    pub fn written(&self, line: &Line) -> String {
        let first = self.line(line.directive).map(|one| one.element.as_deref());
        let is_list = first.is_some_and(|one| one.is_none_or(|one| one == REFUSED));
        let is_words = self.sandbox == Sandbox::Systemd && line.directive != "DeviceAllow";
        if !is_list && !is_words {
            return line.to_string();
        }
        let mut elements: Vec<String> = self
            .elements(line.directive)
            .map(|(one, _)| one.trim_start_matches(REFUSED).to_owned())
            .collect();
        if let (true, Some(first)) = (self.refuses(line.directive), elements.first_mut()) {
            first.insert_str(0, REFUSED);
        }
        let separator = if self.sandbox == Sandbox::Systemd {
            " "
        } else {
            ","
        };
        let value = elements.join(separator);
        let value = (!elements.is_empty()).then_some(value.as_str());
        written(self.sandbox, line.directive, value)
    }

    /// Whether the directive is a list of what is refused.
    pub(super) fn refuses(&self, directive: &str) -> bool {
        let first = self.line(directive);
        first.is_some_and(|line| line.element.as_deref() == Some(REFUSED))
    }
}

/// A line of a file that the reader did not take, and why. None is passed over in silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where it stands.
    pub position: Position,
    /// The line.
    pub line: String,
    /// Why.
    pub reason: &'static str,
    /// Whether the sandbox does not start with such a line.
    pub is_fatal: bool,
}

/// Why a reader does not take a line.
pub(super) struct Fault {
    pub(super) reason: &'static str,
    pub(super) is_fatal: bool,
}

/// The line may refuse something, and what is not said.
pub(super) fn not_judged<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault {
        reason,
        is_fatal: false,
    })
}

/// The sandbox does not start with it.
pub(super) fn fatal<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault {
        reason,
        is_fatal: true,
    })
}

impl Fault {
    pub(super) fn at(self, position: &Position, line: &str) -> Unread {
        Unread {
            position: position.clone(),
            line: line.to_owned(),
            reason: self.reason,
            is_fatal: self.is_fatal,
        }
    }
}

/// What was read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its lines, as far as they are understood.
    pub rules: Rules,
    /// All others but comments.
    pub unread: Vec<Unread>,
}
