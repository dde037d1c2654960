//! What the installed systemd says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// The names of calls that it knows; `None` if it could not be asked. They are libseccomp's and its own.
#[must_use]
pub fn calls() -> Option<BTreeSet<String>> {
    let mut command = Command::new("systemd-analyze");
    // @known names @obsolete, and does not list it.
    command.args(["--no-pager", "syscall-filter", "@known", "@obsolete"]);
    let output = command.output().ok()?;
    let known = listed(&String::from_utf8_lossy(&output.stdout));
    (output.status.success() && !known.is_empty()).then_some(known)
}

/// Its version, as it prints it: `systemd 252 (252.39-1~deb12u1)`. `None` if it could not be asked.
#[must_use]
pub fn version() -> Option<String> {
    let output = Command::new("systemctl").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default().trim();
    (output.status.success() && !first.is_empty()).then(|| first.to_owned())
}

/// These properties of a unit of the system; `None` if it could not be asked.
#[must_use]
pub fn properties(unit: &str, names: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut command = Command::new("systemctl");
    let wanted = format!("--property={}", names.join(","));
    let output = command.args(["show", &wanted, "--", unit]).output().ok()?;
    // A path among them may be anything.
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    output.status.success().then(|| pairs.collect())
}

/// The paths in a property that is a list: systemd puts those in quotation marks that have a character that a shell looks at.
#[must_use]
pub fn paths(list: &str) -> Vec<String> {
    let plain = || list.split_whitespace().map(str::to_owned).collect();
    shlex::split(list).unwrap_or_else(plain)
}

/// The overall exposure, of 10, of a service whose files hold `text`: `9.6`. `None` if it could not be asked: since 250 it
/// judges files of units that are not its own.
#[must_use]
pub fn exposure(text: &str) -> Option<String> {
    let directory = tempfile::tempdir().ok()?;
    let file = directory.path().join("unit.service");
    fs::write(&file, text).ok()?;
    let mut command = Command::new("systemd-analyze");
    command.args(["--no-pager", "--offline=true", "security"]);
    let output = command.arg(&file).output().ok()?;
    overall(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned)
}

/// The number in `→ Overall exposure level for unit.service: 9.6 UNSAFE`.
fn overall(text: &str) -> Option<&str> {
    let mut lines = text.lines();
    let line = lines.find(|line| line.contains("Overall exposure level"))?;
    line.split_whitespace()
        .find(|word| word.parse::<f64>().is_ok())
}

/// The names in lines such as `    mmap`, below the name of a set.
fn listed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with(' '))
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.starts_with(['#', '@']))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_paths_is_taken_apart_as_systemd_puts_it_together() {
        let list = r#"/etc/a.conf "/run/t@x\\x2dy.service.d/50-harden.conf" "/etc/60 a b.conf""#;
        let expected = [
            "/etc/a.conf",
            r"/run/t@x\x2dy.service.d/50-harden.conf",
            "/etc/60 a b.conf",
        ];
        assert_eq!(paths(list), expected);
        assert_eq!(paths("/a \"/b"), ["/a", "\"/b"]);
        assert_eq!(paths(""), [""; 0]);
    }

    #[test]
    fn the_number_is_found() {
        let text =
            "x 0.2\n\n\u{2192} Overall exposure level for unit.service: 9.6 UNSAFE \u{1f628}\n";
        assert_eq!(overall(text), Some("9.6"));
        assert_eq!(overall("Failed to load units: 9.6\n"), None);
    }

    #[test]
    fn names_are_those_in_the_sets() {
        let text =
            "@known\n    # All known\n    @obsolete\n    read\n\n@obsolete\n    create_module\n";
        let expected = ["create_module", "read"].map(str::to_owned);
        assert_eq!(listed(text), expected.into());
    }
}
