//! What only the file system knows: interpreters of programs, links on the way to files.
//!
//! To be asked by whoever sees the file system as the program did, which the agent in its sandbox does not.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use super::{program, symlinks::Symlinks};
use crate::observation::{Executable, Text};

/// The file system of a program, and what is known of it so far.
pub struct Disk {
    root: File,
    links: Symlinks,
}

impl Disk {
    /// That below `root`: `/`, or `/proc/PID/root` for a container's.
    ///
    /// # Errors
    /// It is not there, or not to be seen by this user.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: File::open(root)?,
            links: Symlinks::default(),
        })
    }

    /// Adds to each of `executables` the ELF interpreter that its file names, and gives back the symbolic links
    /// on all paths that were asked for.
    pub fn look(&mut self, executables: &mut BTreeMap<Text, Executable>) -> BTreeMap<Text, Text> {
        let mut links = BTreeMap::new();
        let mut follow = |path: &Text| self.links.follow(&self.root, path, &mut links);
        let root = &self.root;
        for (program, facts) in executables {
            let interpreter = program::interpreter(root, program.as_path());
            facts.interpreters.extend(interpreter);
            // The kernel opens what a script names, by that name: it may be a link.
            let scripts = facts.invoked_as.iter().filter_map(|(name, seen)| {
                let interpreter = program::script_interpreter(root, name.as_path())?;
                (follow(&interpreter) == program.as_path()).then(|| (interpreter, seen.clone()))
            });
            let scripts: Vec<_> = scripts.collect();
            for (interpreter, seen) in scripts {
                facts.invoked_as.entry(interpreter).or_insert(seen);
            }
            follow(program);
            for name in facts.interpreters.iter().chain(facts.invoked_as.keys()) {
                follow(name);
            }
            for (path, file) in &facts.files {
                if !file.resolved {
                    follow(path);
                }
                for name in &file.asked_as {
                    follow(name);
                }
            }
        }
        links
    }
}
