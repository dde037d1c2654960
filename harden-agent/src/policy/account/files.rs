//! What the modes of files would refuse (`acl_permission_check` in fs/namei.c): the owner's bits for the owner, the
//! group's for who is in the group, the others' for everybody else; where there is an access control list, what it
//! gives to a group, as far as its mask allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::successors;

use crate::observation::{Inode, Operation, Text};

use super::super::evidence::{Evidence, Item};
use super::super::paths::{below, components, is_within, parent};
use super::super::places::{Place, changes_entry};
use super::{Accounts, Obstacle, Remedy, tmpfiles};

const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;
/// Only the owner may, whatever the mode: chmod(2), chown(2) to oneself.
const OWNER: u32 = 8;

/// The directories in which systemd makes one for a unit, and gives it to the unit's user (systemd.exec(5)).
const OWN: [(&[u8], &str); 4] = [
    (b"/run", "RuntimeDirectory"),
    (b"/var/lib", "StateDirectory"),
    (b"/var/cache", "CacheDirectory"),
    (b"/var/log", "LogsDirectory"),
];

/// Where everybody may make files.
const SHARED: [&[u8]; 6] = [
    b"/dev/mqueue",
    b"/dev/shm",
    b"/run/lock",
    b"/tmp",
    b"/var/lock",
    b"/var/tmp",
];

/// Sockets to which everybody may connect, on every system that has them.
const OPEN: [&[u8]; 5] = [
    b"/dev/log",
    b"/run/dbus/system_bus_socket",
    b"/run/nscd/socket",
    b"/run/systemd/journal",
    b"/run/systemd/notify",
];

/// Root's home, which is closed to others where nothing else is known of it.
const CLOSED: &[u8] = b"/root";

/// What of a process's own is another's by its mode, and of a kernel's setting only root's.
const KERNEL: [&[u8]; 2] = [b"/proc", b"/sys"];

#[derive(Default)]
pub(super) struct Found {
    pub obstacles: Vec<Obstacle>,
    pub groups: Vec<Item>,
}

pub(super) fn obstacles<'p>(places: &'p [Place<'_>], account: &str, accounts: &Accounts) -> Found {
    // Of a directory in which much lies, once.
    let mut answers: HashMap<(&'p [u8], u32), bool> = HashMap::new();
    let mine = own_directories(places);
    let mut refused: BTreeMap<Remedy, (BTreeSet<&[u8]>, Evidence)> = BTreeMap::new();
    // By path, so that one line gives all that is needed there.
    let mut elsewhere: BTreeMap<&[u8], (u32, Evidence)> = BTreeMap::new();
    // What the program makes is the account's.
    let allows = |path, need, there: &[Place<'_>]| {
        let is_made = there.iter().any(|place| place.made() && !is_node(place));
        is_made || allowed(path, &known(there), need)
    };
    // A directory that everybody gets into, and so into those above it: the next path mostly lies in one of them too.
    let mut open: &[u8] = b"/";
    for group in places.chunk_by(|one, next| one.path == next.path) {
        // Of a path that many programs used, once.
        let mut here: BTreeMap<u32, bool> = BTreeMap::new();
        for place in group.iter().filter(|place| place.succeeded()) {
            let mut is_refused = |(path, need): &(&'p [u8], u32)| {
                if **path == *place.path {
                    return !*here
                        .entry(*need)
                        .or_insert_with(|| allows(path, *need, group));
                }
                let answer = answers.entry((path, *need));
                !*answer.or_insert_with(|| allows(path, *need, at(places, path)))
            };
            let above = parent(&place.path);
            let way = way(above).filter(|(path, _)| !is_within(open, path));
            let way: Vec<_> = way.filter(&mut is_refused).collect();
            if way.is_empty() {
                open = above;
            }
            let needs = needs(place).into_iter().filter(is_refused);
            for (path, need) in needs.chain(way) {
                let remedy = own_directory(path, &place.path, &mine, account);
                let evidence = if let Some(remedy) = remedy {
                    let (paths, evidence) = refused.entry(remedy).or_default();
                    paths.insert(path);
                    evidence
                } else {
                    let (needs, evidence) = elsewhere.entry(path).or_default();
                    *needs |= need;
                    evidence
                };
                place.tell(evidence);
            }
        }
    }
    for (path, (need, evidence)) in elsewhere {
        let known = known(at(places, path));
        if let Some(remedy) = remedy(path, &known, need, account, accounts) {
            let (paths, sum) = refused.entry(remedy).or_default();
            paths.insert(path);
            sum.merge(&evidence);
        }
    }
    let mut found = Found::default();
    for (remedy, (paths, evidence)) in refused {
        if let Remedy::Group { name } = &remedy {
            found.groups.push(Item::new(name.clone(), evidence.clone()));
        }
        found.obstacles.push(Obstacle {
            remedy,
            what: list(&paths),
            evidence,
        });
    }
    found
}

/// Those of `places` that have this path; they are in order.
fn at<'p, 'a>(places: &'p [Place<'a>], path: &[u8]) -> &'p [Place<'a>] {
    let start = places.partition_point(|place| *place.path < *path);
    let count = places[start..].partition_point(|place| *place.path == *path);
    &places[start..start + count]
}

/// All that was known of the path of these places. Which came last is not known of a file that was replaced or changed:
/// each has to allow what was done.
fn known<'a>(places: &'a [Place<'_>]) -> Vec<&'a Inode> {
    let mut known = places.iter().flat_map(|place| place.inodes).collect();
    forget_without_acl(&mut known);
    known
}

/// The same inode is there twice if its list was not looked up each time.
fn forget_without_acl(known: &mut Vec<&Inode>) {
    if known.iter().all(|one| one.acl.is_none()) {
        return;
    }
    let with = known.iter().filter(|one| one.acl.is_some());
    // Without a number it is one of many files in a directory.
    let with: BTreeSet<_> = with
        .filter(|one| !one.is_one_of_many())
        .map(|one| (one.device, one.number))
        .collect();
    known.retain(|one| one.acl.is_some() || !with.contains(&(one.device, one.number)));
}

/// The groups that may do what needs `need`, other than root's.
fn groups_that_may(inode: &Inode, need: u32) -> BTreeSet<u32> {
    let mask = inode.mode >> 3;
    let mut groups = BTreeSet::new();
    let owning = inode.acl.as_ref().map_or(mask, |acl| acl.group & mask);
    if has(owning, need) {
        groups.insert(inode.gid);
    }
    let named = inode.acl.iter().flat_map(|acl| &acl.groups);
    groups.extend(
        named
            .filter(|(_, one)| has(**one & mask, need))
            .map(|(gid, _)| *gid),
    );
    groups.remove(&0);
    groups
}

/// On the way every directory that is known has to be passed.
fn way(directory: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    let up = successors(Some(directory), |at| Some(parent(at)));
    up.take_while(|at| at.len() > 1).map(|at| (at, SEARCH))
}

/// What has to be allowed where, for what was done at the place.
fn needs<'a>(place: &'a Place<'_>) -> Vec<(&'a [u8], u32)> {
    use Operation as O;
    let path = &*place.path;
    let mut needs = Vec::new();
    for operation in place.done() {
        match operation {
            O::Read | O::Watch | O::XattrRead => needs.push((path, READ)),
            O::Write | O::Truncate | O::Utime | O::XattrWrite | O::Connect => {
                needs.push((path, WRITE));
            }
            O::Execute | O::Chdir | O::Chroot => needs.push((path, SEARCH)),
            O::Chmod | O::Chown => needs.push((path, OWNER)),
            // `> /dev/null`: with O_CREAT what is no file is only opened.
            O::Create if is_node(place) => needs.push((path, WRITE)),
            one if changes_entry(one) => needs.push((parent(path), WRITE | SEARCH)),
            _ => {}
        }
    }
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// Whether it is known to be a device, a pipe or a socket, which open(2) never makes.
fn is_node(place: &Place<'_>) -> bool {
    const S_IFMT: u32 = 0o170_000;
    const NODES: [u32; 4] = [0o020_000, 0o060_000, 0o010_000, 0o140_000];
    let mut inodes = place.inodes.iter();
    !place.inodes.is_empty()
        && inodes.all(|inode| NODES.contains(&(inode.mode & S_IFMT)))
        && !place.did(Operation::Mknod)
        && !place.did(Operation::Bind)
}

/// Whether everybody may. Of a directory that was never opened no mode is known: who may make files there is
/// taken for root alone, and everybody may pass it.
fn allowed(path: &[u8], known: &[&Inode], need: u32) -> bool {
    if known.is_empty() {
        let is_passed = need & (WRITE | OWNER) == 0 && path != CLOSED;
        let is_open = OPEN.iter().any(|open| is_within(path, open));
        return is_passed || SHARED.contains(&path) || is_open;
    }
    known.iter().all(|inode| has(inode.mode, need))
}

/// Whether the lowest three bits of `mode` give `need`. None makes an owner.
fn has(mode: u32, need: u32) -> bool {
    need & OWNER == 0 && mode & need == need
}

/// The directories below those of systemd in which the program made something: by directive and name.
fn own_directories<'a>(places: &'a [Place<'_>]) -> BTreeSet<(&'static str, &'a [u8])> {
    let mut mine = BTreeSet::new();
    for place in places.iter().filter(|place| place.made()) {
        if SHARED.iter().any(|shared| is_within(&place.path, shared)) {
            continue;
        }
        for (base, directive) in OWN {
            let Some(rest) = below(&place.path, base) else {
                continue;
            };
            let Some(name) = components(rest).next() else {
                continue;
            };
            if name.len() < rest.len() || place.did(Operation::Mkdir) {
                mine.insert((directive, name));
            }
        }
    }
    mine
}

const HOME: Remedy = Remedy::Root {
    reason: "it uses root's home, which is closed to others",
};
const CHANGES: Remedy = Remedy::Root {
    reason: "it changes what belongs to others, and not in a directory of its own",
};

/// The smallest remedy for `need` at `path`, where it is in no directory of the unit's own; `None` where the mode says nothing.
fn remedy(
    path: &[u8],
    known: &[&Inode],
    need: u32,
    account: &str,
    accounts: &Accounts,
) -> Option<Remedy> {
    if KERNEL.iter().any(|top| is_within(path, top)) {
        // A process's own files are its user's; only what was written is a setting.
        let is_setting = is_within(path, b"/sys") || is_within(path, b"/proc/sys");
        return (is_setting && need & (WRITE | OWNER) != 0).then_some(Remedy::Root {
                reason: "only root may change settings of the kernel: set them in sysctl.d or tmpfiles.d instead",
            });
    }
    let refusing = known.iter().find(|inode| !has(inode.mode, need));
    let Some(inode) = refusing else {
        return Some(match need {
            // To make something in a directory takes more than to write to a socket.
            WRITE => look(path),
            _ if path == CLOSED => HOME,
            _ => CHANGES,
        });
    };
    let mut groups = groups_that_may(inode, need);
    groups.retain(|gid| {
        known
            .iter()
            .all(|one| groups_that_may(one, need).contains(gid))
    });
    if let Some(gid) = groups.first() {
        let known = accounts.groups.get(gid);
        return Some(Remedy::Group {
            name: known.cloned().unwrap_or_else(|| gid.to_string()),
        });
    }
    if need & (WRITE | OWNER) != 0 {
        return Some(CHANGES);
    }
    let Some(argument) = tmpfiles::as_path(path) else {
        return Some(Remedy::Root {
            reason: "no line of tmpfiles.d can hold the path",
        });
    };
    // tmpfiles.d(5): z changes what is there, and makes nothing. With a list the mode is its mask, and gives the group
    // nothing: a+ adds to the list.
    let line = if inode.acl.is_some() {
        format!("a+ {argument} - - - - group:{account}:{}", letters(need))
    } else {
        let mode = (inode.mode & 0o7777) | (need << 3);
        format!("z {argument} {mode:04o} - {account}")
    };
    Some(Remedy::Own { line })
}

/// `r-x`
fn letters(need: u32) -> String {
    let bits = [(READ, 'r'), (WRITE, 'w'), (SEARCH, 'x')];
    let letter = |(bit, letter)| if need & bit == 0 { '-' } else { letter };
    bits.into_iter().map(letter).collect()
}

/// Who may connect is asked of the file system. What the shell would read in the path is quoted.
fn look(path: &[u8]) -> Remedy {
    let path = Text::from(path).to_string();
    Remedy::Look {
        command: format!(
            "stat -c '%A %G' {}",
            shlex::try_quote(&path).unwrap_or_default()
        ),
    }
}

/// A directory of the unit's own below one of systemd's, for what was done in it, or to make it.
fn own_directory(
    path: &[u8],
    used: &[u8],
    mine: &BTreeSet<(&'static str, &[u8])>,
    account: &str,
) -> Option<Remedy> {
    let (base, directive) = OWN.into_iter().find(|(base, _)| is_within(path, base))?;
    let name = components(below(used, base)?).next()?;
    if mine.contains(&(directive, name)) {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(byte);
        let is_plain = name.iter().all(plain) && !name.starts_with(b".");
        return is_plain.then(|| Remedy::Directory {
            directive,
            name: String::from_utf8_lossy(name).into_owned(),
        });
    }
    // A file in the directory itself, which is not the unit's to have: the guide's cookie secret.
    (path == base).then(|| Remedy::Move {
        directive,
        to: format!("{}/{account}", String::from_utf8_lossy(base)),
    })
}

/// The first paths by name, the rest by number.
fn list(paths: &BTreeSet<&[u8]>) -> String {
    const NAMED: usize = 4;
    let named: Vec<String> = paths
        .iter()
        .take(NAMED)
        .map(|path| Text::from(*path).to_string())
        .collect();
    let more = paths.len().saturating_sub(NAMED);
    let named = named.join(", ");
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::super::super::places::places;
    use super::*;
    use crate::observation::Acl;

    fn remedies(fixture: Fixture) -> Vec<Remedy> {
        let observation = fixture.observation();
        let accounts = Accounts {
            groups: [(42, "ovsdb-client".to_owned())].into(),
            prefix: "ops".to_owned(),
        };
        let found = obstacles(&places(&observation), "opsd", &accounts);
        found.obstacles.into_iter().map(|one| one.remedy).collect()
    }

    fn one(path: &str, operation: Operation, mode: u32, gid: u32) -> Vec<Remedy> {
        remedies(
            Fixture::new()
                .executable("/usr/bin/d")
                .file_of(path, operation, mode, gid),
        )
    }

    #[test]
    fn what_everybody_may_is_no_obstacle() {
        assert_eq!(one("/etc/d.conf", Operation::Read, 0o644, 0), []);
        assert_eq!(one("/dev/null", Operation::Write, 0o666, 0), []);
        assert_eq!(one("/dev/null", Operation::Create, 0o020_666, 0), []);
        assert_ne!(one("/dev/sda", Operation::Create, 0o060_660, 0), []);
        assert_eq!(one("/tmp/made", Operation::Create, 0o600, 0), []);
        assert_eq!(one("/proc/self/mem", Operation::Read, 0o600, 0), []);
    }

    #[test]
    fn a_file_in_run_itself_has_to_move_and_a_directory_is_made() {
        assert_eq!(
            one("/run/persistent_cookie_secret", Operation::Create, 0o600, 0),
            [Remedy::Move {
                directive: "RuntimeDirectory",
                to: "/run/opsd".to_owned(),
            }]
        );
        let directory = |directive, name: &str| Remedy::Directory {
            directive,
            name: name.to_owned(),
        };
        assert_eq!(
            one("/var/log/d/error.log", Operation::Create, 0o640, 0),
            [directory("LogsDirectory", "d")]
        );
        assert_eq!(
            one("/run/aaa", Operation::Mkdir, 0o700, 0),
            [directory("RuntimeDirectory", "aaa")]
        );
        // What it reads there, too, is then its own.
        let fixture = Fixture::new()
            .executable("/usr/bin/d")
            .file_of("/var/lib/d/new", Operation::Create, 0o600, 0)
            .file_of("/var/lib/d/key", Operation::Read, 0o600, 0);
        assert_eq!(remedies(fixture), [directory("StateDirectory", "d")]);
    }

    #[test]
    fn who_may_connect_to_a_socket_somebody_has_to_look() {
        let connected = |path: &str| {
            remedies(
                Fixture::new()
                    .executable("/usr/bin/d")
                    .file(path, Operation::Connect, "ok"),
            )
        };
        assert_eq!(
            connected("/run/ovsdb/db.sock"),
            [Remedy::Look {
                command: "stat -c '%A %G' /run/ovsdb/db.sock".to_owned(),
            }]
        );
        assert_eq!(connected("/run/systemd/notify"), []);
        let hostile = connected("/run/x/$(reboot)");
        assert!(
            matches!(&hostile[..], [Remedy::Look { command }] if command.ends_with("'/run/x/$(reboot)'")),
            "{hostile:?}"
        );
    }

    #[test]
    fn a_group_that_may_is_joined_and_a_file_that_nobody_may_read_is_given() {
        assert_eq!(
            one(
                "/run/openvswitch/db.sock",
                Operation::Connect,
                0o140_770,
                42
            ),
            [Remedy::Group {
                name: "ovsdb-client".to_owned(),
            }]
        );
        assert_eq!(
            one("/etc/d/key.pem", Operation::Read, 0o100_600, 0),
            [Remedy::Own {
                line: "z /etc/d/key.pem 0640 - opsd".to_owned(),
            }]
        );
    }

    #[test]
    fn a_list_gives_to_groups_what_its_mask_allows() {
        let with = |mode: u32, group: u32, named: u32| {
            let mut fixture = Fixture::new().executable("/usr/bin/d").file_of(
                "/etc/d/key.pem",
                Operation::Read,
                mode,
                7,
            );
            let run = fixture.run();
            let file = run.executables.values_mut().next().unwrap();
            let file = file.files.get_mut(&Text::from("/etc/d/key.pem")).unwrap();
            let acl = Acl {
                group,
                groups: [(42, named)].into(),
                ..Acl::default()
            };
            // Once it was looked up, once not: it is one file.
            let without = file.inodes.clone();
            let listed = without.iter().map(|inode| Inode {
                acl: Some(Box::new(acl.clone())),
                ..*inode
            });
            file.inodes.extend(listed);
            remedies(fixture)
        };
        let group = |name: &str| {
            vec![Remedy::Group {
                name: name.to_owned(),
            }]
        };
        assert_eq!(with(0o100_640, 0, 4), group("ovsdb-client"));
        assert_eq!(with(0o100_640, 4, 4), group("7"));
        // The mode would say that the owning group may.
        let given = vec![Remedy::Own {
            line: "a+ /etc/d/key.pem - - - - group:opsd:r--".to_owned(),
        }];
        assert_eq!(with(0o100_640, 0, 2), given);
        // The mask takes away what the list gives.
        assert_eq!(with(0o100_600, 4, 4), given);
    }

    #[test]
    fn only_the_owner_changes_a_mode_and_root_s_home_is_closed() {
        let root = |fixture: Fixture| matches!(remedies(fixture)[..], [Remedy::Root { .. }]);
        let with = |path: &str, operation, mode| {
            Fixture::new()
                .executable("/usr/bin/d")
                .file_of(path, operation, mode, 42)
        };
        assert!(root(with("/srv/all", Operation::Chmod, 0o666)));
        assert!(root(with("/srv/all", Operation::Chown, 0o777)));
        assert!(root(with("/root/.config", Operation::Read, 0o644)));
        // Its own it may change.
        let fixture = with("/tmp/own", Operation::Create, 0o600);
        assert_eq!(
            remedies(fixture.file("/tmp/own", Operation::Chmod, "ok")),
            []
        );
    }

    #[test]
    fn one_line_gives_all_that_is_needed_of_a_path() {
        let fixture = Fixture::new()
            .executable("/usr/bin/d")
            .file_of("/etc/d", Operation::Read, 0o040_700, 0)
            .file_of("/etc/d/d.conf", Operation::Read, 0o644, 0);
        assert_eq!(
            remedies(fixture),
            [Remedy::Own {
                line: "z /etc/d 0750 - opsd".to_owned(),
            }]
        );
    }

    #[test]
    fn a_file_that_was_replaced_has_to_allow_it_before_and_after() {
        let fixture = Fixture::new()
            .executable("/usr/bin/d")
            .file_of("/etc/d.conf", Operation::Read, 0o644, 0)
            .file_of("/etc/d.conf", Operation::Read, 0o600, 0);
        assert!(matches!(remedies(fixture)[..], [Remedy::Own { .. }]));
    }

    #[test]
    fn what_belongs_to_others_needs_root() {
        for (path, operation) in [
            ("/etc/passwd", Operation::Write),
            ("/usr/lib/d/cache", Operation::Create),
            ("/proc/sys/net/ipv4/ip_forward", Operation::Write),
        ] {
            let found = one(path, operation, 0o644, 0);
            assert!(
                matches!(found[..], [Remedy::Root { .. }]),
                "{path}: {found:?}"
            );
        }
        // A name that would be another line, or another argument, is in none.
        let found = one("/etc/d\nz /etc/shadow 0666 - -", Operation::Read, 0o600, 0);
        assert!(matches!(found[..], [Remedy::Root { .. }]), "{found:?}");
    }
}
