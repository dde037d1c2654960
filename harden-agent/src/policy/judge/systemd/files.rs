//! Paths under a drop-in: what is seen of the file system, and what can be changed (src/core/namespace.c).

use crate::observation::Operation;

use super::{
    super::{
        super::{
            paths::is_within,
            processes::{self, Subject},
            systemd::{DEVICE_DIRECTORIES, DEVICES, HOMES, KINDS, TUNABLES, is_device},
        },
        judgement::{Judgement, PASS, Refusal, Step, Unjudged, against, all, by},
        line::{Line, Rules},
        surroundings::Surroundings,
        uses::{Access, LEFT, Mounts, Order, Use},
    },
    Yes, words,
};

/// What each makes inaccessible.
const INACCESSIBLE: [(&str, &[u8]); 6] = [
    ("ProtectKernelLogs", b"/dev/kmsg"),
    ("ProtectKernelLogs", b"/proc/kmsg"),
    ("ProtectKernelModules", b"/lib/modules"),
    ("ProtectKernelModules", b"/usr/lib/modules"),
    ("ProtectKernelTunables", b"/proc/kallsyms"),
    ("ProtectKernelTunables", b"/proc/kcore"),
];

const TMP: [&[u8]; 2] = [b"/tmp", b"/var/tmp"];

pub(super) struct Files<'r> {
    private_tmp: Option<&'r Line>,
    private_devices: Option<&'r Line>,
    private_ipc: Option<&'r Line>,
    inaccessible: Vec<(Vec<u8>, &'r Line)>,
    emptied: Vec<(Vec<u8>, &'r Line)>,
    /// Those of them in which only root may make files.
    owned: Vec<Vec<u8>>,
    /// Whether programs in a directory can be run.
    executable: Vec<(Vec<u8>, bool, &'r Line)>,
    homes: Option<(&'r str, &'r Line)>,
    /// Devices are refused but for those on the list.
    closed: Option<&'r Line>,
    /// Also those that every program uses.
    is_strict: bool,
    devices: Vec<(&'r [u8], &'r str, &'r Line)>,
    protect_proc: Option<&'r Line>,
    proc_subset: Option<&'r Line>,
    mounts: Mounts<'r>,
}

impl<'r> Files<'r> {
    pub(super) fn new(rules: &'r Rules, yes: &Yes<'r>, around: &Surroundings) -> Self {
        let inaccessible = INACCESSIBLE.iter();
        let inaccessible =
            inaccessible.filter_map(|(directive, path)| Some((path.to_vec(), yes.get(directive)?)));
        let paths = |directive| {
            let paths = rules.elements(directive);
            paths.map(|(path, line)| (around.real(named(path)), line))
        };
        let temporary = || {
            let elements = rules.elements("TemporaryFileSystem");
            elements.map(|(path, line)| {
                let (path, options) = path.split_once(':').unwrap_or((path, ""));
                (around.real(path.as_bytes()), options, line)
            })
        };
        let emptied = temporary().map(|(path, _, line)| (path, line));
        let owned = temporary().filter(|(_, options, _)| !options.contains("mode=1777"));
        let owned = owned.map(|(path, ..)| path);
        // What is mounted there can have nothing in it that is run, but for what the program puts there.
        let mounted =
            temporary().filter(|(_, options, _)| options.split(',').any(|one| one == "noexec"));
        let mounted = mounted.map(|(path, _, line)| (path, false, line));
        let runs = paths("ExecPaths").map(|(path, line)| (path, true, line));
        let runs_not = paths("NoExecPaths").map(|(path, line)| (path, false, line));
        let devices = rules.elements("DeviceAllow").map(|(device, line)| {
            let (path, rights) = device.split_once(' ').unwrap_or((device, "rwm"));
            (path.as_bytes(), rights, line)
        });
        let policy = rules.elements("DevicePolicy").map(|(_, line)| line).next();
        let devices: Vec<_> = devices.collect();
        // ProtectClock= comes with a DeviceAllow= of its own (`unit_patch_contexts` in src/core/unit.c), and where there is
        // one, all other devices are refused (systemd.resource-control(5)).
        let listed = devices.first().map(|(_, _, line)| *line);
        let closed = policy.or(listed).or_else(|| yes.get("ProtectClock"));
        let first = |directive: &'r str| rules.elements(directive).next();
        let mut files = Self {
            private_tmp: yes.get("PrivateTmp"),
            private_devices: yes.get("PrivateDevices"),
            private_ipc: yes.get("PrivateIPC"),
            inaccessible: inaccessible.chain(paths("InaccessiblePaths")).collect(),
            emptied: emptied.collect(),
            owned: owned.collect(),
            executable: mounted.chain(runs).chain(runs_not).collect(),
            is_strict: rules
                .elements("DevicePolicy")
                .any(|(how, _)| how == "strict"),
            homes: first("ProtectHome"),
            closed,
            devices,
            protect_proc: first("ProtectProc").map(|(_, line)| line),
            proc_subset: first("ProcSubset").map(|(_, line)| line),
            mounts: Mounts::new(Order::Innermost),
        };
        files.mount(rules, yes, around);
        files
    }

    /// Of several rules for the same directory the strictest one holds, whatever their order is in the unit
    /// (`mount_path_compare` and `drop_duplicates`): it is added last.
    fn mount(&mut self, rules: &'r Rules, yes: &Yes<'r>, around: &Surroundings) {
        let strict = rules
            .elements("ProtectSystem")
            .any(|(how, _)| how == "strict");
        if strict {
            for path in [&b"/dev"[..], b"/proc", b"/sys"].iter().chain(&HOMES) {
                self.mounts.add(path, Access::Writable(None));
            }
            // These mount the kernel's own file systems again, and /run with them (`apivfs_table`).
            let mounts_again = [
                yes.get("ProtectControlGroups"),
                yes.get("ProtectKernelTunables"),
                self.protect_proc,
                self.proc_subset,
            ];
            if mounts_again.iter().any(Option::is_some) {
                self.mounts.add(b"/run", Access::Writable(None));
            }
        }
        if let Some(line) = self.private_tmp {
            for path in TMP {
                self.mounts.add(path, Access::Writable(Some(line)));
            }
        }
        self.mount_writable(rules, around);
        self.mount_read_only(rules, yes, around);
    }

    fn mount_writable(&mut self, rules: &'r Rules, around: &Surroundings) {
        for (path, line) in rules.elements("TemporaryFileSystem") {
            let path = path.split(':').next().unwrap_or_default();
            let access = Access::Writable(Some(line));
            self.mounts.add_path(path.as_bytes(), around, access);
        }
        // Made before, and writable (`compile_read_write_paths` in src/core/execute.c).
        for (top, directive, _) in KINDS {
            for (name, line) in rules.elements(directive) {
                // What stands behind the colon is another name.
                let name = name.split(':').next().unwrap_or_default();
                let path = [top, b"/", name.as_bytes()].concat();
                self.mounts.add(&path, Access::Writable(Some(line)));
            }
        }
        for (path, line) in rules.elements("ReadWritePaths") {
            let access = Access::Writable(Some(line));
            self.mounts.add_path(named(path), around, access);
        }
    }

    fn mount_read_only(&mut self, rules: &'r Rules, yes: &Yes<'r>, around: &Surroundings) {
        let read_only = |line| Access::ReadOnly(Refusal::Line(line));
        if let Some((how, line)) = rules.elements("ProtectSystem").next() {
            let directories: &[&[u8]] = match how {
                "strict" => &[b"/"],
                "full" => &[b"/usr", b"/boot", b"/efi", b"/etc"],
                _ => &[b"/usr", b"/boot", b"/efi"],
            };
            for path in directories {
                self.mounts.add(path, read_only(line));
            }
        }
        if let Some((how, line)) = self.homes {
            for path in HOMES.iter().filter(|_| how != "yes") {
                self.mounts.add(path, read_only(line));
            }
        }
        if let Some(line) = yes.get("ProtectKernelTunables") {
            for path in TUNABLES {
                self.mounts.add(path, read_only(line));
            }
        }
        if let Some(line) = yes.get("ProtectControlGroups") {
            self.mounts.add(b"/sys/fs/cgroup", read_only(line));
        }
        for (path, line) in rules.elements("TemporaryFileSystem") {
            let (path, options) = path.split_once(':').unwrap_or((path, ""));
            if options.split(',').rfind(|one| matches!(*one, "ro" | "rw")) == Some("ro") {
                self.mounts
                    .add_path(path.as_bytes(), around, read_only(line));
            }
        }
        for (path, line) in rules.elements("ReadOnlyPaths") {
            self.mounts.add_path(named(path), around, read_only(line));
        }
    }

    /// Whether all devices that are not listed are refused.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    pub(super) fn judge(&self, one: &Use<'_, '_>) -> Judgement<'r> {
        let subject = processes::subject(&one.place);
        let is_process = matches!(subject, Some(Subject::Process | Subject::All));
        if is_process && (self.protect_proc.is_some() || self.proc_subset.is_some()) {
            return Judgement::Unjudged(Unjudged::NotSaid(
                "processes of other users are hidden, and whose it was is not known",
            ));
        }
        let own = TMP.iter().filter(|_| self.private_tmp.is_some()).copied();
        let mut emptied = own.chain(self.emptied.iter().map(|(path, _)| path.as_slice()));
        if emptied.any(|path| one.leaves(path) && !one.misses(path)) {
            return Judgement::Unjudged(Unjudged::NotKnown(LEFT));
        }
        if self.owned.iter().any(|path| one.needs_owner(path)) {
            return Judgement::Unjudged(Unjudged::NotSaid(
                "the directory is root's, and whether another user did it is not known",
            ));
        }
        let rest = self
            .proc_subset
            .filter(|_| one.found() && matches!(subject, Some(Subject::Rest)));
        all([
            self.homes(one),
            self.tmp(one),
            self.nodes(one),
            self.device(one),
            self.ipc(one),
            self.inaccessible(one),
            self.emptied(one),
            self.execution(one),
            rest.map_or(PASS, against),
            self.mounts.allow(one),
        ])
    }

    fn homes(&self, one: &Use<'_, '_>) -> Step<'r> {
        let Some((how, line)) = self.homes else {
            return PASS;
        };
        let is_refused = HOMES.iter().any(|home| match how {
            // Whatever was looked for there: the answer is EACCES.
            "yes" => one.names_in(home).next().is_some(),
            "tmpfs" => one.misses(home),
            _ => false,
        });
        if is_refused { against(line) } else { PASS }
    }

    fn tmp(&self, one: &Use<'_, '_>) -> Step<'r> {
        let is_missed = TMP.iter().any(|path| one.misses(path));
        self.private_tmp.filter(|_| is_missed).map_or(PASS, against)
    }

    /// A private /dev has these devices alone.
    fn nodes(&self, one: &Use<'_, '_>) -> Step<'r> {
        let Some(line) = self.private_devices.filter(|_| one.found()) else {
            return PASS;
        };
        let is_there = |path: &[u8]| {
            let inside = DEVICE_DIRECTORIES.iter().any(|top| is_within(path, top));
            inside || DEVICES.contains(&path)
        };
        let mut way = one.way().filter(|path| is_within(path, b"/dev"));
        let looks_over = one.place.listed() || one.wrote();
        if *one.place.path == *b"/dev" && looks_over || way.any(|path| !is_there(path)) {
            return against(line);
        }
        PASS
    }

    /// What `DevicePolicy=` leaves, by what was opened.
    fn device(&self, one: &Use<'_, '_>) -> Step<'r> {
        let right = match one.operation {
            Operation::Read => 'r',
            Operation::Write => 'w',
            _ => return PASS,
        };
        let Some(closed) = self.closed.filter(|_| one.is_done()) else {
            return PASS;
        };
        let is_closed = is_device(&one.place) || self.is_strict && one.is_of_node();
        if !is_closed {
            return PASS;
        }
        let mut devices = self.devices.iter();
        let allowed =
            devices.find(|(path, rights, _)| **path == *one.place.path && rights.contains(right));
        allowed.map_or(against(closed), |(_, _, line)| by(line))
    }

    /// A namespace has queues of its own.
    fn ipc(&self, one: &Use<'_, '_>) -> Step<'r> {
        let is_missed = one.misses(b"/dev/mqueue");
        self.private_ipc.filter(|_| is_missed).map_or(PASS, against)
    }

    fn emptied(&self, one: &Use<'_, '_>) -> Step<'r> {
        let mut emptied = self.emptied.iter().filter(|(path, _)| one.misses(path));
        emptied.next().map_or(PASS, |(_, line)| against(line))
    }

    /// The innermost directory decides.
    fn execution(&self, one: &Use<'_, '_>) -> Step<'r> {
        if !one.executes() {
            return PASS;
        }
        for file in one.run() {
            let above = self.executable.iter();
            let above = above.filter(|(path, ..)| is_within(file, path));
            if let Some((_, false, line)) = above.max_by_key(|(path, ..)| path.len()) {
                return against(line);
            }
        }
        PASS
    }

    fn inaccessible(&self, one: &Use<'_, '_>) -> Step<'r> {
        let mut lines = self.inaccessible.iter().filter(|(path, _)| {
            let is_inside = one.names_in(path).any(|name| name != path.as_slice());
            one.found() && is_inside || one.is_done() && one.reaches(path)
        });
        lines.next().map_or(PASS, |(_, line)| against(line))
    }
}

/// The path in `-/run`: one that is not there is no error.
fn named(word: &str) -> &[u8] {
    words::path(word).unwrap_or(word).as_bytes()
}
