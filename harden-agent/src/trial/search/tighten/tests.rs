//! How often what is needed stays, how often the rest goes, and what that costs.

use std::fmt::Write as _;

use super::{
    super::{Flakes, Progress, Verdict, simulated::Chance, tests::ratio},
    *,
};

/// How many words can be taken away.
const WORDS: usize = 12;
/// How many of them have to stay, at most.
const MOST: usize = 4;
const SEEDS: u64 = 150;
/// How often the test fails by itself, and how often it needs one more of the words, each of a hundred.
const CASES: [(usize, usize); 5] = [(0, 0), (3, 0), (10, 0), (0, 50), (3, 50)];

/// A gate that fails where something needed is gone, and by chance.
struct Simulated {
    needed: Set,
    /// One that is needed in so many of a hundred runs.
    at_times: Option<(usize, usize)>,
    flakes: usize,
    chance: Chance,
    runs: usize,
    ends: Vec<usize>,
}

impl Simulated {
    fn new(needed: usize, (flakes, at_times): (usize, usize), seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut words: Vec<usize> = (0..WORDS).collect();
        let mut take = || words.swap_remove(chance.below(words.len()));
        let needed = (0..needed).map(|_| take()).collect();
        let at_times = (at_times > 0).then(|| (take(), at_times));
        Self {
            needed,
            at_times,
            flakes,
            chance,
            runs: 0,
            ends: Vec::new(),
        }
    }

    /// What a search for culprits has found before: nothing, in nine runs.
    fn before(&mut self) -> Outcome {
        let mut flakes = Flakes::default();
        (0..9).for_each(|_| flakes.count(!self.chance.is_in(self.flakes)));
        self.runs = flakes.runs;
        Outcome {
            verdict: Verdict::Found(Set::new()),
            runs: flakes.runs,
            flakes,
        }
    }

    /// What has to stay.
    fn all_needed(&self) -> Set {
        let at_times = self.at_times.map(|(word, _)| word);
        self.needed.iter().copied().chain(at_times).collect()
    }
}

impl Gate for Simulated {
    fn passes(&mut self, confinement: &Confinement, progress: Progress) -> Result<bool> {
        assert_eq!(progress.done, self.runs);
        self.ends.push(progress.done + progress.left);
        self.runs += 1;
        let Confinement::Except(left) = confinement else {
            panic!("it is known how the test does unconfined");
        };
        let is_hit = match self.at_times {
            Some((word, often)) if !left.contains(&word) => self.chance.is_in(often),
            _ => false,
        };
        Ok(!self.chance.is_in(self.flakes) && !is_hit && self.needed.is_subset(left))
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn narrower(&mut self, _: usize) -> Vec<usize> {
        Vec::new()
    }
}

fn tightened(gate: &mut Simulated) -> Tightened {
    let candidates: Vec<usize> = (0..WORDS).collect();
    let before = gate.before();
    let (verdict, runs) = tighten(gate, &candidates, &before, Limits::default()).unwrap();
    assert_eq!(runs, gate.runs);
    verdict
}

#[derive(Default)]
struct Tally {
    searches: usize,
    /// In so many, nothing needed has gone.
    sound: usize,
    /// In so many, all else has gone.
    tight: usize,
    runs: usize,
    longest: usize,
}

fn tally(case: (usize, usize)) -> Tally {
    let mut tally = Tally::default();
    for needed in 0..=MOST {
        for seed in 0..SEEDS {
            let mut gate = Simulated::new(needed, case, seed);
            let verdict = tightened(&mut gate);
            let all = gate.all_needed();
            let (sound, tight) = match verdict {
                Tightened::But(left) => (all.is_subset(&left), left.is_subset(&all)),
                _ => (true, false),
            };
            tally.searches += 1;
            tally.sound += usize::from(sound);
            tally.tight += usize::from(tight);
            // What it took before is that search's.
            let runs = gate.runs - 9;
            tally.runs += runs;
            tally.longest = tally.longest.max(runs);
        }
    }
    tally
}

#[test]
fn what_is_needed_stays_and_the_page_says_how_often() {
    let mut text = String::from(
        "| the test fails by itself | and needs one word more in | searches | nothing needed is gone | all else is gone | test runs more, mean | most |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut tallies = Vec::new();
    for (flakes, at_times) in CASES {
        let all = tally((flakes, at_times));
        let percent = |number| 100.0 * ratio(number, all.searches);
        writeln!(
            text,
            "| {flakes} % | {} | {} | {:.1} % | {:.1} % | {:.1} | {} |",
            match at_times {
                0 => "no run".to_owned(),
                often => format!("{often} % of its runs"),
            },
            all.searches,
            percent(all.sound),
            percent(all.tight),
            ratio(all.runs, all.searches),
            all.longest
        )
        .unwrap();
        tallies.push(percent(all.sound));
    }
    println!("{text}");
    for (sound, least) in tallies.iter().zip([100.0, 100.0, 100.0, 97.0, 95.0]) {
        assert!(*sound >= least, "{text}");
    }
    let page = include_str!("../../../../../docs/trial.md");
    assert!(page.contains(&text), "docs/trial.md does not have:\n{text}");
}

#[test]
fn no_more_runs_are_left_than_was_said() {
    for seed in 0..SEEDS {
        let mut gate = Simulated::new(3, (0, 0), seed);
        assert!(matches!(tightened(&mut gate), Tightened::But(_)));
        let least = gate.ends.iter().min();
        assert!(*least.unwrap() >= gate.runs, "{:?}", gate.ends);
    }
}

#[test]
fn what_cannot_be_taken_away_is_said() {
    let candidates: Vec<usize> = (0..WORDS).collect();
    let mut gate = Simulated::new(WORDS, (0, 0), 1);
    let all = tightened(&mut gate);
    assert!(
        matches!(&all, Tightened::TooMany(some) if some.len() == 8),
        "{all:?}"
    );
    let mut gate = Simulated::new(2, (0, 0), 1);
    let before = gate.before();
    let few = Limits {
        runs: before.runs + 3,
        ..Limits::default()
    };
    let (verdict, runs) = tighten(&mut gate, &candidates, &before, few).unwrap();
    assert_eq!((verdict, runs), (Tightened::OutOfRuns, before.runs + 3));
    // Nothing is needed: as few runs as the result has to pass, and the one that found it.
    let mut gate = Simulated::new(0, (0, 0), 1);
    assert_eq!(tightened(&mut gate), Tightened::But(Set::new()));
    assert_eq!(gate.runs, 9 + 1 + AGAIN);
}
