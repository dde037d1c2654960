//! What was relaxed, as overrides (docs/overrides.md): so that the next recording does not undo it.

use std::fmt::Write as _;

use super::{Relaxation, commented};
use crate::output::MARKER_PREFIX;

/// The text of a file of overrides; `None` if no override says any of it.
#[must_use]
pub(crate) fn text(unit: &str, relaxations: &[&Relaxation], why: &str) -> Option<String> {
    let mut lists: [(&str, Vec<String>); 4] = [
        ("syscalls", Vec::new()),
        ("capabilities", Vec::new()),
        ("families", Vec::new()),
        ("write", Vec::new()),
    ];
    let mut other = Vec::new();
    for one in relaxations {
        let (list, word) = match one {
            Relaxation::Word(directive, word) => match directive.as_str() {
                "SystemCallFilter" | "seccomp.keep" => (0, word.clone()),
                "CapabilityBoundingSet" | "caps.keep" => {
                    (1, word.trim_start_matches("CAP_").to_ascii_lowercase())
                }
                _ => (2, word.trim_start_matches("AF_").to_ascii_lowercase()),
            },
            Relaxation::Write(path) => (3, path.to_string_lossy().into_owned()),
            Relaxation::Line(name) => {
                other.push(name);
                continue;
            }
        };
        lists[list].1.push(word);
    }
    if lists.iter().all(|(_, words)| words.is_empty()) {
        return None;
    }
    let mut text = format!("{MARKER_PREFIX} trial; add it to /etc/harden/overrides/{unit}.toml\n");
    text.push_str(&commented(why));
    for name in other {
        text.push_str(&commented(&format!("No override leaves out {name}.")));
    }
    text.push_str("[allow]\n");
    for (name, words) in lists {
        if !words.is_empty() {
            // No word and no path here has a quotation mark or a backslash: TOML reads them as they are.
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} = [{}]", words.join(", "));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Overrides;

    #[test]
    fn what_is_written_is_read() {
        let relaxations = [
            Relaxation::Word("SystemCallFilter".to_owned(), "accept4".to_owned()),
            Relaxation::Word("CapabilityBoundingSet".to_owned(), "CAP_CHOWN".to_owned()),
            Relaxation::Word("protocol".to_owned(), "inet6".to_owned()),
            Relaxation::Write("/var/lib/d".into()),
            Relaxation::Line("ProtectHome".to_owned()),
        ];
        let all: Vec<_> = relaxations.iter().collect();
        let text = text("d.service", &all, "it fails:\n[deny]").unwrap();
        let read = Overrides::parse(&text).unwrap();
        let words = |words: &[crate::observation::Word]| {
            words.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(words(&read.allow.syscalls), ["accept4"]);
        assert_eq!(words(&read.allow.capabilities), ["chown"]);
        assert_eq!(words(&read.allow.families), ["inet6"]);
        assert_eq!(read.allow.write, ["/var/lib/d".into()]);
        assert_eq!(super::text("d", &all[4..], ""), None);
    }
}
