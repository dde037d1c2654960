//! Directives about devices.

use std::collections::BTreeMap;

use harden_common::Argument;

use crate::observation::{Operation, Text};

use super::super::evidence::{Decision, Evidence, Item};
use super::super::paths::is_within;
use super::super::places::Place;
use super::Directive;
use super::kernel::Usage;
use super::word::as_word;

/// What a private /dev has (`mount_private_dev` in src/core/namespace.c, systemd 252).
pub(in super::super) const DEVICES: [&[u8]; 17] = [
    b"/dev",
    b"/dev/fd",
    b"/dev/full",
    b"/dev/hugepages",
    b"/dev/log",
    b"/dev/mqueue",
    b"/dev/null",
    b"/dev/ptmx",
    b"/dev/pts",
    b"/dev/random",
    b"/dev/shm",
    b"/dev/stderr",
    b"/dev/stdin",
    b"/dev/stdout",
    b"/dev/tty",
    b"/dev/urandom",
    b"/dev/zero",
];

/// Those of them that hold more.
pub(in super::super) const DEVICE_DIRECTORIES: [&[u8]; 4] =
    [b"/dev/hugepages", b"/dev/mqueue", b"/dev/pts", b"/dev/shm"];

/// Devices that every unit has under `DevicePolicy=closed` (`bpf_devices_allow_list_static` in
/// src/core/bpf-devices.c, systemd 252), by number: null, zero, full, random and urandom, tty and ptmx, and the
/// terminals of ptmx.
const OPEN: [(u64, Option<u64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
    (137, None),
];

/// The directives, in the order of the manual page: where a private /dev has too few devices, a list of those that were
/// used.
pub(super) fn decide(places: &[Place<'_>], usage: &Usage<'_>) -> Vec<Directive> {
    let private = private(places, usage);
    if private.value.given().is_some() {
        return vec![private];
    }
    let (reasons, items) = listed(places, usage);
    let mut directives = vec![
        private,
        Directive::word("DevicePolicy", "closed", reasons.clone()),
    ];
    if !items.is_empty() || !reasons.is_empty() {
        directives.push(Directive::list(
            "DeviceAllow",
            Decision::given_unless(reasons, items),
        ));
    }
    directives
}

/// `DeviceAllow`: each with what was done, and why no list can be made.
fn listed(places: &[Place<'_>], usage: &Usage<'_>) -> (Vec<String>, Vec<Item>) {
    // What makes a device needs `m` for it, and its number is in no fact.
    let mut reasons =
        usage.against_with_files(&[], &[Argument::MknodDevice], &["mknod"], [].into_iter());
    let mut items: BTreeMap<String, Evidence> = BTreeMap::new();
    for place in places.iter().filter(|place| is_device(place)) {
        let read = place.did(Operation::Read);
        let write = place.did(Operation::Write);
        let rights = match (read, write) {
            (true, true) => "rw",
            (true, false) => "r",
            (false, true) => "w",
            // To look at one takes none.
            (false, false) => continue,
        };
        match as_word(&place.path) {
            Some(path) => place.tell(items.entry(format!("{path} {rights}")).or_default()),
            None => reasons.push(format!("no line can hold {}", Text::from(&place.path))),
        }
    }
    let items = items.into_iter();
    (
        reasons,
        items
            .map(|(word, evidence)| Item::new(word, evidence))
            .collect(),
    )
}

/// Why nothing may be given that refuses devices, where there is no list of them. `ProtectClock=` is such: it comes with
/// a `DeviceAllow=` of its own (`unit_patch_contexts` in src/core/unit.c), beside which all others are refused.
pub(super) fn unlisted(
    (places, usage): (&[Place<'_>], &Usage<'_>),
    directives: &[Directive],
) -> Vec<String> {
    let mut policies = directives.iter().filter(|one| one.name == "DevicePolicy");
    if !policies.any(|one| one.value.given().is_none()) {
        return Vec::new();
    }
    let opened = places.iter().filter(|place| is_device(place));
    let mut opened =
        opened.filter(|place| place.did(Operation::Read) || place.did(Operation::Write));
    let reason = |place: &Place<'_>| {
        let path = Text::from(&place.path);
        format!("{path} was opened, and there is no list of devices")
    };
    let made = usage.said(Argument::MknodDevice);
    let made =
        made.then(|| "a device node was made, which takes m in a list of devices".to_owned());
    opened.next().map(reason).into_iter().chain(made).collect()
}

/// Whether it is a device that has to be allowed.
pub(in super::super) fn is_device(place: &Place<'_>) -> bool {
    let mut inodes = place.inodes.iter();
    inodes.any(|inode| {
        const S_IFMT: u32 = 0o170_000;
        const S_IFCHR: u32 = 0o020_000;
        const S_IFBLK: u32 = 0o060_000;
        let kind = inode.mode & S_IFMT;
        let (major, minor) = (
            u64::from(nix::libc::major(inode.rdev)),
            u64::from(nix::libc::minor(inode.rdev)),
        );
        let is_open = kind == S_IFCHR
            && OPEN.iter().any(|(own_major, own_minor)| {
                *own_major == major && own_minor.is_none_or(|own| own == minor)
            });
        matches!(kind, S_IFCHR | S_IFBLK) && !is_open
    })
}

/// `PrivateDevices`: it also takes `CAP_MKNOD` and `CAP_SYS_RAWIO`, and refuses `@raw-io`.
fn private(places: &[Place<'_>], usage: &Usage<'_>) -> Directive {
    let others = places.iter().filter(|place| {
        let path = &*place.path;
        let listed = path == b"/dev" && (place.listed() || place.wrote());
        let inside = DEVICE_DIRECTORIES.iter().any(|top| is_within(path, top));
        is_within(path, b"/dev") && place.found() && (listed || !inside && !DEVICES.contains(&path))
    });
    let reasons = usage.against_with_files(
        &[
            "ioperm",
            "iopl",
            "pciconfig_iobase",
            "pciconfig_read",
            "pciconfig_write",
        ],
        &[Argument::MknodDevice],
        &["mknod", "sys_rawio"],
        others.map(|place| format!("{} was used", Text::from(&place.path))),
    );
    Directive::yes("PrivateDevices", reasons)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::super::super::{Commands, DecisionOptions};
    use super::super::DropIn;
    use super::*;
    use crate::observation::Inode;

    fn decided(devices: &[(&str, Operation, u64)]) -> DropIn {
        let mut fixture = Fixture::new().executable("/usr/sbin/d").syscalls(&["read"]);
        for (path, operation, rdev) in devices {
            fixture = fixture.file_of(path, *operation, 0o020_660, 0);
            let program = fixture.run().executables.values_mut().next().unwrap();
            let file = program.files.get_mut(&Text::from(*path)).unwrap();
            let inodes = std::mem::take(&mut file.inodes).into_iter();
            file.inodes = inodes
                .map(|inode| Inode {
                    rdev: *rdev,
                    ..inode
                })
                .collect();
        }
        DropIn::decide(
            &Commands::of(fixture.observation()).unit_basis(),
            None,
            &DecisionOptions::default(),
        )
    }

    fn words(drop_in: &DropIn, name: &str) -> Option<Vec<String>> {
        let items = drop_in.given(name)?.iter();
        Some(items.map(|item| item.value.clone()).collect())
    }

    #[test]
    fn what_comes_with_a_list_of_devices_needs_one() {
        let disk = || [("/dev/sda", Operation::Read, nix::libc::makedev(8, 0))];
        let drop_in = decided(&disk());
        assert!(drop_in.given("ProtectClock").is_some());
        let mut fixture = Fixture::new().executable("/usr/sbin/d").syscalls(&["read"]);
        fixture = fixture.file_of("/dev/sda", Operation::Read, 0o060_660, 0);
        let makes = fixture.argument(Argument::MknodDevice).observation();
        let drop_in = DropIn::decide(
            &Commands::of(makes).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        assert!(drop_in.given("DevicePolicy").is_none());
        assert!(drop_in.given("ProtectClock").is_none());
        // Only made, and not opened.
        let fixture = Fixture::new().executable("/usr/sbin/d").syscalls(&["read"]);
        let makes = fixture.argument(Argument::MknodDevice).observation();
        let drop_in = DropIn::decide(
            &Commands::of(makes).unit_basis(),
            None,
            &DecisionOptions::default(),
        );
        assert!(drop_in.given("ProtectClock").is_none());
    }

    #[test]
    fn a_device_of_its_own_is_listed_with_what_was_done() {
        let drop_in = decided(&[
            ("/dev/net/tun", Operation::Read, nix::libc::makedev(10, 200)),
            (
                "/dev/net/tun",
                Operation::Write,
                nix::libc::makedev(10, 200),
            ),
            ("/dev/rtc0", Operation::Read, nix::libc::makedev(254, 0)),
            ("/dev/null", Operation::Write, nix::libc::makedev(1, 3)),
        ]);
        assert_eq!(words(&drop_in, "PrivateDevices"), None);
        assert_eq!(words(&drop_in, "DevicePolicy").unwrap(), ["closed"]);
        assert_eq!(
            words(&drop_in, "DeviceAllow").unwrap(),
            ["/dev/net/tun rw", "/dev/rtc0 r"]
        );
    }

    #[test]
    fn a_private_dev_needs_no_list_and_a_strange_name_is_on_none() {
        let drop_in = decided(&[("/dev/null", Operation::Write, nix::libc::makedev(1, 3))]);
        assert!(words(&drop_in, "PrivateDevices").is_some());
        assert!(
            drop_in
                .directives
                .iter()
                .all(|one| one.name != "DevicePolicy")
        );
        let drop_in = decided(&[("/dev/a b", Operation::Read, nix::libc::makedev(10, 1))]);
        assert_eq!(words(&drop_in, "DevicePolicy"), None);
        assert_eq!(words(&drop_in, "DeviceAllow"), None);
    }
}
