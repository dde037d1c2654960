//! Lists that systemd keeps as a set, to which each line adds and from which it takes: what is left is not always what the lines
//! seem to say (`config_parse_capability_set`, `config_parse_syscall_filter`, `config_parse_address_families`,
//! `config_parse_restrict_namespaces` and `config_parse_syscall_archs` in src/core/load-fragment.c, 252).

use std::{collections::BTreeSet, str::FromStr as _};

use super::super::{
    line::{Fault, REFUSED, Rules, Shape, not_judged},
    list::call,
};

/// Reads a line of one of them.
pub(super) fn assign(name: &'static str, value: &str, rules: &mut Rules) -> Result<(), Fault> {
    match name {
        "CapabilityBoundingSet" | "AmbientCapabilities" => capabilities(name, value, rules),
        "SystemCallArchitectures" => return architectures(name, value, rules),
        "RestrictAddressFamilies" => families(name, value, rules),
        NAMESPACES => return namespaces(value, rules),
        _ => calls(name, value, rules),
    }
    Ok(())
}

/// The words of a value, and whether they are taken away.
fn words(value: &str) -> (bool, Vec<&str>) {
    let rest = value.strip_prefix(REFUSED);
    let words = rest.unwrap_or(value).split_whitespace();
    (rest.is_some(), words.collect())
}

fn signed(refuses: bool, word: &str) -> String {
    let sign = if refuses { REFUSED } else { "" };
    format!("{sign}{word}")
}

/// The first line decides what the list is of, also if there is nothing on it.
fn extend(name: &'static str, refuses: bool, words: &[String], rules: &mut Rules) {
    let words = words.iter().map(|word| signed(refuses, word));
    rules.extend(name, refuses, words);
}

fn calls(name: &'static str, value: &str, rules: &mut Rules) {
    if value.is_empty() {
        rules.clear(name);
        return;
    }
    let (refuses, words) = words(value);
    // Who allows a call cannot give it an error: systemd passes over the word.
    let words = words
        .into_iter()
        .filter(|word| refuses || call(word) == *word);
    let words: Vec<String> = words.map(str::to_owned).collect();
    extend(name, refuses, &words, rules);
}

/// Other names of the same number.
const FAMILIES: [(&str, &str); 3] = [
    ("AF_FILE", "AF_UNIX"),
    ("AF_LOCAL", "AF_UNIX"),
    ("AF_ROUTE", "AF_NETLINK"),
];
const NONE: &str = "none";

fn families(name: &'static str, value: &str, rules: &mut Rules) {
    // What stands behind none is as if it were the first line.
    let is_none = rules.elements(name).any(|(word, _)| word == NONE);
    if value.is_empty() || value == NONE || is_none {
        rules.clear(name);
    }
    if value.is_empty() {
        return;
    }
    let (refuses, words) = words(value);
    let known = |word: &str| {
        let other = FAMILIES.iter().find(|(other, _)| *other == word);
        other.map_or(word, |(_, own)| own).to_owned()
    };
    let words: Vec<String> = words.into_iter().map(known).collect();
    extend(name, refuses, &words, rules);
}

/// Those of systemd 252 (`seccomp_arch_from_string`).
const ARCHITECTURES: [&str; 20] = [
    "native",
    "x86",
    "x86-64",
    "x32",
    "arm",
    "arm64",
    "loongarch64",
    "mips",
    "mips64",
    "mips64-n32",
    "mips-le",
    "mips64-le",
    "mips64-le-n32",
    "ppc",
    "ppc64",
    "ppc64-le",
    "riscv64",
    "s390",
    "s390x",
    "parisc",
];

fn architectures(name: &'static str, value: &str, rules: &mut Rules) -> Result<(), Fault> {
    if value.is_empty() {
        rules.clear(name);
        return Ok(());
    }
    let words = || value.split_whitespace();
    let known = words().filter(|word| ARCHITECTURES.contains(word));
    let known: Vec<String> = known.map(str::to_owned).collect();
    if known.len() < words().count() {
        return not_judged("systemd passes over an architecture that it does not know");
    }
    extend(name, false, &known, rules);
    Ok(())
}

/// A number, or a name in capitals or not.
fn capability(word: &str) -> Option<String> {
    let name = word.to_ascii_uppercase();
    let known = caps::Capability::from_str(&name).ok();
    let by_number = || {
        let number: u8 = word.parse().ok()?;
        caps::all().into_iter().find(|one| one.index() == number)
    };
    known.or_else(by_number).map(|known| known.to_string())
}

fn capabilities(name: &'static str, value: &str, rules: &mut Rules) {
    let all: BTreeSet<String> = caps::all().iter().map(ToString::to_string).collect();
    let is_bounding = name == "CapabilityBoundingSet";
    let first = if is_bounding {
        all.clone()
    } else {
        BTreeSet::new()
    };
    let before = left(name, &all, rules).unwrap_or_else(|| first.clone());
    let (refuses, words) = words(value);
    let words: Vec<String> = words.into_iter().filter_map(capability).collect();
    let named: BTreeSet<String> = words.iter().cloned().collect();
    // As if nothing had been said before: also where all words are unknown.
    if named.is_empty() || before == first {
        rules.clear(name);
        if is_bounding && named.is_empty() && !refuses {
            rules.add(name, Shape::List, std::iter::empty());
        }
    }
    if !is_bounding {
        return ambient(name, &all, (refuses, &named), rules);
    }
    if !named.is_empty() {
        extend(name, refuses, &words, rules);
    }
    // All of them: as without a line.
    if left(name, &all, rules).is_some_and(|left| left == all) {
        rules.clear(name);
    }
}

/// One line for each that is left.
fn ambient(
    name: &'static str,
    all: &BTreeSet<String>,
    (refuses, named): (bool, &BTreeSet<String>),
    rules: &mut Rules,
) {
    let before: BTreeSet<String> = rules
        .elements(name)
        .map(|(word, _)| word.to_owned())
        .collect();
    let more: BTreeSet<String> = match (refuses, before.is_empty() && !named.is_empty()) {
        (true, true) => all.difference(named).cloned().collect(),
        (true, false) => {
            rules.remove(name, |word| named.contains(word));
            BTreeSet::new()
        }
        (false, _) => named.difference(&before).cloned().collect(),
    };
    rules.add(name, Shape::Each, more.into_iter());
}

/// What is left of a set of capabilities; `None` without a line.
fn left(name: &str, all: &BTreeSet<String>, rules: &Rules) -> Option<BTreeSet<String>> {
    rules.line(name)?;
    let mut left = if rules.refuses(name) {
        all.clone()
    } else {
        BTreeSet::new()
    };
    for (word, _) in rules.elements(name) {
        match word.strip_prefix(REFUSED) {
            Some(word) => {
                left.remove(word);
            }
            None => {
                left.insert(word.to_owned());
            }
        }
    }
    Some(left)
}

pub(super) const NAMESPACES: &str = "RestrictNamespaces";
const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

fn namespaces(value: &str, rules: &mut Rules) -> Result<(), Fault> {
    if value.is_empty() {
        rules.clear(NAMESPACES);
        return Ok(());
    }
    match super::words::boolean(value) {
        Some(true) => {
            rules.clear(NAMESPACES);
            rules.add(NAMESPACES, Shape::Each, std::iter::once("yes".to_owned()));
            return Ok(());
        }
        // A list of what is refused, with nothing on it: what a later line allows is allowed already.
        Some(false) => {
            rules.clear(NAMESPACES);
            extend(NAMESPACES, true, &[], rules);
            return Ok(());
        }
        None => {}
    }
    let (refuses, words) = words(value);
    if words.iter().any(|word| !KINDS.contains(word)) {
        return not_judged("systemd passes over the line, as it does not know a word of it");
    }
    if rules.elements(NAMESPACES).any(|(word, _)| word == "yes") {
        rules.clear(NAMESPACES);
        extend(NAMESPACES, false, &[], rules);
    }
    let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    extend(NAMESPACES, refuses, &words, rules);
    Ok(())
}
