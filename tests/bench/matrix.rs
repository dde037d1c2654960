//! Each workload under each condition, interleaved: what slows the machine down for a while slows all down.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    condition::{Condition, GROUPS},
    effort::Effort,
    held::Held,
    place::Place,
    statistics::Spread,
    workload::{Figures, WORKLOADS, Workload},
};

/// What was measured of a workload under a condition.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Nanoseconds of one operation.
    Figures(Vec<f64>),
    /// Why there are none.
    Missing(String),
}

/// All that was measured so: by the name of the row, and by condition.
#[derive(Debug, Default)]
pub struct Matrix(BTreeMap<(String, Condition), Cell>);

impl Matrix {
    /// Measures. What cannot be measured is a cell that says why.
    pub fn measure(place: &Place, effort: &Effort) -> Self {
        let mut matrix = Self::default();
        for repetition in 1..=effort.repetitions {
            for workload in WORKLOADS {
                let begun = Instant::now();
                for group in GROUPS {
                    matrix.measure_group(workload, group, place, effort);
                }
                println!(
                    "repetition {repetition} of {}: {} in {:.1} s",
                    effort.repetitions,
                    workload.rows().join(", "),
                    begun.elapsed().as_secs_f64()
                );
            }
        }
        matrix
    }

    fn measure_group(
        &mut self,
        workload: Workload,
        group: &[Condition],
        place: &Place,
        effort: &Effort,
    ) {
        let is_missing = |&condition: &Condition| self.is_missing(workload, condition);
        if group.iter().all(is_missing) {
            return;
        }
        match Held::enter(group[0], place) {
            Ok(held) => {
                for &condition in group {
                    match workload.measure(&held, condition, place, effort) {
                        Ok(figures) => self.add(condition, figures),
                        Err(error) => self.miss(workload, condition, &format!("{error:#}")),
                    }
                }
            }
            Err(error) => {
                for &condition in group {
                    self.miss(workload, condition, &format!("{error:#}"));
                }
            }
        }
    }

    fn is_missing(&self, workload: Workload, condition: Condition) -> bool {
        let rows = workload.rows().iter();
        rows.map(|row| self.0.get(&((*row).to_owned(), condition)))
            .any(|cell| matches!(cell, Some(Cell::Missing(_))))
    }

    /// Adds figures to their rows.
    pub fn add(&mut self, condition: Condition, figures: Figures) {
        for (row, figure) in figures {
            let cell = self.0.entry((row, condition));
            match cell.or_insert_with(|| Cell::Figures(Vec::new())) {
                Cell::Figures(figures) => figures.push(figure),
                Cell::Missing(_) => {}
            }
        }
    }

    /// Notes why there are no figures.
    pub fn miss(&mut self, workload: Workload, condition: Condition, why: &str) {
        println!(
            "{}, {}: {why}",
            workload.rows().join(", "),
            condition.title()
        );
        for row in workload.rows() {
            let cell = Cell::Missing(why.to_owned());
            self.0.insert(((*row).to_owned(), condition), cell);
        }
    }

    /// The figures of a row under a condition.
    pub fn spread(&self, row: &str, condition: Condition) -> Option<Spread> {
        match self.0.get(&(row.to_owned(), condition))? {
            Cell::Figures(figures) => Spread::of(figures),
            Cell::Missing(_) => None,
        }
    }

    /// By how much a row is slower than under another condition.
    pub fn ratio(&self, row: &str, condition: Condition, to: Condition) -> Option<f64> {
        let base = self.spread(row, to)?;
        Some(self.spread(row, condition)?.median / base.median)
    }

    /// Why a row has no figures under a condition.
    pub fn missing(&self, row: &str, condition: Condition) -> Option<&str> {
        match self.0.get(&(row.to_owned(), condition)) {
            Some(Cell::Missing(why)) => Some(why),
            Some(Cell::Figures(_)) => None,
            None => Some("it was not measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_once_has_no_figures() {
        let workload = Workload::Copy;
        let mut matrix = Matrix::default();
        matrix.add(Condition::Bare, vec![("dd".into(), 2.0)]);
        matrix.add(Condition::Strace, vec![("dd".into(), 3.0)]);
        assert_eq!(
            matrix.ratio("dd", Condition::Strace, Condition::Bare),
            Some(1.5)
        );
        matrix.miss(workload, Condition::Strace, "no strace");
        matrix.add(Condition::Strace, vec![("dd".into(), 3.0)]);
        assert_eq!(matrix.ratio("dd", Condition::Strace, Condition::Bare), None);
        assert_eq!(matrix.missing("dd", Condition::Strace), Some("no strace"));
        assert_eq!(matrix.missing("dd", Condition::Bare), None);
        assert!(matrix.is_missing(workload, Condition::Strace));
        assert!(!matrix.is_missing(workload, Condition::Bare));
    }
}
