//! The table of system calls, as `strace -c` has it.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets};

use crate::observation::{Abi, Deed, Observation, Seen};

/// The calls of all programs together, the most frequent first.
pub(super) fn table(observation: &Observation) -> String {
    #[derive(Default)]
    struct Row<'a> {
        count: Option<u64>,
        errors: u64,
        runs: BTreeSet<&'a str>,
        programs: BTreeSet<String>,
    }
    let mut rows: BTreeMap<(Abi, &str), Row<'_>> = BTreeMap::new();
    for (test, run) in observation.tests() {
        for (fact, seen) in run.sightings() {
            let Deed::Syscall(abi, name) = fact.what else {
                continue;
            };
            let row = rows.entry((abi, name.as_str())).or_default();
            if let Some(count) = seen.and_then(Seen::count) {
                row.count = Some(row.count.unwrap_or(0).saturating_add(count));
            }
            let errors = seen.and_then(Seen::errors).unwrap_or(0);
            row.errors = row.errors.saturating_add(errors);
            row.runs.insert(test.id.as_str());
            row.programs.insert(fact.executable.to_string());
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(name, row)| (std::cmp::Reverse(row.count), *name));
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["calls", "errors", "runs", "syscall", "programs"]);
    for ((abi, name), row) in rows {
        let name = match abi {
            Abi::Native => name.to_owned(),
            Abi::Ia32 => format!("ia32 {name}"),
            Abi::X32 => format!("x32 {name}"),
        };
        let count = row
            .count
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        let errors = if row.errors > 0 {
            row.errors.to_string()
        } else {
            String::new()
        };
        let runs = row.runs.len().to_string();
        let programs: Vec<String> = row.programs.into_iter().collect();
        table.add_row([count, errors, runs, name, programs.join(", ")]);
    }
    for column in 0..3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::Fixture;

    #[test]
    fn the_most_frequent_call_stands_first() {
        let mut observation = Fixture::new()
            .executable("/usr/sbin/d")
            .syscalls(&["read", "openat"])
            .next_run()
            .executable("/usr/sbin/d")
            .syscalls(&["read"])
            .observation();
        for run in observation.runs.values_mut() {
            for facts in run.executables.values_mut() {
                for (name, seen) in facts.syscalls.values_mut().flatten() {
                    let is_read = name.as_str() == "read";
                    seen.set_counts(Some(if is_read { 5 } else { 2 }), is_read.then_some(1));
                }
            }
        }
        let text = table(&observation);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[1], ["10", "2", "2", "read", "/usr/sbin/d"]);
        assert_eq!(rows[2], ["2", "1", "openat", "/usr/sbin/d"]);
    }
}
