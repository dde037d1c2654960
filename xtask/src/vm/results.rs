//! What a guest reports, line by line.

use std::collections::BTreeMap;

use crate::test::Tally;

/// What has been heard of one boot.
#[derive(Debug, Default)]
pub struct Results {
    /// The suites that failed, with the status of each.
    pub failed: Vec<String>,
    /// How many suites ended.
    pub ended: usize,
    /// What the tests of all suites say.
    pub tally: Tally,
    /// Files that the guest hands over, by name.
    pub files: BTreeMap<String, String>,
    suite: String,
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Output of a suite.
    Output,
    /// The guest is up, with this kernel.
    Start(&'a str),
    /// A suite begins.
    Suite(&'a str),
    /// The suite has ended: well?
    Status(bool),
    /// Something that has been taken note of.
    Noted,
    /// The last line.
    End,
}

impl Results {
    /// Takes a line; skipped tests count under the name of the `place`.
    pub fn read<'a>(&mut self, line: &'a str, place: &str) -> Heard<'a> {
        let Some(message) = line.strip_prefix("@harden ") else {
            self.tally.read(line);
            return Heard::Output;
        };
        let (what, rest) = message.split_once(' ').unwrap_or((message, ""));
        match what {
            "start" => return Heard::Start(rest),
            "suite" => {
                rest.clone_into(&mut self.suite);
                return Heard::Suite(rest);
            }
            "status" => {
                self.ended += 1;
                if rest != "0" {
                    self.failed.push(format!("{} (status {rest})", self.suite));
                }
                return Heard::Status(rest == "0");
            }
            "file" => {
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let file = self.files.entry(name.to_owned()).or_default();
                file.push_str(text);
                file.push('\n');
            }
            "skipped" => {
                let (test, reason) = rest.split_once(": ").unwrap_or((rest, ""));
                self.tally.skip(&format!("{test} ({place}): {reason}"));
            }
            "end" => return Heard::End,
            _ => {}
        }
        Heard::Noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_without_a_good_status_has_failed() {
        let mut results = Results::default();
        let mut read = |line| results.read(line, "6.1") == Heard::End;
        for line in [
            "@harden start 6.1.0",
            "@harden file doctor.json {",
            "@harden file doctor.json }",
            "@harden suite paths",
            "test result: ok. 2 passed; 0 failed; 0 ignored",
            "@harden status 0",
            "@harden suite run",
            "@harden status 137",
            "@harden skipped lsm: no such hook",
            "@harden skipped ring: no such call",
        ] {
            assert!(!read(line));
        }
        assert!(read("@harden end"));
        assert_eq!(results.failed, ["run (status 137)"]);
        assert_eq!(results.ended, 2);
        assert_eq!(results.files["doctor.json"], "{\n}\n");
        assert_eq!(results.tally.to_string(), "0 passed, 0 failed, 2 skipped");
        let skips: Vec<_> = results.tally.skips().collect();
        assert_eq!(
            skips,
            ["lsm (6.1): no such hook", "ring (6.1): no such call"]
        );
    }
}
