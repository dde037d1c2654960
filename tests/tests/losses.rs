//! Tables that are too small: what does not fit is counted and shown, and the rest is whole.

use anyhow::{Context as _, Result};
use harden_agent::observation::{Abi, Observation, Run};
use harden_tests::{harden, met};

fn run(observation: &Observation) -> Result<&Run> {
    observation.runs.values().next().context("a run")
}

fn lost(run: &Run, kind: &str) -> u64 {
    let mut losses = run.losses.iter();
    losses
        .find(|(name, _)| name.as_str() == kind)
        .map_or(0, |(_, count)| *count)
}

/// Opens far more names than a page holds, faster than they can be taken.
const OPENS: &str = "
import os
for i in range(20000):
    try: os.open(f'/nosuch-{i}', os.O_RDONLY)
    except OSError: pass
";

#[test]
fn a_full_ring_loses_paths_and_counts_them_but_no_call() -> Result<()> {
    if !met(
        "a_full_ring_loses_paths_and_counts_them_but_no_call",
        &["python3"],
    ) {
        return Ok(());
    }
    let command = ["/usr/bin/python3", "-c", OPENS];
    let small = harden::record("small", &["--ring", "4096"], &command)?;
    let large = harden::record("large", &[], &command)?;
    let (small_run, large_run) = (run(&small.observation)?, run(&large.observation)?);

    let opened = |run: &Run| -> u64 {
        let files = run
            .executables
            .values()
            .flat_map(|facts| facts.files.keys());
        files
            .filter(|path| path.as_bytes().starts_with(b"/nosuch-"))
            .count() as u64
    };
    assert!(large_run.losses.is_empty(), "{:?}", large_run.losses);
    assert_eq!(opened(large_run), 20_000);
    // Each name is opened once, so each loss is one path that is missing, and none is missing else.
    let missing = lost(small_run, "path-ring-full");
    assert!(missing > 0, "{:?}", small_run.losses);
    assert!(20_000 - opened(small_run) <= missing);
    assert!(
        small.profile.text().contains("WARNING"),
        "{}",
        small.profile.text()
    );

    // What has a byte in its slot is known whatever became of the event.
    let calls = |run: &Run| {
        let programs = run.executables.values();
        let calls = programs.filter_map(|facts| facts.syscalls.get(&Abi::Native));
        calls
            .flat_map(|calls| calls.keys().cloned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(calls(small_run), calls(large_run));
    Ok(())
}

#[test]
fn programs_beyond_the_slots_are_counted() -> Result<()> {
    if !met("programs_beyond_the_slots_are_counted", &["sh", "cat"]) {
        return Ok(());
    }
    let command = ["/bin/sh", "-c", "/bin/cat /dev/null; true"];
    let recorded = harden::record("few", &["--slots", "1"], &command)?;
    let run = run(&recorded.observation)?;
    assert!(lost(run, "slots-exhausted") > 0, "{:?}", run.losses);
    assert_eq!(run.executables.len(), 1);
    assert!(recorded.profile.text().contains("WARNING"));
    Ok(())
}
