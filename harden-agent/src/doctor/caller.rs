//! What the calling user may do.

use caps::Capability;
use serde::Serialize;

use super::{check::Check, proc};

/// This process.
#[derive(Debug, Serialize)]
pub(super) struct Caller {
    /// Its effective user.
    effective_user: u32,
    /// Its effective capabilities.
    capabilities: Vec<String>,
    #[serde(skip)]
    set: u64,
}

/// Reads this process's own status.
pub(super) fn examine() -> Caller {
    let set = proc::status("self").unwrap_or_default().effective;
    Caller {
        effective_user: nix::unistd::geteuid().as_raw(),
        capabilities: proc::capability_names(set),
        set,
    }
}

impl Caller {
    /// Whether BPF programs may be loaded: `bpf_capable` and `perfmon_capable` (include/linux/capability.h).
    pub(super) fn check(&self) -> Check {
        const NAME: &str = "privileges";
        let needed = [
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
            Capability::CAP_SYS_ADMIN,
        ];
        let has = needed.map(|capability| proc::has(self.set, capability));
        let missing: Vec<String> = needed
            .iter()
            .zip(has)
            .filter(|(_, has)| !has)
            .map(|(capability, _)| capability.to_string())
            .collect();
        let user = format!("effective user {}", self.effective_user);
        let [bpf, perfmon, admin] = has;
        if missing.is_empty() {
            Check::ok(
                NAME,
                format!("{user}, with CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN"),
            )
        } else if admin || (bpf && perfmon) {
            Check::ok(
                NAME,
                format!("{user}, without {}, which suffices", missing.join(", ")),
            )
        } else {
            Check::refused(NAME, format!("{user}, without {}", missing.join(", ")))
                .advice("run it as root: sudo harden doctor; in a container, on the host")
        }
    }
}
