//! What the installed Firejail says of itself. Runs it with options that only print.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::{Command, Stdio};

use crate::policy::firejail::{Launch, Target, Version};

/// Larger answers are none of Firejail's.
const ANSWER: u64 = 1 << 20;

/// What was found out, and what was assumed instead.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The Firejail to write for.
    pub target: Target,
    /// What could not be found out, as sentences for the user.
    pub warnings: Vec<String>,
}

/// Asks the installed Firejail; `version` names another one, whose names cannot be asked for.
#[must_use]
pub fn ask(version: Option<Version>, launch: Launch) -> Asked {
    let mut warnings = Vec::new();
    let installed = match installed_version() {
        Ok(installed) => Some(installed),
        Err(error) => {
            if version.is_none() {
                warnings.push(format!(
                    "Firejail could not be asked for its version ({error}); writing for {}. \
                     Install firejail, or name its version with --firejail-version",
                    Version::default()
                ));
            }
            None
        }
    };
    let version = version.or(installed).unwrap_or_default();
    let same = installed == Some(version);
    let names = |option: &str| {
        same.then(|| output(option).ok())
            .flatten()
            .map(|text| listed(&text))
            .filter(|names| !names.is_empty())
    };
    Asked {
        target: Target {
            version,
            syscalls: names("--debug-syscalls"),
            capabilities: names("--debug-caps"),
            programs: Some(programs()),
            launch,
            ..Target::default()
        },
        warnings,
    }
}

/// The version of the installed Firejail.
///
/// # Errors
/// There is none, or its answer holds no version.
pub(crate) fn installed_version() -> io::Result<Version> {
    let text = output("--version")?;
    text.split_whitespace()
        .find_map(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other("its answer holds no version"))
}

/// The files in the bin directories; one that cannot be listed holds nothing for Firejail either.
fn programs() -> BTreeSet<String> {
    Target::BIN_DIRECTORIES
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.path().into_os_string().into_string().ok())
        .collect()
}

/// The names in lines such as `9\t- mmap`.
fn listed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split_once("\t- "))
        .filter(|(number, _)| number.trim().parse::<u32>().is_ok())
        .map(|(_, name)| name.trim().to_owned())
        .collect()
}

fn output(option: &str) -> io::Result<String> {
    let mut child = Command::new("firejail")
        .arg(option)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER).read_to_end(&mut bytes)?;
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("firejail {option}: {status}")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_the_listing_only() {
        let names =
            listed("Your kernel supports 41 capabilities.\n0\t- read\n12\t- brk\n\nx\t- y\n");
        assert_eq!(names, ["brk".to_owned(), "read".to_owned()].into());
    }

    #[test]
    fn a_named_version_needs_no_firejail() {
        let asked = ask(Some(Version::new(1, 2, 3)), Launch::Direct);
        assert_eq!(asked.target.version, Version::new(1, 2, 3));
        assert!(asked.warnings.is_empty());
    }
}
