//! Lines of a profile that do not mean what they seem to mean. All of it was tried with Firejail 0.9.72, or stands in the
//! RELNOTES of a later version.

use std::str::FromStr as _;

use super::{
    super::{
        super::firejail::{Launch, SHELL, SHELL_TRIES, Target, Version},
        groups::FIREJAIL,
        line::Rules,
        list::call,
        source::SourceLine,
        surroundings::Surroundings,
        trap::{Trap, some},
    },
    calls::ADDED,
    hidden::Hidden,
    read::statement,
};

/// Firejail reads no more of a line (`MAX_READ` in src/firejail/profile.c).
const LONGEST: usize = 8191;

const PROTOCOLS: [&str; 6] = ["bluetooth", "inet", "inet6", "netlink", "packet", "unix"];

/// The first version that refuses names of sandboxes with other characters, and warns of removed directives.
const STRICT_NAMES: Version = Version::new(0, 9, 74);
const REMOVED: Version = Version::new(0, 9, 81);

/// The lines that hide the shell through which `firejail -- COMMAND` starts the command.
#[must_use]
pub fn hides_shell(rules: &Rules, around: &Surroundings, target: &Target) -> Option<Trap> {
    let Launch::Shell(shell) = &target.launch else {
        return None;
    };
    let names = [shell.as_bytes().to_vec(), around.real(shell.as_bytes())];
    let line = ["blacklist", "noexec"].into_iter().find_map(|directive| {
        let hidden = Hidden::of(rules, directive, around);
        names.iter().find_map(|name| hidden.covers(name))
    })?;
    Some(Trap {
        position: rules.position(line)?.clone(),
        line: line.to_string(),
        text: format!("`firejail -- COMMAND` starts the command through {shell}"),
        is_fatal: true,
    })
}

/// All of them, in the order of the lines.
#[must_use]
pub fn traps(lines: &[SourceLine], target: &Target) -> Vec<Trap> {
    let statements: Vec<(&SourceLine, String)> = lines
        .iter()
        .map(|line| (line, statement(&line.text)))
        .collect();
    let all: Vec<&str> = statements.iter().map(|(_, text)| text.as_str()).collect();
    let mut traps = of_shell(&statements, target);
    for (line, text) in &statements {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        traps.extend(of_text(line));
        traps.extend(of_list(line, name, argument));
        traps.extend(of_calls(line, name, argument, target));
        traps.extend(of_secondary_calls(line, name, &all));
        traps.extend(of_names(line, name, argument, target));
        traps.extend(of_version(line, text, target.version));
        if text == "noroot" {
            let why = "it does nothing where root starts Firejail, as systemd does without User=";
            traps.push(Trap::new(line, why));
        }
    }
    traps
}

fn of_text(line: &SourceLine) -> Option<Trap> {
    if line.text.len() > LONGEST {
        let why = format!(
            "Firejail reads {LONGEST} characters of a line, and takes the rest for another"
        );
        return Some(Trap::fatal(line, why));
    }
    let before = line.text.split_once('#')?.0;
    let is_cut = before.ends_with(|last: char| !last.is_whitespace());
    let why = "# begins a comment anywhere in a line: the path or name ends before it";
    is_cut.then(|| Trap::new(line, why))
}

/// Directives with a list.
fn of_list(line: &SourceLine, name: &str, argument: &str) -> Option<Trap> {
    const LISTS: [&str; 8] = [
        "caps.keep",
        "private-bin",
        "private-etc",
        "protocol",
        "seccomp",
        "seccomp.drop",
        "seccomp.keep",
        "restrict-namespaces",
    ];
    let is_list = LISTS.contains(&name) && !argument.is_empty();
    let is_broken = argument.contains(' ') || argument.split(',').any(str::is_empty);
    let why = "a list holds neither spaces nor empty elements: Firejail does not start, or takes the rest for a name";
    (is_list && is_broken).then(|| Trap::fatal(line, why))
}

fn of_calls(line: &SourceLine, name: &str, argument: &str, target: &Target) -> Vec<Trap> {
    if !matches!(name, "seccomp" | "seccomp.drop" | "seccomp.keep") || argument.is_empty() {
        return Vec::new();
    }
    let mut traps = Vec::new();
    let names = argument.split(',').map(call);
    let (groups, calls): (Vec<&str>, Vec<&str>) = names.partition(|name| name.starts_with('@'));
    for group in groups {
        traps.push(of_group(line, name, group));
    }
    let unknown: Vec<&str> = calls
        .into_iter()
        .filter(|name| !is_call(name, target))
        .collect();
    if !unknown.is_empty() {
        let why = format!(
            "Firejail ignores names that it does not know: {}; name such a call by its number, as in $449",
            some(&unknown)
        );
        traps.push(Trap::new(line, why));
    }
    traps
}

fn of_group(line: &SourceLine, directive: &str, group: &str) -> Trap {
    let Some(calls) = FIREJAIL.get(group) else {
        return Trap::fatal(line, format!("Firejail 0.9.72 has no group {group}"));
    };
    let default = FIREJAIL.get("@default");
    let dangerous = default
        .into_iter()
        .flatten()
        .filter(|call| calls.contains(*call));
    let dangerous: Vec<&str> = dangerous.copied().collect();
    if directive == "seccomp.keep" && !dangerous.is_empty() {
        return Trap::new(
            line,
            format!(
                "{group} allows {} calls that Firejail refuses by default, {} among them, and what is in it differs \
                 between versions; name the calls",
                dangerous.len(),
                some(&dangerous)
            ),
        );
    }
    let why = format!("what is in {group} differs between versions of Firejail; name the calls");
    Trap::new(line, why)
}

fn is_call(name: &str, target: &Target) -> bool {
    if name.starts_with('$') {
        return true;
    }
    match &target.syscalls {
        Some(known) => known.contains(name),
        None => {
            syscalls::x86_64::Sysno::from_str(name).is_ok()
                || syscalls::aarch64::Sysno::from_str(name).is_ok()
        }
    }
}

fn of_secondary_calls(line: &SourceLine, name: &str, all: &[&str]) -> Option<Trap> {
    if name == "seccomp.32.keep" {
        let why = "it filters calls of the machine's own convention instead, and ends 64-bit programs; leave it out";
        return Some(Trap::new(line, why));
    }
    let blocks = all.contains(&"seccomp.block-secondary");
    let why = "32-bit calls pass this filter, whatever is on the list; add seccomp.block-secondary";
    let is_list = matches!(name, "seccomp.drop" | "seccomp.keep");
    (is_list && !blocks).then(|| Trap::new(line, why))
}

fn of_names(line: &SourceLine, name: &str, argument: &str, target: &Target) -> Option<Trap> {
    let elements = || argument.split(',');
    match name {
        "caps.keep" | "caps.drop" => {
            let is_known = |one: &str| match &target.capabilities {
                Some(known) => known.contains(one),
                None => caps::Capability::from_str(&format!("CAP_{}", one.to_ascii_uppercase()))
                    .is_ok_and(|_| one.chars().all(|c| !c.is_ascii_uppercase())),
            };
            let unknown: Vec<&str> = elements()
                .filter(|one| *one != "all" && !is_known(one))
                .collect();
            let why = format!(
                "Firejail does not start: no capability {}; they are written in lower case, without cap_",
                some(&unknown)
            );
            (!unknown.is_empty()).then(|| Trap::fatal(line, why))
        }
        "protocol" => {
            let unknown: Vec<&str> = elements().filter(|one| !PROTOCOLS.contains(one)).collect();
            let why = format!("Firejail does not start: no protocol {}", some(&unknown));
            (!unknown.is_empty()).then(|| Trap::fatal(line, why))
        }
        "private-bin" => {
            let there = target.programs.as_ref()?;
            let is_there = |name: &str| {
                let mut paths = Target::BIN_DIRECTORIES.iter();
                name.contains(['*', '?', '['])
                    || there.contains(name)
                    || paths.any(|directory| there.contains(&format!("{directory}/{name}")))
            };
            let missing: Vec<&str> = elements().filter(|name| !is_there(name)).collect();
            let why = format!(
                "Firejail passes over programs that this machine does not have: {}",
                some(&missing)
            );
            (!missing.is_empty()).then(|| Trap::new(line, why))
        }
        _ => None,
    }
}

/// What `firejail -- COMMAND` needs beside the command. Lines of `private-bin` add up, and of `seccomp.keep` the last holds.
fn of_shell(statements: &[(&SourceLine, String)], target: &Target) -> Vec<Trap> {
    let Launch::Shell(shell) = &target.launch else {
        return Vec::new();
    };
    let of = |name: &str| {
        let lines = statements.iter().filter_map(|(line, text)| {
            let rest = text.strip_prefix(name)?.strip_prefix(' ')?;
            Some((*line, rest.split(',')))
        });
        lines.collect::<Vec<_>>()
    };
    let programs = of("private-bin");
    let base = shell.rsplit('/').next().unwrap_or(shell);
    let mut names = programs.iter().flat_map(|(_, names)| names.clone());
    let is_there = names.any(|one| one == base || one == shell || one.contains('*'));
    let programs = programs.last().filter(|_| !is_there);
    let programs = programs.map(|(line, _)| (*line, vec![shell.as_str()]));
    let calls = of("seccomp.keep").pop().map(|(line, names)| {
        let kept: Vec<&str> = names
            .map(call)
            .flat_map(|one| FIREJAIL.named(one))
            .collect();
        let kills = statements
            .iter()
            .any(|(_, text)| text == "seccomp-error-action kill");
        let tried = SHELL_TRIES.into_iter().filter(|_| kills);
        let needed = SHELL.into_iter().chain(tried);
        let needed = needed.filter(|call| !ADDED.contains(call));
        (line, needed.filter(|call| !kept.contains(call)).collect())
    });
    let trap = |(line, missing): (&SourceLine, Vec<&str>)| {
        let why = format!(
            "`firejail -- COMMAND` starts the command through {shell}, and the list leaves out what that needs: {}",
            some(&missing)
        );
        (!missing.is_empty()).then(|| Trap::fatal(line, why))
    };
    programs.into_iter().chain(calls).filter_map(trap).collect()
}

fn of_version(line: &SourceLine, text: &str, version: Version) -> Option<Trap> {
    let from = |first: Version, why: String| {
        if version >= first {
            Trap::fatal(line, why)
        } else {
            Trap::new(line, why)
        }
    };
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    match name {
        "shell" => Some(from(
            Version::SHELL_NONE_FATAL,
            format!(
                "Firejail does not start with it from {} on, and needs no such line before",
                Version::SHELL_NONE_FATAL
            ),
        )),
        "private-home" => Some(from(
            REMOVED,
            format!("Firejail does not start with it from {REMOVED} on"),
        )),
        "tracelog" => Some(Trap::new(
            line,
            format!("it was removed in Firejail {REMOVED}, and does nothing there"),
        )),
        "name" if !is_strict_name(argument) => Some(from(
            STRICT_NAMES,
            format!(
                "from {STRICT_NAMES} on Firejail takes letters, digits and -._ in a name, and does not start with others"
            ),
        )),
        _ => None,
    }
}

fn is_strict_name(name: &str) -> bool {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "-._".contains(one);
    name.chars().all(is_plain) && !name.chars().all(|one| one.is_ascii_digit()) && name.len() <= 253
}
