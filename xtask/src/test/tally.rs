//! Adding up what the test programs say.

use std::{collections::BTreeMap, env, fmt};

use anyhow::{Result, bail};

/// The sum over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Test → reason. A test that says it twice is skipped once.
    skips: BTreeMap<String, String>,
}

impl Tally {
    /// Takes a line of a test program's output; only `test result: …` lines matter.
    pub fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let (_verdict, counts) = result.split_once(". ").unwrap_or_default();
        for count in counts.split("; ") {
            let (number, what) = count.split_once(' ').unwrap_or_default();
            let number: usize = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skips.extend(other.skips);
    }

    /// Takes the `NAME: REASON` lines that skipped tests have left.
    pub fn skip(&mut self, text: &str) {
        for line in text.lines() {
            let (name, reason) = line.split_once(": ").unwrap_or((line, ""));
            self.skips.insert(name.to_owned(), reason.to_owned());
        }
    }

    /// The tests that could not run, as `NAME: REASON`.
    pub fn skips(&self) -> impl Iterator<Item = String> {
        self.skips
            .iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
    }
}

impl Tally {
    /// Fails with CI=true when tests did not run.
    pub fn refuse_skips(&self) -> Result<()> {
        if env::var("CI").is_ok_and(|ci| ci == "true") && self.skipped() > 0 {
            bail!(
                "tests were skipped, which counts as a failure with CI=true: see SKIPPED, or 'ignored', above"
            );
        }
        Ok(())
    }

    /// Tests that ended in any way.
    pub fn ended(&self) -> usize {
        self.passed + self.failed + self.ignored
    }

    /// Tests that did not run: those that said so, and those that are marked `#[ignore]`.
    pub fn skipped(&self) -> usize {
        self.ignored + self.skips.len()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the test harness a test that skips itself has passed.
        let passed = self.passed.saturating_sub(self.skips.len());
        let skipped = self.skipped();
        write!(
            f,
            "{passed} passed, {} failed, {skipped} skipped",
            self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_add_up() {
        let mut tally = Tally::default();
        tally.read("running 3 tests");
        tally.read("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.read("test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 5 filtered out; finished in 1.20s");
        assert_eq!(tally.to_string(), "7 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.skip("lsm: refused: EPERM\nlsm: refused: EPERM\n");
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skips().collect::<Vec<_>>(), ["lsm: refused: EPERM"]);
    }
}
