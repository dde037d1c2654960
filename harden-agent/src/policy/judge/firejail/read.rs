//! Reading a profile (`profile_read` and `profile_check_line` in src/firejail/profile.c of 0.9.72). What is not understood
//! is handed back.

use std::collections::{BTreeSet, HashSet};

use crate::observation::Text;

use super::{
    super::{
        super::firejail::Target,
        line::{Fault, Read, Rules, Sandbox, Shape, fatal, not_judged},
        pattern::PathPattern,
        source::{self, SourceLine},
    },
    syntax,
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

const NETWORK: Kind = Unjudged("what is reached through another network is not judged");
const BUS: Kind = Unjudged("what is said over D-Bus is not recorded");
const ROOT: Kind = Unjudged("what is in the directories that it puts there is not known");
const LIMIT: Kind = Unjudged("what a program does at its limits is not recorded");
const ENVIRONMENT: Kind = Unjudged("what a program makes of its environment is not recorded");
const BROKEN: Kind = Unjudged(
    "it filters calls of the machine's own convention instead (src/firejail/sandbox.c of 0.9.72)",
);
const X11: Kind = Unjudged("another display is not judged");
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
    ("env", ENVIRONMENT),
    ("hostname", Silent),
    ("hosts-file", ROOT),
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
    ("net", NETWORK),
    ("netfilter", NETWORK),
    ("netfilter6", NETWORK),
    ("netlock", NETWORK),
    ("netmask", NETWORK),
    ("netns", NETWORK),
    ("nice", Silent),
    ("no3d", Flag),
    ("noautopulse", Silent),
    ("noblacklist", Path),
    ("nodbus", Flag),
    ("nodvd", Flag),
    ("noexec", Path),
    ("nogroups", Silent),
    ("noinput", Flag),
    ("nonewprivs", Flag),
    ("noprinters", Flag),
    (
        "noroot",
        Unjudged("which capabilities are left depends on who starts Firejail; root keeps all"),
    ),
    ("nosound", Flag),
    ("notv", Flag),
    ("nou2f", Flag),
    ("novideo", Flag),
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
    ("rlimit-as", LIMIT),
    ("rlimit-cpu", LIMIT),
    ("rlimit-fsize", LIMIT),
    ("rlimit-nofile", LIMIT),
    ("rlimit-nproc", LIMIT),
    ("rlimit-sigpending", LIMIT),
    ("rmenv", ENVIRONMENT),
    ("seccomp", Last),
    ("seccomp-error-action", Word),
    ("seccomp.32", SECONDARY),
    ("seccomp.32.drop", SECONDARY),
    ("seccomp.32.keep", BROKEN),
    ("seccomp.block-secondary", Flag),
    ("seccomp.drop", Last),
    ("seccomp.keep", Last),
    ("shell", Word),
    ("tab", Silent),
    ("timeout", LIMIT),
    ("tmpfs", Path),
    ("tracelog", Silent),
    ("veth-name", NETWORK),
    ("whitelist", Path),
    ("writable-etc", Flag),
    ("writable-run-user", Silent),
    ("writable-var", Flag),
    ("writable-var-log", Flag),
    ("x11", X11),
    ("xephyr-screen", Silent),
];

const DROP: &str = "caps.drop";
const ACTION: &str = "seccomp-error-action";
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
        homes,
        ignored: Vec::new(),
        not_shown: HashSet::new(),
    };
    let mut unread = Vec::new();
    for whole in lines {
        let line = statement(&whole.text);
        if line.is_empty() || is_ignored(&reader.ignored, &line) {
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

/// What Firejail takes of a line: `#` anywhere in it begins a comment, runs of blanks are one, and a NUL ends it as it ends
/// every string (`line_remove_spaces` in src/firejail/util.c).
#[must_use]
pub fn statement(line: &str) -> String {
    let line = line.split(['#', '\0', '\r']).next().unwrap_or_default();
    let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// `ignore` is about lines that begin with these words.
#[must_use]
pub fn is_ignored(ignored: &[String], line: &str) -> bool {
    let mut ignored = ignored.iter();
    ignored.any(|start| {
        let rest = line.strip_prefix(start.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

struct Reader<'h> {
    rules: Rules,
    homes: &'h BTreeSet<Text>,
    /// What `ignore` names.
    ignored: Vec<String>,
    /// What `nowhitelist` names.
    not_shown: HashSet<String>,
}

impl Reader<'_> {
    fn add(&mut self, line: &str) -> Result<(), Fault> {
        let (name, argument) = match line.split_once(' ') {
            Some((name, argument)) => (name, Some(argument)),
            None => (line, None),
        };
        // A byte that is not UTF-8 was read as this.
        if line.contains(char::REPLACEMENT_CHARACTER) {
            return not_judged("the line is not UTF-8");
        }
        match (name, argument) {
            ("include", None) => {
                return fatal("include names a file, and Firejail does not start without");
            }
            ("include", Some(_)) => {
                return fatal("there is no such file to read, and Firejail does not start");
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
            ("private-cwd", Some(path)) => {
                syntax::path(path)?;
                return not_judged("whether this directory is in the sandbox is not judged");
            }
            ("dbus-system" | "dbus-user", Some("none")) => {
                let name = if name == "dbus-user" {
                    "dbus-user"
                } else {
                    "dbus-system"
                };
                self.word(name, "none");
                return Ok(());
            }
            ("x11", Some("none")) | ("quiet", None) => return Ok(()),
            _ if name.starts_with('?') => return syntax::condition(line),
            _ => {}
        }
        let known = DIRECTIVES.iter().find(|(one, _)| *one == name);
        let Some((name, kind)) = known else {
            return fatal("Firejail 0.9.72 does not know this directive, and does not start");
        };
        match (*kind, argument) {
            (Silent, _) => syntax::argument(name, argument, self.homes),
            (Unjudged(reason), _) => {
                syntax::argument(name, argument, self.homes)?;
                not_judged(reason)
            }
            (Flag, Some(_)) if *name == "private" => ROOT.reason(),
            (Word, Some(argument)) if *name == "shell" && argument != "none" => {
                fatal("Firejail takes no other than none, and does not start")
            }
            (Word, Some(action)) if *name == ACTION && !is_action(action) => {
                fatal("no error that Firejail knows, and it does not start")
            }
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
        let matches_all = |one| PathPattern::of(one).is_some_and(|one| one.matches(b".."));
        if name == "private-bin" && argument.split(',').any(matches_all) {
            return fatal("the pattern matches .. too, and Firejail does not start");
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
        syntax::path(path)?;
        for path in self.expanded(path)? {
            let path = syntax::clean(&path).into_owned();
            if matches!(
                name,
                "blacklist" | "blacklist-nolog" | "noexec" | "read-only" | "tmpfs"
            ) {
                syntax::own(&path)?;
            }
            if name == "tmpfs" && PathPattern::of(&path).is_some() {
                return not_judged("which directories this pattern names is not known");
            }
            match name {
                "nowhitelist" => {
                    self.not_shown.insert(path);
                }
                "whitelist" => {
                    syntax::shown(&path)?;
                    if self.not_shown.contains(&path) {
                        // What is beside it is hidden all the same.
                        self.rules.hide_beside(path);
                    } else {
                        self.word(name, &path);
                    }
                }
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
        if let Some(rest) = path.strip_prefix("${RUNUSER}") {
            if self.homes.iter().all(|home| *home == Text::from("/root")) && !self.homes.is_empty()
            {
                return Ok(vec![format!("/run/user/0{rest}")]);
            }
            return not_judged("which user starts Firejail is not known");
        }
        if !path.starts_with('/') {
            return fatal("no absolute path");
        }
        Ok(vec![path.to_owned()])
    }
}

/// What is done in the place of a call: an error, or one of two words.
fn is_action(action: &str) -> bool {
    let mut errors = (1..=133).map(|number| syscalls::Errno::new(number).name());
    matches!(action, "kill" | "log") || errors.any(|name| name == Some(action))
}

impl Kind {
    fn reason(self) -> Result<(), Fault> {
        match self {
            Unjudged(reason) => not_judged(reason),
            _ => Ok(()),
        }
    }
}
