//! Calls that the kernel did not have: it answered ENOSYS for want of them, so they ask for nothing. A program that
//! tries a number without a call, or x32 where that is not there, is refused nothing by a list without it.

use std::collections::BTreeSet;

use harden_common::Argument;

use crate::observation::{Abi, Observation, Run, RunKind, Word};

use super::executables;
use crate::policy::calls::is_nameless;

/// The newest kernel of which the tables of calls have every call: `file_setattr`, their last, came with 6.17, and 6.18
/// brought none (`arch/x86/entry/syscalls/syscall_64.tbl`).
const COVERED: (u32, u32) = (6, 18);

/// Whether the tables have every call of a kernel (`uname -r`).
pub fn is_covered(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version <= COVERED)
}

/// Takes them out. Says which.
pub(super) fn leave_out(observation: &mut Observation) -> Vec<String> {
    let no_x32 = has_no_x32(observation);
    let mut names: BTreeSet<String> = BTreeSet::new();
    let covered = observation.runs.values().all(|run| {
        run.host.architecture.as_bytes() == b"x86_64" && is_covered(&run.host.kernel.to_string())
    });
    for facts in executables(observation) {
        if no_x32 {
            for name in facts.syscalls.remove(&Abi::X32).into_iter().flatten() {
                names.insert(format!("x32 {}", name.0));
            }
        }
        if covered {
            for calls in facts.syscalls.values_mut() {
                calls.retain(|name, _| {
                    let stays = !is_nameless(name.as_str());
                    if !stays {
                        names.insert(name.to_string());
                    }
                    stays
                });
            }
        }
    }
    names
        .into_iter()
        .map(|name| {
            format!(
                "Not a call of this kernel, which answered ENOSYS, so it asks for nothing: {name}"
            )
        })
        .collect()
}

/// Whether no x32 call was ever answered, though it would have been seen.
fn has_no_x32(observation: &Observation) -> bool {
    let answered = Word::new(Argument::X32Answered.name()).ok();
    let is_told = |run: &Run| {
        let hook = run.hooks.get("refused-calls");
        hook.is_some_and(|hook| hook.ends_with("sys_exit"))
            && !run
                .losses
                .keys()
                .any(|kind| kind.as_str().starts_with("skipped"))
    };
    let runs = observation.runs.values();
    let runs = runs.filter(|run| run.kind != RunKind::Override);
    let programs = runs.clone().flat_map(|run| {
        let others = run.control.values().flat_map(|one| one.values());
        run.executables.values().chain(others)
    });
    let is_answered = |fact| {
        programs
            .clone()
            .any(|facts| facts.arguments.contains_key(fact))
    };
    runs.clone().all(is_told) && !answered.as_ref().is_some_and(is_answered)
}
