//! Which capabilities: those that a check granted to the task itself, in the initial user
//! namespace and audited. Everything else is a question, not a need, and is listed apart.
//!
//! Where the kernel asks for one of two (`DAC_READ_SEARCH` then `DAC_OVERRIDE` in
//! `generic_permission`, fs/namei.c; `BPF`, `PERFMON` or `CHECKPOINT_RESTORE` then `SYS_ADMIN`,
//! include/linux/capability.h), it stops at the first that is granted: what was granted is enough.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::observation::{CapabilityCheck, Observation, Word};

use super::coverage::Coverage;
use super::evidence::{Decision, Evidence, Item};
use super::target::Target;

/// What is decided about capabilities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The capabilities to keep; none: drop all.
    pub keep: Decision<Vec<Item>>,
    /// Those that were asked about and not needed, each with the reason.
    pub noise: Vec<Item>,
}

/// Decides on capabilities.
pub(super) fn decide(
    observation: &Observation,
    coverage: &Coverage,
    target: &Target,
) -> Capabilities {
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

    let mut reasons: Vec<String> = coverage.blind("capabilities").into_iter().collect();
    if let Some(known) = &target.capabilities {
        for name in needed.keys().filter(|name| !known.contains(name.as_str())) {
            reasons.push(format!(
                "this Firejail does not know the capability {name} that was used, and refuses \
                 unknown names"
            ));
        }
    }
    let items = needed
        .into_iter()
        .map(|(name, evidence)| Item::new(name.as_str(), evidence))
        .collect();
    Capabilities {
        keep: Decision::unless(reasons, items),
        noise: noise
            .into_iter()
            .map(|((name, check), evidence)| Item {
                value: name.as_str().to_owned(),
                evidence,
                note: Some(why_not(check).to_owned()),
            })
            .collect(),
    }
}

/// Why a check is no need.
fn why_not(check: CapabilityCheck) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn only_what_was_granted_to_the_task_itself_is_kept() {
        let observation = Fixture::new()
            .executable("/usr/sbin/d")
            .capability("net_bind_service", CapabilityCheck::Granted)
            .capability("net_bind_service", CapabilityCheck::GrantedNoaudit)
            .capability("sys_admin", CapabilityCheck::GrantedNoaudit)
            .capability("dac_override", CapabilityCheck::Denied)
            .observation();
        let decided = decide(
            &observation,
            &Coverage::of(&observation),
            &Target::default(),
        );
        let kept = decided.keep.given().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].value, "net_bind_service");
        let noise: Vec<_> = decided
            .noise
            .iter()
            .map(|item| item.value.as_str())
            .collect();
        assert_eq!(noise, ["dac_override", "sys_admin"]);
    }

    #[test]
    fn none_needed_is_a_decision_and_blindness_is_none() {
        let mut observation = Fixture::new().executable("/a").observation();
        let decide_on = |observation: &Observation| {
            decide(observation, &Coverage::of(observation), &Target::default()).keep
        };
        assert_eq!(decide_on(&observation), Decision::Given(vec![]));
        for run in observation.runs.values_mut() {
            run.hooks.clear();
        }
        assert!(decide_on(&observation).given().is_none());
    }

    #[test]
    fn a_capability_newer_than_firejail_cannot_be_kept() {
        let observation = Fixture::new()
            .executable("/a")
            .capability("bpf", CapabilityCheck::Granted)
            .observation();
        let target = Target {
            capabilities: Some(["chown".to_owned()].into()),
            ..Target::default()
        };
        let decided = decide(&observation, &Coverage::of(&observation), &target);
        assert!(decided.keep.given().is_none());
    }
}
