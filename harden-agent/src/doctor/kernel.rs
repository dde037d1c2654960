//! Which kernel, and how it preempts.

use std::fs;

use serde::Serialize;

use super::{ask, check::Check, safe};
use crate::{machine::host, observation::Text, probe::Preemption};

/// The running kernel.
#[derive(Debug, Serialize)]
pub(super) struct Kernel {
    release: Text,
    architecture: Text,
    /// Absent where nothing tells.
    preemption: Option<Preemption>,
}

/// Asks the kernel.
pub(super) fn examine() -> Kernel {
    let host = host::this();
    Kernel {
        preemption: Preemption::of_this_kernel(&configuration(&host.kernel)),
        release: host.kernel,
        architecture: host.architecture,
    }
}

/// The kernel's configuration, from where distributions leave it.
fn configuration(release: &Text) -> String {
    let boot = format!("/boot/config-{}", safe(release.as_bytes()));
    fs::read_to_string(boot)
        .ok()
        .or_else(|| Some(ask::ask("gzip", &["-dc", "/proc/config.gz"]).ok()?.output))
        .unwrap_or_default()
}

impl Kernel {
    /// What there is.
    pub(super) fn check(&self) -> Check {
        let preemption = self.preemption.map_or("unknown", Preemption::name);
        Check::ok(
            "kernel",
            format!(
                "{} {}, preemption {preemption}",
                self.release, self.architecture
            ),
        )
    }
}
