//! Which capabilities: those that a check granted to the task itself, in the initial user
//! namespace and audited. Everything else is a question, not a need, and is listed apart.
//!
//! Where the kernel asks for one of two (`DAC_READ_SEARCH` then `DAC_OVERRIDE` in
//! `generic_permission`, fs/namei.c; `BPF`, `PERFMON` or `CHECKPOINT_RESTORE` then `SYS_ADMIN`,
//! include/linux/capability.h), it stops at the first that is granted: what was granted is enough.

use std::collections::BTreeMap;

use crate::observation::{CapabilityCheck, Observation, Seen, Word};

use super::evidence::Evidence;

/// What was asked for, whatever sandbox is to be written.
pub(super) struct Needs<'a> {
    /// Granted to the task itself.
    pub needed: BTreeMap<&'a Word, Evidence>,
    /// Asked for, and not needed.
    pub noise: BTreeMap<(&'a Word, CapabilityCheck), Evidence>,
}

/// Tells needs from noise.
pub(super) fn needs(observation: &Observation) -> Needs<'_> {
    let mut needed: BTreeMap<&Word, Evidence> = BTreeMap::new();
    let mut noise: BTreeMap<(&Word, CapabilityCheck), Evidence> = BTreeMap::new();
    for (id, run) in observation.tests() {
        for (path, executable) in &run.executables {
            for (name, checks) in &executable.capabilities {
                for (check, seen) in checks {
                    match check {
                        CapabilityCheck::Granted => needed.entry(name).or_default(),
                        other => noise.entry((name, *other)).or_default(),
                    }
                    .add(id, path, seen);
                }
            }
        }
    }
    noise.retain(|(name, _), _| !needed.contains_key(name));
    Needs { needed, noise }
}

/// Whether one of the checks granted it to the task itself.
pub(super) fn is_needed(checks: &BTreeMap<CapabilityCheck, Seen>) -> bool {
    checks.contains_key(&CapabilityCheck::Granted)
}

/// Why a check is no need.
pub(super) fn why_not(check: CapabilityCheck) -> &'static str {
    match check {
        CapabilityCheck::Granted => "used",
        CapabilityCheck::Denied => "denied, and the work passed without",
        CapabilityCheck::GrantedNoaudit => {
            "only a question (CAP_OPT_NOAUDIT: memory overcommit, listings)"
        }
        CapabilityCheck::DeniedNoaudit => "only a question (CAP_OPT_NOAUDIT), and denied",
        CapabilityCheck::OverriddenCredentials => {
            "asked under credentials that were not the task's own (overlayfs)"
        }
        CapabilityCheck::ChildUserNamespace => {
            "asked in a child user namespace: needs nothing outside it"
        }
    }
}
