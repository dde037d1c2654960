//! `harden merge`: observations of several runs, machines or fleets as one.

use std::{ffi::OsString, mem::ManuallyDrop, os::unix::ffi::OsStrExt as _, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::ask;
use crate::{
    observation::{self, Join as _, Text},
    output::{self, Content, Ours, Output, file_stem},
};

/// `harden merge`
#[derive(Debug, Args)]
pub struct Merge {
    /// The observations (JSON files)
    #[arg(required = true, value_name = "OBSERVATION")]
    pub observations: Vec<PathBuf>,
    /// The name of the merged observation [default: the name that all of them have]
    #[arg(long)]
    pub name: Option<OsString>,
    /// Write NAME.observation.json into this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Replace a file of the same name even if harden did not write it
    #[arg(long)]
    pub force: bool,
}

impl Merge {
    /// Reads, adds up, writes, and prints where. The order does not matter, and what is named twice counts
    /// once.
    ///
    /// # Errors
    /// One cannot be read, they are of different programs and no name is given, or the sum cannot be
    /// written.
    pub fn run(&self) -> anyhow::Result<()> {
        let given = self.name.as_ref().map(|name| Text::from(name.as_bytes()));
        let mut all = self.observations.iter();
        let first = all.next().context("no observation is named")?;
        // As in `Render::run`, the exit frees it.
        let mut sum = ManuallyDrop::new(observation::read(first)?);
        let name = given.clone().unwrap_or_else(|| sum.name.clone());
        for path in all {
            let other = observation::read(path)?;
            ensure!(
                given.is_some() || other.name == name,
                "{} is of {}, and {} of {name}: if they belong together, name the result with --name",
                path.display(),
                other.name,
                first.display()
            );
            sum.join(other);
        }
        sum.name = name;
        let output = Output {
            name: format!("{}.observation.json", file_stem(&sum.name)),
            content: Content::Observation(&sum),
            ours: Ours::Observation,
        };
        let path = self.out.join(&output.name);
        output::write(&self.out, &[output], self.force)?;
        ask::print(&format!("{}\n", path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::Parser as _;

    use super::*;
    use crate::{cli::Cli, observation::Observation, policy::fixture::Fixture};

    fn write(directory: &Path, file: &str, observation: &Observation) -> String {
        let path = directory.join(file);
        fs::write(&path, observation::to_json(observation).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn merge(out: &Path, arguments: &[&str]) -> anyhow::Result<u8> {
        let words = ["harden", "merge", "--out", out.to_str().unwrap()];
        Cli::try_parse_from(words.iter().chain(arguments))
            .unwrap()
            .run()
    }

    #[test]
    fn the_sum_holds_what_each_holds_in_any_order() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let one = Fixture::new().executable("/a").syscalls(&["read"]);
        let other = Fixture::new()
            .next_run()
            .executable("/a")
            .syscalls(&["write"]);
        let one = write(directory, "one.json", &one.observation());
        let other = write(directory, "other.json", &other.observation());
        let sums = [[&one, &other, &one], [&other, &one, &other]].map(|files| {
            let out = tempfile::tempdir().unwrap();
            let files = files.map(String::as_str);
            assert_eq!(merge(out.path(), &files).unwrap(), 0);
            observation::read(&out.path().join("test.observation.json")).unwrap()
        });
        assert_eq!(sums[0], sums[1]);
        let mut runs = sums[0].runs.values();
        let calls = runs.clone().flat_map(|run| run.executables.values());
        let calls: usize = calls.map(|facts| facts.syscalls.len()).sum();
        assert_eq!((runs.clone().count(), calls), (2, 2));
        assert!(runs.all(|run| run.losses.is_empty()));
    }

    #[test]
    fn different_programs_are_not_one_unless_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let one = Fixture::new().executable("/a").observation();
        let mut other = one.clone();
        other.name = "other\n".into();
        let one = write(directory, "one.json", &one);
        let other = write(directory, "other.json", &other);
        let error = merge(directory, &[&one, &other]).unwrap_err().to_string();
        assert!(error.contains("--name") && !error.contains('\n'), "{error}");
        merge(directory, &[&one, &other, "--name", "both"]).unwrap();
        let sum = observation::read(&directory.join("both.observation.json")).unwrap();
        assert_eq!(sum.name, Text::from("both"));
    }
}
