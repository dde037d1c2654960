//! Directives about the file system.

use std::collections::BTreeMap;

use crate::observation::{Facet, Text};

use super::super::Generalisation;
use super::super::basis::Basis;
use super::super::evidence::{Decision, Evidence, Item};
use super::super::homes;
use super::super::paths::{is_within, parent};
use super::super::places::Place;
use super::super::processes::{self, Subject};
use super::super::reasons::Reasons;
use super::super::shared::{lasting, outermost, siblings};
use super::super::tmp;
use super::kernel::Usage;
use super::word::as_word;
use super::{Directive, devices};

/// What `ProtectHome=` hides.
pub(in super::super) const HOMES: [&[u8]; 3] = [b"/home", b"/root", b"/run/user"];

/// What `ProtectSystem=strict` leaves as it is.
const UNTOUCHED: [&[u8]; 3] = [b"/dev", b"/proc", b"/sys"];

/// The directives, in the order of the manual page.
pub(super) fn decide(
    basis: &Basis<'_>,
    (usage, paths): (&Usage<'_>, Generalisation),
) -> Vec<Directive> {
    let private_tmp = private_tmp(basis);
    let own_tmp = private_tmp.value.given().is_some();
    let mut directives = protect_system(basis, (own_tmp, paths == Generalisation::Exact));
    directives.push(protect_home(basis));
    directives.push(private_tmp);
    directives.extend(devices::decide(basis.places(), usage));
    directives.extend(proc(basis));
    directives
}

/// `ProtectSystem`, `ReadWritePaths` and `ReadOnlyPaths`. The last, because with a directive that mounts
/// /proc, /sys or the control groups again `strict` leaves /run writable: it becomes one of the kernel's own file systems
/// (`apivfs_table` in src/core/namespace.c; seen with 252).
fn protect_system(basis: &Basis<'_>, (own_tmp, exact): (bool, bool)) -> Vec<Directive> {
    let places = basis.places();
    let blind: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let mut roots: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
    let mut nowhere = Reasons::default();
    let written = || {
        places.iter().filter(|place| {
            place.wrote() && !UNTOUCHED.iter().any(|top| is_within(&place.path, top))
        })
    };
    for place in written() {
        if own_tmp && (is_within(&place.path, b"/tmp") || is_within(&place.path, b"/var/tmp")) {
            continue;
        }
        match root(place, exact) {
            Some(root) => place.tell(roots.entry(root.as_bytes().to_vec()).or_default()),
            None => nowhere.push(format!("{} was written", Text::from(&place.path))),
        }
    }
    if !blind.is_empty() {
        return vec![
            Directive::word("ProtectSystem", "strict", blind.clone()),
            Directive::list("ReadWritePaths", Decision::Withheld(blind.clone().into())),
            Directive::word("ReadOnlyPaths", "/run", blind),
        ];
    }
    if nowhere.is_empty() {
        let above = if exact {
            Vec::new()
        } else {
            siblings(roots.keys().map(Vec::as_slice))
        };
        for directory in above {
            if as_word(&directory).is_some() {
                roots.entry(directory).or_default();
            }
        }
        let writable = assigned(roots);
        let whole = writable.iter().any(|item| item.value == "-/run");
        let reasons = whole.then(|| "entries were made in /run itself".to_owned());
        return vec![
            Directive::word("ProtectSystem", "strict", blind),
            Directive::list("ReadWritePaths", Decision::Given(writable)),
            Directive::word("ReadOnlyPaths", "/run", Reasons::from_iter(reasons)),
        ];
    }
    let below = |tops: &[&[u8]]| -> Reasons {
        written()
            .filter(|place| tops.iter().any(|top| is_within(&place.path, top)))
            .map(|place| format!("{} was written", Text::from(&place.path)))
            .collect()
    };
    let of_system = below(&[b"/usr", b"/boot", b"/efi"]);
    let word = if below(&[b"/etc"]).is_empty() {
        "full"
    } else {
        "yes"
    };
    vec![
        Directive::word("ProtectSystem", word, of_system),
        Directive::list("ReadWritePaths", Decision::Withheld(nowhere)),
    ]
}

/// What has to be writable for what was done there; `None` if that is everything. A file that was
/// made, removed or replaced counts as its directory: a mounted file cannot be replaced (`EBUSY`).
/// So does a path that would need quoting: it comes from the user who named the file.
fn root<'p>(place: &'p Place<'_>, exact: bool) -> Option<&'p str> {
    let path = &*place.path;
    let start = match place.made() {
        true if place.founded() => path,
        true => parent(path),
        false if exact => path,
        false => lasting(place, path),
    };
    let mut up = std::iter::successors(Some(start), |path| (*path != b"/").then(|| parent(path)));
    up.find_map(as_word).filter(|path| *path != "/")
}

/// Without those below another. The dash: what a package or an earlier command has not made yet is
/// no error (systemd.exec(5)).
fn assigned(mut roots: BTreeMap<Vec<u8>, Evidence>) -> Vec<Item> {
    outermost(&mut roots);
    let words = roots.into_iter().filter_map(|(path, evidence)| {
        let path = as_word(&path)?;
        Some(Item::new(format!("-{path}"), evidence))
    });
    words.collect()
}

/// `ProtectHome`. A look in vain counts: `yes` would answer it by EACCES instead of ENOENT. With `tmpfs` the
/// directories are there, empty and read-only (`protect_home_tmpfs_table` in src/core/namespace.c, 252).
fn protect_home(basis: &Basis<'_>) -> Directive {
    let blind: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let touching = basis.places().touching(&HOMES);
    if touching.clone().next().is_none() {
        return Directive::yes("ProtectHome", blind);
    }
    if blind.is_empty() && homes::needed(&HOMES, &HOMES, basis).is_empty() {
        return Directive::word("ProtectHome", "tmpfs", blind);
    }
    let mut reasons = Reasons::from(blind);
    let written = touching.filter(|place| place.wrote());
    reasons.extend(written.map(|place| format!("{} was written", Text::from(&place.path))));
    Directive::word("ProtectHome", "read-only", reasons)
}

/// `PrivateTmp`: both directories, or none.
fn private_tmp(basis: &Basis<'_>) -> Directive {
    let directories: [&[u8]; 2] = [b"/tmp", b"/var/tmp"];
    let mut reasons = Reasons::default();
    for directory in directories {
        reasons.append(tmp::decide(directory, basis).into_reasons());
    }
    Directive::yes("PrivateTmp", reasons)
}

/// `ProtectProc`, which hides other users' processes, and `ProcSubset`, which hides all else.
fn proc(basis: &Basis<'_>) -> [Directive; 2] {
    let blind: Vec<String> = basis.coverage().blind(Facet::Files).into_iter().collect();
    let (mut others, mut rest) = (Reasons::from(blind.clone()), Reasons::from(blind));
    for place in basis.places().iter() {
        let used = || format!("{} was used", Text::from(&place.path));
        match processes::subject(place) {
            Some(Subject::All) => {
                others.push(used());
                rest.push(used());
            }
            Some(Subject::Process) => others.push(used()),
            Some(Subject::Rest) => rest.push(used()),
            Some(Subject::Itself) | None => {}
        }
    }
    [
        Directive::word("ProtectProc", "invisible", others),
        Directive::word("ProcSubset", "pid", rest),
    ]
}
