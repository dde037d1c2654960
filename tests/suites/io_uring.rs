//! What is submitted to `io_uring` passes neither `sys_enter` nor `sys_exit`: hooks inside the kernel
//! see the files that it opens; without them, the profile says that they are not there.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use harden_tests::{
    Scratch, harden, met,
    observed::{acts, assert_same, facts, printed_acts, run},
    programs::install,
};

const NOT_SEEN: &str = "the files opened through it were not seen";

#[test]
fn files_opened_through_a_ring_are_seen_or_warned_of() -> Result<()> {
    if !met("files_opened_through_a_ring_are_seen_or_warned_of", &[]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let ring = install("ring", &bin)?;
    let tree = Scratch::new(Path::new("/var/tmp"))?;
    for file in ["at-once", "by-worker", "called"] {
        fs::write(tree.path().join(file), "")?;
    }
    let command = [ring.as_os_str(), tree.path().as_os_str()];
    let recorded = harden::record("ring", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let done = printed_acts(&recorded.output);
    for file in ["at-once", "by-worker"] {
        assert!(done.contains(&format!("read ok {file}")), "{done:?}");
    }
    let run = run(&recorded.observation);
    let blind = run.hooks.get("files").context("a hook for files")? == "tp_btf:sys_exit";
    let workers_are_tasks = version(&run.host.kernel.to_string()) >= (5, 12);
    let hidden = |act: &String| {
        // Until 5.12 the workers were kernel threads, of no program's.
        blind && act.ends_with("at-once")
            || (blind || !workers_are_tasks) && act.ends_with("by-worker")
    };
    // Hooks inside an open are asked before its outcome is known; a call tells it at its end.
    let as_seen = |act: String| {
        if act.ends_with("called") {
            act
        } else {
            act.replace("read ok ", "read tried ")
        }
    };
    let seen = done.into_iter().filter(|act| !hidden(act)).map(as_seen);
    let expected: BTreeSet<_> = seen.collect();
    let facts = facts(&recorded.observation, "ring");
    assert_same(&expected, &acts(facts, tree.path()));
    let text = recorded.profile.text();
    assert!(text.contains("io_uring was used"), "{text}");
    assert_eq!(text.contains(NOT_SEEN), blind, "{text}");
    Ok(())
}

/// `6.1.0-28-amd64` → (6, 1).
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn nothing_is_said_where_there_is_no_ring() -> Result<()> {
    if !met("nothing_is_said_where_there_is_no_ring", &[]) {
        return Ok(());
    }
    let recorded = harden::record("none", &[], &["/bin/true"])?;
    assert!(!recorded.profile.text().contains("io_uring was used"));
    Ok(())
}
