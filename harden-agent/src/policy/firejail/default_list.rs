//! The calls that Firejail refuses by itself. systemd has no such list of its own: there the same calls are refused by
//! name.

use std::collections::BTreeSet;

use super::super::evidence::{Evidence, Item};

/// What is dangerous and was not seen, as far as the sandbox has the name: it warns of others.
pub(in crate::policy) fn unseen(
    seen: &BTreeSet<&str>,
    is_known: impl Fn(&str) -> bool,
) -> Vec<Item> {
    let names = REFUSED
        .iter()
        .filter(|name| !seen.contains(**name) && is_known(name));
    names
        .map(|name| Item::new(*name, Evidence::default()))
        .collect()
}

/// Whether Firejail refuses the call by itself.
pub(in crate::policy) fn is_refused(call: &str) -> bool {
    REFUSED.binary_search(&call).is_ok()
}

/// What Firejail 0.9.72 refuses by itself (`@default` in src/lib/syscall.c, its groups resolved), as far as Linux has
/// the call on any architecture that harden observes.
pub(in crate::policy) const REFUSED: [&str; 77] = [
    "_sysctl",
    "acct",
    "add_key",
    "adjtimex",
    "afs_syscall",
    "bdflush",
    "bpf",
    "break",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "getpmsg",
    "init_module",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_setup",
    "io_submit",
    "ioperm",
    "iopl",
    "ioprio_set",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "mount",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_writev",
    "prof",
    "putpmsg",
    "query_module",
    "reboot",
    "remap_file_pages",
    "request_key",
    "security",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "sgetmask",
    "ssetmask",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "tuxcall",
    "ulimit",
    "umount",
    "umount2",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vm86",
    "vmsplice",
    "vserver",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(REFUSED.is_sorted());
    }
}
