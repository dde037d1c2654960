//! Where the time of an observed call goes, by the kernel's own account of each program, and how long each program is.
//!
//! `BPF_ENABLE_STATS` (5.8) has the kernel take the time of every run of a program. Its clock is in the figure, so the run of an
//! empty program, under the same clock, is taken off.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use anyhow::{Context as _, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

use crate::{
    condition::Condition,
    effort::Effort,
    held::Held,
    place::Place,
    workload::{ROWS, Workload},
};

/// What is looked at: the workload, and how many calls one operation makes.
const OPERATIONS: [(Workload, f64); 6] = [
    (Workload::Calls(&["getppid"]), 1.0),
    (Workload::Calls(&["read"]), 1.0),
    (Workload::Calls(&["write"]), 1.0),
    (Workload::Calls(&["futex"]), 1.0),
    (Workload::Calls(&["epoll_wait"]), 1.0),
    (Workload::Calls(&["same"]), 2.0),
];

/// The agent's program at a call's entry: it runs once for each call.
const ENTRY: &str = "sys_enter";

/// What runs less often than once in so many operations is not of the operation.
const RARE: f64 = 0.1;

/// Where the time goes.
pub struct Profile {
    /// Nanoseconds that an empty program takes by this clock.
    pub empty: f64,
    /// What each operation has each program do.
    pub parts: Vec<Part>,
    /// Each program of the agent, the longest to verify first.
    pub programs: Vec<Length>,
}

/// What one program does in one operation.
pub struct Part {
    /// The title of its row in the tables.
    pub operation: &'static str,
    pub program: String,
    /// How often it runs.
    pub runs: f64,
    /// Nanoseconds above as many runs of an empty program, in a unit that is excluded; `None` if it does not run there.
    pub excluded: Option<f64>,
    /// The same in a unit that is observed.
    pub observed: f64,
}

/// How long a program is.
pub struct Length {
    pub program: String,
    /// Instructions that the verifier went through, each as often as it did.
    pub verified: u32,
    /// Bytes of machine code.
    pub machine_code: u32,
}

/// Measures.
pub fn measure(place: &Place, effort: &Effort) -> Result<Profile> {
    let _clock: OwnedFd =
        enable_stats(Stats::RunTime).context("the kernel's account of programs")?;
    let empty = {
        let held = Held::enter(Condition::Empty, place)?;
        let (workload, _) = OPERATIONS[0];
        let runs = runs(workload, &held, Condition::Empty, place, effort)?;
        runs.get("empty").context("no empty program")?.each()
    };
    let held = Held::enter(Condition::Observed, place)?;
    let mut parts = Vec::new();
    for (workload, calls) in OPERATIONS {
        let excluded = runs(workload, &held, Condition::Excluded, place, effort)?;
        let observed = runs(workload, &held, Condition::Observed, place, effort)?;
        let excluded = in_one(&excluded, calls, empty)?;
        for (program, (runs, time)) in in_one(&observed, calls, empty)? {
            parts.push(Part {
                operation: title(workload),
                runs,
                excluded: excluded.get(&program).map(|(_, time)| *time),
                observed: time,
                program,
            });
        }
    }
    Ok(Profile {
        empty,
        parts,
        programs: lengths()?,
    })
}

fn title(workload: Workload) -> &'static str {
    let name = workload.rows()[0];
    let row = ROWS.iter().find(|row| row.name == name);
    row.map_or(name, |row| row.title)
}

/// What the kernel counted of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Runs {
    count: u64,
    nanoseconds: u128,
}

impl Runs {
    /// Nanoseconds of one.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn each(self) -> f64 {
        self.nanoseconds as f64 / self.count as f64
    }
}

/// The runs that a workload brought, by the name of the program.
fn runs(
    workload: Workload,
    held: &Held<'_>,
    condition: Condition,
    place: &Place,
    effort: &Effort,
) -> Result<BTreeMap<String, Runs>> {
    let before = account()?;
    workload.measure(held, condition, place, effort)?;
    let mut runs = account()?;
    for (program, after) in &mut runs {
        let before = before.get(program).copied().unwrap_or_default();
        after.count -= before.count;
        after.nanoseconds -= before.nanoseconds;
    }
    runs.retain(|_, runs| runs.count > 0);
    Ok(runs)
}

/// What all programs have done so far.
fn account() -> Result<BTreeMap<String, Runs>> {
    let mut account: BTreeMap<String, Runs> = BTreeMap::new();
    for program in loaded_programs() {
        let program = program?;
        let name = String::from_utf8_lossy(program.name()).into_owned();
        let runs = account.entry(name).or_default();
        runs.count += program.run_count();
        runs.nanoseconds += program.run_time().as_nanos();
    }
    Ok(account)
}

/// How often each program runs in one operation, and how many nanoseconds these runs take above as many of an empty program.
fn in_one(
    runs: &BTreeMap<String, Runs>,
    calls: f64,
    empty: f64,
) -> Result<BTreeMap<String, (f64, f64)>> {
    let entries = runs.get(ENTRY).context("no program at a call's entry")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let often = |runs: &Runs| runs.count as f64 / entries.count as f64 * calls;
    let all = runs.iter().map(|(program, runs)| {
        let often = often(runs);
        (program.clone(), (often, (runs.each() - empty) * often))
    });
    Ok(all.filter(|(_, (often, _))| *often >= RARE).collect())
}

/// The programs that are loaded now.
fn lengths() -> Result<Vec<Length>> {
    let mut lengths = Vec::new();
    for program in loaded_programs() {
        let program = program?;
        lengths.push(Length {
            program: String::from_utf8_lossy(program.name()).into_owned(),
            verified: program.verified_instruction_count().unwrap_or(0),
            machine_code: program.size_jitted(),
        });
    }
    lengths.sort_by_key(|length| std::cmp::Reverse(length.verified));
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_operation_above_the_empty_program() -> Result<()> {
        let runs = |count, nanoseconds| Runs { count, nanoseconds };
        let all = BTreeMap::from([
            ("sys_enter".to_owned(), runs(200, 10_000)),
            ("file_open".to_owned(), runs(100, 9_000)),
            ("exec".to_owned(), runs(1, 900)),
        ]);
        let in_one = in_one(&all, 2.0, 30.0)?;
        assert_eq!(in_one["sys_enter"], (2.0, 40.0));
        assert_eq!(in_one["file_open"], (1.0, 60.0));
        assert!(!in_one.contains_key("exec"), "{in_one:?}");
        Ok(())
    }

    #[test]
    fn an_account_without_an_entry_is_an_error() {
        let runs = Runs {
            count: 1,
            nanoseconds: 1,
        };
        let all = BTreeMap::from([("file_open".to_owned(), runs)]);
        assert!(in_one(&all, 1.0, 30.0).is_err());
    }
}
