//! The kernels that everything is tried on: Debian's own, built for virtual machines.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{apt::Apt, cpio::Archive};
use crate::{process, workspace};

/// A kernel that Debian has.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What it is asked for by.
    pub name: &'static str,
    /// The release of Debian that it comes from.
    pub release: &'static str,
}

/// All of them, oldest first.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "5.10",
        release: "bullseye",
    },
    Kernel {
        name: "6.1",
        release: "bookworm",
    },
    Kernel {
        name: "6.12",
        release: "trixie",
    },
    Kernel {
        name: "newest",
        release: "sid",
    },
];

/// The modules that the guest loads, in this order. What is built in, or not known yet, is left out.
const MODULES: &[&str] = &[
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "overlay",
    "fuse",
    "tun",
    "veth",
    "dummy",
];

impl Kernel {
    fn directory(&self) -> PathBuf {
        workspace::vm().join("kernels").join(self.name)
    }

    /// Has it been fetched?
    pub fn is_here(&self) -> bool {
        self.directory().is_dir()
    }

    /// Fetches and unpacks it, unless that is done.
    pub fn fetch(&self) -> Result<Unpacked> {
        let directory = self.directory();
        if !self.is_here() {
            println!(
                "vm: fetching kernel {} from Debian {}",
                self.name, self.release
            );
            self.unpack(&directory)
                .with_context(|| format!("could not get the kernel of Debian {}", self.release))?;
        }
        Unpacked::find(&directory)
    }

    fn unpack(&self, directory: &Path) -> Result<()> {
        let apt = Apt::new(self.release)?;
        let mut packages = apt.brings("linux-image-cloud-amd64")?;
        packages.retain(|name| is_kernel(name));
        apt.unpack(&packages, directory)
    }
}

/// Does this package hold a kernel or its modules? Newer releases of Debian have one for each; the
/// name without a version brings them all.
fn is_kernel(package: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-"]
        .iter()
        .filter_map(|prefix| package.strip_prefix(prefix))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A kernel on this machine.
pub struct Unpacked {
    /// What QEMU starts.
    pub image: PathBuf,
    modules: PathBuf,
}

impl Unpacked {
    fn find(directory: &Path) -> Result<Self> {
        let modules = ["lib/modules", "usr/lib/modules"].map(|place| directory.join(place));
        let modules = modules.iter().find_map(|place| first(place, ""));
        let modules =
            modules.with_context(|| format!("no modules in {}: remove it", directory.display()))?;
        let image =
            first(&directory.join("boot"), "vmlinuz").or_else(|| first(&modules, "vmlinuz"));
        let image =
            image.with_context(|| format!("no kernel in {}: remove it", directory.display()))?;
        Ok(Self { image, modules })
    }

    /// Puts the modules into the archive, by number in the order of loading.
    pub fn add_modules(&self, archive: &mut Archive) -> Result<()> {
        let all = self.modules.join("kernel");
        let found = process::output(Command::new("find").arg(&all).args(["-name", "*.ko*"]))?;
        for (number, name) in MODULES.iter().enumerate() {
            let Some(file) = found.lines().find(|file| is_module(file, name)) else {
                continue;
            };
            let content = if Path::new(file)
                .extension()
                .is_some_and(|ending| ending == "xz")
            {
                let mut xz = Command::new("xz");
                let output = xz.args(["--decompress", "--stdout", file]).output();
                output.context("xz cannot be run")?.stdout
            } else {
                fs::read(file)?
            };
            archive.file(format!("/modules/{number:02}-{name}.ko"), 0o644, &content);
        }
        Ok(())
    }
}

fn is_module(file: &str, name: &str) -> bool {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(".ko"))
}

/// The first entry of a directory whose name begins so.
fn first(directory: &Path, prefix: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let entry = entries.find(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    Some(entry?.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_with_a_version_hold_the_kernel() {
        assert!(is_kernel("linux-image-5.10.0-32-cloud-amd64"));
        assert!(is_kernel("linux-modules-7.2.13+deb14-cloud-amd64"));
        assert!(!is_kernel("linux-image-cloud-amd64"));
        assert!(!is_kernel("linux-base"));
    }

    #[test]
    fn a_module_is_found_by_its_whole_name() {
        assert!(is_module("/x/virtio.ko", "virtio"));
        assert!(is_module("/x/overlay.ko.xz", "overlay"));
        assert!(!is_module("/x/virtio_ring.ko", "virtio"));
    }
}
