//! Files that root opens and gives away: at the next start they are another user's before they are opened.

use std::collections::BTreeMap;

use crate::observation::{File, Observation, Operation, Outcome, Text};

/// What to know of the first such file, if there is one. Which owner a file got is not recorded, so it may have been a
/// group alone.
pub(super) fn remark(observation: &Observation) -> Option<String> {
    let (path, _) = opened(observation)
        .into_iter()
        .find(|(_, opened)| opened.runs == 1 && opened.is_given)?;
    Some(format!(
        "perhaps dac_override at the next start: {path} was opened before its owner changed, in one run alone, and root \
         opens what is another user's by that capability (generic_permission in fs/namei.c). Record a second start"
    ))
}

/// How root opened a file.
#[derive(Default)]
struct Opened {
    /// In how many runs.
    runs: usize,
    /// Whether it was given away in one of them, and stayed.
    is_given: bool,
}

fn opened(observation: &Observation) -> BTreeMap<&Text, Opened> {
    let mut all: BTreeMap<&Text, Opened> = BTreeMap::new();
    for run in observation.runs.values().filter(|run| run.uid == 0) {
        let mut files: BTreeMap<&Text, Vec<&File>> = BTreeMap::new();
        for (path, file) in run.executables.values().flat_map(|facts| &facts.files) {
            files.entry(path).or_default().push(file);
        }
        for (path, files) in files {
            let did = |operations: &[Operation]| {
                let mut each = operations.iter();
                each.any(|operation| files.iter().any(|file| did(file, *operation)))
            };
            if did(&[Operation::Read, Operation::Write, Operation::Create]) {
                let opened = all.entry(path).or_default();
                opened.runs += 1 + run.stands_for.len();
                opened.is_given |=
                    did(&[Operation::Chown]) && !did(&[Operation::Unlink, Operation::RenameFrom]);
            }
        }
    }
    all
}

fn did(file: &File, operation: Operation) -> bool {
    // A security hook stands before the outcome.
    let is_done = |outcome: &Outcome| outcome.is_ok() || outcome.0.as_str() == "tried";
    let mut outcomes = file.operations.of(operation);
    outcomes.any(|(outcome, _)| is_done(outcome))
}

#[cfg(test)]
mod tests {
    use super::super::capabilities::needs;
    use super::super::fixture::Fixture;
    use super::*;
    use crate::observation::CapabilityCheck;

    const LOG: &str = "/var/lib/d/log";

    fn start(fixture: Fixture, operations: &[Operation]) -> Fixture {
        let fixture = fixture.executable("/bin/d");
        let mut fixture = fixture.capability("chown", CapabilityCheck::Granted);
        for operation in operations {
            fixture = fixture.file(LOG, *operation, "ok");
        }
        fixture
    }

    fn note(fixture: Fixture) -> String {
        let observation = fixture.observation();
        let mut needed = needs(&observation).needed.into_iter();
        let chown = needed.find(|(name, _)| name.as_str() == "chown");
        let (_, need) = chown.expect("chown");
        need.item("chown").note.unwrap_or_default()
    }

    #[test]
    fn what_is_opened_and_given_away_is_another_s_at_the_next_start() {
        use Operation as O;
        let once = |operations: &[O]| note(start(Fixture::new(), operations));
        assert!(once(&[O::Create, O::Chown]).contains(LOG));
        for none in [
            &[O::Create][..],
            &[O::Stat, O::Chown],
            &[O::Create, O::Chown, O::Unlink],
        ] {
            assert_eq!(once(none), "", "{none:?}");
        }
        // The second start has shown whether it needs more.
        let both = start(Fixture::new(), &[O::Create, O::Chown]).next_run();
        assert_eq!(note(start(both, &[O::Create, O::Chown])), "");
        let granted = start(Fixture::new(), &[O::Create, O::Chown]);
        let granted = granted.capability("dac_override", CapabilityCheck::Granted);
        assert_eq!(note(granted), "");
    }
}
