//! What is being tried, on standard error.

use std::time::Duration;

use super::super::ask;
use crate::{
    apply::Ended,
    plural::plural,
    trial::{
        Plan, Report, Tighter, Tried,
        search::{self, Confinement, Purpose},
    },
};

/// A line when a test run begins, another when it has failed.
pub(super) struct Progress;

impl Report for Progress {
    fn begins(&mut self, tried: Tried<'_, '_>, progress: search::Progress, time: Duration) {
        let seconds = time.as_secs();
        let what = match tried {
            Tried::Relaxed(plan, confinement) => relaxed(plan, confinement, progress.purpose),
            Tried::Tighter(tighter, confinement) => gone(tighter, confinement, progress.purpose),
        };
        ask::note(format_args!(
            "run {}, at most {} left, {}:{:02}: {what}",
            progress.done + 1,
            progress.left,
            seconds / 60,
            seconds % 60,
        ));
    }

    fn ended(&mut self, ended: &Ended) {
        if let Some(waited) = ended.killed {
            ask::note(format_args!(
                "  the daemon did not stop under what was tried before, and was killed after {} s",
                waited.as_secs()
            ));
        }
        match &ended.failure {
            None => ask::note(format_args!("  passed")),
            Some(reason) => ask::note(format_args!("  failed: {reason}")),
        }
    }
}

fn relaxed(plan: &Plan<'_>, confinement: &Confinement, purpose: Purpose) -> String {
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

fn gone(tighter: &Tighter, confinement: &Confinement, purpose: Purpose) -> String {
    let gone = match confinement {
        Confinement::None => 0,
        Confinement::Except(left) => tighter.all_but(left).len(),
    };
    match purpose {
        Purpose::Bisect(left) => format!(
            "{gone} taken away, one of {} has to stay",
            plural(left, "candidate")
        ),
        Purpose::Needed(one) => format!("{} taken away too", tighter.removal(one)),
        Purpose::Again => format!("{gone} taken away, again"),
        _ => format!("{gone} taken away"),
    }
}
