//! What the kernel granted root for a capability, and not for its mode.

use crate::observation::Observation;

use super::super::basis::Basis;
use super::super::processes;
use super::{Obstacle, Remedy};

/// A process with one of these can get the others, or the machine: an account with it is root by another name
/// (capabilities(7), "Notes to kernel developers"; `CAP_SYS_ADMIN` is "the new root").
const AS_GOOD_AS_ROOT: [&str; 9] = [
    "bpf",
    "mac_admin",
    "mac_override",
    "mknod",
    "setfcap",
    "sys_admin",
    "sys_module",
    "sys_ptrace",
    "sys_rawio",
];
/// What a process needs to become another user, or to give files to one. If that is one user, systemd starts the
/// program as it, and nothing is left to do.
const IDENTITY: [&str; 4] = ["chown", "setgid", "setpcap", "setuid"];
/// About files and their modes: these are replayed one by one.
const FILES: [&str; 4] = ["dac_override", "dac_read_search", "fowner", "fsetid"];

pub(super) fn obstacles(basis: &Basis<'_>) -> Vec<Obstacle> {
    let needed = &basis.needs().needed;
    let has_kill = needed.keys().any(|name| name.as_str() == "kill");
    let signals = signals(basis.observation()).filter(|_| !has_kill);
    let asked = needed
        .iter()
        .filter(|(name, need)| !FILES.contains(&name.as_str()) && !need.is_brought())
        .map(|(name, need)| {
            let name = name.as_str();
            let remedy = if IDENTITY.contains(&name) {
                Remedy::User
            } else if AS_GOOD_AS_ROOT.contains(&name) {
                Remedy::Root {
                    reason: "with this capability an account is as good as root, and less watched",
                }
            } else {
                Remedy::Capability {
                    name: format!("CAP_{}", name.to_ascii_uppercase()),
                }
            };
            let asked = need.asked().map(|asked| format!(", {asked}"));
            Obstacle {
                remedy,
                what: format!("the capability {name}{}", asked.unwrap_or_default()),
                evidence: need.evidence.clone(),
            }
        });
    asked.chain(signals).collect()
}

/// Root may signal root's processes without a capability; another user may not (kernel/signal.c, `kill_ok_by_cred`).
fn signals(observation: &Observation) -> Option<Obstacle> {
    let evidence = processes::senders(observation);
    (!evidence.executables.is_empty()).then(|| Obstacle {
        remedy: Remedy::Capability {
            name: "CAP_KILL".to_owned(),
        },
        what: "signals to processes of other units or cgroups".to_owned(),
        evidence,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;
    use crate::observation::CapabilityCheck;
    use harden_common::Argument;

    #[test]
    fn who_signals_other_cgroups_keeps_kill_once() {
        let of = |fixture: Fixture| {
            let obstacles = obstacles(&Basis::of(&fixture.observation())).into_iter();
            obstacles
                .map(|one| (one.remedy, one.what))
                .collect::<Vec<_>>()
        };
        let kill = || Remedy::Capability {
            name: "CAP_KILL".to_owned(),
        };
        let program = || Fixture::new().executable("/bin/d");
        assert_eq!(of(program()), []);
        let sends = || program().argument(Argument::SignalOtherCgroup);
        let what = "signals to processes of other units or cgroups";
        assert_eq!(of(sends()), [(kill(), what.to_owned())]);
        let asked = of(sends().capability("kill", CapabilityCheck::Granted));
        assert_eq!(asked, [(kill(), "the capability kill".to_owned())]);
    }
}
