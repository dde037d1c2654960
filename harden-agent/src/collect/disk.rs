//! What only the file system knows: interpreters of programs, links on the way to files.
//!
//! To be asked by whoever sees the file system as the program did, which the agent in its sandbox does not.

use std::collections::BTreeMap;

use super::{program, symlinks::Symlinks};
use crate::observation::{Executable, Text};

/// Adds to each of `executables` the ELF interpreter that its file names, and gives back the symbolic links
/// on all paths that were asked for.
#[must_use]
pub fn look(executables: &mut BTreeMap<Text, Executable>) -> BTreeMap<Text, Text> {
    for (path, facts) in executables.iter_mut() {
        facts
            .interpreters
            .extend(program::interpreter(path.as_path()));
    }
    symlinks(executables)
}

fn symlinks(executables: &BTreeMap<Text, Executable>) -> BTreeMap<Text, Text> {
    let mut links = Symlinks::default();
    for (program, facts) in executables {
        links.follow(program);
        facts
            .interpreters
            .iter()
            .chain(facts.invoked_as.keys())
            .for_each(|name| links.follow(name));
        for (path, file) in &facts.files {
            if !file.resolved {
                links.follow(path);
            }
            file.asked_as.iter().for_each(|name| links.follow(name));
        }
    }
    links.into_map()
}
