//! What to try first: what the files refuse of what the unit was seen to do.

use std::collections::BTreeSet;

use super::Relaxation;
use crate::{
    apply::Files,
    observation::{Deed, Observation},
    policy::judge::{Judge, Recorded, Refusal, Surroundings, check::Check, firejail, systemd},
};

/// What would give back each fact that the files refuse.
#[must_use]
pub fn suspects(files: &Files, observation: &Observation) -> Vec<Relaxation> {
    let (read, names) = match &files.profile {
        Some(profile) => (
            firejail::read(profile),
            ["seccomp.keep", "caps.keep", "protocol"],
        ),
        None => (
            systemd::read(&files.drop_in),
            [
                "SystemCallFilter",
                "CapabilityBoundingSet",
                "RestrictAddressFamilies",
            ],
        ),
    };
    let around = Surroundings::of(observation, BTreeSet::new());
    let judge = Judge::new(&read.rules, &around);
    let check = Check::of(&read.rules, &judge, &Recorded::of(observation));
    let is_systemd = files.profile.is_none();
    let mut all = BTreeSet::new();
    for (fact, refused) in &check.refused {
        let Refusal::Line(line) = &refused.by else {
            continue;
        };
        let [calls, capabilities, families] = names;
        all.insert(match fact.what {
            Deed::Syscall(_, name) if line.directive == calls => {
                Relaxation::Word(calls.to_owned(), name.to_string())
            }
            Deed::Capability(name, _) | Deed::GrantedIn(name, _) | Deed::GrantedFor(name, _)
                if line.directive == capabilities =>
            {
                let name = name.to_string();
                let name = if is_systemd {
                    format!("CAP_{}", name.to_ascii_uppercase())
                } else {
                    name
                };
                Relaxation::Word(capabilities.to_owned(), name)
            }
            Deed::Family(name) if line.directive == families => {
                let name = name.to_string();
                let name = if is_systemd {
                    format!("AF_{}", name.to_ascii_uppercase())
                } else {
                    name
                };
                Relaxation::Word(families.to_owned(), name)
            }
            Deed::File(path, _, _) if line.directive == "ProtectSystem" => {
                Relaxation::Write(path.as_path().to_owned())
            }
            _ => Relaxation::Line(match &line.element {
                Some(element) if !is_systemd => format!("{} {element}", line.directive),
                _ => line.directive.to_owned(),
            }),
        });
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation;

    #[test]
    fn what_was_seen_and_is_refused_is_suspected() {
        let json = include_bytes!("../../tests/fixtures/observation.json");
        let seen = observation::from_json(json).unwrap();
        let text = "[Service]\nSystemCallFilter=read\nCapabilityBoundingSet=\n";
        let all = suspects(&Files::of_drop_in(text.to_owned()), &seen);
        let calls = all
            .iter()
            .filter(|one| matches!(one, Relaxation::Word(name, _) if name == "SystemCallFilter"));
        assert!(calls.count() > 3, "{all:?}");
        let read = Relaxation::Word("SystemCallFilter".to_owned(), "read".to_owned());
        assert!(!all.contains(&read));
        assert_eq!(suspects(&Files::of_drop_in(String::new()), &seen), []);
    }
}
