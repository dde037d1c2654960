//! The tree of cgroups: what was there before the agent, and what went without a word.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use harden_common::{PAYER_LEVEL, RUN_PASSES};

use super::{Core, CoreError};
use crate::{
    agent::journal::Record,
    collect::unit,
    machine::cgroups::{mount, own},
    probe::Observe,
};

/// A cgroup as the tree has it.
struct Found {
    id: u64,
    parent: u64,
    /// As [`Observe::payer`].
    payer: u64,
    /// From the root of the tree, without a slash at the end.
    path: Vec<u8>,
}

impl Found {
    fn observe(&self, run: u64) -> Observe {
        Observe {
            cgroup: self.id,
            run,
            payer: self.payer,
        }
    }
}

impl Core {
    /// Looks at every cgroup: those that are wanted are observed when this returns, and no others.
    ///
    /// The kernel side sees a birth only below a cgroup that is observed. What is born after the tree was read, below one
    /// that is not yet, is found when it is read again; that ends when all that is found is observed.
    pub(super) fn scan(&mut self) -> Result<(), CoreError> {
        let mut looked_at = BTreeSet::new();
        loop {
            let mut tree = Tree::read()?.found;
            tree.retain(|found| looked_at.insert(found.id));
            if self.begin_all(&tree)? == 0 {
                break;
            }
        }
        // One may have been removed since the tree was read.
        self.leave_removed()?;
        self.leave_unwanted()
    }

    /// Has those of the cgroups observed that are wanted and are not observed. Returns how many these were.
    fn begin_all(&mut self, tree: &[Found]) -> Result<usize, CoreError> {
        let observed = self.probe.observed()?;
        let known = self.probe.cgroup_paths()?;
        let run = self.state.last_run_of_all().max(FIRST_RUN);
        let (mut begin, mut unnamed) = (Vec::new(), Vec::new());
        for found in tree {
            if !self.is_wanted(&found.path) {
                self.unwanted.ignore_cgroup(
                    found.id,
                    observed.get(&found.id).copied(),
                    &found.path,
                );
                continue;
            }
            let born = known.get(&found.id).map_or(0, |path| path.born);
            self.cgroup(found.id, found.parent, born, &found.path);
            if !known.contains_key(&found.id) {
                unnamed.push(found);
            }
            match observed.get(&found.id) {
                // An agent that was killed may have learnt of its birth, and no more.
                Some(run) => self
                    .unwanted
                    .observe_children_only(found.id, *run, &found.path),
                None if unit::unit(&found.path).is_none() => {
                    begin.push(found.observe(run | RUN_PASSES));
                }
                None => begin.push(found.observe(run)),
            }
        }
        let there = observed.len() + begin.len();
        let room = self.sizes.cgroups;
        if there > room as usize {
            return Err(CoreError::TooManyCgroups { there, room });
        }
        for found in unnamed {
            self.probe
                .name_cgroup(found.id, found.parent, &found.path)?;
        }
        self.probe.observe_all(&begin)?;
        Ok(begin.len())
    }

    /// Has cgroups observed no more that are not there: the kernel side takes each out when it is removed, but that
    /// may have been before the agent put it in, perhaps one that was killed right after, or the program for it was
    /// skipped. Their slots would never be free.
    fn leave_removed(&mut self) -> Result<(), CoreError> {
        let mut observed = self.probe.observed()?;
        // A directory is gone before its cgroup is taken out (kernel/cgroup/cgroup.c, `cgroup_rmdir`): if it is there,
        // its end is still to come.
        let tree = Tree::read()?;
        if tree.is_whole {
            let there: BTreeSet<u64> = tree.found.iter().map(|found| found.id).collect();
            let is_removed = |id: &u64| !there.contains(id);
            let removed: Vec<u64> = observed.keys().copied().filter(is_removed).collect();
            self.probe.unobserve(&removed)?;
            observed.retain(|id, _| there.contains(id));
        }
        // Neither need their ends have found room in the ring buffer.
        let gone: Vec<u64> = self.state.living().map(|(id, _)| id).collect();
        for cgroup in gone.into_iter().filter(|id| !observed.contains_key(id)) {
            self.record(Record::Gone { cgroup, time: 0 });
        }
        Ok(())
    }

    /// Makes up for births and ends of cgroups that were not told of.
    pub(super) fn sweep(&mut self) -> Result<(), CoreError> {
        self.retirement.swept();
        let observed = self.probe.observed()?;
        for (id, run) in &observed {
            let id = *id;
            if self.state.has_cgroup(id) {
                continue;
            }
            let Some(found) = self.probe.cgroup_path(id)? else {
                continue;
            };
            if self.is_wanted(&found.path) {
                self.cgroup(id, found.parent, found.born, &found.path);
                self.unwanted.observe_children_only(id, *run, &found.path);
            } else {
                self.unwanted.ignore_cgroup(id, Some(*run), &found.path);
            }
        }
        self.leave_removed()?;
        self.leave_unwanted()
    }

    /// Remembers a cgroup, unless it is known.
    pub(super) fn cgroup(&mut self, id: u64, parent: u64, born: u64, path: &[u8]) {
        if self.state.has_cgroup(id) {
            return;
        }
        let path = path.to_vec();
        self.record(Record::Cgroup {
            id,
            parent,
            born,
            path,
        });
        if let Some(unit) = self.state.invoked(id).cloned()
            && self.state.is_at_rest(&unit)
        {
            self.load_known(&unit);
        }
        self.questions.born(&self.state, id);
    }

    /// Whether the cgroup is to be observed: as a unit that somebody wants, or because such a unit may be
    /// below. Never the agent's own.
    pub(super) fn is_wanted(&self, path: &[u8]) -> bool {
        !self.unwanted.is_own(path)
            && unit::unit(path).is_none_or(|unit| self.config.units.matches(unit.name()))
    }
}

/// The agent's own cgroup, from the root of the tree.
pub(super) fn own_cgroup() -> Result<Vec<u8>, CoreError> {
    let system = |error| CoreError::System("the agent's own cgroup cannot be found", error);
    let root = mount().map_err(system)?;
    let path = own().map_err(system)?;
    Ok(below(&root, &path))
}

/// The number of the first run.
const FIRST_RUN: u64 = 1;

/// The cgroups that there are.
struct Tree {
    /// Parents before children.
    found: Vec<Found>,
    /// There are no others.
    is_whole: bool,
}

impl Tree {
    fn read() -> Result<Self, CoreError> {
        let root =
            mount().map_err(|error| CoreError::System("the cgroup tree cannot be found", error))?;
        let mut tree = Self {
            found: Vec::new(),
            is_whole: true,
        };
        tree.walk(&root, &root, 0, &[]);
        Ok(tree)
    }

    /// Adds what is in `directory`, which lies below the cgroups `above`: those down to [`PAYER_LEVEL`], and no others.
    fn walk(&mut self, root: &Path, directory: &Path, parent: u64, above: &[u64]) {
        // The id that the kernel side sees is the directory's inode number (kernfs).
        let Some(id) = self.there(fs::metadata(directory).map(|metadata| metadata.ino())) else {
            return;
        };
        let mut line = above.to_vec();
        if line.len() <= PAYER_LEVEL as usize {
            line.push(id);
        }
        self.found.push(Found {
            id,
            parent,
            payer: line.last().copied().unwrap_or(id),
            path: below(root, directory),
        });
        for below in self.there(directories(directory)).unwrap_or_default() {
            self.walk(root, &below, id, &line);
        }
    }

    /// What was read of a directory. It may have gone since its parent was read; anything else hides what is below.
    fn there<T>(&mut self, read: io::Result<T>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                // ENOENT for what was removed (fs/readdir.c too, `iterate_dir`), ENODEV for what is being removed (kernfs).
                let is_gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
                self.is_whole &= is_gone;
                None
            }
        }
    }
}

/// The directories in one, in order.
fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    directories.sort();
    Ok(directories)
}

/// As the kernel writes it: `/` for the root.
fn below(root: &Path, directory: &Path) -> Vec<u8> {
    let rest = directory.strip_prefix(root).unwrap_or(directory);
    let mut path = b"/".to_vec();
    path.extend_from_slice(rest.as_os_str().as_bytes());
    path
}
