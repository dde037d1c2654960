//! Calls that a filter refuses: that one was refused, and which, whatever the filter does and in whichever convention; and none
//! that it lets through.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Abi, Word};
use harden_tests::{Scratch, harden, is_emulated, observed::facts, programs::install, scaled};

/// What a filter does with a call (include/uapi/linux/seccomp.h), and whether that refuses it.
const ACTIONS: [(&str, &str, bool); 8] = [
    ("errno EPERM", "00050001", true),
    ("errno 0", "00050000", true),
    ("trap", "00030000", true),
    ("trace without a tracer", "7ff00000", true),
    ("kill the thread", "00000000", true),
    ("kill the process", "80000000", true),
    ("log", "7ffc0000", false),
    ("none", "none", false),
];

const CONVENTIONS: [(&str, Abi); 3] = [
    ("native", Abi::Native),
    ("32", Abi::Ia32),
    ("x32", Abi::X32),
];

#[test]
fn which_call_was_refused_is_known_whatever_the_filter_does() -> Result<()> {
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = install("refused", &dir)?;
    let program = program.to_str().context("UTF-8")?;
    for (what, action, is_refused) in ACTIONS {
        // In which convention the call is made makes no difference to what is done with it.
        let conventions = if what == "errno EPERM" { 3 } else { 1 };
        for (convention, abi) in CONVENTIONS.into_iter().take(conventions) {
            let recorded = harden::record("refused", &[], &[program, action, convention, "2"])?;
            let facts = facts(&recorded.observation, "refused");
            let found: BTreeSet<(Abi, String)> = facts
                .refused
                .iter()
                .flat_map(|(abi, calls)| calls.keys().map(|call| (*abi, call.to_string())))
                .collect();
            let expected = is_refused.then(|| (abi, "mkdir".to_owned()));
            let expected: BTreeSet<_> = expected.into_iter().collect();
            let is_told = |name| facts.arguments.keys().any(|one| one.as_str() == name);
            // Linux 5.10 ends the task inside the call (`__seccomp_filter` in kernel/seccomp.c), and it does not come back:
            // it is known that one was refused, and not which.
            let is_unknown =
                what.starts_with("kill") && found.is_empty() && is_told("killed-by-seccomp");
            ensure!(
                found == expected || is_unknown,
                "{what}, {convention}: {found:?}, not {expected:?}; {}",
                recorded.output
            );
            let is_known = is_told("call-refused") || is_told("killed-by-seccomp");
            ensure!(is_known == is_refused, "{what}, {convention}: {is_known}");
        }
    }
    Ok(())
}

/// What goes on around the calls: `tests/programs/rounds.c`.
const MODES: [&str; 6] = ["plain", "signals", "threads", "forks", "execs", "ptrace"];

/// Thousands of calls, of which each seed has others refused: every one that was refused is known, by its number, and none that
/// was let through passes for refused, though it failed.
#[test]
fn none_passes_for_refused_whatever_goes_on_around_it() -> Result<()> {
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = install("rounds", &dir)?;
    let program = program.to_str().context("UTF-8")?;
    let count = scaled(4000)?.to_string();
    // Emulated, a recording takes seconds to begin.
    let seeds = if is_emulated() { 1 } else { 3 };
    let (mut known, mut all) = (0, 0);
    for mode in MODES {
        for seed in ["1", "2", "3"].into_iter().take(seeds) {
            let recorded = harden::record("rounds", &[], &[program, mode, seed, &count])?;
            let printed = recorded
                .output
                .lines()
                .filter_map(|line| line.strip_prefix("refused "));
            let expected: BTreeSet<&str> = printed.map(str::trim).collect();
            ensure!(!expected.is_empty(), "{mode} {seed}: {}", recorded.output);
            let facts = facts(&recorded.observation, "rounds");
            let conventions: Vec<_> = facts.refused.keys().collect();
            ensure!(
                conventions == [&Abi::Native],
                "{mode} {seed}: {conventions:?}"
            );
            let found: BTreeSet<&str> = facts.refused[&Abi::Native]
                .keys()
                .map(Word::as_str)
                .collect();
            ensure!(
                found == expected,
                "{mode} {seed}: {found:?}, not {expected:?}"
            );
            known += found.len();
            all += expected.len();
        }
    }
    println!("{known} of {all} refused calls by their number, none that was not refused");
    Ok(())
}
