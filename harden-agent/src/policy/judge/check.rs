//! What a file would have refused of what was recorded, and what it allows that nobody used.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Judge, Judgement, Line, Recorded, Refusal, Rules, Unjudged, firejail, oci, systemd};
use crate::{
    observation::{Fact, Test, Word},
    policy::Evidence,
};

/// What a file means for all facts of an observation.
#[derive(Debug, Default)]
pub struct Check<'r, 'a> {
    /// How many facts it allows.
    pub allowed: usize,
    /// What it refuses, in at least one run.
    pub refused: BTreeMap<Fact<'a>, Refused<'r>>,
    /// How many facts are not judged, by the reason.
    pub unjudged: BTreeMap<Unjudged, usize>,
    /// The runs, each with the facts that were refused in it.
    pub runs: BTreeMap<&'a Word, InRun<'a>>,
    /// The lines that allow something that no fact asks for.
    pub unused: Vec<&'r Line>,
}

/// How a fact is refused.
#[derive(Debug)]
pub struct Refused<'r> {
    /// By what.
    pub by: Refusal<'r>,
    /// Who asked for it, in which runs, when first, and how often.
    pub evidence: Evidence,
}

/// What was refused in one run.
#[derive(Debug)]
pub struct InRun<'a> {
    /// The run.
    pub test: Test<'a>,
    /// The facts.
    pub refused: BTreeSet<Fact<'a>>,
}

impl<'r, 'a> Check<'r, 'a> {
    /// Judges every fact by the lines of a file.
    #[must_use]
    pub fn of(rules: &'r Rules, judge: &Judge<'r>, recorded: &Recorded<'a>) -> Self {
        let mut check = Self::default();
        let mut used: HashSet<&Line> = HashSet::new();
        let mut allowed: HashSet<Fact<'_>> = HashSet::new();
        let mut unjudged: BTreeMap<Unjudged, HashSet<Fact<'_>>> = BTreeMap::new();
        for case in recorded.cases() {
            let test = case.test();
            let run = check.runs.entry(test.id).or_insert_with(|| InRun {
                test,
                refused: BTreeSet::new(),
            });
            match judge.judge(&case) {
                Judgement::Refused(by) => {
                    run.refused.insert(case.fact);
                    let refused = check.refused.entry(case.fact).or_insert_with(|| Refused {
                        by,
                        evidence: Evidence::default(),
                    });
                    let seen = case.seen.cloned().unwrap_or_default();
                    refused.evidence.add(test, case.fact.executable, &seen);
                }
                Judgement::Unjudged(why) => {
                    unjudged.entry(why).or_default().insert(case.fact);
                }
                judgement @ Judgement::Allowed(_) => {
                    allowed.insert(case.fact);
                    used.extend(judgement.lines());
                }
            }
        }
        check.allowed = allowed.len();
        let counts = unjudged.into_iter().map(|(why, facts)| (why, facts.len()));
        check.unjudged = counts.collect();
        let unused = rules.lines().iter().filter(|line| grants(line));
        check.unused = unused.filter(|line| !used.contains(line)).collect();
        check
    }
}

/// Whether the line allows something, rather than refuse it.
fn grants(line: &Line) -> bool {
    use super::Sandbox as S;
    match line.sandbox {
        S::Firejail => firejail::grants(line),
        S::Systemd => systemd::grants(line),
        S::Oci => oci::grants(line),
    }
}
