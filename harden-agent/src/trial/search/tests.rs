//! How often the search finds exactly what was planted, and what that costs beside two simpler ways.

use std::fmt::Write as _;

use super::{simulated::*, *};
use crate::trial::Relaxation;

const SEEDS: u64 = 50;
/// How often a test fails by itself, of a hundred.
const FLAKES: [usize; 3] = [0, 3, 10];
/// How many words are taken out.
const MOST: usize = 4;

pub(super) fn ratio(one: usize, other: usize) -> f64 {
    let exact = |number| f64::from(u32::try_from(number).unwrap());
    exact(one) / exact(other)
}

#[derive(Default)]
struct Tally {
    searches: usize,
    exact: usize,
    runs: usize,
    longest: usize,
}

impl Tally {
    fn count(&mut self, gate: &Simulated, found: Option<&Set>) {
        self.searches += 1;
        self.exact += usize::from(found.is_some_and(|set| gate.is_exactly(set)));
        self.runs += gate.runs.get();
        self.longest = self.longest.max(gate.runs.get());
    }

    fn percent(&self) -> f64 {
        100.0 * ratio(self.exact, self.searches)
    }

    fn mean(&self) -> f64 {
        ratio(self.runs, self.searches)
    }
}

/// All gates with this many culprits, and this many flakes of a hundred.
fn gates(culprits: usize, flakes: usize) -> impl Iterator<Item = Simulated> {
    DAEMONS.iter().flat_map(move |(_, text)| {
        (0..SEEDS).map(move |seed| Simulated::new(text, culprits, flakes, seed))
    })
}

fn found(gate: &mut Simulated) -> Option<Set> {
    let candidates = gate.plan.candidates();
    match search(gate, &candidates, Limits::default())
        .unwrap()
        .verdict
    {
        Verdict::Found(set) => Some(set),
        _ => None,
    }
}

/// Whether it passes with these relaxed; a failure has to come this often.
fn passes(gate: &mut Simulated, relaxed: &[usize], repeats: usize) -> bool {
    let relaxed = Confinement::Except(relaxed.iter().copied().collect());
    (0..repeats).any(|_| gate.test(&relaxed))
}

/// What the simpler ways choose from: words alone, as they would take a whole list where that is fewer.
fn words(gate: &Simulated) -> Vec<usize> {
    let mut all = gate.plan.candidates();
    all.retain(|one| !matches!(gate.plan.relaxation(*one), Relaxation::Line(_)));
    all
}

/// Confines one after the other.
fn one_at_a_time(gate: &mut Simulated, repeats: usize) -> Set {
    let mut relaxed = words(gate);
    for one in words(gate).into_iter().rev() {
        let rest: Vec<usize> = relaxed
            .iter()
            .copied()
            .filter(|other| *other != one)
            .collect();
        if passes(gate, &rest, repeats) {
            relaxed = rest;
        }
    }
    relaxed.into_iter().collect()
}

/// Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002), for the smallest set that passes.
fn ddmin(gate: &mut Simulated, repeats: usize) -> Set {
    let mut relaxed = words(gate);
    if passes(gate, &[], repeats) {
        return Set::new();
    }
    let mut parts = 2;
    while relaxed.len() > 1 {
        let size = relaxed.len().div_ceil(parts);
        let chunks: Vec<Vec<usize>> = relaxed.chunks(size).map(<[usize]>::to_vec).collect();
        let chunk = chunks.iter().find(|chunk| passes(gate, chunk, repeats));
        if let Some(chunk) = chunk {
            relaxed.clone_from(chunk);
            parts = 2;
            continue;
        }
        let without = |chunk: &Vec<usize>| {
            let rest = relaxed.iter().copied();
            rest.filter(|one| !chunk.contains(one)).collect::<Vec<_>>()
        };
        let rest = chunks.iter().map(without);
        // Of two parts each is what the other leaves.
        let mut rest = rest.filter(|_| chunks.len() > 2);
        if let Some(rest) = rest.find(|rest| passes(gate, rest, repeats)) {
            relaxed = rest;
            parts = (parts - 1).max(2);
        } else if parts < relaxed.len() {
            parts = (2 * parts).min(relaxed.len());
        } else {
            break;
        }
    }
    relaxed.into_iter().collect()
}

/// The tables of docs/trial.md.
fn tables() -> (String, Vec<Tally>) {
    let mut text = String::from(
        "| the test fails by itself | searches | exactly what was planted | test runs, mean | most |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut tallies = Vec::new();
    for flakes in FLAKES {
        let mut tally = Tally::default();
        for mut gate in (0..=MOST).flat_map(|count| gates(count, flakes)) {
            let set = found(&mut gate);
            tally.count(&gate, set.as_ref());
        }
        writeln!(
            text,
            "| {flakes} % | {} | {:.1} % | {:.1} | {} |",
            tally.searches,
            tally.percent(),
            tally.mean(),
            tally.longest
        )
        .unwrap();
        tallies.push(tally);
    }
    text += "\n| words taken out | `harden trial` | one at a time | ddmin |\n| --- | --- | --- | --- |\n";
    for count in 0..=MOST {
        let ways: [fn(&mut Simulated) -> Option<Set>; 3] = [
            found,
            |gate| Some(one_at_a_time(gate, 1)),
            |gate| Some(ddmin(gate, 1)),
        ];
        let means = ways.map(|way| {
            let mut tally = Tally::default();
            for mut gate in gates(count, 0).step_by(5) {
                let set = way(&mut gate);
                tally.count(&gate, set.as_ref());
            }
            format!("{:.1}", tally.mean())
        });
        writeln!(text, "| {count} | {} |", means.join(" | ")).unwrap();
    }
    (text, tallies)
}

#[test]
fn what_was_planted_is_found_and_the_page_says_how_often() {
    let (text, tallies) = tables();
    println!("{text}");
    for (tally, least) in tallies.iter().zip([98.0, 95.0, 90.0]) {
        assert!(tally.percent() >= least, "{text}");
    }
    let page = include_str!("../../../../docs/trial.md");
    assert!(page.contains(&text), "docs/trial.md does not have:\n{text}");
}

#[test]
fn no_more_runs_are_left_than_was_said() {
    let mut checked = 0;
    for mut gate in gates(3, 0).chain(gates(1, 0)) {
        // What is in a directory is looked for when there is one.
        let set = found(&mut gate).unwrap();
        let mut relaxations = set.iter().map(|one| gate.plan.relaxation(*one));
        if relaxations.any(|one| matches!(one, Relaxation::Write(_))) {
            continue;
        }
        let least = gate.ends.iter().min();
        assert!(*least.unwrap() >= gate.runs.get(), "{:?}", gate.ends);
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}

/// A gate of which a function says what passes.
struct By<F>(F);

impl<F: FnMut(&Confinement) -> bool> Gate for By<F> {
    fn passes(&mut self, confinement: &Confinement, _: Progress) -> Result<bool> {
        Ok((self.0)(confinement))
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn narrower(&mut self, _: usize) -> Vec<usize> {
        Vec::new()
    }
}

fn verdict(passes: impl FnMut(&Confinement) -> bool, limits: Limits) -> Verdict {
    search(&mut By(passes), &(0..100).collect::<Vec<_>>(), limits)
        .unwrap()
        .verdict
}

#[test]
fn what_cannot_be_found_is_said() {
    let limits = Limits::default();
    let needs = |needed: std::ops::Range<usize>| {
        move |confinement: &Confinement| match confinement {
            Confinement::None => true,
            Confinement::Except(set) => needed.clone().all(|one| set.contains(&one)),
        }
    };
    assert_eq!(verdict(|_| false, limits), Verdict::FailsByItself(5, 5));
    assert_eq!(verdict(needs(100..101), limits), Verdict::Elsewhere);
    assert_eq!(verdict(needs(0..0), limits), Verdict::Found(Set::new()));
    assert_eq!(
        verdict(needs(95..99), limits),
        Verdict::Found((95..99).collect())
    );
    assert!(matches!(verdict(needs(0..20), limits), Verdict::TooMany(set) if set.len() == 8));
    let few = Limits { runs: 20, ..limits };
    assert!(matches!(verdict(needs(95..99), few), Verdict::OutOfRuns(set) if !set.is_empty()));
}

#[test]
fn of_those_that_replace_each_other_the_first_is_found() {
    let either = |confinement: &Confinement| match confinement {
        Confinement::None => true,
        Confinement::Except(set) => set.contains(&7) || set.contains(&70),
    };
    assert_eq!(
        verdict(either, Limits::default()),
        Verdict::Found([7].into())
    );
}
