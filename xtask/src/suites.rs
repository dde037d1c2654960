//! The end-to-end suites: the modules of `tests/suites`, in one test program. Where each runs, how one is run on this
//! machine, and what the last run left of it. Virtual machines run them too: [`crate::vm`].

mod here;
mod program;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

pub use self::{
    here::{Here, listen},
    program::Program,
};
use crate::workspace;

/// What needs a system that systemd has started, or a kernel that this machine does not have: in virtual machines only.
const ONLY_IN_GUESTS: &[&str] = &[
    "agent_roles",
    "boot",
    "preemption",
    "service",
    "story",
    "tiers",
];

/// What counts or measures something of the whole machine, or fills tables that other suites' cgroups would fill too. The
/// others look at their own programs and units alone.
const ALONE: &[&str] = &[
    "agent",
    "instances",
    "kernel_log",
    "losses",
    "neighbours",
    "own_profile",
    "pinning",
    "soak",
    "survival",
    // Both listen on the port of HTTP.
    "http_server",
    "nginx",
];

/// Whose tests wait most of their time, and take turns by themselves where they have to.
const WAITING: &[&str] = &["agent", "agent_faults", "marks"];

/// What installs the package, or looks into it.
const WITH_PACKAGE: &[&str] = &["boot", "package", "service"];

/// The names of all suites, in order.
pub fn names() -> Result<Vec<String>> {
    let file = directory().join("main.rs");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(parse_names(&text))
}

fn parse_names(text: &str) -> Vec<String> {
    let modules = text
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

/// Does this suite run on this machine itself?
pub fn is_here(name: &str) -> bool {
    !ONLY_IN_GUESTS.contains(&name)
}

/// The names of the suites that run on this machine itself.
pub fn here() -> Result<Vec<String>> {
    let mut names = names()?;
    names.retain(|name| is_here(name));
    Ok(names)
}

/// Does this suite need the machine for itself?
pub fn is_alone(name: &str) -> bool {
    ALONE.contains(&name)
}

/// How many tests of this suite run at once; `None`: as many as there are processors.
pub fn threads(name: &str) -> Option<usize> {
    WAITING.contains(&name).then_some(4)
}

/// Does this suite ask for the package?
pub fn needs_package(name: &str) -> bool {
    WITH_PACKAGE.contains(&name)
}

/// Refuses what is no suite, with those that there are.
pub fn known(name: &str) -> Result<()> {
    let names = names()?;
    if !names.iter().any(|known| known == name) {
        bail!("there is no suite `{name}`: `cargo xtask test --list` shows them");
    }
    Ok(())
}

/// What a suite tests: the first sentence of its module's documentation.
pub fn about(name: &str) -> Result<String> {
    let places =
        [format!("{name}.rs"), format!("{name}/mod.rs")].map(|file| directory().join(file));
    let file = places.iter().find(|file| file.is_file());
    let file = file.with_context(|| format!("the suite `{name}` has no file in tests/suites"))?;
    Ok(first_sentence(&fs::read_to_string(file)?))
}

fn first_sentence(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = lines
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
    paragraph[..end].to_owned()
}

/// Where the output of the last run of a suite is, or of another part of the tests.
pub fn log(name: &str) -> PathBuf {
    workspace::test_logs().join(format!("{name}.log"))
}

fn directory() -> PathBuf {
    workspace::root().join("tests/suites")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_says_what_it_tests() -> Result<()> {
        let names = names()?;
        assert!(names.len() > 50, "{names:?}");
        for name in names {
            assert!(!about(&name)?.is_empty(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn every_suite_runs_somewhere_among_all_tests() -> Result<()> {
        for name in names()? {
            let guests = crate::vm::guests(&name).filter(|guest| guest.is_in_tests());
            assert!(is_here(&name) || guests.count() > 0, "{name}");
        }
        Ok(())
    }

    #[test]
    fn what_is_named_is_a_suite() -> Result<()> {
        let names = names()?;
        let listed = [ONLY_IN_GUESTS, ALONE, WAITING, WITH_PACKAGE].concat();
        for name in listed.into_iter().chain(crate::vm::guest_names()) {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_sentence_may_have_more_lines() {
        let text = "//! One: and\n//! the same. Two.\n//!\n//! Three.\nuse std;\n//! Four.";
        assert_eq!(first_sentence(text), "One: and the same.");
        assert_eq!(first_sentence("//! One\n//! two\n"), "One two");
        assert_eq!(first_sentence("use std;"), "");
    }

    #[test]
    fn modules_are_suites() {
        let text = "//! mod none;\nmod paths;\npub mod other;\nmod run;\n";
        assert_eq!(parse_names(text), ["paths", "run"]);
    }
}
