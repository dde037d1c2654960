//! Every path that the runs used or looked for, whatever fact it comes from, in one list.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    ops::Deref,
};

use crate::observation::{
    AddressOperation, Deed, Executable, File, Host, Inode, Observation, Operation, Outcome, Run,
    Seen, Test, Text,
};

use super::elsewhere;
use super::evidence::Evidence;
use super::folded;
use super::paths::{Links, Walk, components, is_within, parent};
use super::shared::is_shared;

/// What one executable did with one path in one run.
pub(super) struct Place<'a> {
    pub run: Test<'a>,
    pub host: &'a Host,
    pub executable: &'a Text,
    /// Where the path leads, as far as the links are known.
    pub path: Cow<'a, [u8]>,
    /// The links passed on the way, and the names asked for.
    pub names: BTreeSet<Vec<u8>>,
    /// Only the links, without the names.
    pub links: BTreeSet<Vec<u8>>,
    /// Of a program, what the kernel loads with it or runs it by.
    pub loaded: Vec<Vec<u8>>,
    pub uses: Vec<Use<'a>>,
    pub inodes: &'a [Inode],
    /// It represents names in it, or in a directory above, that are not known.
    pub is_folded: bool,
}

/// One kind of use of a path and its result.
pub(super) struct Use<'a> {
    pub operation: Operation,
    pub result: Answer,
    pub seen: &'a Seen,
}

/// Where no more is known than that it was.
const SEEN: &Seen = &Seen::ONCE;

/// How a use ended, as far as a sandbox cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    /// `ENOENT`, `ENOTDIR`: what a sandbox that hides the path answers too.
    NotFound,
    /// Any other error: something was there.
    Failed,
}

impl Place<'_> {
    /// The operations that succeeded.
    pub(super) fn done(&self) -> impl Iterator<Item = Operation> {
        self.uses
            .iter()
            .filter(|one| one.result == Answer::Ok)
            .map(|one| one.operation)
    }

    /// Whether `operation` succeeded.
    pub(super) fn did(&self, operation: Operation) -> bool {
        self.done().any(|done| done == operation)
    }

    /// Whether something there answered: success, or an error other than 'not found'.
    pub(super) fn found(&self) -> bool {
        self.uses.iter().any(|one| one.result != Answer::NotFound)
    }

    /// Whether anything succeeded.
    pub(super) fn succeeded(&self) -> bool {
        self.done().next().is_some()
    }

    /// Whether something was changed there.
    pub(super) fn wrote(&self) -> bool {
        self.done().any(Operation::writes)
    }

    /// Whether the directory entry itself was made, removed or replaced: it may be absent, or
    /// another one, when the next run starts.
    pub(super) fn made(&self) -> bool {
        self.done().any(changes_entry)
    }

    /// Whether it was a directory that was opened for reading: its entries were listed.
    pub(super) fn listed(&self) -> bool {
        self.did(Operation::Read) && self.is_directory()
    }

    /// Whether it was a directory when it was used.
    pub(super) fn is_directory(&self) -> bool {
        const S_IFMT: u32 = 0o170_000;
        const S_IFDIR: u32 = 0o040_000;
        let mut inodes = self.inodes.iter();
        self.is_folded
            || inodes.any(|inode| inode.mode & S_IFMT == S_IFDIR)
            || self.did(Operation::Mkdir)
            || self.did(Operation::Chdir)
    }

    /// Whether the program made a directory of its own here, right below one that programs share, and left it there:
    /// it is there from the second start on.
    pub(super) fn founded(&self) -> bool {
        self.did(Operation::Mkdir)
            && !self.did(Operation::Rmdir)
            && !self.did(Operation::RenameFrom)
            && is_shared(parent(&self.path))
            && !is_volatile(&self.path)
    }

    /// The path and all its names.
    pub(super) fn all_names(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.path).chain(self.names.iter().map(Vec::as_slice))
    }

    /// Whether the path or one of its names lies in `directory`.
    pub(super) fn touches(&self, directory: &[u8]) -> bool {
        self.all_names().any(|name| is_within(name, directory))
    }

    /// What was seen, of the uses that did not end in 'not found'.
    pub(super) fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::default();
        self.tell(&mut evidence);
        evidence
    }

    /// Adds that to `evidence`.
    pub(super) fn tell(&self, evidence: &mut Evidence) {
        for one in &self.uses {
            if one.result != Answer::NotFound {
                evidence.add(self.run, self.executable, one.seen);
            }
        }
    }
}

/// Whether what is made there is gone at the next start, or is the whole system's.
fn is_volatile(path: &[u8]) -> bool {
    let above = parent(path);
    above == b"/"
        || [
            &b"/tmp"[..],
            b"/var/tmp",
            b"/dev",
            b"/proc",
            b"/sys",
            b"/run/user",
        ]
        .contains(&above)
}

/// Whether `operation` makes, removes or replaces a directory entry. Opening with `O_CREAT` may
/// have: it is not known whether the file was there.
pub(super) fn changes_entry(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::Create
            | O::Mkdir
            | O::Rmdir
            | O::Unlink
            | O::RenameFrom
            | O::RenameTo
            | O::LinkTo
            | O::Symlink
            | O::Mknod
            | O::Bind
    )
}

/// Whether `operation` on a directory needs no more than its being there.
pub(super) fn passes(operation: Operation) -> bool {
    use Operation as O;
    matches!(operation, O::Stat | O::Access | O::Chdir | O::Locate)
}

/// Whether `operation` is on the directory entry: a symbolic link there is not followed.
fn is_of_entry(operation: Operation) -> bool {
    use Operation as O;
    // With O_CREAT a link is followed; so it is by those who chown, set times or stat, mostly.
    changes_entry(operation) && operation != O::Create
        || matches!(operation, O::Readlink | O::LinkFrom)
}

/// All places of all runs, by path: what is written about them must not depend on the random identifiers of the runs.
pub(super) struct Places<'a> {
    all: Vec<Place<'a>>,
    /// Which of them have other names.
    named: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Those that touch one of `directories`. It is asked for many directories, which few of a million places touch.
    pub(super) fn touching(
        &self,
        directories: &[&[u8]],
    ) -> impl Iterator<Item = &Place<'a>> + Clone + use<'_, 'a> {
        let touches = |place: &usize| directories.iter().any(|one| self.all[*place].touches(one));
        let named = self.named.iter().copied().filter(touches);
        let by_path = directories.iter().flat_map(|one| self.below(one));
        let mut found: Vec<usize> = named.chain(by_path).collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|place| &self.all[place])
    }

    /// Those whose path is `directory` or lies below it. Others lie between the two: `/a`, `/a-b`, `/a/b`.
    fn below(&self, directory: &[u8]) -> impl Iterator<Item = usize> {
        let range = |prefix: &[u8], is_in: &dyn Fn(&[u8]) -> bool| {
            let start = self.all.partition_point(|place| *place.path < *prefix);
            let length = self.all[start..].partition_point(|place| is_in(&place.path));
            start..start + length
        };
        let inside = [directory, b"/"].concat();
        let below = range(&inside, &|path| path.starts_with(&inside));
        range(directory, &|path| path == directory).chain(below)
    }
}

impl<'a> Deref for Places<'a> {
    type Target = [Place<'a>];

    fn deref(&self) -> &[Place<'a>] {
        &self.all
    }
}

/// The paths of places that are sorted by path, each once.
pub(super) fn distinct<'p>(places: impl Iterator<Item = &'p Place<'p>>) -> HashSet<&'p [u8]> {
    let mut paths: Vec<&[u8]> = places.map(|place| &*place.path).collect();
    paths.dedup();
    // Of a known number the set is made once, and not again for each doubling.
    paths.into_iter().collect()
}

/// The places of an observation.
pub(super) fn places(observation: &Observation) -> Places<'_> {
    let mut all = Vec::new();
    for (id, run) in observation.tests() {
        let links = Links::new(&run.symlinks);
        let host = run.executables.iter();
        for (path, executable) in host.filter(|(_, facts)| !elsewhere::began_there(run, facts)) {
            let source = Source {
                run: id,
                host: &run.host,
                links: &links,
                path,
                executable,
            };
            source.collect(&mut all);
        }
    }
    all.sort_by(|one, other| (&one.path, one.executable).cmp(&(&other.path, other.executable)));
    let named = all.iter().enumerate();
    let named = named.filter(|(_, place)| !place.names.is_empty());
    let named = named.map(|(number, _)| number).collect();
    Places { all, named }
}

/// The absolute names in the command line: a relative one cannot be told from an option.
pub(super) fn arguments(run: &Run) -> impl Iterator<Item = &[u8]> {
    run.command
        .iter()
        .map(Text::as_bytes)
        .filter(|argument| argument.first() == Some(&b'/'))
}

/// Where the path of one fact leads, with that one use of it; `None` for a fact without a path.
pub(super) fn of_deed<'a>(
    test: Test<'a>,
    run: &'a Run,
    links: &Links<'a>,
    (path, executable): (&'a Text, &'a Executable),
    deed: Deed<'a>,
) -> Option<Place<'a>> {
    let source = Source {
        run: test,
        host: &run.host,
        links,
        path,
        executable,
    };
    let (mut place, operation, outcome) = match deed {
        Deed::Ran => (source.ran(), Operation::Execute, None),
        Deed::InvokedAs(name) => (source.place(name.as_bytes()), Operation::Execute, None),
        Deed::File(name, operation, outcome) => {
            let file = executable.files.get(name)?;
            let place = source.located(name, file, is_of_entry(operation));
            (place, operation, Some(outcome))
        }
        Deed::Address(operation, address, outcome) => {
            let path = socket_path(address)?;
            (source.place(path), of_address(operation), Some(outcome))
        }
        _ => return None,
    };
    place.is_folded = match deed {
        Deed::File(name, ..) => executable
            .files
            .get(name)
            .is_some_and(|file| file.names > 0),
        _ => false,
    };
    let result = outcome.map_or(Answer::Ok, answer);
    place.uses = vec![use_of(operation, result, SEEN)];
    Some(place)
}

/// Whether the use succeeded, or has to be taken for that.
pub(super) fn is_done(outcome: &Outcome) -> bool {
    answer(outcome) == Answer::Ok
}

/// The file of a socket. An abstract one (`unix @name`) has none.
pub(super) fn socket_path(address: &Text) -> Option<&[u8]> {
    let path = address.as_bytes().strip_prefix(b"unix ")?;
    (path.first() == Some(&b'/')).then_some(path)
}

fn of_address(operation: AddressOperation) -> Operation {
    match operation {
        AddressOperation::Bind => Operation::Bind,
        AddressOperation::Connect | AddressOperation::Send => Operation::Connect,
    }
}

struct Source<'a, 'l> {
    run: Test<'a>,
    host: &'a Host,
    links: &'l Links<'a>,
    path: &'a Text,
    executable: &'a Executable,
}

impl<'a> Source<'a, '_> {
    fn collect(&self, all: &mut Vec<Place<'a>>) {
        for (path, file) in &self.executable.files {
            // The uses of the directory entry itself, and those of what it leads to.
            for of_entry in [true, false] {
                let uses = file.operations.iter();
                let uses = uses.filter(|(one, ..)| of_entry == is_of_entry(*one));
                let count = uses.clone().count();
                if count == 0 {
                    continue;
                }
                let mut place = self.located(path, file, of_entry);
                place.uses.reserve_exact(count);
                place.uses.extend(uses.map(of_file));
                all.push(place);
            }
            if file.names > 0 {
                self.folded(path, file, all);
            }
        }
        let ran = |seen: &'a Seen| use_of(Operation::Execute, Answer::Ok, seen);
        let mut own = self.place(self.path.as_bytes());
        own.uses.push(ran(SEEN));
        own.inodes = &self.executable.inodes;
        all.push(own);
        for (name, seen) in &self.executable.invoked_as {
            let mut place = self.place(name.as_bytes());
            place.uses.push(ran(seen));
            all.push(place);
        }
        for name in &self.executable.interpreters {
            let mut place = self.place(name.as_bytes());
            place.uses.push(use_of(Operation::Read, Answer::Ok, SEEN));
            all.push(place);
        }
        for (operation, addresses) in &self.executable.addresses {
            let operation = of_address(*operation);
            for (address, outcomes) in addresses {
                if let Some(path) = socket_path(address) {
                    let mut place = self.place(path);
                    place.uses.extend(uses(operation, outcomes));
                    all.push(place);
                }
            }
        }
    }

    /// The program, with what the kernel loads or runs it by: without that it does not start.
    fn ran(&self) -> Place<'a> {
        let mut own = self.place(self.path.as_bytes());
        for name in &self.executable.interpreters {
            let loaded = self.place(name.as_bytes());
            own.names.extend(loaded.names);
            own.names.insert(name.as_bytes().to_vec());
            own.names.insert(loaded.path.to_vec());
            own.links.extend(loaded.links);
            own.loaded.push(loaded.path.into_owned());
        }
        own
    }

    /// A directory that represents names in it: nobody knows where below it they were used, or looked for.
    fn folded(&self, path: &'a Text, file: &'a File, all: &mut Vec<Place<'a>>) {
        let below = folded::ruled_below(path.as_bytes());
        for directory in std::iter::once(path.as_bytes()).chain(below) {
            let mut place = Place {
                is_folded: true,
                ..self.place(directory)
            };
            place.uses.extend(file.operations.iter().map(of_file));
            place
                .uses
                .push(use_of(Operation::Stat, Answer::NotFound, SEEN));
            place.inodes = &file.inodes;
            all.push(place);
        }
    }

    /// The directory entry, or what it leads to.
    fn located(&self, path: &'a Text, file: &'a File, of_entry: bool) -> Place<'a> {
        let walk = |name: &[u8]| {
            if of_entry {
                self.walk_entry(name)
            } else {
                self.links.walk(name)
            }
        };
        let mut place = if file.resolved {
            // The kernel walked it: the links, as they were at the end of the run, cannot be
            // in it.
            self.at(path.as_bytes())
        } else {
            self.walked(path.as_bytes(), walk(path.as_bytes()))
        };
        for name in &file.asked_as {
            if let Some(walk) = walk(name.as_bytes()) {
                place.links.extend(walk.links.iter().cloned());
                place.names.extend(walk.links);
                place.names.insert(walk.path);
            }
            place.names.insert(name.as_bytes().to_vec());
        }
        place.inodes = &file.inodes;
        place
    }

    /// Follows all of `name` but its last component.
    fn walk_entry(&self, name: &[u8]) -> Option<Walk> {
        let last = components(name).next_back()?;
        if last == b"." || last == b".." {
            return self.links.walk(name);
        }
        let end = name.iter().rposition(|&byte| byte != b'/')? + 1;
        let mut walk = self.links.walk(parent(&name[..end]))?;
        if walk.path != b"/" {
            walk.path.push(b'/');
        }
        walk.path.extend_from_slice(last);
        Some(walk)
    }

    fn place(&self, name: &'a [u8]) -> Place<'a> {
        self.walked(name, self.links.walk(name))
    }

    fn walked(&self, name: &'a [u8], walk: Option<Walk>) -> Place<'a> {
        let mut place = self.at(name);
        if let Some(walk) = walk {
            place.links = walk.links.into_iter().collect();
            place.names.clone_from(&place.links);
            if walk.path != name {
                place.names.insert(name.to_vec());
                place.path = walk.path.into();
            }
        }
        place
    }

    fn at(&self, path: &'a [u8]) -> Place<'a> {
        Place {
            run: self.run,
            host: self.host,
            executable: self.path,
            path: path.into(),
            names: BTreeSet::new(),
            links: BTreeSet::new(),
            loaded: Vec::new(),
            uses: Vec::new(),
            inodes: &[],
            is_folded: false,
        }
    }
}

fn of_file<'o>((operation, outcome, seen): (Operation, &'o Outcome, &'o Seen)) -> Use<'o> {
    use_of(operation, answer(outcome), seen)
}

fn uses<'o>(
    operation: Operation,
    outcomes: impl IntoIterator<Item = (&'o Outcome, &'o Seen)>,
) -> impl Iterator<Item = Use<'o>> {
    let outcomes = outcomes.into_iter();
    outcomes.map(move |(outcome, seen)| use_of(operation, answer(outcome), seen))
}

fn answer(outcome: &Outcome) -> Answer {
    match outcome.0.as_str() {
        // What was tried, and no more is known, has to be allowed.
        "ok" | "tried" => Answer::Ok,
        "ENOENT" | "ENOTDIR" => Answer::NotFound,
        _ => Answer::Failed,
    }
}

fn use_of(operation: Operation, result: Answer, seen: &Seen) -> Use<'_> {
    Use {
        operation,
        result,
        seen,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn what_touches_a_directory_is_found_by_path_and_by_name() {
        let fixture = Fixture::new().link("/b", "/srv").executable("/bin/d");
        let files = [
            "/a", "/a-", "/a-/x", "/a/x", "/a/x/y", "/a0", "/ab", "/b/x", "/",
        ];
        let mut fixture = files.into_iter().fold(fixture, |fixture, file| {
            fixture.file(file, Operation::Read, "ok")
        });
        for executable in fixture.run().executables.values_mut() {
            for file in executable.files.values_mut() {
                file.resolved = false;
            }
        }
        let observation = fixture.observation();
        let places = places(&observation);
        let all: [&[u8]; 8] = [
            b"/a", b"/a/x", b"/a-", b"/b", b"/srv", b"/z", b"/bin", b"/bi",
        ];
        for directories in (0..all.len()).flat_map(|at| [&all[at..=at], &all[..at]]) {
            let touches = |place: &&Place<'_>| directories.iter().any(|one| place.touches(one));
            let found = places.touching(directories).map(std::ptr::from_ref);
            let expected = places.iter().filter(touches).map(std::ptr::from_ref);
            assert!(found.eq(expected), "{directories:?}");
        }
        assert_eq!(places.touching(&[b"/b"]).count(), 1);
        assert_eq!(places.touching(&[b"/a"]).count(), 3);
    }

    #[test]
    fn a_link_is_followed_unless_it_is_the_link_that_is_used() {
        let mut observation = Fixture::new()
            .link("/etc/localtime", "/usr/share/zoneinfo/UTC")
            .executable("/a")
            .file("/etc/localtime", Operation::Readlink, "ok")
            .file("/etc/localtime", Operation::Stat, "ok")
            .observation();
        for run in observation.runs.values_mut() {
            for executable in run.executables.values_mut() {
                for file in executable.files.values_mut() {
                    file.resolved = false;
                }
            }
        }
        let places = places(&observation);
        let at = |path: &[u8], operation| {
            places
                .iter()
                .any(|place| place.path == path && place.did(operation))
        };
        assert!(at(b"/etc/localtime", Operation::Readlink));
        assert!(at(b"/usr/share/zoneinfo/UTC", Operation::Stat));
        assert!(!at(b"/etc/localtime", Operation::Stat));
    }
}
