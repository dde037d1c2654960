//! Reading a profile (`profile_check_line` in src/firejail/profile.c): as far as its directives are those that harden
//! writes.

use super::super::line::{Read, Rules, Sandbox, Shape, Unread};

/// Directives that are a word alone.
pub const FLAGS: [&str; 11] = [
    "allow-debuggers",
    "keep-dev-shm",
    "keep-var-tmp",
    "private",
    "private-dev",
    "private-tmp",
    "seccomp",
    "seccomp.block-secondary",
    "writable-etc",
    "writable-var",
    "writable-var-log",
];
/// Of which the last line holds.
const LISTS: [&str; 5] = [
    "caps.keep",
    "private-bin",
    "private-etc",
    "seccomp.drop",
    "seccomp.keep",
];
const EACH: [&str; 8] = [
    "blacklist",
    "caps.drop",
    "name",
    "noblacklist",
    "read-only",
    "read-write",
    "shell",
    "whitelist",
];

/// Reads the text of a profile.
#[must_use]
pub fn read(text: &str) -> Read {
    let mut rules = Rules::new(Sandbox::Firejail);
    let mut unread = Vec::new();
    for (at, whole) in text.lines().enumerate() {
        // Anywhere in a line, it begins a comment; runs of white space are one space.
        let line = whole.split('#').next().unwrap_or_default();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            continue;
        }
        if let Err(reason) = add(&line, &mut rules) {
            unread.push(Unread {
                number: at + 1,
                line: whole.to_owned(),
                reason,
            });
        }
    }
    Read { rules, unread }
}

fn add(line: &str, rules: &mut Rules) -> Result<(), &'static str> {
    let (name, argument) = match line.split_once(' ') {
        Some((name, argument)) => (name, Some(argument)),
        None => (line, None),
    };
    let known = |names: &[&'static str]| names.iter().find(|one| **one == name).copied();
    if name == "include" {
        return Err("another file, which may say anything, is not read");
    }
    match (known(&FLAGS), known(&LISTS), known(&EACH), argument) {
        (Some("seccomp"), _, _, Some(list)) if list.split(',').all(|one| one.starts_with('!')) => {
            replace("seccomp", list, rules)
        }
        (Some("seccomp"), _, _, Some(_)) => Err("more than the default list is not judged"),
        (Some(_), _, _, Some(_)) => Err("this directive with an argument is not judged"),
        (Some("seccomp"), _, _, None) => replace("seccomp", "", rules),
        (Some(flag), _, _, None) => {
            if rules.line(flag).is_none() {
                rules.add(flag, Shape::Flag, std::iter::empty());
            }
            Ok(())
        }
        (_, Some(list), _, Some(argument)) => replace(list, argument, rules),
        (_, _, Some("caps.drop"), Some(argument)) if argument != "all" => {
            Err("what it leaves depends on the machine, and is not judged")
        }
        (_, _, Some(directive), Some(argument)) => {
            if argument.contains(['*', '?', '[', '$']) || argument.starts_with('~') {
                return Err("a pattern or macro is not judged");
            }
            rules.add(directive, Shape::Each, std::iter::once(argument.to_owned()));
            Ok(())
        }
        // These lines add up.
        (_, _, _, Some(argument)) if name == "protocol" => {
            let before: Vec<String> = rules
                .elements("protocol")
                .map(|(one, _)| one.to_owned())
                .collect();
            let more = argument.split(',').map(str::to_owned);
            let all: Vec<String> = before.into_iter().chain(more).collect();
            rules.clear("protocol");
            rules.add("protocol", Shape::List, all.into_iter());
            Ok(())
        }
        _ => Err("harden does not judge this directive"),
    }
}

fn replace(name: &'static str, list: &str, rules: &mut Rules) -> Result<(), &'static str> {
    rules.clear(name);
    let elements = list.split(',').filter(|one| !one.is_empty());
    let is_group = |one: &str| one.trim_start_matches('!').starts_with('@');
    let has_errno = |one: &str| name.starts_with("seccomp") && one.contains(':');
    if elements.clone().any(|one| is_group(one) || has_errno(one)) {
        return Err("groups and errors of their own are not judged");
    }
    rules.add(name, Shape::List, elements.map(str::to_owned));
    Ok(())
}
