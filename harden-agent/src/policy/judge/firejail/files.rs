//! Paths under a Firejail profile: what is seen of the file system, and what can be changed (`src/firejail/fs*.c`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::observation::{Operation, Text};

use super::{
    super::{
        super::{
            firejail::{EMPTIED, HIDDEN, HOMES, KERNEL, NODES, Target},
            paths::{below, components, is_within, up},
        },
        judgement::{Judgement, PASS, Refusal, Step, Unjudged, against, all, any, by, each},
        line::{Line, Rules},
        list::List,
        pattern::PathPattern,
        surroundings::Surroundings,
        uses::{Access, LEFT, Mounts, Order, Use},
    },
    devices::Devices,
    hidden::Hidden,
    read::flags,
    top,
};

/// Why something is refused that a line can take back.
pub const UNLESS_LIFTED: &str =
    "Firejail refuses it under every profile that has no line to lift that";

/// Read-only under every profile.
const READ_ONLY: [&[u8]; 9] = [
    b"/bin",
    b"/lib",
    b"/lib32",
    b"/lib64",
    b"/libx32",
    b"/proc/sys",
    b"/sbin",
    b"/sys",
    b"/usr",
];

/// Devices that a private /dev has where the machine has them.
const OPTIONAL: [&[u8]; 14] = [
    b"cdrom",
    b"cdrw",
    b"disk",
    b"dri",
    b"dvb",
    b"dvd",
    b"dvdrw",
    b"hidraw",
    b"nvidia",
    b"snd",
    b"sr",
    b"usb",
    b"video",
    b"vga_arbiter",
];

/// What `disable-mnt` hides (`fs_mnt` in src/firejail/fs.c).
const MEDIA: [&[u8]; 4] = [b"/media", b"/mnt", b"/run/media", b"/run/mount"];

/// Directories that are replaced by a copy of some of what is in them.
const COPIED: [(&str, &str); 3] = [
    ("private-etc", "/etc"),
    ("private-opt", "/opt"),
    ("private-srv", "/srv"),
];

pub(super) struct Files<'r> {
    /// Of those who start it, with all directories above.
    homes: BTreeSet<Vec<u8>>,
    own_homes: BTreeSet<Text>,
    hidden: Hidden<'r>,
    shown: BTreeMap<Vec<u8>, &'r Line>,
    shown_patterns: Vec<(PathPattern, &'r Line)>,
    tops: HashMap<Vec<u8>, Option<&'r Line>>,
    lifted: HashMap<&'static str, &'r Line>,
    unhidden: HashMap<&'r str, &'r Line>,
    programs: Option<List<'r>>,
    copied: Vec<(&'static str, List<'r>)>,
    no_programs: Hidden<'r>,
    emptied: Vec<(Vec<u8>, &'r Line)>,
    devices: Devices<'r>,
    mounts: Mounts<'r>,
}

impl<'r> Files<'r> {
    pub(super) fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        let own_homes = &around.homes;
        let tops = rules.whitelisted().iter().map(|path| {
            let top = top(path, own_homes);
            let mut shown = rules.elements("whitelist");
            let first = shown.find(|(path, _)| super::top(path, own_homes) == top);
            (top.into_bytes(), first.map(|(_, line)| line))
        });
        let lifted = flags().filter_map(|flag| Some((flag, rules.line(flag)?)));
        let homes = own_homes.iter().flat_map(|home| up(home.as_bytes()));
        let shown = || rules.elements("whitelist");
        let copied = COPIED.into_iter();
        let mut files = Self {
            homes: homes.map(<[u8]>::to_vec).collect(),
            own_homes: own_homes.clone(),
            hidden: Hidden::of(rules, "blacklist", around),
            shown: shown()
                .map(|(path, line)| (path.as_bytes().to_vec(), line))
                .collect(),
            shown_patterns: shown()
                .filter_map(|(path, line)| Some((PathPattern::of(path)?, line)))
                .collect(),
            tops: tops.collect(),
            lifted: lifted.collect(),
            unhidden: rules.elements("noblacklist").collect(),
            programs: List::of_names(rules, "private-bin"),
            copied: copied
                .filter_map(|(directive, top)| Some((top, List::of_names(rules, directive)?)))
                .collect(),
            no_programs: Hidden::of(rules, "noexec", around),
            emptied: rules
                .elements("tmpfs")
                .map(|(path, line)| (around.real(path.as_bytes()), line))
                .collect(),
            devices: Devices::new(rules),
            mounts: Mounts::new(Order::Last),
        };
        files.mount(rules, around);
        files
    }

    /// What is read-only and what is not, in the order in which Firejail does it.
    fn mount(&mut self, rules: &'r Rules, around: &Surroundings) {
        let always = || Access::ReadOnly(Refusal::Always("read-only under every Firejail profile"));
        for path in READ_ONLY {
            self.mounts.add(path, always());
        }
        for (path, flag) in [(&b"/etc"[..], "writable-etc"), (b"/var", "writable-var")] {
            let unless = Access::ReadOnly(Refusal::Always(UNLESS_LIFTED));
            self.mounts.add(path, unless);
            if let Some(line) = self.flag(flag) {
                self.mounts.add(path, Access::Writable(Some(line)));
            }
        }
        self.mounts
            .add(b"/usr", Access::ReadOnly(Refusal::Always(UNLESS_LIFTED)));
        // The machine's, or an empty one: either can be written.
        self.mounts.add(b"/var/log", Access::Writable(None));
        for path in EMPTIED {
            self.mounts.add(path, Access::Writable(None));
        }
        if self.flag("keep-var-tmp").is_none() {
            self.mounts.add(b"/var/tmp", Access::Writable(None));
        }
        for line in rules.lines() {
            let Some(path) = &line.element else { continue };
            match line.directive {
                "read-only" => {
                    let access = Access::ReadOnly(Refusal::Line(line));
                    self.mounts.add_named(path, around, access);
                }
                "read-write" => {
                    self.mounts
                        .add_named(path, around, Access::Writable(Some(line)));
                }
                "tmpfs" => self.mounts.add_named(path, around, Access::Writable(None)),
                _ => {}
            }
        }
    }

    fn flag(&self, name: &str) -> Option<&'r Line> {
        self.lifted.get(name).copied()
    }

    pub(super) fn judge(&self, one: &Use<'_, '_>) -> Judgement<'r> {
        if let Some(why) = self.doubt(one) {
            return Judgement::Unjudged(Unjudged::NotKnown(why));
        }
        let ways = [
            self.by_default(one),
            self.hidden.meets(one),
            self.media(one),
            self.noexec(one),
            self.homes(one),
            self.programs(one),
            self.dev(one),
            self.devices.meets(one),
            self.mounts.allow(one),
        ];
        let copied = self.copied.iter().map(|(top, list)| copied(top, list, one));
        let ways = ways.into_iter().chain(copied).chain(self.emptied(one));
        all(ways.chain(self.whitelist(one)))
    }

    /// What cannot be told of a use.
    fn doubt(&self, one: &Use<'_, '_>) -> Option<&'static str> {
        if one.reaches(b"/sys/fs") && one.place.path.len() > b"/sys/fs/".len()
            || one.reaches(b"/sys/kernel/tracing")
        {
            return Some("Firejail mounts a new /sys, and what was mounted there is not in it");
        }
        let own = self.flag("private-tmp").map(|_| &b"/tmp"[..]);
        let emptied = self.emptied.iter().map(|(path, _)| path.as_slice());
        let mut emptied = emptied.chain(own);
        if emptied.any(|path| one.leaves(path) && !one.misses(path)) {
            return Some(LEFT);
        }
        let name = below(&one.place.path, b"/dev").filter(|_| self.flag("private-dev").is_some());
        let is_terminal = |name: &[u8]| name.starts_with(b"pts/") && name != b"pts/ptmx";
        let is_optional = |name: &[u8]| OPTIONAL.iter().any(|one| name.starts_with(one));
        if name.is_some_and(is_terminal) {
            return Some("a private /dev has new terminals, and whether this is one is not known");
        }
        if name.is_some_and(is_optional) {
            return Some("a private /dev has it where the machine has it");
        }
        None
    }

    /// What Firejail hides by itself.
    fn by_default(&self, one: &Use<'_, '_>) -> Step<'r> {
        if !one.is_done() {
            return PASS;
        }
        if HIDDEN.iter().any(|path| one.reaches(path)) {
            return Err(Refusal::Always("hidden under every Firejail profile"));
        }
        for path in ["/sys/fs", "/sys/module"] {
            if one.reaches(path.as_bytes()) {
                return lifted(self.unhidden.get(path).copied());
            }
        }
        if KERNEL.iter().any(|path| one.reaches(path)) {
            return lifted(self.flag("allow-debuggers"));
        }
        PASS
    }

    /// The directories that are empty at the start.
    fn emptied<'u>(&'u self, one: &'u Use<'_, '_>) -> impl Iterator<Item = Step<'r>> + 'u {
        let own = self.flag("private-tmp").filter(|_| one.misses(b"/tmp"));
        let always = EMPTIED.iter().filter(|path| one.misses(path));
        let always = always.map(|_| {
            Err(Refusal::Always(
                "Firejail always puts an empty directory there",
            ))
        });
        let unless = [
            (&b"/var/tmp"[..], "keep-var-tmp"),
            (b"/var/log", "writable-var-log"),
        ];
        let unless = unless.into_iter().filter(|(path, _)| one.misses(path));
        let unless = unless.map(|(_, flag)| lifted(self.flag(flag)));
        let tmpfs = self.emptied.iter().filter(|(path, _)| one.misses(path));
        let tmpfs = tmpfs.map(|(_, line)| against(line));
        let own = own.map(against).into_iter().chain(tmpfs);
        own.chain(always).chain(unless)
    }

    fn media(&self, one: &Use<'_, '_>) -> Step<'r> {
        let is_there = MEDIA.iter().any(|path| one.names_in(path).next().is_some());
        let line = self.flag("disable-mnt").filter(|_| is_there);
        line.map_or(PASS, against)
    }

    fn noexec(&self, one: &Use<'_, '_>) -> Step<'r> {
        if !one.executes() {
            return PASS;
        }
        let line = one.run().find_map(|path| self.no_programs.covers(path));
        line.map_or(PASS, against)
    }

    fn homes(&self, one: &Use<'_, '_>) -> Step<'r> {
        let Some(line) = self.flag("private") else {
            return PASS;
        };
        let is_there = one.passes() && self.homes.contains(&*one.place.path);
        let is_missed = HOMES.iter().any(|home| one.misses(home.as_bytes()));
        if is_missed && !is_there {
            return against(line);
        }
        PASS
    }

    fn programs(&self, one: &Use<'_, '_>) -> Step<'r> {
        let Some(list) = &self.programs else {
            return PASS;
        };
        let mut needed = Vec::new();
        for directory in Target::BIN_DIRECTORIES {
            for path in one.names_in(directory.as_bytes()) {
                let is_own = *path == *one.place.path;
                let Some(name) = below(path, directory.as_bytes()) else {
                    if is_own && one.looks_over() {
                        return against(list.line());
                    }
                    continue;
                };
                if !one.found() {
                    continue;
                }
                match program(list, directory, name) {
                    Some(line) if !(is_own && one.wrote()) => needed.push(line),
                    _ => return against(list.line()),
                }
            }
        }
        each(needed)
    }

    fn dev(&self, one: &Use<'_, '_>) -> Step<'r> {
        let Some(line) = self.flag("private-dev") else {
            return PASS;
        };
        if !one.found() {
            return PASS;
        }
        for name in one.names_in(b"/dev") {
            let Some(name) = below(name, b"/dev") else {
                if one.looks_over() {
                    return against(line);
                }
                continue;
            };
            if name == b"shm" || name.starts_with(b"shm/") {
                continue;
            }
            let is_there =
                NODES.contains(&name) || name.starts_with(b"fd/") || name.starts_with(b"pts/");
            let changes = one.changes_node() && !name.starts_with(b"pts/");
            if !is_there || changes {
                return against(line);
            }
        }
        if one.misses(b"/dev/shm") {
            return self.flag("keep-dev-shm").map_or(against(line), by);
        }
        PASS
    }

    fn whitelist<'u>(&'u self, one: &'u Use<'_, '_>) -> impl Iterator<Item = Step<'r>> + 'u {
        let way = one.way().filter(|_| one.found());
        way.map(move |path| self.shows(path, one))
    }

    fn shows(&self, path: &[u8], one: &Use<'_, '_>) -> Step<'r> {
        let top = top(&String::from_utf8_lossy(path), &self.own_homes);
        let Some(first) = self.tops.get(top.as_bytes()) else {
            return PASS;
        };
        let any_of: Vec<&Line> = up(path).flat_map(|at| self.shown_at(at)).collect();
        if one.replaces() && *path == *one.place.path {
            // It is mounted there.
            if let Some(line) = self.shown.get(path) {
                return against(line);
            }
        }
        if !any_of.is_empty() {
            return any(any_of);
        }
        // What fails there fails on an empty directory too.
        let passes = one.passes() || !one.is_done();
        if passes && path == top.as_bytes() {
            return PASS;
        }
        // The directories above what is shown are there, and hold nothing else.
        let below = self.shown.range(path.to_vec()..);
        let below = below.take_while(|(shown, _)| shown.starts_with(path));
        let below = below.filter(|(shown, _)| passes && is_within(shown, path));
        let any_of: Vec<&Line> = below.map(|(_, line)| *line).collect();
        if !any_of.is_empty() {
            return any(any_of);
        }
        match first {
            Some(line) => against(line),
            None => Err(Refusal::Always(
                "nothing is shown of the directory any more",
            )),
        }
    }
}

impl<'r> Files<'r> {
    /// The lines that show this very path.
    fn shown_at(&self, path: &[u8]) -> impl Iterator<Item = &'r Line> {
        let named = self.shown.get(path).copied();
        let patterns = self.shown_patterns.iter();
        let patterns = patterns.filter(move |(pattern, _)| pattern.matches(path));
        named.into_iter().chain(patterns.map(|(_, line)| *line))
    }
}

/// What Firejail refuses unless a line lifts that.
fn lifted(line: Option<&Line>) -> Step<'_> {
    line.map_or(Err(Refusal::Always(UNLESS_LIFTED)), by)
}

/// The element by which a program is there: its name, or one of its paths.
fn program<'r>(list: &List<'r>, directory: &str, name: &[u8]) -> Option<&'r Line> {
    let name = std::str::from_utf8(name).ok()?;
    let paths = || {
        let others = Target::BIN_DIRECTORIES.into_iter();
        let mut paths = std::iter::once(directory).chain(others);
        paths.find_map(|directory| list.get(&format!("{directory}/{name}")))
    };
    list.get(name).or_else(paths)
}

/// A directory of which some things are copied when the program starts.
fn copied<'r>(directory: &str, list: &List<'r>, one: &Use<'_, '_>) -> Step<'r> {
    if !one.found() {
        return PASS;
    }
    let mut needed = Vec::new();
    for path in one.names_in(directory.as_bytes()) {
        let is_own = *path == *one.place.path;
        let Some(name) = below(path, directory.as_bytes()) else {
            if is_own && one.looks_over() {
                return against(list.line());
            }
            continue;
        };
        // The copy is no link.
        let is_link = one.operation == Operation::Readlink && !name.contains(&b'/');
        let changes = is_own && (one.wrote() || is_link && one.is_done());
        let first = components(name).next();
        let first = first.and_then(|first| std::str::from_utf8(first).ok());
        match first.and_then(|first| list.get(first)) {
            Some(line) if !changes => needed.push(line),
            _ => return against(list.line()),
        }
    }
    each(needed)
}
