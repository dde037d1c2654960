//! What the machine is, as far as a file has conditions on it.

use std::path::{Path, PathBuf};

use crate::observation::Observation;

/// The machine on which the container runs.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// `uname -m`, if it is known.
    pub(super) architecture: Option<String>,
    /// `uname -r`
    pub(super) kernel: Option<String>,
    /// The directory of the bundle, from which `root.path` is.
    pub(super) bundle: Option<PathBuf>,
    /// Whether a file is there.
    exists: Option<fn(&Path) -> bool>,
}

impl Host {
    /// The machine of an observation, if its runs were on machines of one kind.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        let only = |mut values: Vec<String>| {
            values.sort();
            values.dedup();
            values.pop().filter(|_| values.is_empty())
        };
        let hosts = || observation.runs.values().map(|run| &run.host);
        Self {
            architecture: only(hosts().map(|host| host.architecture.to_string()).collect()),
            kernel: only(hosts().map(|host| host.kernel.to_string()).collect()),
            bundle: None,
            exists: None,
        }
    }

    /// The same, with the bundle in a directory.
    #[must_use]
    pub fn with_bundle(self, directory: PathBuf, exists: fn(&Path) -> bool) -> Self {
        Self {
            bundle: Some(directory),
            exists: Some(exists),
            ..self
        }
    }

    /// Whether the source of a bind mount is known to be there.
    pub(super) fn has(&self, source: &str) -> bool {
        let whole = match &self.bundle {
            Some(bundle) => bundle.join(source),
            None => source.into(),
        };
        self.exists.is_some_and(|exists| exists(&whole))
    }

    /// As libseccomp calls its architecture.
    pub(super) fn scmp(&self) -> Option<&'static str> {
        Some(self.names()?.1)
    }

    /// As Go calls it, whose names Docker and Podman use.
    pub(super) fn go(&self) -> Option<&'static str> {
        Some(self.names()?.0)
    }

    fn names(&self) -> Option<(&'static str, &'static str)> {
        Some(match self.architecture.as_deref()? {
            "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
            "i386" | "i586" | "i686" => ("386", "SCMP_ARCH_X86"),
            "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
            "armv6l" | "armv7l" => ("arm", "SCMP_ARCH_ARM"),
            "ppc64le" => ("ppc64le", "SCMP_ARCH_PPC64LE"),
            "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
            "s390x" => ("s390x", "SCMP_ARCH_S390X"),
            _ => return None,
        })
    }

    /// Whether its kernel is not older than `least`, such as `4.8`.
    pub(super) fn has_kernel(&self, least: &str) -> Option<bool> {
        let numbers = |version: &str| {
            let mut numbers = version.split(|one: char| !one.is_ascii_digit());
            let mut next = || numbers.next()?.parse::<u32>().ok();
            Some((next()?, next()?))
        };
        Some(numbers(self.kernel.as_deref()?)? >= numbers(least)?)
    }
}
