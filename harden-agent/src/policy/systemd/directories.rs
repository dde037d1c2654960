//! Directories that the program makes for itself, right below those that all programs share: systemd makes them, so that
//! /var/lib and its like stay read-only. mkdir(2) of what is there fails with `EEXIST` before it is found to be on a
//! read-only file system (`filename_create` in fs/namei.c).

use std::collections::{BTreeMap, BTreeSet};

use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::{is_within, parent};
use super::super::places::Place;
use super::super::warnings::{self, Warning};
use super::Directive;
use super::word::as_word;

/// (directory, directive, that of its mode); systemd.exec(5).
pub(in super::super) const KINDS: [(&[u8], &str, &str); 4] = [
    (b"/run", "RuntimeDirectory", "RuntimeDirectoryMode"),
    (b"/var/lib", "StateDirectory", "StateDirectoryMode"),
    (b"/var/cache", "CacheDirectory", "CacheDirectoryMode"),
    (b"/var/log", "LogsDirectory", "LogsDirectoryMode"),
];

/// The directives for the directories that belong to the unit's own user, and of one mode: systemd sets both at each
/// start. The other directories come as a warning.
pub(super) fn decide(basis: &Basis<'_>) -> (Vec<Directive>, Option<Warning>) {
    let users: BTreeSet<u32> = basis
        .observation()
        .runs
        .values()
        .map(|run| run.uid)
        .collect();
    let founded: BTreeMap<&[u8], Vec<&Place<'_>>> = basis
        .places()
        .iter()
        .filter(|place| place.founded())
        .fold(BTreeMap::new(), |mut all, place| {
            all.entry(&place.path).or_default().push(place);
            all
        });
    let mut directives = Vec::new();
    let mut others: Vec<&[u8]> = Vec::new();
    for (top, name, mode_name) in KINDS {
        let here = founded.iter().filter(|(path, _)| parent(path) == top);
        let (own, strange): (Vec<_>, Vec<_>) =
            here.partition(|(path, places)| as_word(path).is_some() && belongs(places, &users));
        let modes: BTreeSet<u32> = own.iter().flat_map(|(_, places)| modes(places)).collect();
        others.extend(strange.into_iter().map(|(path, _)| *path));
        let (Some(mode), 1) = (modes.first(), modes.len()) else {
            others.extend(own.into_iter().map(|(path, _)| *path));
            continue;
        };
        let items = own.into_iter().filter_map(|(path, places)| {
            let word = as_word(path)?;
            let mut item = Item::new(&word[top.len() + 1..], Evidence::default());
            for place in places {
                place.tell(&mut item.evidence);
            }
            Some(item)
        });
        directives.push(Directive::list(name, Decision::Given(items.collect())));
        directives.push(Directive::word(mode_name, &format!("{mode:04o}"), vec![]));
        if name == "RuntimeDirectory" {
            // What others keep there is theirs: systemd would remove it all when the unit stops.
            directives.push(Directive::yes("RuntimeDirectoryPreserve", vec![]));
        }
    }
    let elsewhere = founded.keys().filter(|path| {
        !KINDS
            .iter()
            .any(|(top, _, _)| is_within(path, top) && parent(path) == *top)
    });
    others.extend(elsewhere);
    (directives, warnings::made(&others))
}

/// Whether systemd would leave owner and group as they are: it changes the whole tree where either differs from the
/// unit's, of which the group is known for root alone.
fn belongs(places: &[&Place<'_>], users: &BTreeSet<u32>) -> bool {
    let mut inodes = places.iter().flat_map(|place| place.inodes).peekable();
    inodes.peek().is_some()
        && users.len() == 1
        && inodes.all(|inode| users.contains(&inode.uid) && inode.gid == inode.uid)
}

fn modes(places: &[&Place<'_>]) -> BTreeSet<u32> {
    let inodes = places.iter().flat_map(|place| place.inodes);
    inodes.map(|inode| inode.mode & 0o7777).collect()
}
