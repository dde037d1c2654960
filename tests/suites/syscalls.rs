//! Nothing is missed: what harden records of a command is what strace says of it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use harden_agent::observation::{Abi, Observation, Seen};
use harden_tests::{
    Scratch, harden, met,
    observed::losses,
    programs::install,
    strace::{self, Calls, Times},
};

fn times(seen: &Seen) -> Times {
    Times {
        made: seen.count().unwrap_or(0),
        failed: seen.errors().unwrap_or(0),
    }
}

/// Programs → calls, as the observation has them.
fn observed(observation: &Observation) -> BTreeMap<&Path, Calls> {
    let run = observation.runs.values().next().expect("one run");
    assert!(losses(run).is_empty(), "{:?}", run.losses);
    let programs = run.executables.iter().map(|(path, facts)| {
        let calls = facts.syscalls.iter().flat_map(|(abi, calls)| {
            calls
                .iter()
                .map(|(name, seen)| ((*abi, name.as_str().to_owned()), times(seen)))
        });
        (path.as_path(), calls.collect())
    });
    programs.collect()
}

/// Which calls are in one and not in the other.
fn difference(command: &str, expected: &BTreeMap<&Path, Calls>, observed: &BTreeMap<&Path, Calls>) {
    for (program, calls) in expected {
        let none = Calls::new();
        let recorded = observed.get(program).unwrap_or(&none);
        let missed: Vec<_> = calls
            .keys()
            .filter(|call| !recorded.contains_key(call))
            .collect();
        let invented: Vec<_> = recorded
            .keys()
            .filter(|call| !calls.contains_key(call))
            .collect();
        assert!(
            missed.is_empty() && invented.is_empty(),
            "{command}: {}: missed {missed:?}, invented {invented:?}",
            program.display()
        );
    }
    let programs =
        |of: &BTreeMap<&Path, Calls>| of.keys().map(|path| path.to_path_buf()).collect::<Vec<_>>();
    assert_eq!(programs(expected), programs(observed), "{command}");
}

/// Records `command` and holds it against strace.
fn same_calls(options: &[&str], command: &[&str]) -> Result<()> {
    let shown = command.join(" ");
    let expected = strace::trace(command).with_context(|| shown.clone())?;
    let expected = expected
        .iter()
        .map(|(path, calls)| (path.as_path(), calls.clone()))
        .collect();
    let recorded = harden::record("command", options, command).with_context(|| shown.clone())?;
    difference(&shown, &expected, &observed(&recorded.observation));
    Ok(())
}

#[test]
fn ordinary_commands() -> Result<()> {
    if !met("ordinary_commands", &["strace"]) {
        return Ok(());
    }
    let tar = "cd /etc && tar --create --file - hostname passwd | tar --list --file - | sort --reverse | wc";
    let commands: [&[&str]; 8] = [
        &["/bin/true"],
        &["/bin/cat", "/etc/hostname", "/nosuch"],
        &["/bin/ls", "-l", "/usr"],
        &[
            "/bin/sh",
            "-c",
            "echo one | cat | cat; (exit 3); exec /bin/false",
        ],
        &["/bin/sh", "-c", tar],
        &[
            "/usr/bin/python3",
            "-c",
            "import subprocess; subprocess.run(['/bin/echo', 'x'])",
        ],
        &["/usr/bin/find", "/etc", "-maxdepth", "1"],
        &[
            "/usr/bin/env",
            "--ignore-environment",
            "/bin/sh",
            "-c",
            "kill -9 $$",
        ],
    ];
    for command in commands {
        same_calls(&[], command)?;
    }
    Ok(())
}

#[test]
fn every_way_to_make_a_task() -> Result<()> {
    if !met("every_way_to_make_a_task", &["strace"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/run"))?;
    let tasks = install("tasks", &dir)?;
    let tasks = tasks.to_str().context("a path in UTF-8")?;
    same_calls(&[], &[tasks])?;
    same_calls(&["--task-hash"], &[tasks])
}

#[test]
fn a_32_bit_program_has_32_bit_names() -> Result<()> {
    if !met("a_32_bit_program_has_32_bit_names", &["strace"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/run"))?;
    let tasks = install("tasks-32", &dir)?;
    same_calls(&[], &[tasks.to_str().context("a path in UTF-8")?])
}

#[test]
fn counts_are_exact() -> Result<()> {
    if !met("counts_are_exact", &["strace"]) {
        return Ok(());
    }
    // Single-threaded and of one mind: what is counted does not depend on time.
    let command = [
        "/bin/sh",
        "-c",
        "for i in 1 2 3; do /bin/cat /etc/hostname /nosuch; done",
    ];
    let expected = strace::trace(&command)?;
    let recorded = harden::record("command", &[], &command)?;
    for (program, calls) in observed(&recorded.observation) {
        assert_eq!(&calls, &expected[program], "{}", program.display());
    }
    assert_eq!(expected.len(), 2);
    Ok(())
}

#[test]
fn every_one_of_a_hundred_short_processes_is_seen() -> Result<()> {
    if !met("every_one_of_a_hundred_short_processes_is_seen", &["sh"]) {
        return Ok(());
    }
    let script = "i=0; while [ $i -lt 100 ]; do /bin/true & /bin/false; i=$((i + 1)); done; wait";
    for options in [&[][..], &["--task-hash"]] {
        let recorded = harden::record("command", options, &["/bin/sh", "-c", script])?;
        let run = recorded.observation.runs.values().next().context("a run")?;
        for name in ["/bin/true", "/bin/false"] {
            let program = Path::new(name).canonicalize()?;
            let facts = run
                .executables
                .iter()
                .find(|(path, _)| path.as_path() == program);
            let (_, facts) = facts.context(name)?;
            let times: Vec<_> = facts
                .invoked_as
                .iter()
                .map(|(as_what, seen)| (as_what.as_path(), seen.count()))
                .collect();
            assert_eq!(times, [(Path::new(name), Some(100))]);
            let exits = &facts.syscalls[&Abi::Native];
            let exits = exits.iter().find(|(call, _)| call.as_str() == "exit_group");
            let count = exits
                .and_then(|(_, seen)| seen.count())
                .context("a count")?;
            // A skipped entry is made up for, but is not counted.
            let may_be_skipped = run
                .losses
                .keys()
                .any(|kind| kind.as_str() == "skipped-sys_enter");
            assert!(
                count == 100 || may_be_skipped && count < 100,
                "{count}: {:?}",
                run.losses
            );
        }
    }
    Ok(())
}

#[test]
fn five_thousand_opens_at_once_are_all_there() -> Result<()> {
    if !met("five_thousand_opens_at_once_are_all_there", &["python3"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/run"))?;
    let script =
        "import os, sys\nfor i in range(5000): os.close(os.open(f'{sys.argv[1]}/{i}', os.O_CREAT))";
    let path = dir.path().to_str().context("a path in UTF-8")?;
    let recorded = harden::record("command", &[], &["/usr/bin/python3", "-c", script, path])?;
    let run = recorded.observation.runs.values().next().context("a run")?;
    assert!(losses(run).is_empty(), "{:?}", run.losses);
    let files = run
        .executables
        .values()
        .flat_map(|facts| facts.files.keys());
    let made = files.filter(|file| file.as_path().starts_with(dir.path()));
    assert_eq!(made.count(), 5000);
    Ok(())
}

/// Without task storage everything works too, but costs more: that it is used must not be lost
/// silently. Tracing programs have it since 5.11 (`kernel/trace/bpf_trace.c`, `bpf_task_storage_get`).
#[test]
fn task_storage_is_used_where_the_kernel_has_it() -> Result<()> {
    if !met("task_storage_is_used_where_the_kernel_has_it", &[]) {
        return Ok(());
    }
    let recorded = harden::record("true", &[], &["/bin/true"])?;
    let run = recorded.observation.runs.values().next().context("a run")?;
    let release = nix::sys::utsname::uname()?.release().to_owned();
    let release = release.to_string_lossy();
    let mut numbers = release
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next(), numbers.next());
    let expected = if version >= (Some(5), Some(11)) {
        "task-storage"
    } else {
        "task-hash"
    };
    assert_eq!(
        run.hooks.get("attribution").map(String::as_str),
        Some(expected),
        "{release}"
    );
    Ok(())
}
