//! Which file systems and container storage keep `security.capability`, where it cannot be tried.

use serde::Serialize;

use super::check::Check;

/// Whether capabilities can be set on a file system's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Support {
    /// Yes.
    Yes,
    /// No.
    No,
    /// It depends on what lies below, or nobody knows.
    Unknown,
}

/// What is known of the file system called `name` in mountinfo, and why.
pub(super) fn known(name: &str) -> (Support, &'static str) {
    match name {
        // Each has a handler for `security.` (fs/*/xattr_security.c, fs/xfs/xfs_xattr.c, …).
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "jfs" | "ubifs" | "bcachefs"
        | "zfs" => (Support::Yes, "it stores security.capability"),
        // CONFIG_TMPFS_XATTR, commit b09e0fa4b4ea (3.0); devtmpfs is a tmpfs where CONFIG_TMPFS is set.
        "tmpfs" | "devtmpfs" => (
            Support::Yes,
            "it stores security.capability with CONFIG_TMPFS_XATTR",
        ),
        // Made once and read since: what the image holds is honoured.
        "squashfs" | "erofs" => (
            Support::No,
            "it is read-only: capabilities come with the image, as mksquashfs writes them",
        ),
        // Documentation/filesystems/overlayfs.rst: extended attributes are those of the upper layer.
        "overlay" => (
            Support::Unknown,
            "the file system of the upper layer decides",
        ),
        "aufs" => (Support::Unknown, AUFS),
        // RFC 8276 has `user.` attributes only.
        "nfs" | "nfs4" => (Support::No, "NFS carries no security.capability"),
        "cifs" | "smb3" => (Support::No, "SMB carries no security.capability"),
        "vfat" | "msdos" | "exfat" | "iso9660" | "udf" => {
            (Support::No, "it has no extended attributes")
        }
        "ramfs" => (Support::No, "ramfs has no extended attributes; tmpfs has"),
        "proc" | "sysfs" | "devpts" | "cgroup" | "cgroup2" | "debugfs" | "tracefs"
        | "securityfs" | "bpf" | "mqueue" | "configfs" | "pstore" => {
            (Support::No, "its files are the kernel's own")
        }
        "9p" | "virtiofs" => (Support::Unknown, "the host decides"),
        _ if name.starts_with("fuse") => (Support::Unknown, "the FUSE server decides"),
        _ => (Support::Unknown, "not known to harden"),
    }
}

/// Why capabilities do not work in a container on aufs.
pub(super) const AUFS: &str = "aufs keeps capabilities only if the kernel was built with CONFIG_AUFS_XATTR=y, which most were not: setcap fails with 'Not supported', and what an image holds is dropped. Use the storage driver overlay2 or btrfs, or such a kernel";

/// A container engine's way to store images.
#[derive(Debug, Serialize)]
pub(super) struct StorageDriver {
    driver: &'static str,
    file_capabilities: Support,
    why: &'static str,
}

const fn driver(
    driver: &'static str,
    file_capabilities: Support,
    why: &'static str,
) -> StorageDriver {
    StorageDriver {
        driver,
        file_capabilities,
        why,
    }
}

/// The drivers of Docker (docs.docker.com/engine/storage/drivers) and Podman (containers-storage.conf(5)).
pub(super) const STORAGE_DRIVERS: &[StorageDriver] = &[
    driver(
        "overlay2",
        Support::Yes,
        "the upper layer is on a local file system that stores them",
    ),
    driver("overlay", Support::Yes, "as overlay2"),
    driver("btrfs", Support::Yes, "btrfs stores them"),
    driver("zfs", Support::Yes, "ZFS stores them"),
    // moby/moby issue 6980: the same image fails on aufs and works on devicemapper.
    driver(
        "devicemapper",
        Support::Yes,
        "each layer is an ext4 or XFS of its own",
    ),
    driver(
        "vfs",
        Support::Unknown,
        "the file system of the directory decides",
    ),
    driver(
        "fuse-overlayfs",
        Support::Unknown,
        "the FUSE server and the file system below decide",
    ),
    // moby/moby issues 6980 and 20658; microservices-demo issue 488 for the option.
    driver("aufs", Support::Unknown, AUFS),
];

/// One line for all of them.
pub(super) fn check() -> Check {
    let which = |support| {
        let found = STORAGE_DRIVERS
            .iter()
            .filter(|driver| driver.file_capabilities == support && driver.driver != "aufs");
        found
            .map(|driver| driver.driver)
            .collect::<Vec<_>>()
            .join(", ")
    };
    Check::ok(
        "container storage",
        format!(
            "file capabilities work on {}; on aufs only with CONFIG_AUFS_XATTR=y in the kernel; on {} it depends on what is below",
            which(Support::Yes),
            which(Support::Unknown),
        ),
    )
}
