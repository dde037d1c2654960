//! Gates without a unit: good drop-ins of three daemons, some words taken out of them, and a test that fails by chance.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Confinement, Gate, Progress, Set};
use crate::{
    apply::Files,
    trial::{Plan, Relaxation, System},
};

/// What harden has written for daemons of Debian 12.
pub(super) const DAEMONS: [(&str, &str); 3] = [
    ("redis", include_str!("redis.conf")),
    ("nginx", include_str!("nginx.conf")),
    ("restd", include_str!("restd.conf")),
];

/// Directories of a Debian 12, as far as they are looked into.
struct Debian;

const TREE: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/etc/apt",
    "/etc/nginx",
    "/etc/redis",
    "/etc/restd",
    "/etc/ssl",
    "/etc/systemd",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/lock",
    "/run/nginx",
    "/run/redis",
    "/run/systemd",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/share",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/cache/apt",
    "/var/lib",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/misc",
    "/var/lib/nginx",
    "/var/lib/nginx/body",
    "/var/lib/nginx/proxy",
    "/var/lib/redis",
    "/var/lib/systemd",
    "/var/local",
    "/var/log",
    "/var/log/apt",
    "/var/log/journal",
    "/var/log/nginx",
    "/var/log/private",
    "/var/log/redis",
    "/var/log/restd",
    "/var/mail",
    "/var/opt",
    "/var/spool",
    "/var/tmp",
];

impl System for Debian {
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let all = TREE.iter().map(PathBuf::from);
        all.filter(|one| one.parent() == Some(path)).collect()
    }

    fn knows_call(&self, _: &str) -> bool {
        true
    }
}

/// Numbers by chance, the same each time (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % limit as u64).unwrap()
    }

    pub(super) fn is_in(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The words of the lists that allow, with their directives.
fn words(text: &str) -> Vec<(&str, &str)> {
    const LISTS: [&str; 4] = [
        "CapabilityBoundingSet",
        "RestrictAddressFamilies",
        "SystemCallFilter",
        "ReadWritePaths",
    ];
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let lines = lines.filter(|(name, _)| LISTS.contains(name));
    let words = lines.flat_map(|(name, words)| words.split(' ').map(move |word| (name, word)));
    words
        .filter(|(_, word)| !word.is_empty() && *word != "none")
        .collect()
}

/// The drop-in without this many of its words, and what gives them back.
pub(super) fn planted(text: &str, count: usize, chance: &mut Chance) -> (String, Vec<Relaxation>) {
    let mut words = words(text);
    let mut text = text.to_owned();
    let mut culprits = Vec::new();
    while culprits.len() < count {
        let (directive, word) = words.swap_remove(chance.below(words.len()));
        let culprit = if directive == "ReadWritePaths" {
            // A file is given back by its directory: so deep is looked.
            let path = Path::new(word.trim_start_matches('-'));
            let mut above = path.ancestors();
            let known = above.find(|one| TREE.iter().any(|known| Path::new(known) == *one));
            Relaxation::Write(known.unwrap().to_owned())
        } else {
            Relaxation::Word(directive.to_owned(), word.to_owned())
        };
        let lines = text.lines().map(|line| match line.split_once('=') {
            Some((name, list)) if name == directive => {
                let left: Vec<_> = list.split(' ').filter(|one| *one != word).collect();
                format!("{name}={}\n", left.join(" "))
            }
            _ => format!("{line}\n"),
        });
        text = lines.collect();
        if !culprits.contains(&culprit) {
            culprits.push(culprit);
        }
    }
    (text, culprits)
}

/// A gate that fails where a culprit is not relaxed, and by chance.
pub(super) struct Simulated {
    pub(super) plan: Plan<'static>,
    culprits: Vec<Relaxation>,
    /// How often it fails by itself, of a hundred.
    flakes: usize,
    chance: Chance,
    pub(super) runs: Cell<usize>,
    /// The bounds that were given.
    pub(super) ends: Vec<usize>,
}

impl Simulated {
    pub(super) fn new(text: &str, count: usize, flakes: usize, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let (text, culprits) = planted(text, count, &mut chance);
        Self {
            plan: Plan::new(Files::of_drop_in(text), &Debian),
            culprits,
            flakes,
            chance,
            runs: Cell::new(0),
            ends: Vec::new(),
        }
    }

    /// Whether exactly the culprits are among these.
    pub(super) fn is_exactly(&self, set: &Set) -> bool {
        let found: Vec<_> = set.iter().map(|one| self.plan.relaxation(*one)).collect();
        found.len() == self.culprits.len()
            && self.culprits.iter().all(|culprit| found.contains(&culprit))
    }

    /// One test run.
    pub(super) fn test(&mut self, relaxed: &Confinement) -> bool {
        self.runs.set(self.runs.get() + 1);
        if self.chance.is_in(self.flakes) {
            return false;
        }
        let Confinement::Except(set) = relaxed else {
            return true;
        };
        let relaxed: Vec<_> = set.iter().map(|one| self.plan.relaxation(*one)).collect();
        let gives_back = |culprit: &Relaxation| {
            relaxed.iter().any(|one| match (one, culprit) {
                (Relaxation::Write(one), Relaxation::Write(path)) => path.starts_with(one),
                (Relaxation::Line(name), Relaxation::Word(directive, _)) => name == directive,
                (Relaxation::Line(name), Relaxation::Write(_)) => name == "ProtectSystem",
                (one, culprit) => *one == culprit,
            })
        };
        self.culprits.iter().all(gives_back)
    }
}

impl Gate for Simulated {
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool> {
        assert_eq!(progress.done, self.runs.get());
        self.ends.push(progress.done + progress.left);
        Ok(self.test(confinement))
    }

    fn weight(&self, candidate: usize) -> u32 {
        self.plan.weight(candidate)
    }

    fn narrower(&mut self, candidate: usize) -> Vec<usize> {
        self.plan.narrower(candidate)
    }
}
