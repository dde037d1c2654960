//! What the installed systemd says of itself.

use std::collections::BTreeSet;
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
    fn names_are_those_in_the_sets() {
        let text =
            "@known\n    # All known\n    @obsolete\n    read\n\n@obsolete\n    create_module\n";
        let expected = ["create_module", "read"].map(str::to_owned);
        assert_eq!(listed(text), expected.into());
    }
}
