//! Which kernel, and how it preempts.

use serde::Serialize;

use super::check::Check;
use crate::{observation::Text, probe::Preemption, run::host};

/// The running kernel.
#[derive(Debug, Serialize)]
pub struct Kernel {
    release: Text,
    architecture: Text,
    /// Absent where nothing tells.
    preemption: Option<Preemption>,
}

/// Asks the kernel.
pub fn examine() -> Kernel {
    let host = host::this();
    Kernel {
        release: host.kernel,
        architecture: host.architecture,
        preemption: Preemption::of_this_kernel(),
    }
}

impl Kernel {
    /// What there is.
    pub fn check(&self) -> Check {
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
