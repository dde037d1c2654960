//! What Firejail does to the file system under every profile, and the lines that take it back
//! where the program could not live with it (`src/firejail/fs.c`, `fs_var.c`).

use serde::Serialize;

use crate::observation::{Operation, Text};

use super::super::basis::Basis;
use super::super::evidence::{Evidence, Item};
use super::super::paths::is_within;
use super::super::places::Places;
use super::super::tmp;
use super::super::warnings::{Id, Warning};

/// Lines that lift what Firejail does unasked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Defaults {
    /// `allow-debuggers`: without it /boot and the kernel's modules and symbols are hidden.
    pub allow_debuggers: Option<Evidence>,
    /// `keep-var-tmp`: without it /var/tmp is empty and gone afterwards.
    pub keep_var_tmp: Option<Evidence>,
    /// `writable-var-log`: without it /var/log is empty and gone afterwards.
    pub writable_var_log: Option<Evidence>,
    /// `noblacklist`: parts of /sys that are hidden otherwise.
    pub noblacklist: Vec<Item>,
    /// What no line can take back.
    pub warnings: Vec<Warning>,
}

/// Directories over which Firejail always mounts an empty one (`fs_var_lib`, `fs_var_cache`,
/// `fs_var_lock`).
pub(in super::super) const EMPTIED: [&[u8]; 8] = [
    b"/run/lock",
    b"/var/lock",
    b"/var/cache/apache2",
    b"/var/cache/lighttpd",
    b"/var/lib/dhcp",
    b"/var/lib/nginx",
    b"/var/lib/snmp",
    b"/var/lib/sudo",
];

/// What is always hidden (`fs_proc_sys_dev_boot`).
pub(in super::super) const HIDDEN: [&[u8]; 25] = [
    b"/dev/port",
    b"/proc/bus",
    b"/proc/irq",
    b"/proc/kallsyms",
    b"/proc/kcore",
    b"/proc/kmem",
    b"/proc/mem",
    b"/proc/sched_debug",
    b"/proc/sys/efi/vars",
    b"/proc/sys/fs/binfmt_misc",
    b"/proc/sys/kernel/core_pattern",
    b"/proc/sys/kernel/hotplug",
    b"/proc/sys/kernel/modprobe",
    b"/proc/sys/security",
    b"/proc/sys/vm/panic_on_oom",
    b"/proc/sysrq-trigger",
    b"/proc/timer_list",
    b"/proc/timer_stats",
    b"/selinux",
    b"/sys/firmware",
    b"/sys/hypervisor",
    b"/sys/kernel/debug",
    b"/sys/kernel/uevent_helper",
    b"/sys/kernel/vmcoreinfo",
    b"/sys/power",
];

/// What is hidden unless debuggers are allowed.
pub(in super::super) const KERNEL: [&[u8]; 5] = [
    b"/boot",
    b"/lib/modules",
    b"/usr/lib/debug",
    b"/usr/lib/modules",
    b"/usr/src/linux",
];

/// Decides on Firejail's defaults.
pub(super) fn decide(basis: &Basis<'_>) -> Defaults {
    let places = basis.places();
    let mut defaults = Defaults {
        allow_debuggers: used(&KERNEL, places),
        writable_var_log: used(&[b"/var/log"], places),
        keep_var_tmp: used(&[b"/var/tmp"], places)
            .filter(|_| tmp::decide(b"/var/tmp", basis).given().is_none()),
        ..Defaults::default()
    };
    for directory in ["/sys/fs", "/sys/module"] {
        if let Some(evidence) = used(&[directory.as_bytes()], places) {
            defaults.noblacklist.push(Item::new(directory, evidence));
        }
    }
    if let Some(evidence) = used(&[b"/sys/fs", b"/sys/kernel/tracing"], places) {
        defaults.warnings.push(Warning::new(Id::SYS_MOUNTS, format!(
            "what is mounted below /sys was used ({evidence}): Firejail mounts a new /sys, without \
             the control groups, bpf and tracing file systems"
        )));
    }
    for directory in EMPTIED {
        let lived_with = tmp::decide(directory, basis);
        if let (Some(evidence), None) = (used(&[directory], places), lived_with.given()) {
            defaults.warnings.push(Warning::new(Id::EMPTIED_DIRECTORY, format!(
                "Firejail always puts an empty directory over {}, whose content was used or left \
                 behind ({evidence}): what is kept there will be gone after each run",
                Text::from(directory)
            )));
        }
    }
    for path in HIDDEN {
        if let Some(evidence) = used(&[path], places) {
            defaults.warnings.push(Warning::new(
                Id::HIDDEN_PATH,
                format!(
                    "{} was used ({evidence}), which Firejail hides under every profile",
                    Text::from(path)
                ),
            ));
        }
    }
    tunables(&mut defaults.warnings, places);
    defaults
}

/// Warns of settings of the kernel that were written: the first by name, the rest by number.
fn tunables(warnings: &mut Vec<Warning>, places: &Places<'_>) {
    const NAMED: usize = 20;
    let tunable = |path: &[u8]| is_within(path, b"/proc/sys") || is_within(path, b"/sys");
    let mut written = places
        .touching(&[b"/proc/sys", b"/sys"])
        .filter(|place| tunable(&place.path) && place.wrote());
    for place in written.by_ref().take(NAMED) {
        warnings.push(Warning::new(
            Id::TUNABLE,
            format!(
                "{} was written ({}), and /sys and /proc/sys are read-only under every Firejail \
             profile",
                Text::from(&place.path),
                place.evidence()
            ),
        ));
    }
    match written.count() {
        0 => {}
        more => warnings.push(Warning::new(
            Id::TUNABLE,
            format!("so were {more} more paths below /sys and /proc/sys"),
        )),
    }
}

/// What was seen of any use of `directories`, beyond a look at the directory itself.
fn used(directories: &[&[u8]], places: &Places<'_>) -> Option<Evidence> {
    let mut evidence: Option<Evidence> = None;
    for place in places.touching(directories) {
        let inside = directories.iter().any(|directory| {
            place.touches(directory)
                && (place.path != *directory
                    || place
                        .done()
                        .any(|operation| !matches!(operation, Operation::Stat | Operation::Access)))
        });
        if inside && place.succeeded() {
            place.tell(evidence.get_or_insert_default());
        }
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;

    fn decided(path: &str, operation: Operation) -> Defaults {
        let observation = Fixture::new()
            .executable("/usr/sbin/d")
            .file(path, operation, "ok")
            .observation();
        decide(&Basis::of(&observation))
    }

    #[test]
    fn what_firejail_hides_is_brought_back_where_it_was_used() {
        assert!(
            decided("/var/log/d.log", Operation::Create)
                .writable_var_log
                .is_some()
        );
        assert!(
            decided("/var/tmp/x", Operation::Read)
                .keep_var_tmp
                .is_some()
        );
        assert!(
            decided("/boot/vmlinuz", Operation::Read)
                .allow_debuggers
                .is_some()
        );
        assert_eq!(
            decided("/sys/fs/cgroup", Operation::Read).noblacklist.len(),
            1
        );
        assert_eq!(decided("/srv/x", Operation::Read), Defaults::default());
        assert_eq!(decided("/var/log", Operation::Stat), Defaults::default());
    }

    #[test]
    fn what_cannot_be_brought_back_is_told() {
        for (path, operation) in [
            ("/var/lib/nginx/body", Operation::Mkdir),
            ("/proc/kallsyms", Operation::Read),
            ("/proc/sys/net/core/somaxconn", Operation::Write),
            ("/sys/class/leds/x", Operation::Write),
        ] {
            assert_eq!(decided(path, operation).warnings.len(), 1, "{path}");
        }
    }
}
