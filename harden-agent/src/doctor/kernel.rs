//! Which kernel, and how it preempts.

use serde::Serialize;

use super::check::Check;
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
        preemption: Preemption::of_this_kernel(),
        release: host.kernel,
        architecture: host.architecture,
    }
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
