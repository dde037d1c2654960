//! What can be taken away from a Firejail profile: words of its lists, and `read-write` rules. Not `whitelist`: without the
//! last one in a directory all of that directory is there.

use super::{super::firejail::rule, Removal, comment};
use crate::policy::{InVain, Proof};

const WRITABLE: &str = "read-write";

pub(super) fn removals(text: &str, in_vain: &InVain) -> Vec<Removal> {
    let mut all = Vec::new();
    for (name, argument) in text.lines().filter_map(rule) {
        let found = |word: &str, proof: Option<Proof>| {
            proof.map(|proof| Removal {
                directive: name.to_owned(),
                word: word.to_owned(),
                proof,
            })
        };
        if name == WRITABLE && argument.starts_with('/') {
            all.extend(found(argument, in_vain.changes_in(argument.as_bytes())));
            continue;
        }
        let known = match name {
            "seccomp.keep" => &in_vain.calls,
            "caps.keep" => &in_vain.capabilities,
            "protocol" => &in_vain.families,
            _ => continue,
        };
        let words: Vec<&str> = argument.split(',').map(str::trim).collect();
        // A word of a group cannot be taken away.
        if words.iter().any(|word| word.starts_with(['@', '$', '!'])) {
            continue;
        }
        let vain = words
            .iter()
            .filter_map(|word| found(word, known.get(*word).cloned()));
        let mut vain: Vec<Removal> = vain.collect();
        // There is no list of nothing, but `caps.drop all`.
        if name != "caps.keep" && vain.len() == words.len() {
            vain.pop();
        }
        all.extend(vain);
    }
    all
}

/// The profile without these. The test that is `passing` without goes with each, for people.
pub(super) fn without(text: &str, removals: &[&Removal], passing: Option<&str>) -> String {
    let mut result = String::new();
    for line in text.lines() {
        let (name, argument) = rule(line).unwrap_or_default();
        let is_list = ["caps.keep", "protocol", "seccomp.keep"].contains(&name);
        let words: Vec<&str> = if is_list {
            argument.split(',').map(str::trim).collect()
        } else {
            vec![argument]
        };
        let of_line = removals.iter().filter(|one| one.directive == name);
        let gone: Vec<&&Removal> = of_line
            .filter(|one| words.contains(&one.word.as_str()))
            .collect();
        if let Some(test) = passing {
            for one in &gone {
                result += &comment(one, test);
            }
        }
        let is_left = |word: &&str| !gone.iter().any(|one| one.word == *word);
        let left: Vec<&str> = words.into_iter().filter(is_left).collect();
        match left.as_slice() {
            _ if gone.is_empty() => result += line,
            [] if name == "caps.keep" => result += "caps.drop all",
            [] => continue,
            left => result.extend([name, " ", &left.join(",")]),
        }
        result.push('\n');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Written by harden\ncaps.keep sys_admin\nprotocol unix\nseccomp.keep read,access,write\n\
                        whitelist /srv/a\nread-write /srv/a\nread-write /srv/b\n";

    fn removals_of(text: &str) -> Vec<Removal> {
        let proof = Proof {
            why: "x".to_owned(),
            is_lookup: true,
        };
        let mut all = InVain::default();
        all.calls.insert("access".to_owned(), proof.clone());
        all.capabilities
            .insert("sys_admin".to_owned(), proof.clone());
        all.families.insert("unix".to_owned(), proof);
        all.change((vec![b"/srv/a/x".to_vec()], false));
        removals(text, &all)
    }

    #[test]
    fn what_was_never_had_can_go_and_is_named() {
        let all = removals_of(TEXT);
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "caps.keep sys_admin",
                "seccomp.keep access",
                "read-write /srv/a"
            ]
        );
        let all: Vec<_> = all.iter().collect();
        assert_eq!(
            without(TEXT, &all, None),
            "# Written by harden\ncaps.drop all\nprotocol unix\nseccomp.keep read,write\nwhitelist /srv/a\nread-write /srv/b\n"
        );
        let text = without(TEXT, &all[1..2], Some("true"));
        assert!(
            text.contains("# Taken away by harden trial: seccomp.keep access: x; without it this test passes: true\nseccomp.keep read,write\n"),
            "{text}"
        );
        assert_eq!(without(TEXT, &[], Some("x")), TEXT);
    }

    #[test]
    fn a_group_keeps_its_words() {
        assert_eq!(removals_of("seccomp.keep @basic-io,access\n"), []);
    }
}
