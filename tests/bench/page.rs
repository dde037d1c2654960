//! The figures as a part of a page: `docs/performance.md`, of which the README quotes the first section.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    condition::Condition,
    effort::Effort,
    machine::Machine,
    matrix::Matrix,
    profile::Profile,
    startup::{Parts, Startup},
    statistics::{Unit, ratio, time},
    upkeep::{DEEDS, Upkeep},
    verdict,
    workload::{ROWS, Row},
};

/// So many programs are named with their length.
const LONGEST: usize = 12;

/// All of it.
pub fn text(
    machine: &Machine,
    effort: &Effort,
    matrix: &Matrix,
    startup: &Startup,
    profile: &Result<Profile>,
    upkeep: &Result<Upkeep>,
) -> String {
    let mut sections = vec![
        format!(
            "`{}` measured this. A median is of {} figures: {} rounds in each of {} repetitions.",
            effort.name,
            effort.repetitions * effort.rounds,
            effort.rounds,
            effort.repetitions
        ),
        in_short(matrix),
        losses(matrix, startup, upkeep),
        ratios(matrix),
        figures(matrix),
        by_program(profile),
        start(startup),
    ];
    sections.extend(parts(&startup.parts));
    sections.extend(lengths(profile));
    sections.push(agent(upkeep));
    sections.extend(missing(matrix));
    sections.push(on(machine));
    sections.join("\n\n") + "\n"
}

fn in_short(matrix: &Matrix) -> String {
    format!(
        "## In short\n\n{}\n\n{}",
        sentence(matrix).unwrap_or_else(|| "getppid could not be measured.".to_owned()),
        block(matrix, &ROWS[0])
    )
}

/// What is added to a call.
fn sentence(matrix: &Matrix) -> Option<String> {
    let row = ROWS[0].name;
    let bare = matrix.spread(row, Condition::Bare)?.median;
    let added = |condition| Some(matrix.spread(row, condition)?.median - bare);
    let mut text = format!(
        "Recording adds {} to a system call that does next to nothing (`getppid`)",
        time(added(Condition::Run)?)
    );
    if let Some(empty) = added(Condition::Empty) {
        let _ = write!(
            text,
            "; empty programs on the same two tracepoints add {}",
            time(empty)
        );
    }
    let tools = Condition::all().filter(|condition| condition.is_other_tool());
    for tool in tools {
        if let Some(added) = added(tool) {
            let _ = write!(text, "; `{}` adds {}", tool.column(), time(added));
        }
    }
    Some(text + ".")
}

fn losses(matrix: &Matrix, startup: &Startup, upkeep: &Result<Upkeep>) -> String {
    let points = verdict::losses(matrix, startup, upkeep.as_ref().ok());
    let mut text = "## Where harden loses\n".to_owned();
    for point in points {
        let _ = write!(text, "\n- {point}");
    }
    text
}

/// How many times as long each row takes.
fn ratios(matrix: &Matrix) -> String {
    let mut text = "## Times as long as without anything attached\n\n| operation |".to_owned();
    for condition in Condition::all() {
        let _ = write!(text, " {} |", condition.column());
    }
    text += "\n| --- |";
    for _ in Condition::all() {
        text += " ---: |";
    }
    for row in &ROWS {
        let _ = write!(text, "\n| {} |", row.title);
        for condition in Condition::all() {
            let cell = matrix.ratio(row.name, condition, Condition::Bare);
            let _ = write!(text, " {} |", cell.map_or_else(|| "–".to_owned(), ratio));
        }
    }
    text
}

fn figures(matrix: &Matrix) -> String {
    let mut text = "## Medians and spread".to_owned();
    for row in &ROWS {
        let _ = write!(text, "\n\n{}", block(matrix, row));
    }
    text
}

/// A row under each condition.
fn block(matrix: &Matrix, row: &Row) -> String {
    let bare = matrix.spread(row.name, Condition::Bare);
    let unit = Unit::of(bare.map_or(0.0, |bare| bare.median));
    let heading = format!("{}, in {}", row.title, unit.name());
    let floor = if row.is_call { "to empty" } else { "" };
    let mut text = format!(
        "```\n{heading:<58}{:>10}{:>20}{:>9}{floor:>10}",
        "median", "middle half", "to bare"
    );
    for condition in Condition::all() {
        let _ = write!(text, "\n{:<58}", condition.title());
        let Some(spread) = matrix.spread(row.name, condition) else {
            text += "not measured";
            continue;
        };
        let between = format!("{}–{}", unit.write(spread.lower), unit.write(spread.upper));
        let times = |to| {
            matrix
                .ratio(row.name, condition, to)
                .map_or_else(String::new, ratio)
        };
        let _ = write!(
            text,
            "{:>10}{between:>20}{:>9}",
            unit.write(spread.median),
            times(Condition::Bare)
        );
        if row.is_call {
            let _ = write!(text, "{:>10}", times(Condition::Empty));
        }
    }
    text + "\n```"
}

/// Where the time of a call goes.
fn by_program(profile: &Result<Profile>) -> String {
    let title = "## Where the time of a call goes";
    let profile = match profile {
        Ok(profile) => profile,
        Err(error) => return format!("{title}\n\nnot measured: {error:#}"),
    };
    let mut text = format!(
        "{title}\n\nThe kernel takes the time of each run of a program (`BPF_ENABLE_STATS`). By this clock an empty program takes \
         {:.1} ns. The table has what the runs of one operation take above as many of an empty program, in ns.\n\n\
         | operation | program | runs | agent, excluded | agent, observed |\n| --- | --- | ---: | ---: | ---: |",
        profile.empty
    );
    for part in &profile.parts {
        let excluded = part
            .excluded
            .map_or_else(|| "–".to_owned(), |time| format!("{time:.1}"));
        let _ = write!(
            text,
            "\n| {} | `{}` | {:.1} | {excluded} | {:.1} |",
            part.operation, part.program, part.runs, part.observed
        );
    }
    text
}

/// How long the programs are, of which the time of a start depends.
fn lengths(profile: &Result<Profile>) -> Option<String> {
    let profile = profile.as_ref().ok()?;
    let verified: u32 = profile
        .programs
        .iter()
        .map(|program| program.verified)
        .sum();
    let mut text = format!(
        "The kernel verifies and translates {} programs of the agent, by {} instructions in all. The longest to verify \
         (the kernel keeps the first 15 letters of a name, so that `exec` and `exit` are cut off):\n\n\
         | program | instructions verified | bytes of machine code |\n| --- | ---: | ---: |",
        profile.programs.len(),
        verified
    );
    for program in profile.programs.iter().take(LONGEST) {
        let _ = write!(
            text,
            "\n| `{}` | {} | {} |",
            program.program, program.verified, program.machine_code
        );
    }
    Some(text)
}

fn start(startup: &Startup) -> String {
    let mut text = "## A command that does nothing\n\n\
                    `date` as the command: how long until it runs, and from then until all has ended.\n\n\
                    | under | until it runs | middle half | until all has ended | middle half |\n\
                    | --- | ---: | ---: | ---: | ---: |"
        .to_owned();
    for (tool, times) in &startup.tools {
        let _ = match times {
            Ok((before, after)) => write!(
                text,
                "\n| {} | {} | {}–{} | {} | {}–{} |",
                tool.title(),
                time(before.median),
                time(before.lower),
                time(before.upper),
                time(after.median),
                time(after.lower),
                time(after.upper)
            ),
            Err(_) => write!(text, "\n| {} | not measured | | | |", tool.title()),
        };
    }
    if let Ok(memory) = &startup.memory {
        let _ = write!(
            text,
            "\n\nUntil its command runs, `harden run` has had at most {:.1} MiB resident. Of them 64 are its ring buffer of 32, which is \
             mapped twice and counted so.",
            mebibytes(*memory)
        );
    }
    text
}

/// Where the time of a start goes.
fn parts(parts: &Result<Parts>) -> Option<String> {
    let parts = parts.as_ref().ok()?;
    let mut text = format!(
        "Until the command runs, `harden run` does this. It was measured once, under `strace -T`, which makes each call \
         of bpf(2) longer, short ones the most: {} until the command ran, and {} from its end on. Two threads call at \
         once, so that the times may sum up to more. More programs are loaded than stay: most are tiny ones that ask what \
         this kernel can do.\n\n\
         | what | calls | time |\n| --- | ---: | ---: |",
        time(parts.until_run * 1e9),
        time(parts.after_end * 1e9)
    );
    let mut calls: Vec<_> = parts.before.iter().collect();
    calls.sort_by(|one, other| other.1.1.total_cmp(&one.1.1));
    let mut rest = parts.until_run;
    for (command, (count, seconds)) in calls {
        rest -= seconds;
        let _ = write!(text, "\n| {command} | {count} | {} |", time(seconds * 1e9));
    }
    // Threads may call at once.
    if rest > 0.0 {
        let rest = time(rest * 1e9);
        let _ = write!(
            text,
            "\n| all else: the types of the kernel, tracepoints, the child | | {rest} |"
        );
    }
    Some(text)
}

fn agent(upkeep: &Result<Upkeep>) -> String {
    let title = "## The agent itself";
    let upkeep = match upkeep {
        Ok(upkeep) => upkeep,
        Err(error) => return format!("{title}\n\nnot measured: {error:#}"),
    };
    let mut text = format!(
        "{title}\n\nWhat the agent takes at rest is not in the times for calls and paths.\n\n| what | |\n| --- | ---: |\n\
         | processor at rest | {:.3} % of one |\n\
         | processor time for a million calls that it knows | {} |\n\
         | processor time for a path that it did not know: {} paths in one go, {} more were counted as lost | {} |",
        upkeep.rest * 100.0,
        time(upkeep.million_calls),
        upkeep.facts,
        upkeep.lost,
        time(upkeep.new_fact)
    );
    text += "\n\nEach unit has done its work and still runs. The most is what the agent has taken since its start, when it \
             reads the types of the kernel.\n\n| resident memory | at rest | the most |\n| --- | ---: | ---: |";
    for memory in &upkeep.memory {
        let _ = write!(
            text,
            "\n| {} units of {DEEDS} paths each | {:.1} MiB | {:.1} MiB |",
            memory.units,
            mebibytes(memory.at_rest),
            mebibytes(memory.most)
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "no memory is so large")]
fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

/// What was not measured, and why.
fn missing(matrix: &Matrix) -> Option<String> {
    let mut points: Vec<String> = Vec::new();
    for condition in Condition::all() {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in &ROWS {
            let Some(why) = matrix.missing(row.name, condition) else {
                continue;
            };
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, rows)) => rows.push(row.title),
                None => reasons.push((why, vec![row.title])),
            }
        }
        for (why, rows) in reasons {
            let what = if rows.len() == ROWS.len() {
                "all".to_owned()
            } else {
                rows.join("; ")
            };
            // Of several lines, the first says enough.
            let why = why.lines().next().unwrap_or_default();
            points.push(format!("- {}: {what}: `{why}`", condition.title()));
        }
    }
    (!points.is_empty()).then(|| format!("## Not measured\n\n{}", points.join("\n")))
}

fn on(machine: &Machine) -> String {
    let mut text = "## The machine and the versions\n\n| | |\n| --- | --- |".to_owned();
    for (name, value) in &machine.facts {
        let _ = write!(text, "\n| {name} | {value} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{statistics::Spread, workload::Workload};

    fn matrix() -> Matrix {
        let mut matrix = Matrix::default();
        for (condition, figures) in [
            (Condition::Bare, [216.0, 217.0]),
            (Condition::Empty, [366.0, 368.0]),
            (Condition::Run, [429.0, 431.0]),
            (Condition::Strace, [126_000.0, 126_200.0]),
        ] {
            matrix.add(
                condition,
                figures.map(|figure| ("getppid".to_owned(), figure)).into(),
            );
        }
        matrix.miss(Workload::Copy, Condition::Shh, "no shh\nat all");
        matrix
    }

    #[test]
    fn a_block_has_medians_spread_and_ratios() {
        let block = block(&matrix(), &ROWS[0]);
        let line = block.lines().find(|line| line.starts_with("harden run"));
        let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
        assert_eq!(
            words,
            ["harden", "run", "430.0", "429.5–430.5", "1.99", "1.17"]
        );
        assert!(block.starts_with("```\ngetppid, in ns "), "{block}");
        assert!(block.contains("perf trace -s"), "{block}");
        assert!(block.contains("not measured"), "{block}");
    }

    #[test]
    fn the_sentence_has_what_was_measured() {
        assert_eq!(
            sentence(&matrix()).as_deref(),
            Some(
                "Recording adds 0.21 µs to a system call that does next to nothing (`getppid`); empty programs on the same two \
                 tracepoints add 0.15 µs; `strace` adds 126 µs."
            )
        );
    }

    #[test]
    fn ratios_have_a_column_for_each_condition() {
        let text = ratios(&matrix());
        let columns = |line: &str| line.matches('|').count();
        let table = text.lines().filter(|line| line.starts_with('|'));
        let counts: Vec<usize> = table.map(columns).collect();
        assert_eq!(counts.len(), ROWS.len() + 2);
        assert!(counts.iter().all(|&count| count == 11), "{counts:?}");
        assert!(
            text.contains("| getppid | 1.00 | 1.70 | 1.99 | – | – | 582 | – | – | – |"),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_reason() {
        let text = missing(&matrix()).expect("something is missing");
        assert!(
            text.contains("- shh run: dd bs=1, for one byte: `no shh`"),
            "{text}"
        );
        assert!(
            text.contains("- harden agent, unit observed: all: `it was not measured`"),
            "{text}"
        );
    }

    #[test]
    fn a_start_names_the_tool_that_could_not_be_measured() {
        let spread = Spread::of(&[1e6]).expect("a figure");
        let text = start(&Startup {
            tools: vec![
                (Condition::Run, Ok((spread, spread))),
                (Condition::Shh, Err(anyhow::anyhow!("no shh"))),
            ],
            parts: Err(anyhow::anyhow!("no strace")),
            memory: Ok(30 << 10),
        });
        assert!(text.contains("at most 30.0 MiB"), "{text}");
        assert!(
            text.contains("| harden run | 1.00 ms | 1.00 ms–1.00 ms |"),
            "{text}"
        );
        assert!(text.contains("| shh run | not measured |"), "{text}");
    }
}
