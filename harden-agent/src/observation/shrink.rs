//! An observation that would take too much room is made to fit: step by step, what is told least by comes first.
//!
//! First go runs that say nothing of their own, then names for their directories, then runs that do; last, whole
//! programs, whose facts are counted as lost.

use std::collections::BTreeMap;

use super::file::size;
use super::model::{ControlCommand, Executable, Observation, Run};
use super::text::{Text, Word};

/// The loss of facts for which a unit's record had no room.
const OVER_LIMIT: &str = "over-limit";

/// What is tried, one after the other, until it fits.
const STEPS: [Step; 8] = [
    Step::Runs(20),
    Step::Names(5_000),
    Step::Names(1_000),
    Step::Unite(20),
    Step::Names(200),
    Step::Unite(1),
    Step::Names(20),
    Step::Names(0),
];

#[derive(Clone, Copy)]
enum Step {
    /// Folds runs that say nothing of their own, but for so many.
    Runs(usize),
    /// Keeps so many names of files of each program.
    Names(usize),
    /// Has so many runs of each kind apart, and the older ones as one.
    Unite(usize),
}

impl Observation {
    /// Makes it take at most `limit` bytes as a file, and says whether anything had to go for that. What is left of
    /// names are their directories; what is dropped is counted in the losses of its run.
    pub fn shrink(&mut self, limit: u64) -> bool {
        if size(self) <= limit {
            return false;
        }
        for step in STEPS {
            match step {
                Step::Runs(kept) => self.fold(kept, kept),
                Step::Names(kept) => self.fold_names_to(kept),
                Step::Unite(kept) => self.unite(kept),
            }
            if size(self) <= limit {
                return true;
            }
        }
        self.trim();
        if size(self) > limit {
            self.drop_programs(limit);
        }
        true
    }

    /// Drops other names of programs and files, and symbolic links, beyond so many.
    fn trim(&mut self) {
        const NAMES: usize = 20;
        const LINKS: usize = 200;
        for run in self.runs.values_mut() {
            let mut dropped = 0;
            let control = run.control.values_mut().flat_map(BTreeMap::values_mut);
            for program in run.executables.values_mut().chain(control) {
                dropped += keep_first(&mut program.invoked_as, NAMES);
                for file in program.files.values_mut() {
                    let names = file.asked_as.len();
                    file.asked_as = std::mem::take(&mut file.asked_as)
                        .into_iter()
                        .take(NAMES)
                        .collect();
                    dropped += names - file.asked_as.len();
                }
            }
            dropped += keep_first(&mut run.symlinks, LINKS);
            run.lose(dropped as u64);
        }
    }

    /// Drops the programs that take the most room until the rest fits, and then what describes the runs.
    fn drop_programs(&mut self, limit: u64) {
        let mut left = size(self);
        for (bytes, run, command, program) in self.programs_by_size() {
            if left <= limit {
                // In the file a program may take less than alone.
                left = size(self);
            }
            if left <= limit {
                return;
            }
            if let Some(run) = self.runs.get_mut(&run) {
                run.drop_program(command, &program);
            }
            left = left.saturating_sub(bytes);
        }
        if size(self) <= limit {
            return;
        }
        let newest = self.runs.iter().max_by_key(|(_, run)| run.started);
        let newest = newest.map(|(id, _)| id.clone());
        self.runs.retain(|id, _| Some(id) == newest.as_ref());
        for run in self.runs.values_mut() {
            run.stands_for.clear();
            run.command.clear();
            run.symlinks.clear();
            run.lose(1);
        }
    }

    /// Programs of runs, the largest first.
    fn programs_by_size(&self) -> Vec<(u64, Word, Option<ControlCommand>, Text)> {
        let mut programs = Vec::new();
        for (id, run) in &self.runs {
            let main = run.executables.iter().map(|entry| (None, entry));
            let control = run.control.iter().flat_map(|(command, programs)| {
                programs.iter().map(move |entry| (Some(*command), entry))
            });
            for (command, (path, facts)) in main.chain(control) {
                programs.push((size(facts), id.clone(), command, path.clone()));
            }
        }
        programs.sort_by(|one, other| other.cmp(one));
        programs
    }
}

impl Run {
    fn drop_program(&mut self, command: Option<ControlCommand>, program: &Text) {
        let programs: Option<&mut BTreeMap<Text, Executable>> = match command {
            None => Some(&mut self.executables),
            Some(command) => self.control.get_mut(&command),
        };
        if programs.is_some_and(|programs| programs.remove(program).is_some()) {
            self.lose(1);
        }
        self.control.retain(|_, programs| !programs.is_empty());
    }

    fn lose(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        if let Ok(kind) = Word::new(OVER_LIMIT) {
            *self.losses.entry(kind).or_default() += count;
        }
    }
}

/// Returns how many went.
fn keep_first<V>(map: &mut BTreeMap<Text, V>, kept: usize) -> usize {
    let all = map.len();
    if let Some(end) = map.keys().nth(kept).cloned() {
        map.split_off(&end);
    }
    all - map.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::model::{File, Operation, RunKind};
    use super::super::{from_json, to_json};
    use super::*;
    use crate::policy::fixture::Fixture;

    /// One run after the other, each with files and programs that no other has.
    fn large(runs: u32, programs: u32, files: u32) -> Observation {
        let example = Fixture::new().executable("/bin/daemon").observation();
        let run = example.runs.values().next().unwrap();
        let mut observation = example.clone();
        for number in 0..runs {
            let mut run = run.clone();
            run.started += jiff::SignedDuration::from_secs(number.into());
            for program in 0..programs {
                let mut facts = Executable::default();
                for file in 0..files {
                    let path = format!("/srv/{number}/{file}/{program}");
                    facts.files.insert(path.into(), read());
                }
                let program = format!("/bin/{number}-{program}");
                run.executables.insert(program.into(), facts);
            }
            let id = Word::numbered("run", number);
            observation.runs.insert(id, run);
        }
        observation
    }

    fn read() -> File {
        File::used(Operation::Read, "ok")
    }

    fn lost(observation: &Observation) -> u64 {
        let runs = observation.runs.values();
        runs.filter_map(|run| run.losses.get(&Word::new(OVER_LIMIT).unwrap()))
            .sum()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut observation = large(3, 2, 10);
        let before = observation.clone();
        let limit = to_json(&observation).unwrap().len() as u64;
        assert!(!observation.shrink(limit));
        assert_eq!(observation, before);
        assert!(observation.shrink(limit - 1));
        assert_eq!(lost(&observation), 0);
    }

    #[test]
    fn names_become_directories_before_anything_is_lost() {
        let mut observation = large(2, 1, 4000);
        let limit = to_json(&observation).unwrap().len() as u64 / 10;
        assert!(observation.shrink(limit));
        assert!(to_json(&observation).unwrap().len() as u64 <= limit);
        assert_eq!(lost(&observation), 0);
        let names: u64 = observation
            .runs
            .values()
            .flat_map(|run| run.executables.values())
            .flat_map(|facts| facts.files.values())
            .map(|file| file.names.max(1))
            .sum();
        assert!(names >= 8000, "{names}");
    }

    /// Whatever it is that takes the room.
    #[test]
    fn it_fits_whatever_the_limit() {
        let shapes = [(300, 1, 3), (1, 2000, 1), (3, 30, 300), (1, 800, 60)];
        for (runs, programs, files) in shapes {
            for limit in [2 << 10, 20 << 10, 200 << 10] {
                let mut observation = large(runs, programs, files);
                observation.runs.values_mut().next().unwrap().command =
                    vec!["x".repeat(100 << 10).into()];
                assert!(observation.shrink(limit));
                let json = to_json(&observation).unwrap();
                assert!(json.len() as u64 <= limit, "{} > {limit}", json.len());
                assert_eq!(from_json(&json).unwrap(), observation);
                assert!(!observation.runs.is_empty());
            }
        }
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let mut observation = large(1, 2000, 1);
        let programs = |observation: &Observation| -> usize {
            let runs = observation.runs.values();
            runs.map(|run| run.executables.len()).sum()
        };
        let before = programs(&observation);
        observation.shrink(20 << 10);
        let dropped = before - programs(&observation);
        assert!(dropped > 1000);
        assert_eq!(lost(&observation), dropped as u64);
    }

    #[test]
    fn all_kinds_of_runs_are_united() {
        let mut observation = large(40, 1, 1);
        let kinds = [
            RunKind::Window,
            RunKind::Invocation,
            RunKind::Mark,
            RunKind::Command,
        ];
        let kinds = kinds.into_iter().cycle();
        for (run, kind) in observation.runs.values_mut().zip(kinds) {
            run.kind = kind;
        }
        let facts = |observation: &Observation| -> BTreeSet<Text> {
            let runs = observation.runs.values();
            runs.flat_map(|run| run.executables.keys().cloned())
                .collect()
        };
        let before = facts(&observation);
        observation.unite(1);
        assert!(observation.runs.len() <= 8);
        assert_eq!(facts(&observation), before);
    }
}
