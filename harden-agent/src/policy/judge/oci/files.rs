//! Paths in a container: what is seen, and what can be changed.

use crate::observation::Operation;

use super::{
    super::{
        super::{
            paths::is_within,
            processes::{self, Subject},
        },
        judgement::{Judgement, PASS, Refusal, Step, Unjudged, against, all},
        line::{Line, Rules},
        surroundings::Surroundings,
        uses::{Access, LEFT, Mounts, Order, Use},
    },
    mount::{Mount, Shows, of_line},
};

/// What the runtime makes in /dev (`AllowedDevices` in libcontainer/specconv and `setupDevSymlinks` in libcontainer of runc), and
/// what others mount there.
const DEVICES: [&[u8]; 14] = [
    b"/dev",
    b"/dev/fd",
    b"/dev/full",
    b"/dev/mqueue",
    b"/dev/null",
    b"/dev/ptmx",
    b"/dev/pts",
    b"/dev/random",
    b"/dev/shm",
    b"/dev/stderr",
    b"/dev/stdin",
    b"/dev/stdout",
    b"/dev/urandom",
    b"/dev/zero",
];
/// What an image has no more of than the directory.
const KERNELS: [&[u8]; 3] = [b"/dev", b"/proc", b"/sys"];

const UNKNOWN: &str = "what is behind a mount there is not in the file";
const UNMOUNTED: &str = "nothing is mounted there, and what the image has there is not in the file";

pub(super) struct Files<'r> {
    mounts: Vec<(Mount, &'r Line)>,
    masked: Vec<(Vec<u8>, &'r Line)>,
    access: Mounts<'r>,
    hides_processes: bool,
    has_own_queues: Option<&'r Line>,
}

impl<'r> Files<'r> {
    pub(super) fn new(rules: &'r Rules, around: &Surroundings) -> Self {
        let mut mounts: Vec<(Mount, &'r Line)> = Vec::new();
        for (text, line) in rules.elements("mounts") {
            let Some(mount) = of_line(text) else { continue };
            let mount = Mount {
                at: around.real(&mount.at),
                ..mount
            };
            // It covers what was mounted below before.
            mounts.retain(|(other, _)| !is_within(&other.at, &mount.at));
            mounts.push((mount, line));
        }
        let mut access = Mounts::new(Order::Innermost);
        let mut root = rules.elements("root.readonly");
        if let Some((_, line)) = root.find(|(value, _)| *value == "true") {
            access.add(b"/", Access::ReadOnly(Refusal::Line(line)));
        }
        for (mount, line) in &mounts {
            let how = if mount.is_read_only {
                Access::ReadOnly(Refusal::Line(line))
            } else {
                Access::Writable(Some(line))
            };
            access.add(&mount.at, how);
        }
        // After all mounts; what is mounted below stays as it is (`readonlyPath` and `maskPath` in libcontainer of runc).
        for (path, line) in rules.elements("readonlyPaths") {
            let read_only = Access::ReadOnly(Refusal::Line(line));
            access.add_path(path.as_bytes(), around, read_only);
        }
        let masked = rules.elements("maskedPaths");
        let own = |kind| rules.elements("namespaces").find(|(one, _)| *one == kind);
        Self {
            masked: masked
                .flat_map(|(path, line)| {
                    let real = around.real(path.as_bytes());
                    [(path.as_bytes().to_vec(), line), (real, line)]
                })
                .collect(),
            mounts,
            access,
            hides_processes: own("pid").is_some(),
            has_own_queues: own("ipc").map(|(_, line)| line),
        }
    }

    pub(super) fn judge(&self, one: &Use<'_, '_>) -> Judgement<'r> {
        let subject = processes::subject(&one.place);
        if self.hides_processes && matches!(subject, Some(Subject::Process | Subject::All)) {
            return Judgement::Unjudged(Unjudged::NotKnown(
                "other processes have other numbers in a container, or are not there, and whose it was is not known",
            ));
        }
        let own = self.covering(&one.place.path);
        if let Some((mount, _)) = own.filter(|(mount, _)| mount.shows == Shows::Nothing)
            && one.leaves(&mount.at)
            && !one.misses(&mount.at)
        {
            return Judgement::Unjudged(Unjudged::NotKnown(LEFT));
        }
        let steps = [
            self.masked(one),
            self.missing(one),
            self.devices(one),
            self.queues(one),
            self.execution(one),
            self.access.allow(one),
        ];
        let judgement = all(steps);
        match (judgement.is_allowed(), self.unknown(one)) {
            (true, Some(why)) => Judgement::Unjudged(Unjudged::NotSaid(why)),
            _ => judgement,
        }
    }

    /// The innermost mount that a path is on.
    fn covering(&self, path: &[u8]) -> Option<&(Mount, &'r Line)> {
        let over = self
            .mounts
            .iter()
            .filter(|(mount, _)| is_within(path, &mount.at));
        over.max_by_key(|(mount, _)| mount.at.len())
    }

    fn unknown(&self, one: &Use<'_, '_>) -> Option<&'static str> {
        if !one.found() {
            return None;
        }
        one.place
            .all_names()
            .find_map(|name| match self.covering(name) {
                Some((mount, _)) => {
                    let is_at = name == mount.at && one.passes();
                    (mount.shows == Shows::Unknown && !is_at).then_some(UNKNOWN)
                }
                None => KERNELS
                    .iter()
                    .any(|top| is_within(name, top) && name != *top)
                    .then_some(UNMOUNTED),
            })
    }

    /// A file is covered by /dev/null, a directory by an empty one.
    fn masked(&self, one: &Use<'_, '_>) -> Step<'r> {
        let mut lines = self.masked.iter().filter(|(path, _)| {
            let is_inside = one.names_in(path).next().is_some();
            is_inside && one.found()
        });
        lines.next().map_or(PASS, |(_, line)| against(line))
    }

    fn missing(&self, one: &Use<'_, '_>) -> Step<'r> {
        let empty = self
            .mounts
            .iter()
            .filter(|(mount, _)| mount.shows == Shows::Nothing);
        let mut missed = empty.filter(|(mount, _)| {
            let is_on = |name: &[u8]| self.covering(name).is_some_and(|(on, _)| on.at == mount.at);
            one.misses(&mount.at) && one.place.all_names().any(is_on)
        });
        missed.next().map_or(PASS, |(_, line)| against(line))
    }

    fn devices(&self, one: &Use<'_, '_>) -> Step<'r> {
        let mut own = self
            .mounts
            .iter()
            .filter(|(mount, _)| mount.shows == Shows::Devices);
        if let Some((_, line)) = own.next().filter(|_| one.found()) {
            let is_there = |path: &[u8]| {
                let on = self.covering(path);
                DEVICES.contains(&path) || on.is_some_and(|(on, _)| on.shows != Shows::Devices)
            };
            let mut way = one.way().filter(|path| is_within(path, b"/dev"));
            let looks_over = one.place.listed() || one.wrote();
            if *one.place.path == *b"/dev" && looks_over || way.any(|path| !is_there(path)) {
                return against(line);
            }
        }
        let opens = matches!(one.operation, Operation::Read | Operation::Write);
        match self.covering(&one.place.path) {
            Some((mount, line)) if mount.is_nodev && opens && one.is_done() && one.is_of_node() => {
                against(line)
            }
            _ => PASS,
        }
    }

    fn queues(&self, one: &Use<'_, '_>) -> Step<'r> {
        let is_missed = one.misses(b"/dev/mqueue");
        self.has_own_queues
            .filter(|_| is_missed)
            .map_or(PASS, against)
    }

    fn execution(&self, one: &Use<'_, '_>) -> Step<'r> {
        if !one.executes() {
            return PASS;
        }
        let mut on = one.run().filter_map(|file| self.covering(file));
        let refused = on.find(|(mount, _)| mount.is_noexec);
        refused.map_or(PASS, |(_, line)| against(line))
    }
}
