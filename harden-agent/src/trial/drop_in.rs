//! What can be relaxed in a drop-in of systemd's, and the drop-in with some of it relaxed.
//!
//! Of a list each word that is not on it is a candidate, of a read-only file system each directory that could be written,
//! of every other line that confines the line itself.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Candidate, Relaxation, System, commented, names};
use crate::policy::firejail::service::UnitFile;

/// Lists to which words are added.
pub(super) const WORDS: [&str; 3] = [
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "SystemCallFilter",
];

/// What allows, or is about what another line refuses: it confines nothing by itself.
const ALLOWING: [&str; 15] = [
    "AmbientCapabilities",
    "CacheDirectory",
    "CacheDirectoryMode",
    "DeviceAllow",
    "ExecPaths",
    "IPAddressAllow",
    "LogsDirectory",
    "LogsDirectoryMode",
    "ReadWritePaths",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallErrorNumber",
];

/// Goes where another goes: by itself it would refuse more.
const WITH: [(&str, &[&str]); 2] = [
    ("SystemCallFilter", &["SystemCallErrorNumber"]),
    // A list of devices closes the others (systemd.resource-control(5)).
    ("DevicePolicy", &["DeviceAllow"]),
];

/// The file systems that `ProtectSystem=strict` leaves as they are.
const NOT_PROTECTED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Everything that can be relaxed, what is preferred first.
pub(super) fn candidates(text: &str, system: &dyn System) -> Vec<Candidate> {
    let unit = UnitFile::parse(text);
    let mut all = Vec::new();
    for directive in WORDS {
        if !unit.has(directive) && !unit.is_set(directive) {
            continue;
        }
        let on_list: BTreeSet<String> = allowed(&unit, directive);
        let (words, weight) = match directive {
            "CapabilityBoundingSet" => (names::capabilities(), 3),
            "RestrictAddressFamilies" => (names::families(), 3),
            _ => (known_calls(system), 1),
        };
        let missing = words.into_iter().filter(|word| !on_list.contains(word));
        all.extend(missing.map(|word| Candidate {
            weight,
            relaxation: Relaxation::Word(directive.to_owned(), word),
        }));
    }
    if unit.last("ProtectSystem") == Some("strict") {
        let top = system.below(Path::new("/"));
        let top = top.into_iter().filter(|path| is_protected(path));
        all.extend(top.map(|path| Candidate {
            weight: 4,
            relaxation: Relaxation::Write(path),
        }));
    }
    // What gives up most comes last.
    let mut lines: Vec<String> = Vec::new();
    for (name, _) in assignments(text) {
        if !ALLOWING.contains(&name) && !lines.iter().any(|one| one == name) {
            lines.push(name.to_owned());
        }
    }
    lines.sort_by_key(|name| (WORDS.contains(&name.as_str()), name == "ProtectSystem"));
    all.extend(lines.into_iter().map(|name| Candidate {
        weight: if WORDS.contains(&name.as_str()) { 1 } else { 2 },
        relaxation: Relaxation::Line(name),
    }));
    all
}

/// What systemd would not warn of.
fn known_calls(system: &dyn System) -> Vec<String> {
    let calls = names::calls().into_iter();
    calls.filter(|name| system.knows_call(name)).collect()
}

/// The words of a list, as the candidates are called. What a list refuses is not on it.
pub(super) fn allowed(unit: &UnitFile, directive: &str) -> BTreeSet<String> {
    let values = unit.list(directive);
    let mut all = BTreeSet::new();
    if values.first().is_some_and(|value| value.starts_with('~')) {
        all.extend(match directive {
            "CapabilityBoundingSet" => names::capabilities(),
            "RestrictAddressFamilies" => names::families(),
            _ => names::calls(),
        });
    }
    // A later line adds, or takes away.
    for value in values {
        if let Some(refused) = value.strip_prefix('~') {
            refused.split_whitespace().for_each(|word| {
                all.remove(word);
            });
        } else {
            all.extend(value.split_whitespace().map(str::to_owned));
        }
    }
    all
}

fn is_protected(path: &Path) -> bool {
    !NOT_PROTECTED
        .iter()
        .any(|one| path.starts_with(Path::new(one)))
}

/// The assignments of `[Service]`: name, and the whole line.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', ';', '[']));
    lines.filter_map(|line| Some((line.split_once('=')?.0.trim(), line)))
}

/// The drop-in with these relaxed. `why` goes with each, for people.
pub(super) fn relaxed(text: &str, relaxations: &[&Relaxation], why: Option<&str>) -> String {
    let is_out = |name: &str| {
        relaxations.iter().any(|one| match one {
            Relaxation::Line(line) => {
                let with = WITH.iter().find(|(first, _)| first == line);
                line == name || with.is_some_and(|(_, names)| names.contains(&name))
            }
            _ => false,
        })
    };
    let mut result = String::new();
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with(['#', ';', '[']);
        let name = line.split_once('=').map(|(name, _)| name.trim());
        if let Some(name) = name.filter(|name| !is_comment && is_out(name)) {
            if let Some(why) = why {
                result.push_str(&commented(&format!("Relaxed by harden trial: {why}")));
                result.push_str(&commented(&format!("no {name}=: was {line}")));
            }
            continue;
        }
        result.push_str(line);
        result.push('\n');
    }
    for one in relaxations {
        // Assignments of these add up (systemd.exec(5)).
        let line = match one {
            Relaxation::Word(directive, word) if !is_out(directive) => {
                format!("{directive}={word}")
            }
            Relaxation::Write(path) => format!("ReadWritePaths=-{}", path.display()),
            _ => continue,
        };
        if let Some(why) = why {
            result.push_str(&commented(&format!("Relaxed by harden trial: {why}")));
        }
        result.push_str(&line);
        result.push('\n');
    }
    result
}

/// The directories in one that can be written in a line as they are.
pub(super) fn narrower(path: &Path, system: &dyn System) -> Vec<PathBuf> {
    /// A directory of more than this holds data, not places.
    const MOST: usize = 64;
    let below = system.below(path);
    if below.len() > MOST {
        return Vec::new();
    }
    below.into_iter().filter(|path| is_plain(path)).collect()
}

/// Whether systemd reads the path as it is written.
pub(super) fn is_plain(path: &Path) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@,".contains(&byte);
    path.to_str().is_some_and(|text| text.bytes().all(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Written by harden\n[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_CHOWN\n\
                        ProtectSystem=strict\nReadWritePaths=-/var/log/d\nProtectHome=yes\nDevicePolicy=closed\n\
                        DeviceAllow=/dev/null rw\nSystemCallFilter=\nSystemCallFilter=read write\n\
                        SystemCallErrorNumber=ENOSYS\n";

    fn words(all: &[Candidate]) -> Vec<String> {
        all.iter().map(|one| one.relaxation.to_string()).collect()
    }

    #[test]
    fn what_is_not_allowed_can_be() {
        let tree = |path: &Path| match path.to_str() {
            Some("/") => vec!["/proc".into(), "/var".into(), "/etc".into()],
            _ => Vec::new(),
        };
        let all = words(&candidates(TEXT, &tree));
        for one in [
            "CapabilityBoundingSet CAP_KILL",
            "SystemCallFilter accept4",
            "ReadWritePaths /var",
            "no ProtectHome",
            "no SystemCallFilter",
            "no DevicePolicy",
        ] {
            assert!(all.iter().any(|word| word == one), "no {one}: {all:?}");
        }
        for one in [
            "CapabilityBoundingSet CAP_CHOWN",
            "SystemCallFilter read",
            "ReadWritePaths /proc",
            "no ReadWritePaths",
            "no DeviceAllow",
            "no SystemCallErrorNumber",
            // systemd does not know it.
            "SystemCallFilter uretprobe",
        ] {
            assert!(!all.iter().any(|word| word == one), "{one}");
        }
        let names: BTreeSet<_> = all.iter().collect();
        assert_eq!(names.len(), all.len());
        // Programs try the newer call first.
        let at = |name: &str| all.iter().position(|word| word == name);
        assert!(at("SystemCallFilter accept4") < at("SystemCallFilter accept"));
        assert!(at("SystemCallFilter accept") < at("no ProtectHome"));
    }

    #[test]
    fn a_list_of_what_is_refused_has_only_that_to_relax() {
        let text = "[Service]\nSystemCallFilter=~ptrace mount\n";
        let all = words(&candidates(text, &|_: &Path| Vec::new()));
        let mut calls: Vec<_> = all
            .iter()
            .filter(|one| one.starts_with("SystemCallFilter "))
            .collect();
        calls.sort();
        assert_eq!(calls, ["SystemCallFilter mount", "SystemCallFilter ptrace"]);
        let text = "[Service]\nSystemCallFilter=read access\nSystemCallFilter=~access\n";
        let all = words(&candidates(text, &|_: &Path| Vec::new()));
        assert!(all.contains(&"SystemCallFilter access".to_owned()));
        assert!(!all.contains(&"SystemCallFilter read".to_owned()));
    }

    #[test]
    fn what_is_relaxed_is_written_with_its_reason() {
        let relaxations = [
            Relaxation::Word("SystemCallFilter".to_owned(), "accept4".to_owned()),
            Relaxation::Write("/var/lib/d".into()),
            Relaxation::Line("DevicePolicy".to_owned()),
        ];
        let relaxations: Vec<_> = relaxations.iter().collect();
        let text = relaxed(TEXT, &relaxations, Some("it fails:\ncurl"));
        let end = "SystemCallErrorNumber=ENOSYS\n# Relaxed by harden trial: it fails:\\ncurl\nSystemCallFilter=accept4\n\
                   # Relaxed by harden trial: it fails:\\ncurl\nReadWritePaths=-/var/lib/d\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.contains("\n# no DevicePolicy=: was DevicePolicy=closed\n"));
        let unit = UnitFile::parse(&text);
        assert!(!unit.is_set("DevicePolicy") && !unit.is_set("DeviceAllow"));
        assert_eq!(relaxed(TEXT, &[], Some("x")), TEXT);
        // Nothing is added to a list that is gone: it would begin a new one.
        let both = [
            Relaxation::Word("SystemCallFilter".to_owned(), "accept4".to_owned()),
            Relaxation::Line("SystemCallFilter".to_owned()),
        ];
        let text = relaxed(TEXT, &both.iter().collect::<Vec<_>>(), None);
        assert!(!text.contains("SystemCall"), "{text}");
    }
}
