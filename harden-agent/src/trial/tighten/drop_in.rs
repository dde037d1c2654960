//! What can be taken away from a drop-in of systemd's.
//!
//! A word of a list is taken away by a line that refuses it (`SystemCallFilter=~access`), whatever lines have named it. A path
//! has no such line, and is left out.

use std::path::Path;

use super::{
    super::drop_in::{WORDS, allowed, is_plain},
    Removal, comment,
};
use crate::policy::{InVain, Proof, firejail::service::UnitFile};

const PATHS: &str = "ReadWritePaths";

pub(super) fn removals(text: &str, in_vain: &InVain) -> Vec<Removal> {
    let unit = UnitFile::parse(text);
    let mut all = Vec::new();
    for directive in WORDS {
        let values = unit.list(directive);
        // Of a list of what is refused, no word allows anything.
        if values.first().is_none_or(|value| value.starts_with('~')) {
            continue;
        }
        let words = allowed(&unit, directive).into_iter();
        let known = words.filter_map(|word| {
            let proof = proof(directive, &word, in_vain)?;
            Some(removal(directive, word, proof))
        });
        all.extend(known);
    }
    let paths = unit.list(PATHS).into_iter();
    for word in paths.flat_map(str::split_whitespace) {
        let path = path_in(word);
        let is_path = path.starts_with('/') && is_plain(Path::new(path));
        if let Some(proof) = in_vain.changes_in(path.as_bytes()).filter(|_| is_path) {
            all.push(removal(PATHS, path.to_owned(), proof.clone()));
        }
    }
    all.dedup();
    all
}

fn removal(directive: &str, word: String, proof: Proof) -> Removal {
    Removal {
        directive: directive.to_owned(),
        word,
        proof,
    }
}

fn proof(directive: &str, word: &str, in_vain: &InVain) -> Option<Proof> {
    let name = |prefix: &str| Some(word.strip_prefix(prefix)?.to_ascii_lowercase());
    let found = match directive {
        "CapabilityBoundingSet" => in_vain.capabilities.get(&name("CAP_")?),
        "RestrictAddressFamilies" => in_vain.families.get(&name("AF_")?),
        _ => in_vain.calls.get(word),
    };
    found.cloned()
}

/// The path in `-/run`: one that is not there is no error.
fn path_in(word: &str) -> &str {
    word.trim_start_matches(['-', '+'])
}

/// The drop-in without these. The test that is `passing` without goes with each, for people.
pub(super) fn without(text: &str, removals: &[&Removal], passing: Option<&str>) -> String {
    let mut result = String::new();
    for line in text.lines() {
        match line.split_once('=') {
            Some((name, value)) if name.trim() == PATHS && !value.trim().is_empty() => {
                paths_without(&mut result, line, removals, passing);
            }
            _ => result.extend([line, "\n"]),
        }
    }
    for one in removals.iter().filter(|one| one.directive != PATHS) {
        if let Some(test) = passing {
            result += &comment(one, test);
        }
        result.extend([&one.directive, "=~", &one.word, "\n"]);
    }
    result
}

/// A line of paths without some: without all of them it would take back the lines before it, and is left out.
fn paths_without(result: &mut String, line: &str, removals: &[&Removal], passing: Option<&str>) {
    let value = line.split_once('=').map_or("", |(_, value)| value);
    let (gone, left): (Vec<&str>, Vec<&str>) = value.split_whitespace().partition(|word| {
        let mut paths = removals.iter().filter(|one| one.directive == PATHS);
        paths.any(|one| one.word == path_in(word))
    });
    if gone.is_empty() {
        result.extend([line, "\n"]);
        return;
    }
    if let Some(test) = passing {
        let named = |one: &&&Removal| {
            one.directive == PATHS && gone.iter().any(|word| path_in(word) == one.word)
        };
        for one in removals.iter().filter(named) {
            *result += &comment(one, test);
        }
    }
    if !left.is_empty() {
        result.extend([PATHS, "=", &left.join(" "), "\n"]);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::Relaxation, *};

    const TEXT: &str = "# Written by harden\n\n[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_CHOWN CAP_SYS_ADMIN\n\
                        ReadWritePaths=\nReadWritePaths=-/etc/d -/run/d\nReadWritePaths=-/srv\n\
                        RestrictAddressFamilies=AF_UNIX AF_INET6\nSystemCallFilter=read access\nSystemCallFilter=@mount\n";

    fn removals_of(text: &str) -> Vec<Removal> {
        let mut all = InVain::default();
        let proof = Proof {
            why: "all 2 calls failed".to_owned(),
            is_lookup: false,
        };
        for name in ["access", "mount"] {
            all.calls.insert(name.to_owned(), proof.clone());
        }
        all.capabilities
            .insert("sys_admin".to_owned(), proof.clone());
        all.families.insert("inet6".to_owned(), proof.clone());
        let refused = |path: &str| (vec![path.as_bytes().to_vec()], false);
        all.change(refused("/etc/d/x"));
        all.change(refused("/srv/x"));
        removals(text, &all)
    }

    fn names(all: &[Removal]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_on_a_list_and_was_never_had_can_go() {
        assert_eq!(
            names(&removals_of(TEXT)),
            [
                "CapabilityBoundingSet CAP_SYS_ADMIN",
                "RestrictAddressFamilies AF_INET6",
                "SystemCallFilter access",
                "ReadWritePaths /etc/d",
                "ReadWritePaths /srv",
            ]
        );
        let refused = "[Service]\nSystemCallFilter=~access\nSystemCallFilter=access\n";
        assert_eq!(names(&removals_of(refused)), Vec::<String>::new());
        let gone = "[Service]\nSystemCallFilter=read access\nSystemCallFilter=~access\n";
        assert_eq!(names(&removals_of(gone)), Vec::<String>::new());
    }

    #[test]
    fn what_is_taken_away_is_refused_or_left_out_and_named() {
        let all = removals_of(TEXT);
        let text = without(TEXT, &all.iter().collect::<Vec<_>>(), Some("curl\n[Unit]"));
        assert!(
            text.contains(
                "\nReadWritePaths=\n# Taken away by harden trial: ReadWritePaths /etc/d: "
            ),
            "{text}"
        );
        let unit = UnitFile::parse(&text);
        assert_eq!(unit.list("ReadWritePaths"), ["-/run/d"]);
        let end = "# Taken away by harden trial: SystemCallFilter access: all 2 calls failed; without it this test passes: \
                   curl\\n[Unit]\nSystemCallFilter=~access\n";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(removals_of(&text), []);
        assert_eq!(without(TEXT, &[], Some("x")), TEXT);
        // It can be given back.
        let candidates = super::super::super::drop_in::candidates(&text, &|_: &Path| Vec::new());
        let access = Relaxation::Word("SystemCallFilter".to_owned(), "access".to_owned());
        assert!(candidates.iter().any(|one| one.relaxation == access));
    }
}
