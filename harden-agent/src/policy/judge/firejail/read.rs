//! Reading a profile (`profile_read` and `profile_check_line` in src/firejail/profile.c of 0.9.72). What is not understood
//! is handed back.

use std::collections::BTreeSet;

use crate::observation::Text;

use super::super::{
    super::firejail::Target,
    line::{Fault, Read, Rules, Sandbox, Shape, fatal, not_judged},
    source::{self, SourceLine},
};

/// How lines of a directive are read.
#[derive(Clone, Copy)]
enum Kind {
    /// A word alone.
    Flag,
    /// A list, of which the last line holds.
    Last,
    /// A list to which each line adds.
    Added,
    /// A path for each line, perhaps with a macro or a pattern.
    Path,
    /// A word for each line.
    Word,
    /// No fact is about it.
    Silent,
    /// It can refuse something, and what is not judged.
    Unjudged(&'static str),
}

use Kind::{Added, Flag, Last, Path, Silent, Unjudged, Word};

const DEVICES: Kind =
    Unjudged("which devices it hides is not judged, nor what the program does without them");
const NETWORK: Kind = Unjudged("what is reached through another network is not judged");
const BUS: Kind = Unjudged("what is said over D-Bus is not recorded");
const ROOT: Kind = Unjudged("what is in the directories that it puts there is not known");
const BROKEN: Kind = Unjudged(
    "it filters calls of the machine's own convention instead (src/firejail/sandbox.c of 0.9.72)",
);
const SECONDARY: Kind = Unjudged("lists of 32-bit calls are not judged");

/// Every directive of Firejail 0.9.72.
const DIRECTIVES: &[(&str, Kind)] = &[
    ("allow-debuggers", Flag),
    ("allusers", Silent),
    ("apparmor", Unjudged("what AppArmor refuses is not judged")),
    (
        "apparmor-replace",
        Unjudged("what AppArmor refuses is not judged"),
    ),
    (
        "apparmor-stack",
        Unjudged("what AppArmor refuses is not judged"),
    ),
    ("bind", ROOT),
    ("blacklist", Path),
    ("blacklist-nolog", Path),
    ("caps", Flag),
    ("caps.drop", Word),
    ("caps.keep", Last),
    ("cpu", Silent),
    ("dbus-system", BUS),
    ("dbus-system.broadcast", Silent),
    ("dbus-system.call", Silent),
    ("dbus-system.own", Silent),
    ("dbus-system.see", Silent),
    ("dbus-system.talk", Silent),
    ("dbus-user", BUS),
    ("dbus-user.broadcast", Silent),
    ("dbus-user.call", Silent),
    ("dbus-user.own", Silent),
    ("dbus-user.see", Silent),
    ("dbus-user.talk", Silent),
    ("defaultgw", NETWORK),
    ("deterministic-exit-code", Silent),
    ("deterministic-shutdown", Silent),
    ("disable-mnt", Flag),
    ("dns", Silent),
    ("env", Silent),
    ("hostname", Silent),
    ("hosts-file", Silent),
    ("ip", NETWORK),
    ("ip6", NETWORK),
    ("ipc-namespace", Flag),
    ("iprange", NETWORK),
    ("join-or-start", Silent),
    ("keep-config-pulse", Silent),
    ("keep-dev-shm", Flag),
    ("keep-fd", Silent),
    ("keep-var-tmp", Flag),
    ("mac", NETWORK),
    ("machine-id", Silent),
    ("memory-deny-write-execute", Flag),
    ("mkdir", Silent),
    ("mkfile", Silent),
    ("mtu", NETWORK),
    ("name", Word),
    ("netfilter", NETWORK),
    ("netfilter6", NETWORK),
    ("netlock", NETWORK),
    ("netmask", NETWORK),
    ("netns", NETWORK),
    ("nice", Silent),
    ("no3d", DEVICES),
    ("noautopulse", Silent),
    ("noblacklist", Path),
    ("nodbus", BUS),
    ("nodvd", DEVICES),
    ("noexec", Path),
    ("nogroups", Silent),
    ("noinput", DEVICES),
    ("nonewprivs", Flag),
    ("noprinters", DEVICES),
    (
        "noroot",
        Unjudged("which capabilities are left depends on who starts Firejail; root keeps all"),
    ),
    ("nosound", DEVICES),
    ("notv", DEVICES),
    ("nou2f", DEVICES),
    ("novideo", DEVICES),
    ("nowhitelist", Path),
    ("overlay", ROOT),
    ("overlay-named", ROOT),
    ("overlay-tmpfs", ROOT),
    ("private", Flag),
    ("private-bin", Added),
    (
        "private-cache",
        Unjudged("which home directory has a new .cache is not judged"),
    ),
    ("private-cwd", Silent),
    ("private-dev", Flag),
    ("private-etc", Added),
    ("private-home", ROOT),
    (
        "private-lib",
        Unjudged("which libraries are copied is not judged"),
    ),
    ("private-opt", Added),
    ("private-srv", Added),
    ("private-tmp", Flag),
    ("protocol", Added),
    ("quiet", Silent),
    ("read-only", Path),
    ("read-write", Path),
    ("restrict-namespaces", Last),
    ("rlimit-as", Silent),
    ("rlimit-cpu", Silent),
    ("rlimit-fsize", Silent),
    ("rlimit-nofile", Silent),
    ("rlimit-nproc", Silent),
    ("rlimit-sigpending", Silent),
    ("rmenv", Silent),
    ("seccomp", Last),
    ("seccomp-error-action", Silent),
    ("seccomp.32", SECONDARY),
    ("seccomp.32.drop", SECONDARY),
    ("seccomp.32.keep", BROKEN),
    ("seccomp.block-secondary", Flag),
    ("seccomp.drop", Last),
    ("seccomp.keep", Last),
    ("shell", Word),
    ("tab", Silent),
    ("timeout", Silent),
    ("tmpfs", Path),
    ("tracelog", Silent),
    ("veth-name", NETWORK),
    ("whitelist", Path),
    ("writable-etc", Flag),
    ("writable-run-user", Silent),
    ("writable-var", Flag),
    ("writable-var-log", Flag),
    ("x11", Silent),
    ("xephyr-screen", Silent),
];

const DROP: &str = "caps.drop";
/// As a word of it: not a list, but another switch.
const ALL: &str = "all";

/// Those that are a word alone.
pub(super) fn flags() -> impl Iterator<Item = &'static str> {
    let flags = DIRECTIVES.iter().filter(|(_, kind)| matches!(kind, Flag));
    flags.map(|(name, _)| *name)
}

/// Reads the text of a profile, started by somebody whose home directory is not known.
#[must_use]
pub fn read(text: &str) -> Read {
    read_lines(&source::lines("profile", text), &BTreeSet::new())
}

/// Reads the lines of a profile and of what it includes. `homes` are the home directories of those who start it.
#[must_use]
pub fn read_lines(lines: &[SourceLine], homes: &BTreeSet<Text>) -> Read {
    let mut reader = Reader {
        rules: Rules::new(Sandbox::Firejail),
        homes: homes.iter().map(ToString::to_string).collect(),
        ignored: Vec::new(),
        not_shown: Vec::new(),
    };
    let mut unread = Vec::new();
    for whole in lines {
        let line = statement(&whole.text);
        if line.is_empty() || reader.is_ignored(&line) {
            continue;
        }
        reader.rules.stand_at(&whole.position);
        if let Err(fault) = reader.add(&line) {
            unread.push(fault.at(&whole.position, &whole.text));
        }
    }
    Read {
        rules: reader.rules,
        unread,
    }
}

/// What Firejail takes of a line: `#` anywhere in it begins a comment, and runs of white space are one space.
#[must_use]
pub fn statement(line: &str) -> String {
    let line = line.split('#').next().unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Reader {
    rules: Rules,
    homes: Vec<String>,
    /// What `ignore` names.
    ignored: Vec<String>,
    /// What `nowhitelist` names.
    not_shown: Vec<String>,
}

impl Reader {
    /// `ignore` is about lines that begin with these words.
    fn is_ignored(&self, line: &str) -> bool {
        let mut ignored = self.ignored.iter();
        ignored.any(|start| {
            let rest = line.strip_prefix(start.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    fn add(&mut self, line: &str) -> Result<(), Fault> {
        let (name, argument) = match line.split_once(' ') {
            Some((name, argument)) => (name, Some(argument)),
            None => (line, None),
        };
        match (name, argument) {
            ("include", _) => {
                return not_judged("this file could not be read, and may say anything");
            }
            ("ignore", Some(start)) => {
                self.ignored.push(start.to_owned());
                return Ok(());
            }
            ("whitelist-ro", Some(path)) => {
                self.path("whitelist", path)?;
                return self.path("read-only", path);
            }
            ("net", Some("none")) => {
                self.word("net", "none");
                return Ok(());
            }
            ("net", _) => {
                return not_judged("what is reached through another network is not judged");
            }
            _ if name.starts_with('?') => return not_judged("conditions are not judged"),
            _ => {}
        }
        let known = DIRECTIVES.iter().find(|(one, _)| *one == name);
        let Some((name, kind)) = known else {
            return fatal("Firejail 0.9.72 does not know this directive, and does not start");
        };
        match (*kind, argument) {
            (Silent, _) => Ok(()),
            (Unjudged(reason), _) => not_judged(reason),
            (Flag, Some(_)) if *name == "private" => ROOT.reason(),
            (Flag, Some(_)) => {
                fatal("this directive takes no argument, and Firejail does not start")
            }
            (Last, None) if matches!(*name, "seccomp" | "restrict-namespaces") => {
                self.list(name, Last, "")
            }
            (Flag, None) => {
                if self.rules.line(name).is_none() {
                    self.rules.add(name, Shape::Flag, std::iter::empty());
                }
                Ok(())
            }
            (Added | Last | Path | Word, None) => {
                fatal("this directive needs an argument, and Firejail does not start")
            }
            (Added | Last, Some(list)) => self.list(name, *kind, list),
            (Path, Some(path)) => self.path(name, path),
            (Word, Some(list)) if *name == DROP && list != ALL => self.drop(list),
            (Word, Some(word)) => {
                self.word(name, word);
                Ok(())
            }
        }
    }

    fn list(&mut self, name: &'static str, kind: Kind, argument: &str) -> Result<(), Fault> {
        if name == "private-etc" && argument.split(',').any(|one| one.starts_with('@')) {
            return not_judged(
                "groups of files are not judged, and Firejail before 0.9.74 has none",
            );
        }
        let drops = || self.rules.elements(DROP).any(|(one, _)| one != ALL);
        if name == "caps.keep" && drops() {
            return not_judged("caps.keep and a list of caps.drop are not judged together");
        }
        let elements = argument.split(',').filter(|one| !one.is_empty());
        let elements = elements.map(str::to_owned);
        if matches!(kind, Last) {
            self.rules.clear(name);
            self.rules.add(name, Shape::List, elements);
        } else {
            self.rules.extend(name, false, elements);
        }
        Ok(())
    }

    /// Of several lists the last one holds, and `caps.keep` writes to the same place (`arg_caps_list`).
    fn drop(&mut self, list: &str) -> Result<(), Fault> {
        if self.rules.line("caps.keep").is_some() {
            return not_judged("caps.keep and a list of caps.drop are not judged together");
        }
        self.rules.remove(DROP, |one| one != ALL);
        for one in list.split(',') {
            self.word(DROP, one);
        }
        Ok(())
    }

    fn word(&mut self, name: &'static str, word: &str) {
        let one = std::iter::once(word.to_owned());
        self.rules.add(name, Shape::Each, one);
    }

    fn path(&mut self, name: &'static str, path: &str) -> Result<(), Fault> {
        for path in self.expanded(path)? {
            match name {
                "nowhitelist" => self.not_shown.push(path),
                "whitelist" if self.not_shown.contains(&path) => {}
                "blacklist-nolog" => self.word("blacklist", &path),
                _ => self.word(name, &path),
            }
        }
        Ok(())
    }

    /// The paths that a macro makes of one (`expand_macros` in src/firejail/macros.c).
    fn expanded(&self, path: &str) -> Result<Vec<String>, Fault> {
        let home = path.strip_prefix("${HOME}").or(path.strip_prefix('~'));
        if let Some(rest) = home {
            if self.homes.is_empty() {
                return not_judged("whose home directory this is is not known");
            }
            let paths = self.homes.iter().map(|home| format!("{home}{rest}"));
            return Ok(paths.collect());
        }
        if let Some(rest) = path.strip_prefix("${PATH}") {
            let paths = Target::BIN_DIRECTORIES.iter();
            return Ok(paths
                .map(|directory| format!("{directory}{rest}"))
                .collect());
        }
        if let Some(rest) = path.strip_prefix("${CFG}") {
            return Ok(vec![format!("/etc{rest}")]);
        }
        if path.contains("${") || path.contains("$HOME") {
            return not_judged("what this macro names is not known");
        }
        if !path.starts_with('/') {
            return fatal("no absolute path, and Firejail does not start");
        }
        Ok(vec![path.to_owned()])
    }
}

impl Kind {
    fn reason(self) -> Result<(), Fault> {
        match self {
            Unjudged(reason) => not_judged(reason),
            _ => Ok(()),
        }
    }
}
