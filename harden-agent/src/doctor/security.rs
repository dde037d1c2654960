//! Lockdown and the active security modules, which securityfs tells.

use std::{fs, io::Read};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use serde::Serialize;

use super::check::Check;

/// What securityfs tells; absent without it.
#[derive(Debug, Serialize)]
pub(super) struct Security {
    /// `none`, `integrity` or `confidentiality`.
    lockdown: Option<String>,
    /// Active modules, in order.
    lsm: Option<Vec<String>>,
    /// Whether it is mounted where all look for it.
    securityfs_mounted: bool,
}

/// Reads /sys/kernel/security, or a securityfs of our own that is mounted nowhere.
pub(super) fn examine() -> Security {
    Security {
        lockdown: read("lockdown").and_then(|text| lockdown(&text)),
        lsm: read("lsm").map(|text| text.trim().split(',').map(super::safe).collect()),
        securityfs_mounted: fs::metadata("/sys/kernel/security/lsm").is_ok(),
    }
}

impl Security {
    /// What matters to a recording.
    pub(super) fn checks(&self) -> [Check; 2] {
        [self.lockdown(), self.lsm()]
    }

    fn lockdown(&self) -> Check {
        const NAME: &str = "lockdown";
        match self.lockdown.as_deref() {
            None => Check::ok(NAME, "not known")
                .advice("as root, with a kernel that has securityfs, it can be read"),
            // LOCKDOWN_BPF_READ_KERNEL is of the second level (include/linux/security.h).
            Some("confidentiality") => Check::warning(
                NAME,
                "confidentiality: programs may not read the kernel's memory, where the paths are",
            )
            .advice("boot with lockdown=integrity to record paths"),
            Some("integrity") => Check::ok(NAME, "integrity: some kernels refuse typed hooks then"),
            Some(mode) => Check::ok(NAME, mode),
        }
    }

    fn lsm(&self) -> Check {
        const NAME: &str = "lsm";
        let Some(modules) = &self.lsm else {
            return Check::ok(NAME, "not known")
                .advice("as root, with a kernel that has securityfs, it can be read");
        };
        let says = modules.join(",");
        if modules.iter().any(|module| module == "bpf") {
            return Check::ok(NAME, says);
        }
        Check::ok(
            NAME,
            format!("{says}, without bpf: LSM hooks are never called"),
        )
        .advice(format!("for them, boot with lsm={says},bpf"))
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/sys/kernel/security/{name}"))
        .ok()
        .or_else(|| unmounted(name).ok())
}

/// Reads from a securityfs that is mounted nowhere and gone with its descriptor (fsmount(2), 5.2).
fn unmounted(name: &str) -> std::io::Result<String> {
    let context = fsopen("securityfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let tree = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let file = openat(&tree, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    fs::File::from(file).take(4096).read_to_string(&mut text)?;
    Ok(text)
}

/// `none [integrity] confidentiality`: the one in brackets.
fn lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(super::safe(mode))
}

#[cfg(test)]
mod tests {
    use super::lockdown;

    #[test]
    fn the_mode_is_in_brackets() {
        assert_eq!(
            lockdown("none [integrity] confidentiality\n").as_deref(),
            Some("integrity")
        );
        assert_eq!(lockdown("[none"), None);
    }
}
