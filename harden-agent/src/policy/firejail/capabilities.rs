//! `caps.keep` and `caps.drop all`.

use serde::Serialize;

use crate::observation::{Facet, Word};

use super::super::basis::Basis;
use super::super::capabilities::{Needs, is_known, why_not};
use super::super::evidence::{Decision, Item};
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
pub(super) fn decide(basis: &Basis<'_>, target: &Target) -> Capabilities {
    let Needs { needed, noise } = basis.needs();
    let mut reasons: Vec<String> = basis
        .coverage()
        .blind(Facet::Capabilities)
        .into_iter()
        .collect();
    let is_taken = |name: &Word| match &target.capabilities {
        Some(known) => known.contains(name.as_str()),
        // Firejail could not be asked: a name that this build knows is the best guess.
        None => is_known(name),
    };
    for name in needed.keys().filter(|name| !is_taken(name)) {
        reasons.push(format!(
            "this Firejail does not know the capability {name} that was used, and refuses unknown names"
        ));
    }
    let items = needed
        .iter()
        .map(|(name, need)| need.item(name.as_str()))
        .collect();
    Capabilities {
        keep: Decision::given_unless(reasons, items),
        noise: noise
            .iter()
            .map(|((name, check), evidence)| Item {
                value: name.as_str().to_owned(),
                evidence: evidence.clone(),
                note: Some(why_not(*check).to_owned()),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::Fixture;
    use super::*;
    use crate::observation::{CapabilityCheck, Observation};

    #[test]
    fn a_name_that_neither_firejail_nor_harden_knows_is_on_no_list() {
        let observation = Fixture::new()
            .executable("/usr/sbin/d")
            .capability("capability-41", CapabilityCheck::Granted)
            .observation();
        let of = |target: &Target| decide(&Basis::of(&observation), target).keep;
        assert!(of(&Target::default()).given().is_none());
        let known = Target {
            capabilities: Some(["capability-41".to_owned()].into()),
            ..Target::default()
        };
        assert!(of(&known).given().is_some());
    }

    #[test]
    fn only_what_was_granted_to_the_task_itself_is_kept() {
        let observation = Fixture::new()
            .executable("/usr/sbin/d")
            .capability("net_bind_service", CapabilityCheck::Granted)
            .capability("net_bind_service", CapabilityCheck::GrantedNoaudit)
            .capability("sys_admin", CapabilityCheck::GrantedNoaudit)
            .capability("dac_override", CapabilityCheck::Denied)
            .observation();
        let decided = decide(&Basis::of(&observation), &Target::default());
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
        let decide_on =
            |observation: &Observation| decide(&Basis::of(observation), &Target::default()).keep;
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
        let decided = decide(&Basis::of(&observation), &target);
        assert!(decided.keep.given().is_none());
    }
}
