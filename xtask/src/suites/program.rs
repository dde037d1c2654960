//! The test program that has all suites in it, and which tests are whose.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process;

/// The test program, built.
#[derive(Debug)]
pub struct Program {
    executable: PathBuf,
    // By suite, with the names that the program knows them by.
    tests: BTreeMap<String, Vec<String>>,
}

impl Program {
    /// Builds it. With `--workspace`, as in [`crate::build`].
    pub fn build() -> Result<Self> {
        let mut cargo = process::cargo();
        cargo.args(["test", "--workspace", "--test", "suites"]);
        cargo.args(["--no-run", "--message-format=json"]);
        let messages = process::output(&mut cargo).context("the suites cannot be built")?;
        let executable = parse_executable(&messages).context("cargo names no program `suites`")?;
        let list = process::output(Command::new(&executable).args(["--list", "--format=terse"]))?;
        let tests = parse_tests(&list);
        let named = super::names()?;
        ensure!(
            tests.keys().eq(&named),
            "tests/suites/main.rs needs a line `mod NAME;` for each suite, in order, and each suite a test: {named:?}"
        );
        Ok(Self { executable, tests })
    }

    /// The file.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// The tests of a suite whose names contain `filter`.
    ///
    /// # Errors
    /// There is none.
    pub fn tests(&self, suite: &str, filter: &str) -> Result<Vec<&str>> {
        let tests = self.tests.get(suite).into_iter().flatten();
        let found: Vec<&str> = tests
            .map(String::as_str)
            .filter(|name| name.contains(filter))
            .collect();
        ensure!(
            !found.is_empty(),
            "the suite `{suite}` has no test whose name contains `{filter}`"
        );
        Ok(found)
    }
}

/// The file of the test program, from what cargo prints.
fn parse_executable(messages: &str) -> Option<PathBuf> {
    let mut messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let suites = messages.find(|message| {
        message["target"]["name"] == "suites" && message["executable"].is_string()
    })?;
    Some(suites["executable"].as_str()?.into())
}

/// The tests by suite, from what the program lists: `SUITE::…: test`.
fn parse_tests(list: &str) -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
        // One that is in no suite is a suite of its own, and not among the names.
        let (suite, _) = name.split_once("::").unwrap_or((name, ""));
        tests
            .entry(suite.to_owned())
            .or_default()
            .push(name.to_owned());
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_program() {
        let text = r#"{"target":{"name":"harden"},"executable":"/t/harden"}
{"target":{"name":"suites"},"profile":{"test":true},"executable":"/t/suites-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(parse_executable(text), Some("/t/suites-1".into()));
        assert_eq!(parse_executable("no message"), None);
    }

    #[test]
    fn a_test_belongs_to_the_suite_that_its_name_begins_with() {
        let list = "agent::daemons::live: test\nagent::ends: test\ndaemons::twelve: test\nrun::b: benchmark\n";
        let program = Program {
            executable: PathBuf::new(),
            tests: parse_tests(list),
        };
        let tests = program.tests("daemons", "").expect("there is one");
        assert_eq!(tests, ["daemons::twelve"]);
        let tests = program.tests("agent", "live").expect("there is one");
        assert_eq!(tests, ["agent::daemons::live"]);
        assert!(program.tests("agent", "nothing").is_err());
        assert!(program.tests("run", "").is_err());
    }
}
