//! Many names in one directory become the directory: a mail spool, a cache, or a program that asks for as many names
//! as it can must not make an observation grow for ever.

use std::collections::{BTreeMap, BTreeSet};

use super::addresses::ADDRESSES;
use super::join::Join as _;
use super::model::{Executable, File, Inode, Observation, Operation, Outcome};
use super::text::Text;

/// So many names of one directory are kept. A daemon's own directories have fewer; a document root or a spool is one
/// directory to any profile.
const NAMES: usize = 1000;

/// So many are kept of all directories together; else fewer of each.
const ALL: usize = 20_000;

impl Observation {
    /// Has directories in the place of the names in them, where there are too many.
    pub fn fold_names(&mut self) {
        for run in self.runs.values_mut() {
            let control = run.control.values_mut().flat_map(BTreeMap::values_mut);
            for executable in run.executables.values_mut().chain(control) {
                executable.fold_names();
            }
        }
    }

    /// The same, until each program has at most `kept` files, as far as that goes.
    pub(super) fn fold_names_to(&mut self, kept: usize) {
        for run in self.runs.values_mut() {
            let control = run.control.values_mut().flat_map(BTreeMap::values_mut);
            for executable in run.executables.values_mut().chain(control) {
                executable.fold_names_to(kept);
            }
        }
    }
}

impl Executable {
    /// Has directories in the place of the names in them, where there are too many, and the like of addresses. Programs that were run keep theirs.
    pub fn fold_names(&mut self) {
        // A directory that has taken names in is itself a name in the one above.
        while self.fold_beyond(NAMES) {}
        self.fold_names_to(ALL);
    }

    fn fold_names_to(&mut self, kept: usize) {
        self.fold_addresses(kept.min(ADDRESSES));
        for limit in [NAMES / 10, NAMES / 100, 0] {
            while self.files.len() > kept && self.fold_beyond(limit) {}
        }
    }

    /// Folds directories with more than `limit` names, and those that were folded before: apart from each other what is
    /// there and what was looked for in vain. Says whether there were any. The root directory represents only the latter:
    /// no rule would be left of a profile.
    fn fold_beyond(&mut self, limit: usize) -> bool {
        let mut names: BTreeMap<(&[u8], bool), usize> = BTreeMap::new();
        for (path, file) in self.files.iter().filter(|(_, file)| is_foldable(file)) {
            if let Some(parent) = parent(path).filter(|top| *top != b"/" || is_absent(file)) {
                *names.entry((parent, is_absent(file))).or_default() += 1;
            }
        }
        let is_folded = |directory: &[u8], absent: bool| {
            let folded = self.files.get(&Text::from(directory));
            folded.is_some_and(|file| file.names > 0 && (absent || !file.operations.is_empty()))
        };
        let many: BTreeSet<(Text, bool)> = names
            .into_iter()
            .filter(|((directory, absent), count)| *count > limit || is_folded(directory, *absent))
            .map(|((directory, absent), _)| (Text::from(directory), absent))
            .collect();
        if many.is_empty() {
            return false;
        }
        let mut folded: BTreeMap<Text, File> = BTreeMap::new();
        for (path, file) in std::mem::take(&mut self.files) {
            let directory = parent(&path).map(Text::from);
            let key = directory.map(|directory| (directory, is_absent(&file)));
            match key.filter(|key| is_foldable(&file) && many.contains(key)) {
                Some((directory, _)) => folded.entry(directory).or_default().take_in(file),
                None => {
                    self.files.insert(path, file);
                }
            }
        }
        for (directory, whole) in folded {
            let known = self.files.entry(directory).or_default();
            let names = known.names + whole.names;
            known.join(whole);
            known.names = names;
        }
        true
    }
}

impl File {
    /// Takes the use of a file as one of its directory.
    fn take_in(&mut self, file: Self) {
        let names = self.names + file.names.max(1);
        let mut file = file.as_directory();
        // Any device node is as good as another of its kind.
        file.inodes = file.inodes.into_iter().map(without_device).collect();
        self.join(file);
        self.names = names;
    }

    /// What the directory of a file is used for where it represents the file: it is read, or changed. What was looked
    /// for in vain is not in it.
    #[must_use]
    pub fn as_directory(self) -> Self {
        let mut directory = Self {
            resolved: self.resolved,
            names: self.names,
            // Whose they are counts for the directory, too. Each name has an inode of its own: with their numbers there would
            // be as many of them as there are names.
            inodes: self.inodes.iter().map(as_directory).collect(),
            ..Self::default()
        };
        let there = self.operations.into_iter();
        for (operation, outcome, seen) in there.filter(|(_, outcome, _)| !outcome.is_absence()) {
            let operation = if operation.writes() {
                Operation::Write
            } else {
                Operation::Read
            };
            directory.operations.add(operation, outcome, seen);
        }
        directory
    }
}

fn without_device(inode: Inode) -> Inode {
    Inode { rdev: 0, ..inode }
}

/// Whether nothing depends on the name.
fn is_foldable(file: &File) -> bool {
    !file.operations.has(Operation::Execute) || is_absent(file)
}

/// Whether nothing was there, each time.
fn is_absent(file: &File) -> bool {
    file.operations.outcomes().all(Outcome::is_absence)
}

/// The directory of `path`; `None` for the root.
fn parent(path: &Text) -> Option<&[u8]> {
    let path = path.as_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    match slash {
        0 if path.len() == 1 => None,
        0 => Some(b"/"),
        _ => Some(&path[..slash]),
    }
}

/// Any inode of the same owner, type and permissions. A regular file's is one of a directory: no rule is to take the path for
/// a file that others may replace.
fn as_directory(inode: &Inode) -> Inode {
    const S_IFMT: u32 = 0o170_000;
    const S_IFREG: u32 = 0o100_000;
    const S_IFDIR: u32 = 0o040_000;
    let kind = match inode.mode & S_IFMT {
        S_IFREG => S_IFDIR,
        other => other,
    };
    Inode {
        mode: kind | (inode.mode & !S_IFMT),
        ..inode.any_of_its_kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(executable: &Executable, path: &str) -> Option<(u64, Vec<Operation>)> {
        let file = executable.files.get(&Text::from(path))?;
        Some((file.names, file.operations.operations().collect()))
    }

    #[test]
    fn too_many_names_become_their_directory() {
        let mut executable = Executable::default();
        let put = |executable: &mut Executable, path: String, operation, outcome| {
            let file = File::used(operation, outcome);
            executable.files.insert(path.into(), file);
        };
        for number in 0..1001 {
            let (read, asked) = (format!("/srv/a/{number}"), format!("/tmp/{number}"));
            put(&mut executable, read, Operation::Read, "ok");
            put(&mut executable, asked, Operation::Stat, "ENOENT");
            if number < 1000 {
                let kept = format!("/srv/b/{number}");
                put(&mut executable, kept, Operation::Create, "ok");
            }
        }
        put(
            &mut executable,
            "/srv/a/run".to_owned(),
            Operation::Execute,
            "ok",
        );
        let socket = "/tmp/socket".to_owned();
        put(&mut executable, socket, Operation::Create, "ok");
        executable.fold_names();
        assert_eq!(
            used(&executable, "/srv/a"),
            Some((1001, vec![Operation::Read]))
        );
        // Nothing is there, and nothing was done to the directory.
        assert_eq!(used(&executable, "/tmp"), Some((1001, vec![])));
        assert_eq!(executable.files.len(), 2 + 1000 + 2);
        // Later ones go the same way, and once is enough.
        put(
            &mut executable,
            "/srv/a/x".to_owned(),
            Operation::Unlink,
            "ok",
        );
        executable.fold_names();
        let both = vec![Operation::Read, Operation::Write];
        assert_eq!(used(&executable, "/srv/a"), Some((1002, both)));
        let before = executable.clone();
        executable.fold_names();
        assert_eq!(executable, before);
    }

    #[test]
    fn many_directories_with_few_names_become_the_one_above() {
        let mut executable = Executable::default();
        for number in 0..30_000 {
            let path = format!("/var/cache/d/{}/{}/x", number / 100, number % 100);
            executable
                .files
                .insert(path.into(), File::used(Operation::Create, "ok"));
        }
        executable.fold_names();
        assert!(executable.files.len() <= ALL, "{}", executable.files.len());
        let names: u64 = executable
            .files
            .values()
            .map(|file| file.names.max(1))
            .sum();
        assert!(names >= 30_000, "{names}");
    }
}
