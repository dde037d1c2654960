//! A profile's text, read and mutated.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// The lines of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    text: String,
}

impl Profile {
    /// All of it, comments included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("no profile {}", path.display()))?;
        Ok(Self { text })
    }

    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.text).with_context(|| path.display().to_string())
    }

    /// The lines that Firejail acts on: no comments, no blank lines.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// Is there this very line?
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.rules().any(|line| line == rule)
    }

    /// Is it made for `firejail PROGRAM`, rather than for `firejail -- PROGRAM`?
    #[must_use]
    pub fn starts_directly(&self) -> bool {
        self.text
            .lines()
            .any(|line| line == "# Start it with: firejail --profile=FILE PROGRAM")
    }

    /// The same with one more line.
    #[must_use]
    pub fn with(&self, line: &str) -> Self {
        Self {
            text: format!("{}{line}\n", self.text),
        }
    }

    /// The same without this very line.
    ///
    /// # Panics
    /// There is no such line: a mutation that changes nothing shows nothing.
    #[must_use]
    pub fn without_line(&self, rule: &str) -> Self {
        assert!(self.has(rule), "there is no {rule} in\n{}", self.text);
        let lines: Vec<&str> = self.text.lines().filter(|line| *line != rule).collect();
        Self {
            text: lines.join("\n") + "\n",
        }
    }

    /// The arguments of every line of `directive`.
    #[must_use]
    pub fn arguments(&self, directive: &str) -> Vec<&str> {
        self.rules()
            .filter_map(|line| argument(line, directive))
            .collect()
    }

    /// The items of the comma list of `directive`, none if there is no such line.
    #[must_use]
    pub fn list(&self, directive: &str) -> Vec<&str> {
        self.arguments(directive)
            .into_iter()
            .flat_map(|list| list.split(','))
            .collect()
    }

    /// The same without `item`: one of the comma list of `directive`, or its whole argument, and with
    /// it the line.
    ///
    /// # Panics
    /// There is no such item: a mutation that changes nothing shows nothing.
    #[must_use]
    pub fn without(&self, directive: &str, item: &str) -> Self {
        let mut found = false;
        let mut text = String::new();
        for line in self.text.lines() {
            let items = argument(line, directive).map(|list| list.split(',').collect::<Vec<_>>());
            let line = match items {
                Some(items) if items == [item] => {
                    found = true;
                    emptied(directive).to_owned()
                }
                Some(mut items) if items.contains(&item) => {
                    found = true;
                    items.retain(|other| *other != item);
                    format!("{directive} {}", items.join(","))
                }
                _ => line.to_owned(),
            };
            text.push_str(&line);
            text.push('\n');
        }
        assert!(found, "there is no {item} in {directive} of\n{}", self.text);
        Self { text }
    }
}

fn argument<'a>(line: &'a str, directive: &str) -> Option<&'a str> {
    line.strip_prefix(directive)?.strip_prefix(' ')
}

/// The line for a list without items. Where Firejail takes a missing list for "everything", it must
/// be another that allows less.
fn emptied(directive: &str) -> &'static str {
    match directive {
        "caps.keep" => "caps.drop all",
        // The least there is: a family that no test program uses.
        "protocol" => "protocol bluetooth",
        "seccomp.keep" | "private-bin" | "private-etc" => {
            panic!("{directive} cannot be emptied: the program could not start")
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        Profile {
            text: text.to_owned(),
        }
    }

    #[test]
    fn one_item_goes_and_the_others_stay() {
        let before = profile("# protocol unix\nprotocol unix,inet,inet6\ncaps.keep chown\n");
        let after = before.without("protocol", "inet");
        assert_eq!(after.list("protocol"), ["unix", "inet6"]);
        assert_eq!(after.list("caps.keep"), ["chown"]);
        assert_eq!(
            after.without("caps.keep", "chown").list("caps.keep"),
            [""; 0]
        );
        assert!(after.without("caps.keep", "chown").has("caps.drop all"));
    }

    #[test]
    fn a_path_takes_its_line_along() {
        let before = profile("whitelist /srv/a\nwhitelist /srv/a b\n");
        let after = before.without("whitelist", "/srv/a");
        assert_eq!(after.arguments("whitelist"), ["/srv/a b"]);
    }

    #[test]
    #[should_panic(expected = "there is no inet6")]
    fn a_mutation_changes_something() {
        let _ = profile("protocol unix,inet\n").without("protocol", "inet6");
    }
}
