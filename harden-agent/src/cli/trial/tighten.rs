//! `harden trial --tighten`: what the files allow and was asked for in vain alone is taken away, as long as the test passes.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::{super::ask, Trial, progress};
use crate::{
    apply::Files,
    observation::Observation,
    plural::plural,
    policy::InVain,
    trial::{
        Removal, Runner, Tighter, TighterGate,
        search::{Outcome, Set, Tightened, tighten},
    },
};

/// What came of it.
pub(super) struct Tight {
    tighter: Tighter,
    verdict: Tightened,
    /// Test runs, those before among them.
    pub runs: usize,
}

impl Trial {
    /// What was asked for in vain in all that is known of the unit, with what the user has decided.
    pub(super) fn in_vain(&self, known: [Option<&Observation>; 2]) -> Result<InVain> {
        let mut known = known.into_iter().flatten();
        let Some(mut all) = known.next().cloned() else {
            bail!("--tighten goes by an observation of the unit: name one with --seen");
        };
        for other in known {
            all.runs.extend(other.runs.clone());
        }
        let (request, _) = self.decisions.request();
        let adapted = request.adapt(&all)?;
        let in_vain = InVain::of(&adapted.exact.recorded);
        for reason in &in_vain.unknown {
            ask::note(format_args!("not known of everything: {reason}"));
        }
        Ok(in_vain)
    }

    /// Takes away from `files` what can be.
    pub(super) fn tighten(
        &self,
        runner: &mut Runner<'_, progress::Progress>,
        files: Files,
        in_vain: &InVain,
        before: &Outcome,
    ) -> Result<Tight> {
        let tighter = Tighter::new(files, in_vain);
        let candidates = tighter.candidates();
        ask::note(format_args!(
            "{} that the files allow {} asked for in vain alone",
            plural(candidates.len(), "thing"),
            if candidates.len() == 1 { "was" } else { "were" }
        ));
        if candidates.is_empty() {
            return Ok(Tight {
                tighter,
                verdict: Tightened::But(Set::new()),
                runs: before.runs,
            });
        }
        let mut gate = TighterGate {
            tighter: &tighter,
            runner,
        };
        let (verdict, runs) = tighten(&mut gate, &candidates, before, self.limits())?;
        match &verdict {
            Tightened::But(_) | Tightened::OutOfRuns => {}
            Tightened::TooMany(some) => ask::note(format_args!(
                "harden: nothing is taken away: more than {} of these {} have to stay",
                some.len(),
                candidates.len()
            )),
            Tightened::Unsteady => ask::note(format_args!(
                "harden: nothing is taken away: without what seemed needless, the test fails more often than by itself"
            )),
        }
        Ok(Tight {
            tighter,
            verdict,
            runs,
        })
    }
}

impl Tight {
    /// Whether it was not done to the end.
    pub(super) fn is_out_of_runs(&self) -> bool {
        self.verdict == Tightened::OutOfRuns
    }

    /// What has gone.
    pub(super) fn gone(&self) -> Vec<&Removal> {
        match &self.verdict {
            Tightened::But(left) => self.tighter.all_but(left),
            _ => Vec::new(),
        }
    }

    /// The files without it.
    pub(super) fn files(&self, test: &str) -> Files {
        self.tighter.without(&self.gone(), Some(test))
    }

    /// A line for each word that could have gone.
    pub(super) fn said(&self) -> String {
        let mut said = String::new();
        for one in self.gone() {
            // Writing to a string cannot fail.
            let _ = writeln!(said, "  taken away: {one} ({})", one.proof.why);
        }
        if let Tightened::But(left) = &self.verdict {
            for one in left.iter().map(|one| self.tighter.removal(*one)) {
                let _ = writeln!(said, "  has to stay: {one}, although {}", one.proof.why);
            }
        }
        said
    }
}
