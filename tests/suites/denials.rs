//! Calls that a filter refuses: that one was refused, and which, whatever the filter does and in whichever convention; and none
//! that it lets through.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::Abi;
use harden_tests::{Scratch, harden, observed::facts, programs::install};

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
