//! `harden generate`: man pages and shell completions, for packages. Hidden: only a build calls it.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// `harden generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// The directory for `man` and `completions`
    pub directory: PathBuf,
}

impl Generate {
    /// Writes everything again.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let man = self.directory.join("man");
        let completions = self.directory.join("completions");
        for directory in [&man, &completions] {
            // The page of a command that is no more must not get into a package.
            if directory.exists() {
                fs::remove_dir_all(directory)?;
            }
            fs::create_dir_all(directory)?;
        }
        clap_mangen::generate_to(Cli::command(), &man)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut Cli::command(), "harden", &completions)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(directory: PathBuf) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        };
        entries.map(name).collect()
    }

    #[test]
    fn every_command_has_its_page_and_every_shell_its_completions() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = scratch.path().to_owned();
        let stale = directory.join("man/harden-gone.1");
        fs::create_dir(directory.join("man")).expect("a directory");
        fs::write(stale, "").expect("a file");
        let generate = Generate {
            directory: directory.clone(),
        };
        generate.run().expect("written");

        let cli = Cli::command();
        let shown = cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let mut pages: BTreeSet<String> = shown
            .map(|command| format!("harden-{}.1", command.get_name()))
            .collect();
        pages.insert("harden.1".to_owned());
        assert_eq!(names(directory.join("man")), pages);
        let scripts = ["_harden", "harden.bash", "harden.fish"].map(str::to_owned);
        assert_eq!(
            names(directory.join("completions")),
            BTreeSet::from(scripts)
        );

        let page = fs::read_to_string(directory.join("man/harden-run.1")).expect("a page");
        assert!(page.contains("\\-\\-duration"), "{page}");
        assert!(!pages.contains("harden-generate.1"));
    }
}
