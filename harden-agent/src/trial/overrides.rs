//! What was relaxed and what was taken away, as overrides (docs/overrides.md): so that the next recording does not undo it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Relaxation, Removal, commented};
use crate::output::MARKER_PREFIX;

/// The text of a file of overrides; `None` if no override says any of it. Each of the two lists comes with what is said of
/// it.
#[must_use]
pub(crate) fn text(
    unit: &str,
    (relaxations, needed): (&[&Relaxation], &str),
    (removals, needless): (&[&Removal], &str),
) -> Option<String> {
    let (allowed, not_allowed) = allowed(relaxations);
    let (denied, not_denied) = denied(removals);
    if allowed.is_empty() && denied.is_empty() {
        return None;
    }
    let mut text = format!("{MARKER_PREFIX} trial; add it to /etc/harden/overrides/{unit}.toml\n");
    let mut part = |section: &str, said: &str, others: Vec<String>, lists: &Lists| {
        if others.is_empty() && lists.is_empty() {
            return;
        }
        text.push_str(&commented(said));
        for other in others {
            text.push_str(&commented(&other));
        }
        if !lists.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[{section}]");
        }
        for (name, words) in lists {
            // No word and no path here has a quotation mark or a backslash: TOML reads them as they are.
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let _ = writeln!(text, "{name} = [{}]", words.join(", "));
        }
    };
    part("allow", needed, not_allowed, &allowed);
    part("deny", needless, not_denied, &denied);
    Some(text)
}

/// The words of each list.
type Lists = BTreeMap<&'static str, Vec<String>>;

/// The list of a directive or a rule, and the word as an override has it.
fn word_of(directive: &str, word: &str) -> Option<(&'static str, String)> {
    Some(match directive {
        "SystemCallFilter" | "seccomp.keep" => ("syscalls", word.to_owned()),
        "CapabilityBoundingSet" | "caps.keep" => (
            "capabilities",
            word.trim_start_matches("CAP_").to_ascii_lowercase(),
        ),
        "RestrictAddressFamilies" | "protocol" => (
            "families",
            word.trim_start_matches("AF_").to_ascii_lowercase(),
        ),
        _ => return None,
    })
}

fn allowed(relaxations: &[&Relaxation]) -> (Lists, Vec<String>) {
    let (mut lists, mut others) = (Lists::new(), Vec::new());
    for one in relaxations {
        let said = match one {
            Relaxation::Word(directive, word) => word_of(directive, word),
            Relaxation::Write(path) => Some(("write", path.to_string_lossy().into_owned())),
            Relaxation::Line(_) => None,
        };
        match (said, one) {
            (Some((list, word)), _) => lists.entry(list).or_default().push(word),
            (None, Relaxation::Line(name)) => {
                others.push(format!("No override leaves out {name}."));
            }
            (None, other) => others.push(format!("No override says {other}.")),
        }
    }
    (lists, others)
}

fn denied(removals: &[&Removal]) -> (Lists, Vec<String>) {
    let (mut lists, mut others) = (Lists::new(), Vec::new());
    for one in removals {
        match word_of(&one.directive, &one.word) {
            Some((list, word)) => lists.entry(list).or_default().push(word),
            // To deny a path is to hide it from those who read it, too.
            None => others.push(format!("No override takes {one} away alone.")),
        }
    }
    (lists, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Overrides, Proof};

    fn removal(directive: &str, word: &str) -> Removal {
        Removal {
            directive: directive.to_owned(),
            word: word.to_owned(),
            proof: Proof {
                why: String::new(),
                is_lookup: false,
            },
        }
    }

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
        let removals = [
            removal("seccomp.keep", "access"),
            removal("CapabilityBoundingSet", "CAP_SYS_ADMIN"),
            removal("RestrictAddressFamilies", "AF_NETLINK"),
            removal("ReadWritePaths", "/etc/d"),
        ];
        let gone: Vec<_> = removals.iter().collect();
        let text = super::text("d.service", (&all, "it fails:\n[deny]"), (&gone, "x")).unwrap();
        let read = Overrides::parse(&text).unwrap();
        let words = |words: &[crate::observation::Word]| {
            words.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(words(&read.allow.syscalls), ["accept4"]);
        assert_eq!(words(&read.allow.capabilities), ["chown"]);
        assert_eq!(words(&read.allow.families), ["inet6"]);
        assert_eq!(read.allow.write, ["/var/lib/d".into()]);
        assert_eq!(words(&read.deny.syscalls), ["access"]);
        assert_eq!(words(&read.deny.capabilities), ["sys_admin"]);
        assert_eq!(words(&read.deny.families), ["netlink"]);
        assert!(read.deny.paths.is_empty() && text.contains("ReadWritePaths /etc/d"));
        assert_eq!(super::text("d", (&all[4..], ""), (&gone[3..], "")), None);
        let denied = super::text("d", (&[], ""), (&gone, "x")).unwrap();
        assert!(!denied.contains("[allow]"), "{denied}");
    }
}
