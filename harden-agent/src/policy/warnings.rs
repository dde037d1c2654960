//! What whoever installs the profile must know, the gravest first.

use std::collections::BTreeMap;

use crate::observation::{Observation, Run, Text, Word};

use super::Policy;
use super::paths::as_argument;
use super::places::Place;
use super::target::Launch;

/// Paths that no line can hold are named one by one up to this many.
const NAMED: usize = 20;

/// What a loss means. The kernel says of a program how often it was skipped, but not for whom; the ends
/// of calls are counted by the programs themselves.
fn loss(kind: &str, lost: u64) -> String {
    match kind.strip_prefix("skipped-") {
        Some(program) if program != "sys_exit" => format!(
            "the kernel skipped {program} up to {lost} times, on the whole machine: if it was for this \
             program, something may be missing here"
        ),
        _ => format!(
            "INCOMPLETE: {lost} events were lost ({kind}). What they told is missing here; record \
             again before you rely on this profile"
        ),
    }
}

/// All warnings of a policy.
pub(super) fn collect(
    policy: &Policy,
    observation: &Observation,
    places: &[Place<'_>],
) -> Vec<String> {
    let mut warnings = Vec::new();
    let coverage = &policy.coverage;
    if coverage.is_empty() {
        warnings.push("the observation holds no run: this profile rests on nothing".to_owned());
    }
    for (kind, lost) in &coverage.losses {
        warnings.push(loss(kind.as_str(), *lost));
    }
    for (fact, runs) in &coverage.blind {
        warnings.push(format!(
            "INCOMPLETE: {runs} of {} had no hook for {fact}; no rule rests on them",
            coverage.all()
        ));
    }
    if coverage.failed > 0 {
        warnings.push(format!(
            "{} of {} ended with an error: what comes after it was not seen",
            coverage.failed,
            coverage.all()
        ));
    }
    if coverage.machines.len() > 1 {
        let machines: Vec<&str> = coverage.machines.iter().map(String::as_str).collect();
        warnings.push(format!(
            "the runs are from different machines ({})",
            machines.join(", ")
        ));
    }
    warnings.extend(policy.syscalls.warnings.iter().cloned());
    warnings.extend(policy.defaults.warnings.iter().cloned());
    warnings.extend(
        policy
            .capabilities
            .keep
            .reasons()
            .iter()
            .map(|reason| format!("no rule for capabilities: {reason}")),
    );
    if policy.capabilities.keep.given().is_none() && !coverage.is_empty() {
        warnings.push(
            "without a caps.keep line Firejail takes dac_override and dac_read_search from root \
             (src/firejail/caps.c)"
                .to_owned(),
        );
    }
    if let Some(reason) = policy.syscalls.keep.reasons().first() {
        warnings.push(format!("no rule for system calls: {reason}"));
    }
    warnings.extend(io_uring(observation));
    warnings.extend(launch(policy));
    warnings.extend(inexpressible(places));
    warnings
}

/// Work submitted to `io_uring` enters the kernel by no call that a filter or a tracepoint sees.
fn io_uring(observation: &Observation) -> Option<String> {
    let mut rings = observation.runs.values().filter(|run| uses_ring(run));
    let mut blind = rings.clone().filter(|run| {
        let hook = run.hooks.get("files");
        hook.is_some_and(|hook| hook == "raw_tp:sys_exit")
    });
    let used = "io_uring was used: what is submitted to it passes no system call filter";
    if blind.next().is_some() {
        return Some(format!(
            "INCOMPLETE: {used}, and the files opened through it were not seen, as the hook for \
             files was raw_tp:sys_exit"
        ));
    }
    rings
        .next()
        .map(|_| format!("{used}, and of what it did with files only opening them was seen"))
}

/// A ring may also come from another program: then it is entered, and not set up.
fn uses_ring(run: &Run) -> bool {
    let calls = run
        .executables
        .values()
        .flat_map(|executable| executable.syscalls.values())
        .flat_map(BTreeMap::keys);
    calls
        .map(Word::as_str)
        .any(|name| name == "io_uring_setup" || name == "io_uring_enter")
}

fn launch(policy: &Policy) -> Option<String> {
    match &policy.target.launch {
        Launch::Direct => Some(
            "start the program without a double dash (`firejail --profile=FILE PROGRAM`): with \
             one, Firejail runs a shell first, for which nothing is allowed here"
                .to_owned(),
        ),
        Launch::Shell(shell) if !shell.ends_with("/bash") => Some(format!(
            "`firejail -- PROGRAM` starts the program through {}, and what that needs is not \
             known here: start it without the double dash",
            Text::from(shell)
        )),
        Launch::Shell(_) => None,
    }
}

/// The used paths that no line can hold.
fn inexpressible(places: &[Place<'_>]) -> Vec<String> {
    let mut paths: Vec<&[u8]> = places
        .iter()
        .filter(|place| place.found())
        .map(|place| place.path.as_slice())
        .filter(|path| as_argument(path).is_none())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let mut warnings: Vec<String> = paths
        .iter()
        .take(NAMED)
        .map(|path| {
            format!(
                "{} was used, which no Firejail line can hold: its directory stands for it, or \
                 the rule is left out",
                Text::from(path)
            )
        })
        .collect();
    if paths.len() > NAMED {
        warnings.push(format!(
            "so were {} more paths that no line can hold",
            paths.len() - NAMED
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::io_uring;

    #[test]
    fn a_ring_hides_files_from_the_exits_of_calls() {
        let with = |call: &str, hook: &str| {
            let mut fixture = Fixture::new().executable("/bin/daemon").syscalls(&[call]);
            let hooks = &mut fixture.run().hooks;
            hooks.insert("files".to_owned(), hook.to_owned());
            io_uring(&fixture.observation())
        };
        assert_eq!(with("read", "raw_tp:sys_exit"), None);
        for call in ["io_uring_setup", "io_uring_enter"] {
            let blind = with(call, "raw_tp:sys_exit").unwrap();
            assert!(blind.contains("were not seen"), "{blind}");
            let seeing = with(call, "lsm:file_open").unwrap();
            assert!(!seeing.contains("not seen"), "{seeing}");
        }
    }
}
