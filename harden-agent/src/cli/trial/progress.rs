//! What is being tried, on standard error.

use std::time::Duration;

use crate::{
    plural::plural,
    trial::{
        Plan, Report,
        search::{self, Confinement, Purpose},
    },
};

/// A line when a test run begins, another when it has failed.
pub(super) struct Progress;

impl Report for Progress {
    fn begins(
        &mut self,
        plan: &Plan<'_>,
        confinement: &Confinement,
        progress: search::Progress,
        time: Duration,
    ) {
        let seconds = time.as_secs();
        eprintln!(
            "run {}, at most {} left, {}:{:02}: {}",
            progress.done + 1,
            progress.left,
            seconds / 60,
            seconds % 60,
            what(plan, confinement, progress.purpose)
        );
    }

    fn ended(&mut self, failure: Option<&str>) {
        match failure {
            None => eprintln!("  passed"),
            Some(reason) => eprintln!("  failed: {reason}"),
        }
    }
}

fn what(plan: &Plan<'_>, confinement: &Confinement, purpose: Purpose) -> String {
    let relaxed = match confinement {
        Confinement::None => 0,
        Confinement::Except(set) => set.len(),
    };
    match purpose {
        Purpose::Flakes => "nothing confined".to_owned(),
        Purpose::AsItIs => "all confined".to_owned(),
        Purpose::AllRelaxed => "all relaxed".to_owned(),
        Purpose::Bisect(left) => format!(
            "{relaxed} relaxed, one of {} is needed",
            plural(left, "candidate")
        ),
        Purpose::Enough => format!("whether the {relaxed} found are all"),
        Purpose::Needed(one) => format!("without {}", plan.relaxation(one)),
        Purpose::Narrower(one) => format!("what is in {}", plan.relaxation(one)),
        Purpose::Again => "the result, again".to_owned(),
    }
}
