//! Uses of paths, and where they are refused.

use std::collections::HashMap;

use crate::observation::Operation;

use super::{
    super::{
        mode::is_library,
        paths::{is_within, parent, up},
        places::{Answer, Place, changes_entry, passes},
    },
    judgement::{PASS, Refusal, Step, against, any},
    line::Line,
    pattern::PathPattern,
    recorded::Case,
    surroundings::Surroundings,
};

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFIFO: u32 = 0o010_000;

/// One use of a path.
///
/// One that ended in an error other than "not found" needs what is there to be seen, and nothing else: it will fail again.
pub(super) struct Use<'c, 'a> {
    case: &'c Case<'c, 'a>,
    /// Where the path leads, and by which names.
    pub place: Place<'a>,
    pub operation: Operation,
    result: Answer,
    /// Whether what the unit's other commands made is there too.
    all: bool,
    /// What the paths were recorded with in front.
    prefix: Vec<u8>,
}

impl<'c, 'a> Use<'c, 'a> {
    /// The use in a fact, if there is one.
    pub(super) fn of(case: &'c Case<'c, 'a>, all: bool) -> Option<Self> {
        Self::at(case, case.place()?, all)
    }

    /// The same in a root directory, where the program was started in it: `root` is its path on this machine.
    pub(super) fn inside(case: &'c Case<'c, 'a>, root: &[u8]) -> Option<Self> {
        let place = case.place_anywhere()?;
        let is_inside = is_within(&place.path, root) && root != b"/";
        let mut one = Self::at(case, place, false)?;
        if is_inside {
            let place = &mut one.place;
            let names = std::mem::take(&mut place.names).into_iter();
            place.names = names.map(|name| without(name, root)).collect();
            let links = std::mem::take(&mut place.links).into_iter();
            place.links = links.map(|link| without(link, root)).collect();
            let loaded = std::mem::take(&mut place.loaded).into_iter();
            place.loaded = loaded.map(|path| without(path, root)).collect();
            place.path = without(place.path.to_vec(), root).into();
            one.prefix = root.to_vec();
        }
        Some(one)
    }

    fn at(case: &'c Case<'c, 'a>, place: Place<'a>, all: bool) -> Option<Self> {
        let one = place.uses.first()?;
        Some(Self {
            case,
            operation: one.operation,
            result: one.result,
            place,
            all,
            prefix: Vec::new(),
        })
    }

    fn recorded_as(&self, path: &[u8]) -> Vec<u8> {
        [&self.prefix, path].concat()
    }

    /// Whether something was there.
    pub(super) fn found(&self) -> bool {
        self.result != Answer::NotFound
    }

    /// Whether it succeeded.
    pub(super) fn is_done(&self) -> bool {
        self.result == Answer::Ok
    }

    /// Whether it changed something.
    pub(super) fn wrote(&self) -> bool {
        self.is_done() && self.operation.writes()
    }

    /// Whether it needs no more of a directory than its being there.
    pub(super) fn passes(&self) -> bool {
        passes(self.operation)
    }

    /// The path and all its names in `directory`.
    pub(super) fn names_in<'u>(&'u self, directory: &'u [u8]) -> impl Iterator<Item = &'u [u8]> {
        let names = self.place.all_names();
        names.filter(move |name| is_within(name, directory))
    }

    /// The path, and the links on the way.
    pub(super) fn way(&self) -> impl Iterator<Item = &[u8]> {
        let links = self.place.links.iter().map(Vec::as_slice);
        self.run().chain(links)
    }

    /// The path; of a program, what it is loaded by too.
    pub(super) fn run(&self) -> impl Iterator<Item = &[u8]> {
        let loaded = self.place.loaded.iter().map(Vec::as_slice);
        std::iter::once(&*self.place.path).chain(loaded)
    }

    /// Whether it would not succeed in a directory that is empty when the program starts, and the program's own.
    pub(super) fn misses(&self, directory: &[u8]) -> bool {
        self.is_done()
            && self.names_in(directory).any(|name| {
                if name == directory {
                    self.looks_over()
                } else {
                    let [name, directory] = [name, directory].map(|path| self.recorded_as(path));
                    !self.case.is_made(&name, &directory, self.all)
                }
            })
    }

    /// Whether it leaves something behind in a directory that is the program's own, where others may look for it.
    pub(super) fn leaves(&self, directory: &[u8]) -> bool {
        let path = &*self.place.path;
        self.wrote() && is_within(path, directory) && self.case.is_left(&self.recorded_as(path))
    }

    /// Whether it changes something in a directory that is then root's alone, and who did it may be another.
    pub(super) fn needs_owner(&self, directory: &[u8]) -> bool {
        self.wrote() && is_within(&self.place.path, directory) && !self.case.is_roots()
    }

    /// Whether it lists, watches or changes a directory: what is in it matters.
    pub(super) fn looks_over(&self) -> bool {
        let lists = matches!(self.operation, Operation::Read | Operation::Watch);
        self.is_done() && lists || self.wrote()
    }

    /// Whether it needs what lies behind `directory`, and not only a look at that itself.
    pub(super) fn reaches(&self, directory: &[u8]) -> bool {
        let looks = matches!(self.operation, Operation::Stat | Operation::Access);
        self.names_in(directory)
            .any(|name| name != directory || !looks)
    }

    /// Whether it runs a program, or maps one: the loader opens a library before that, and that it is mapped is not recorded
    /// apart.
    pub(super) fn executes(&self) -> bool {
        let path = &*self.place.path;
        let maps = self.operation == Operation::Read && is_library(path);
        self.is_done() && (self.operation == Operation::Execute || maps)
    }

    /// Whether it is of a device.
    pub(super) fn is_of_node(&self) -> bool {
        self.is_of_kind(&[S_IFCHR, S_IFBLK])
    }

    fn is_of_kind(&self, kinds: &[u32]) -> bool {
        let mut inodes = self.place.inodes.iter();
        inodes.any(|inode| kinds.contains(&(inode.mode & S_IFMT)))
    }

    /// Whether it writes into what is no file of a file system, which does not matter to a mount: `> /dev/null`
    /// (`may_open` and `do_dentry_open` in fs).
    fn writes_through(&self) -> bool {
        let opens = matches!(self.operation, Operation::Write | Operation::Create);
        opens && self.is_of_kind(&[S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK])
    }

    /// Whether it makes, removes or changes a device, and does not only open it: `> /dev/null` opens with `O_CREAT`.
    pub(super) fn changes_node(&self) -> bool {
        use Operation as O;
        let changes = changes_entry(self.operation) && self.operation != O::Create;
        self.is_done() && (changes || matches!(self.operation, O::Chmod | O::Chown | O::Mount))
    }

    /// What has to be writable: of an entry that is removed or replaced, its directory. What was made is there at the
    /// next start.
    fn written(&self) -> &[u8] {
        use Operation as O;
        let path = &*self.place.path;
        match self.operation {
            O::Unlink | O::Rmdir | O::RenameFrom | O::RenameTo | O::LinkTo | O::Symlink => {
                parent(path)
            }
            O::Mknod | O::Bind => parent(path),
            _ => path,
        }
    }

    /// Whether it removes or replaces the entry, which is refused with `EBUSY` where a rule has mounted something there.
    pub(super) fn replaces(&self) -> bool {
        use Operation as O;
        let replaces = matches!(
            self.operation,
            O::Unlink | O::Rmdir | O::RenameFrom | O::RenameTo
        );
        self.is_done() && replaces
    }
}

/// The path as it is called in a root directory that it lies in.
fn without(path: Vec<u8>, root: &[u8]) -> Vec<u8> {
    match path.strip_prefix(root) {
        Some(b"") => b"/".to_vec(),
        Some(rest) if rest.first() == Some(&b'/') => rest.to_vec(),
        _ => path,
    }
}

/// Why nothing can be said of what a use leaves behind in a directory of the program's own.
pub(super) const LEFT: &str = "it is left in a directory of the program's own, and whether others look for it there is not known";

/// What is read-only, and what is not.
pub(super) struct Mounts<'r> {
    order: Order,
    count: usize,
    at: HashMap<Vec<u8>, Vec<(usize, Access<'r>)>>,
    patterns: Vec<(usize, PathPattern, Access<'r>)>,
}

/// Which of several rules for a path holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The last one: each covers what was mounted below before.
    Last,
    /// That of the innermost directory; of one directory, the last one.
    Innermost,
}

/// What a rule says.
#[derive(Clone)]
pub(super) enum Access<'r> {
    ReadOnly(Refusal<'r>),
    /// By a line, or without one.
    Writable(Option<&'r Line>),
}

impl<'r> Mounts<'r> {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            count: 0,
            at: HashMap::new(),
            patterns: Vec::new(),
        }
    }

    /// Adds a rule, which comes after all others.
    pub(super) fn add(&mut self, path: &[u8], access: Access<'r>) {
        let rules = self.at.entry(path.to_vec()).or_default();
        rules.push((self.count, access));
        self.count += 1;
    }

    /// The same, of a path that may lead through links. On a machine without them, it means what it says.
    pub(super) fn add_path(&mut self, path: &[u8], around: &Surroundings, access: Access<'r>) {
        let real = around.real(path);
        if real != path {
            self.add(path, access.clone());
        }
        self.add(&real, access);
    }

    /// The same, of a path that may be a pattern.
    pub(super) fn add_named(&mut self, path: &str, around: &Surroundings, access: Access<'r>) {
        let Some(pattern) = PathPattern::of(path) else {
            return self.add_path(path.as_bytes(), around, access);
        };
        self.patterns.push((self.count, pattern, access));
        self.count += 1;
    }

    /// The rules for a path itself.
    fn of(&self, path: &[u8]) -> impl Iterator<Item = (usize, &Access<'r>)> {
        let named = self.at.get(path).into_iter().flatten();
        let patterns = self.patterns.iter();
        let patterns = patterns.filter(move |(_, pattern, _)| pattern.matches(path));
        let patterns = patterns.map(|(at, _, access)| (*at, access));
        named.map(|(at, access)| (*at, access)).chain(patterns)
    }

    /// What the rules mean for a use.
    pub(super) fn allow(&self, one: &Use<'_, '_>) -> Step<'r> {
        if !one.wrote() || one.writes_through() {
            return PASS;
        }
        if one.replaces() {
            let line = self
                .of(&one.place.path)
                .find_map(|(_, access)| access.line());
            if let Some(line) = line {
                return against(line);
            }
        }
        self.writes(one.written())
    }

    fn writes(&self, path: &[u8]) -> Step<'r> {
        let root = Some(b"/".as_slice()).filter(|root| path != *root);
        let above = up(path).chain(root);
        let mut rules: Vec<_> = above
            .flat_map(|at| {
                let rules = self.of(at);
                rules.map(move |(number, access)| (at.len(), number, access))
            })
            .collect();
        match self.order {
            Order::Last => rules.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at)),
            Order::Innermost => {
                rules.sort_by_key(|(depth, at, _)| std::cmp::Reverse((*depth, *at)));
            }
        }
        let mut any_of = Vec::new();
        for (_, _, access) in rules {
            match access {
                Access::Writable(Some(line)) => any_of.push(*line),
                Access::Writable(None) => return PASS,
                Access::ReadOnly(refusal) if any_of.is_empty() => return Err(refusal.clone()),
                Access::ReadOnly(_) => return any(any_of),
            }
        }
        PASS
    }
}

impl<'r> Access<'r> {
    /// The line that mounts it.
    fn line(&self) -> Option<&'r Line> {
        match self {
            Self::ReadOnly(Refusal::Line(line)) | Self::Writable(Some(line)) => Some(line),
            Self::ReadOnly(Refusal::Always(_)) | Self::Writable(None) => None,
        }
    }
}
