//! What a suite asks of an observation of one run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::Path,
};

use anyhow::Result;
use harden_agent::{
    observation::{self, Executable, Join as _, Observation, Operation, Run, Text},
    output::file_stem,
};

/// What the agent has on disk of `unit`, in its state directory: the unit's file, and what was added since.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn stored(state: &Path, unit: &str) -> Result<Observation> {
    let stem = state.join("units").join(file_stem(&Text::from(unit)));
    let mut known = observation::read(&stem.with_added_extension("json"))?;
    let added = stem.with_added_extension("added");
    let lines = match fs::read(&added) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        lines => lines?,
    };
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        // The agent may be writing the last one.
        if line.ends_with(b"\n") {
            known.join(observation::from_json(line)?);
        }
    }
    Ok(known)
}

/// What was lost of a run, by kind.
///
/// Of most programs the kernel only says how often it has skipped them for anybody, which says nothing of the run. The
/// end of a call is lost to the run that made it; where the kernel preempts programs, that happens now and then, and the
/// suite `preemption` is about it. What a suite expects to see shows whether it mattered.
#[must_use]
pub fn losses(run: &Run) -> BTreeMap<&str, u64> {
    let skips = is_preempted(run);
    let all = run
        .losses
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count));
    all.filter(|(kind, _)| !kind.starts_with("skipped-") || *kind == "skipped-sys_exit" && !skips)
        .collect()
}

/// Whether the kernel preempts BPF programs, or has skipped one: then the second programs on calls are attached.
fn is_preempted(run: &Run) -> bool {
    let hook = run.hooks.get("skipped-calls");
    hook.is_some_and(|hook| hook.contains("sys_exit"))
}

/// The one run, of which nothing may be lost.
///
/// # Panics
/// There is none, or something was lost.
#[must_use]
pub fn run(observation: &Observation) -> &Run {
    let run = observation.runs.values().next().expect("one run");
    // A hook that the kernel refuses shows as a loss of what it supplies.
    assert_eq!(losses(run), BTreeMap::new(), "{:#?}", run.hooks);
    run
}

/// What the program whose file is called `name` did.
///
/// # Panics
/// It was not seen.
#[must_use]
pub fn facts<'a>(observation: &'a Observation, name: &str) -> &'a Executable {
    let mut programs = run(observation).executables.iter();
    let found =
        programs.find(|(path, _)| path.as_path().file_name().is_some_and(|file| file == name));
    let seen = run(observation).executables.keys();
    found
        .unwrap_or_else(|| panic!("{name} was not seen, but {:?}", seen.collect::<Vec<_>>()))
        .1
}

/// `OPERATION OUTCOME PATH` of everything in `directory`, the paths relative to it.
///
/// # Panics
/// A path is not UTF-8.
#[must_use]
pub fn acts(facts: &Executable, directory: &Path) -> BTreeSet<String> {
    let mut acts = BTreeSet::new();
    for (path, file) in &facts.files {
        let Ok(path) = path.as_path().strip_prefix(directory) else {
            continue;
        };
        let path = match path.to_str().expect("a name in UTF-8") {
            "" => ".",
            path => path,
        };
        let uses = file.operations.iter();
        acts.extend(
            uses.map(|(operation, outcome, _)| format!("{} {} {path}", name(operation), outcome.0)),
        );
    }
    acts
}

/// The operation's name, as the file has it.
fn name(operation: Operation) -> String {
    let json = serde_json::to_string(&operation).expect("a name");
    json.trim_matches('"').to_owned()
}

/// The lines that a program printed, without those of harden.
pub fn printed(output: &str, is_fact: impl Fn(&str) -> bool) -> BTreeSet<String> {
    output
        .lines()
        .filter(|line| is_fact(line))
        .map(str::to_owned)
        .collect()
}

/// What a program that includes `acts.h` says it did.
#[must_use]
pub fn printed_acts(output: &str) -> BTreeSet<String> {
    printed(output, |line| {
        let words: Vec<_> = line.split(' ').collect();
        matches!(words[..], [_, outcome, _] if outcome == "ok" || outcome.starts_with('E'))
    })
}

/// That `observed` is `expected`, no more and no less.
///
/// # Panics
/// It is not.
pub fn assert_same(expected: &BTreeSet<String>, observed: &BTreeSet<String>) {
    let missed: Vec<_> = expected.difference(observed).collect();
    let invented: Vec<_> = observed.difference(expected).collect();
    assert!(
        missed.is_empty() && invented.is_empty(),
        "missed {missed:#?}, invented {invented:#?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_printed_is_told_from_what_harden_says() {
        let output = "harden: 3 calls\nread ok file\n  read ok indented\nwrite EACCES other\n";
        let acts = printed_acts(output);
        assert_same(&set(&["read ok file", "write EACCES other"]), &acts);
    }

    #[test]
    #[should_panic(expected = "missed [\n    \"read ok file\"")]
    fn a_fact_that_lacks_is_a_failure() {
        assert_same(&set(&["read ok file"]), &set(&[]));
    }

    #[test]
    #[should_panic(expected = "invented [\n    \"read ok file\"")]
    fn a_fact_too_many_is_a_failure() {
        assert_same(&set(&[]), &set(&["read ok file"]));
    }
}
