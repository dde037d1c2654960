//! Where workloads find their programs and files, and where their cgroups are made.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use harden_tests::{
    Scratch,
    deeds::{Unit, Workshop},
    programs::install,
};

use crate::effort::Effort;

/// Directories and files in each of them that `find` goes through.
const TREE: [usize; 2] = [100, 20];

/// Where workloads find their programs and files; removed when dropped.
pub struct Place {
    /// Measures calls.
    pub calls: PathBuf,
    /// Measures commands.
    pub timed: PathBuf,
    /// A directory for each round, with the files that are opened in it.
    pub files: PathBuf,
    /// The same, for the agent's processor time.
    pub facts: PathBuf,
    /// What `find` goes through.
    pub tree: PathBuf,
    /// Where cgroups are made and removed.
    pub cgroup: PathBuf,
    // Keeps the cgroup above; it is in the workshop's, so it goes first.
    _unit: Unit,
    /// Where the units are.
    pub workshop: Workshop,
    scratch: Scratch,
}

impl Place {
    pub fn new(effort: &Effort) -> Result<Self> {
        let scratch = Scratch::new(Path::new("/run"))?;
        let workshop = Workshop::new()?;
        let unit = workshop.unit("bench-cgroups.slice")?;
        let directory = |name: &str| scratch.path().join(name);
        let place = Self {
            calls: install("calls", &scratch)?,
            timed: install("timed", &scratch)?,
            files: directory("files"),
            facts: directory("facts"),
            tree: directory("tree"),
            cgroup: unit.path().to_owned(),
            _unit: unit,
            workshop,
            scratch,
        };
        fs::create_dir(place.recorded())?;
        make_files(&place.files, effort.rounds, effort.files)?;
        make_files(&place.facts, effort.fact_directories(), FACTS_EACH)?;
        make_files(&place.tree, TREE[0], TREE[1])?;
        Ok(place)
    }

    /// Where recordings are written.
    pub fn recorded(&self) -> PathBuf {
        self.path("recorded")
    }

    /// A file or directory of this name, which the caller makes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// So many new paths are in one directory.
const FACTS_EACH: usize = 200;

impl Effort {
    /// How many directories the new paths are in.
    pub fn fact_directories(&self) -> usize {
        self.facts / FACTS_EACH
    }
}

/// Numbered directories with numbered files, and the file `same` beside them.
fn make_files(top: &Path, directories: usize, files: usize) -> Result<()> {
    for directory in (0..directories).map(|number| top.join(number.to_string())) {
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        for file in 0..files {
            fs::write(directory.join(file.to_string()), "")?;
        }
    }
    Ok(fs::write(top.join("same"), "")?)
}
