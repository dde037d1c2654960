//! What can be relaxed in a Firejail profile, and the profile with some of it relaxed.
//!
//! Of a list of calls, capabilities or socket families each word that is not on it is a candidate; of every other rule that
//! confines the rule itself, and all of `whitelist`, `private-bin` and `private-etc` together.

use super::{Candidate, Relaxation, commented, names};

/// The families that its filter knows (firejail(1), `--protocol`).
const FAMILIES: [&str; 6] = ["unix", "inet", "inet6", "netlink", "packet", "bluetooth"];

/// What allows something, or says how the program is started.
const ALLOWING: [&str; 15] = [
    "allow-debuggers",
    "ignore",
    "include",
    "join-or-start",
    "keep-dev-shm",
    "keep-var-tmp",
    "name",
    "noblacklist",
    "nowhitelist",
    "quiet",
    "read-write",
    "shell",
    "writable-etc",
    "writable-var",
    "writable-var-log",
];

/// Rules of which each is about another path.
const BY_PATH: [&str; 5] = ["blacklist", "noexec", "read-only", "tmpfs", "bind"];

/// Everything that can be relaxed, what is preferred first.
pub(super) fn candidates(text: &str) -> Vec<Candidate> {
    let rules: Vec<(&str, &str)> = text.lines().filter_map(rule).collect();
    let mut all = Vec::new();
    for (name, argument) in &rules {
        let on_list: Vec<&str> = argument.split(',').map(str::trim).collect();
        let (list, words, weight) = match *name {
            "seccomp.keep" => ("seccomp.keep", names::calls(), 1),
            "caps.keep" => ("caps.keep", capabilities(), 3),
            "caps.drop" if *argument == "all" => ("caps.keep", capabilities(), 3),
            "protocol" => ("protocol", FAMILIES.map(str::to_owned).to_vec(), 3),
            _ => continue,
        };
        let missing = words
            .into_iter()
            .filter(|word| !on_list.contains(&word.as_str()));
        all.extend(missing.map(|word| Candidate {
            weight,
            relaxation: Relaxation::Word(list.to_owned(), word),
        }));
    }
    let mut lines: Vec<String> = Vec::new();
    for (name, argument) in rules {
        let line = named(name, argument);
        if !ALLOWING.contains(&name) && !lines.contains(&line) {
            lines.push(line);
        }
    }
    // What gives up most comes last.
    lines.sort_by_key(|line| is_list(line));
    all.extend(lines.into_iter().map(|line| Candidate {
        weight: if is_list(&line) { 1 } else { 3 },
        relaxation: Relaxation::Line(line),
    }));
    all
}

fn is_list(line: &str) -> bool {
    ["caps.drop", "caps.keep", "protocol", "seccomp.keep"].contains(&line)
}

fn capabilities() -> Vec<String> {
    let all = names::capabilities().into_iter();
    all.map(|name| name.trim_start_matches("CAP_").to_ascii_lowercase())
        .collect()
}

/// The name of a rule, and what it is about; nothing of a comment.
pub(super) fn rule(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
    Some((name, argument.trim()))
}

/// What a rule is called that goes as a whole.
fn named(name: &str, argument: &str) -> String {
    if BY_PATH.contains(&name) {
        format!("{name} {argument}")
    } else {
        name.to_owned()
    }
}

/// The profile with these relaxed. `why` goes with each, for people.
pub(super) fn relaxed(text: &str, relaxations: &[&Relaxation], why: Option<&str>) -> String {
    let mut result = String::new();
    let note = |result: &mut String, said: &str| {
        if let Some(why) = why {
            result.push_str(&commented(&format!("Relaxed by harden trial: {why}")));
            result.push_str(&commented(said));
        }
    };
    for line in text.lines() {
        let Some((name, argument)) = rule(line) else {
            result.push_str(line);
            result.push('\n');
            continue;
        };
        let whole = named(name, argument);
        let is_out = |one: &&&Relaxation| matches!(one, Relaxation::Line(line) if *line == whole);
        if relaxations.iter().any(|one| is_out(&one)) {
            if ["caps.drop", "caps.keep"].contains(&name) {
                // Without any such rule Firejail drops CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of root too (0.9.72).
                note(&mut result, &format!("all capabilities: was {line}"));
                result.extend(["caps.keep ", &capabilities().join(","), "\n"]);
            } else {
                note(&mut result, &format!("no {whole}: was {line}"));
            }
            continue;
        }
        let list = if name == "caps.drop" && argument == "all" {
            "caps.keep"
        } else {
            name
        };
        let words = relaxations.iter().filter_map(|one| match one {
            Relaxation::Word(directive, word) if directive == list => Some(word.as_str()),
            _ => None,
        });
        let words: Vec<&str> = words.collect();
        if words.is_empty() {
            result.push_str(line);
        } else {
            note(&mut result, &format!("{list}: {}", words.join(",")));
            let before = (list == name).then_some(argument).into_iter();
            let all: Vec<&str> = before.chain(words).collect();
            result.push_str(list);
            result.push(' ');
            result.push_str(&all.join(","));
        }
        result.push('\n');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Written by harden\ncaps.drop all\nprotocol unix\nseccomp.keep read,write\nprivate-tmp\n\
                        whitelist /srv/a\nwhitelist /srv/b\nread-only /usr\nread-write /srv/a\n";

    #[test]
    fn what_is_not_allowed_can_be() {
        let all = candidates(TEXT);
        let words: Vec<String> = all.iter().map(|one| one.relaxation.to_string()).collect();
        for one in [
            "caps.keep chown",
            "protocol inet",
            "seccomp.keep accept4",
            "no private-tmp",
            "no whitelist",
            "no read-only /usr",
            "no seccomp.keep",
        ] {
            assert!(words.iter().any(|word| word == one), "no {one}: {words:?}");
        }
        for one in ["seccomp.keep read", "no read-write", "protocol unix"] {
            assert!(!words.iter().any(|word| word == one), "{one}");
        }
    }

    #[test]
    fn what_is_relaxed_is_written_with_its_reason() {
        let relaxations = [
            Relaxation::Word("caps.keep".to_owned(), "chown".to_owned()),
            Relaxation::Word("seccomp.keep".to_owned(), "accept4".to_owned()),
            Relaxation::Line("whitelist".to_owned()),
        ];
        let text = relaxed(TEXT, &relaxations.iter().collect::<Vec<_>>(), None);
        assert_eq!(
            text,
            "# Written by harden\ncaps.keep chown\nprotocol unix\nseccomp.keep read,write,accept4\nprivate-tmp\n\
             read-only /usr\nread-write /srv/a\n"
        );
        // Firejail alone would keep less.
        let all = Relaxation::Line("caps.drop".to_owned());
        let text = relaxed(TEXT, &[&relaxations[0], &all], None);
        assert!(text.contains("\ncaps.keep chown,dac_override,"), "{text}");
        assert_eq!(text.matches("caps.").count(), 1, "{text}");
        let text = relaxed(TEXT, &[&relaxations[1]], Some("it fails"));
        assert!(text.contains(
            "# Relaxed by harden trial: it fails\n# seccomp.keep: accept4\nseccomp.keep read,write,accept4\n"
        ));
    }
}
