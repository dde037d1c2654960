//! The other way round: which facts each line is needed for.

use std::collections::BTreeMap;

use crate::observation::Fact;

use super::{Judge, Judgement, line::Line, recorded::Recorded};

/// What the lines of a file are for.
#[derive(Debug, Default)]
pub struct Supports<'r, 'a> {
    /// The facts that a line allows, alone or as one of several, by line.
    pub allowed: BTreeMap<&'r Line, Vec<Fact<'a>>>,
    /// The facts that would be refused without it.
    pub needed: BTreeMap<&'r Line, Vec<Fact<'a>>>,
    /// The facts that a line refuses.
    pub refused: BTreeMap<&'r Line, Vec<Fact<'a>>>,
}

impl<'r, 'a> Supports<'r, 'a> {
    /// Judges every fact.
    #[must_use]
    pub fn of(judge: &Judge<'r>, recorded: &Recorded<'a>) -> Self {
        let mut supports = Self::default();
        for case in recorded.cases() {
            let judgement = judge.judge(&case);
            let named = match judgement {
                Judgement::Allowed(_) => &mut supports.allowed,
                Judgement::Refused(_) => &mut supports.refused,
                Judgement::Unjudged(_) => continue,
            };
            for line in judgement.lines() {
                named.entry(line).or_default().push(case.fact);
            }
            for line in judgement.rests_on() {
                supports.needed.entry(line).or_default().push(case.fact);
            }
        }
        supports
    }
}
