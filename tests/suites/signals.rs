//! Who signals a process of another cgroup is told, by whatever call, and such a program does not work under Firejail.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::Observation;
use harden_tests::{
    Process, Scratch, firejail, harden, is_alive, met, observed::facts, programs::install,
};
use nix::unistd::Pid;

/// A process in the cgroup of the tests, which is none that is recorded. SIGUSR1 ends it.
fn stranger() -> Result<Process> {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    Process::start(&mut command)
}

fn is_told(observation: &Observation, program: &str) -> bool {
    let mut arguments = facts(observation, program).arguments.keys();
    arguments.any(|name| name.as_str() == "signal-other-cgroup")
}

#[test]
fn a_signal_to_another_cgroup_is_told_whatever_the_call() -> Result<()> {
    const NAME: &str = "a_signal_to_another_cgroup_is_told_whatever_the_call";
    if !met(NAME, &["firejail", "sleep"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = install("signals", &dir)?;
    let program = program.to_str().context("UTF-8")?;
    for way in ["kill", "tkill", "tgkill", "sigqueue", "pidfd"] {
        let mut stranger = stranger()?;
        let id = stranger.id().to_string();
        let command = [program, way, &id];
        let recorded = harden::record("other", &[], &command)?;
        ensure!(recorded.status == 0, "{way}: {}", recorded.output);
        ensure!(is_told(&recorded.observation, "signals"), "{way}");
        let told = format!("# WARNING[other-processes]: {program} signals processes of other");
        let text = recorded.profile.text();
        ensure!(text.contains(&told), "{way}: {text}");
        stranger.wait().context(way)?;
    }
    Ok(())
}

#[test]
fn signals_to_its_own_processes_are_not_told() -> Result<()> {
    if !met("signals_to_its_own_processes_are_not_told", &["sleep"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = install("signals", &dir)?;
    let program = program.to_str().context("UTF-8")?;
    let stranger = stranger()?;
    let id = stranger.id().to_string();
    // Signal 0 generates none.
    for command in [&[program, "own"][..], &[program, "zero", &id]] {
        let recorded = harden::record("own", &[], command)?;
        ensure!(recorded.status == 0, "{command:?}: {}", recorded.output);
        ensure!(!is_told(&recorded.observation, "signals"), "{command:?}");
        let text = recorded.profile.text();
        ensure!(!text.contains("other-processes"), "{command:?}: {text}");
    }
    Ok(())
}

#[test]
fn without_the_hook_the_profile_says_so() -> Result<()> {
    if !met("without_the_hook_the_profile_says_so", &["sleep"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let program = install("signals", &dir)?;
    let program = program.to_str().context("UTF-8")?;
    let stranger = stranger()?;
    let id = stranger.id().to_string();
    let blind = ["--tier", "signals=none"];
    let recorded = harden::record("blind", &blind, &[program, "kill", &id])?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    ensure!(!is_told(&recorded.observation, "signals"));
    let text = recorded.profile.text();
    let told = "# WARNING[no-hook]: INCOMPLETE: 1 of 1 runs had no hook for signals";
    ensure!(text.contains(told), "{text}");
    // Who calls none of these calls has nothing that was not seen.
    let recorded = harden::record("none", &blind, &["/bin/true"])?;
    let text = recorded.profile.text();
    ensure!(!text.contains("WARNING[no-hook]"), "{text}");
    Ok(())
}

/// kill(1) and pkill(1), as a script has them that makes another daemon open its log again.
#[test]
fn who_signals_another_unit_does_not_work_under_firejail() -> Result<()> {
    const NAME: &str = "who_signals_another_unit_does_not_work_under_firejail";
    if !met(NAME, &["firejail", "sleep", "kill", "pkill"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/opt"))?;
    let sleeper = dir.path().join("signals-sleep");
    fs::copy("/bin/sleep", &sleeper)?;
    for program in ["/bin/kill", "pkill"] {
        let start = || Process::start(Command::new(&sleeper).arg("1000"));
        let mut stranger = start()?;
        let command = |id: Pid| match program {
            "pkill" => ["pkill", "-USR1", "-x", "signals-sleep"].map(str::to_owned),
            kill => [kill, "-USR1", "--", &id.to_string()].map(str::to_owned),
        };
        let recorded = harden::record("script", &[], &command(stranger.id()))?;
        ensure!(recorded.status == 0, "{program}: {}", recorded.output);
        stranger.wait().context(program)?;
        let text = recorded.profile.text();
        let warning = text
            .lines()
            .find(|line| line.contains("WARNING[other-processes]"));
        let warning = warning.with_context(|| format!("{program}: {text}"))?;
        ensure!(warning.contains("signals processes of other"), "{warning}");

        let stranger = start()?;
        firejail::run(&recorded.profile, &command(stranger.id()), |process| {
            let status = process.wait()?;
            ensure!(status.code() == Some(1), "{status}: {}", process.output());
            Ok(())
        })?;
        ensure!(is_alive(stranger.id()), "{program}");
    }
    Ok(())
}
