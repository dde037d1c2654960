//! Where harden loses, by the figures.

use crate::{
    condition::Condition,
    matrix::Matrix,
    startup::Startup,
    statistics::{ratio, time},
    upkeep::Upkeep,
    workload::ROWS,
};

/// What costs so many times as much as without harden is named.
const MUCH: f64 = 1.1;

/// A sentence for each point, without a mark of a list.
pub fn losses(matrix: &Matrix, startup: &Startup, upkeep: Option<&Upkeep>) -> Vec<String> {
    let mut points = Vec::new();
    points.extend(cheaper_tools(matrix));
    points.extend(excluded(matrix));
    points.extend(expensive(matrix));
    points.extend(slow_start(startup));
    points.extend(upkeep.and_then(lost));
    points.extend(upkeep.and_then(memory));
    points
}

/// By which of harden's ways of recording this takes longest.
fn dearest(matrix: &Matrix, row: &str) -> Option<Condition> {
    let cost = |condition: Condition| Some((condition, matrix.spread(row, condition)?.median));
    let costs = Condition::all().filter(|condition| condition.records());
    let dearest = costs
        .filter_map(cost)
        .max_by(|one, other| one.1.total_cmp(&other.1));
    Some(dearest?.0)
}

fn to_bare(matrix: &Matrix, row: &str, condition: Condition) -> Option<f64> {
    matrix.ratio(row, condition, Condition::Bare)
}

/// Where another tool costs less, by more than the figures spread.
fn cheaper_tools(matrix: &Matrix) -> Vec<String> {
    let tools = Condition::all().filter(|condition| condition.is_other_tool());
    tools
        .filter_map(|tool| {
            let rows: Vec<String> = ROWS
                .iter()
                .filter_map(|row| {
                    let ours = dearest(matrix, row.name)?;
                    let is_apart =
                        matrix.spread(row.name, tool)?.upper < matrix.spread(row.name, ours)?.lower;
                    let ours = ratio(to_bare(matrix, row.name, ours)?);
                    let theirs = ratio(to_bare(matrix, row.name, tool)?);
                    is_apart.then(|| format!("{} ({theirs}, harden {ours})", row.title))
                })
                .collect();
            (!rows.is_empty()).then(|| {
                format!(
                    "`{}` costs less than harden where it records: {}.",
                    tool.column(),
                    rows.join("; ")
                )
            })
        })
        .collect()
}

/// What programs pay that are not observed.
fn excluded(matrix: &Matrix) -> Option<String> {
    let ratio_of = |condition| to_bare(matrix, "getppid", condition);
    let excluded = ratio_of(Condition::Excluded)?;
    let observed = ratio_of(Condition::Observed)?;
    Some(format!(
        "Programs that are not observed pay too: a getppid takes {} times as long in an excluded unit, {} times in \
         an observed one.",
        ratio(excluded),
        ratio(observed)
    ))
}

/// What takes noticeably longer, and by more than the figures spread; the worst first.
fn expensive(matrix: &Matrix) -> Option<String> {
    let mut rows: Vec<(f64, &str)> = ROWS
        .iter()
        .filter_map(|row| {
            let dearest = dearest(matrix, row.name)?;
            let bare = matrix.spread(row.name, Condition::Bare)?;
            let is_apart = bare.upper < matrix.spread(row.name, dearest)?.lower;
            let cost = to_bare(matrix, row.name, dearest)?;
            is_apart.then_some((cost, row.title))
        })
        .filter(|(cost, _)| *cost >= MUCH)
        .collect();
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(cost, title)| format!("{title} ({})", ratio(cost)))
        .collect();
    (!rows.is_empty()).then(|| {
        format!(
            "These take at least {} times as long when they are recorded, by `harden run` or by the agent, whichever is \
             slower: {}.",
            ratio(MUCH),
            rows.join("; ")
        )
    })
}

fn slow_start(startup: &Startup) -> Option<String> {
    let whole = |wanted: Condition| {
        let mut tools = startup.tools.iter();
        let (_, times) = tools.find(|(tool, _)| *tool == wanted)?;
        let (before, after) = times.as_ref().ok()?;
        Some(before.median + after.median)
    };
    let (ours, theirs) = (whole(Condition::Run)?, whole(Condition::Strace)?);
    (ours > theirs).then(|| {
        format!(
            "`harden run` takes {} for a command that does nothing, `strace -c -f` {}.",
            time(ours),
            time(theirs)
        )
    })
}

fn lost(upkeep: &Upkeep) -> Option<String> {
    (upkeep.lost > 0).then(|| {
        format!(
            "Of {} new paths that one unit sent as fast as it could, the agent read {} and counted {} as lost. \
             `kernel.paths_at_once` sets how many may come at once (docs/agent.md).",
            upkeep.facts + upkeep.lost,
            upkeep.facts,
            upkeep.lost
        )
    })
}

/// The other tools keep nothing, as they know no units.
fn memory(upkeep: &Upkeep) -> Option<String> {
    let most = upkeep.memory.iter().max_by_key(|memory| memory.units)?;
    Some(format!(
        "The agent stays in memory: with {} units that run, it takes {} MiB.",
        most.units,
        most.at_rest >> 10
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{statistics::Spread, upkeep::Memory};

    fn matrix(figures: &[(&str, Condition, f64)]) -> Matrix {
        let mut matrix = Matrix::default();
        for &(row, condition, figure) in figures {
            matrix.add(condition, vec![(row.to_owned(), figure)]);
        }
        matrix
    }

    fn start(figures: &[(Condition, f64)]) -> Startup {
        let spread = |median| Spread {
            lower: median,
            median,
            upper: median,
        };
        Startup {
            tools: figures
                .iter()
                .map(|&(tool, figure)| (tool, Ok((spread(figure), spread(0.0)))))
                .collect(),
            parts: Err(anyhow::anyhow!("not measured")),
            memory: Err(anyhow::anyhow!("not measured")),
        }
    }

    #[test]
    fn what_is_worse_is_said() {
        let matrix = matrix(&[
            ("getppid", Condition::Bare, 100.0),
            ("getppid", Condition::Run, 200.0),
            ("getppid", Condition::Observed, 210.0),
            ("getppid", Condition::Excluded, 190.0),
            ("getppid", Condition::Bpftrace, 150.0),
            ("getppid", Condition::Strace, 9000.0),
            ("dd", Condition::Bare, 100.0),
            ("dd", Condition::Run, 105.0),
        ]);
        let startup = start(&[(Condition::Run, 5e8), (Condition::Strace, 1e7)]);
        let upkeep = Upkeep {
            rest: 0.0,
            million_calls: 0.0,
            new_fact: 0.0,
            facts: 70,
            lost: 30,
            memory: vec![Memory {
                units: 10,
                at_rest: 20 << 10,
                most: 40 << 10,
            }],
        };
        let points = losses(&matrix, &startup, Some(&upkeep));
        assert_eq!(points.len(), 6, "{points:?}");
        assert!(
            points[4].contains("Of 100 new paths") && points[4].contains("read 70 and counted 30"),
            "{points:?}"
        );
        assert!(
            points[5].contains("10 units that run, it takes 20 MiB"),
            "{points:?}"
        );
        assert!(points[0].starts_with(
            "`bpftrace` costs less than harden where it records: getppid (1.50, harden 2.10)"
        ));
        assert!(
            points[1].contains("1.90") && points[1].contains("2.10"),
            "{points:?}"
        );
        assert!(points[2].ends_with(": getppid (2.10)."), "{points:?}");
        assert!(
            points[3].contains("500 ms") && points[3].contains("10 ms"),
            "{points:?}"
        );
    }

    #[test]
    fn nothing_is_said_of_what_is_no_worse() {
        let matrix = matrix(&[
            ("dd", Condition::Bare, 100.0),
            ("dd", Condition::Run, 105.0),
            ("dd", Condition::Strace, 900.0),
        ]);
        let startup = start(&[(Condition::Run, 1e7), (Condition::Strace, 5e8)]);
        assert_eq!(losses(&matrix, &startup, None), Vec::<String>::new());
    }
}
