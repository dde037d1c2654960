//! Which directories programs share, and which are one program's own.
//!
//! A rule that mounts (`whitelist`, `read-write`, `ReadWritePaths=`) holds on to the inode that it finds at the start. A
//! file that somebody else replaces later, by rename(2) as logrotate, dpkg and editors do, is then the old one for ever.
//! So a rule names the directory that holds the file, where that is a program's own.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::paths::{is_within, parent};
use super::places::Place;

/// Directories that programs share, in order. What lies right below one may be a program's own.
pub(super) const SHARED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/cron.d",
    "/etc/pam.d",
    "/etc/sudoers.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/home",
    "/lib",
    "/lib/aarch64-linux-gnu",
    "/lib/i386-linux-gnu",
    "/lib/modules",
    "/lib/systemd",
    "/lib/systemd/system",
    "/lib/x86_64-linux-gnu",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/nix",
    "/nix/store",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/run/lock",
    "/run/systemd",
    "/run/user",
    "/sbin",
    "/snap",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/games",
    "/usr/include",
    "/usr/lib",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/i386-linux-gnu",
    "/usr/lib/modules",
    "/usr/lib/python3",
    "/usr/lib/python3/dist-packages",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/local/libexec",
    "/usr/local/sbin",
    "/usr/local/share",
    "/usr/sbin",
    "/usr/share",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/lib/dpkg",
    "/var/lib/dpkg/info",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/spool",
    "/var/spool/mail",
    "/var/tmp",
    "/var/www",
];

/// Directories with a file or directory for each of many owners, who come and go.
const MANY_OWNERS: [&str; 5] = [
    "/var/log",
    "/var/mail",
    "/var/spool/cron/atjobs",
    "/var/spool/cron/crontabs",
    "/var/spool/mail",
];

/// Where a web server's sites lie side by side: to who serves several of them, the next is one more.
pub(super) const SITES: &[u8] = b"/var/www";

/// Where siblings that are written make more of them likely. Below others, such as /opt and /etc, one directory of a program
/// is its data and the next one its code.
const DATA: [&[u8]; 3] = [b"/run", b"/srv", b"/var"];

/// Whether programs share `directory`.
pub(super) fn is_shared(directory: &[u8]) -> bool {
    let by_name = |one: &&str| one.as_bytes().cmp(directory);
    SHARED.binary_search_by(by_name).is_ok()
}

/// The directory of many owners right above which `path` lies: the next file there is another's.
pub(super) fn many_owners(path: &[u8]) -> Option<&[u8]> {
    let found = MANY_OWNERS
        .iter()
        .find(|top| parent(path) == top.as_bytes());
    found.map(|top| &path[..top.len()])
}

/// The outermost directory above `path` that is a program's own: right below those that programs share.
pub(super) fn own_directory(path: &[u8]) -> Option<&[u8]> {
    let up = std::iter::successors(Some(parent(path)), |at| Some(parent(at)));
    up.take_while(|at| !is_shared(at)).last()
}

/// What a rule has to name for what is changed at `path`: its directory, if it is a file that others may replace, and
/// programs do not share the directory.
pub(super) fn lasting<'p>(place: &Place<'_>, path: &'p [u8]) -> &'p [u8] {
    if *path != *place.path || place.is_directory() {
        return path;
    }
    let above = parent(path);
    match many_owners(path) {
        Some(top) => top,
        None if is_shared(above) => path,
        None => above,
    }
}

/// The directory of which several that lie side by side were written: the next may be another of them.
pub(super) fn siblings<'r>(roots: impl Iterator<Item = &'r [u8]>) -> Vec<Vec<u8>> {
    let mut above: BTreeMap<&[u8], usize> = BTreeMap::new();
    for root in roots.filter(|root| DATA.iter().any(|top| is_within(root, top))) {
        *above.entry(parent(root)).or_default() += 1;
    }
    let several = above.into_iter().filter(|(_, count)| *count > 1);
    let own = several.filter(|(directory, _)| !is_shared(directory));
    own.map(|(directory, _)| directory.to_vec()).collect()
}

/// Removes every path that lies below another, and gives its evidence to that.
pub(super) fn outermost(roots: &mut BTreeMap<Vec<u8>, Evidence>) {
    let mut kept: BTreeMap<Vec<u8>, Evidence> = BTreeMap::new();
    // A directory comes before all that is in it.
    for (root, evidence) in std::mem::take(roots) {
        let mut up = std::iter::successors(Some(root.as_slice()), |path| {
            (*path != b"/").then(|| parent(path))
        });
        let above = up.find(|path| kept.contains_key(*path)).map(<[u8]>::to_vec);
        kept.entry(above.unwrap_or(root))
            .or_default()
            .merge(&evidence);
    }
    *roots = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_shared_directory_is_somebody_s_own() {
        let own = |path: &'static str| own_directory(path.as_bytes());
        assert_eq!(own("/srv/docs/a/1.html"), Some(&b"/srv/docs"[..]));
        assert_eq!(own("/var/lib/d/state"), Some(&b"/var/lib/d"[..]));
        assert_eq!(own("/srv/1.html"), None);
        assert_eq!(own("/var/lib/d"), None);
        assert_eq!(own("/"), None);
        assert_eq!(many_owners(b"/var/log/x.log"), Some(&b"/var/log"[..]));
        assert_eq!(many_owners(b"/var/log/d/x.log"), None);
    }

    #[test]
    fn shared_directories_are_in_order() {
        assert!(SHARED.is_sorted());
    }

    #[test]
    fn what_is_written_side_by_side_is_one_directory() {
        let found = |roots: &[&'static str]| siblings(roots.iter().map(|root| root.as_bytes()));
        assert_eq!(
            found(&["/var/spool/d/in", "/var/spool/d/out"]),
            [b"/var/spool/d"]
        );
        assert!(found(&["/var/lib/a", "/var/lib/b"]).is_empty());
        assert!(found(&["/opt/d/data", "/opt/d/logs"]).is_empty());
    }
}
