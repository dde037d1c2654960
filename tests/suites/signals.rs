//! Who signals a process of another cgroup is told, by whatever call, and such a program does not work under Firejail.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::Observation;
use harden_tests::{
    Agent, Machine, Process, Scratch, Setup, Written, firejail, harden, is_alive, met,
    observed::facts, programs, programs::install,
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
    programs::copy("/bin/sleep", &sleeper)?;
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

/// A process of a user, which root may signal by `CAP_KILL` alone. SIGWINCH is ignored (signal(7)).
const VICTIM: &str = "[Service]\nUser=nobody\nExecStart=/bin/sleep infinity\n";
/// Signals itself and its child, and is signalled by its own command.
const ALONE: &str = "[Service]
ExecStart=/bin/sh /opt/signals-alone.sh
ExecReload=/bin/kill -WINCH $MAINPID
";
const ALONE_SCRIPT: &str = "sleep 1000 &\nkill -WINCH $! $$\nwait\n";
const SENDER: &str = "signals-sender.service";

#[test]
fn a_unit_that_signals_another_works_under_its_drop_in() -> Result<()> {
    let Some(machine) = Machine::here("a unit that signals another works under its drop-in")?
    else {
        return Ok(());
    };
    machine.write("/opt/signals-alone.sh", ALONE_SCRIPT)?;
    machine.unit("signals-victim.service", VICTIM)?;
    machine.unit("signals-alone.service", ALONE)?;
    machine.run(&["systemctl", "start", "signals-victim.service"])?;
    let victim = machine.property("signals-victim.service", "MainPID")?;
    let send = format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -WINCH {victim}'\n");
    machine.unit(SENDER, &send)?;
    let agent = Agent::start(&Setup::default())?;
    for _ in 0..2 {
        machine.run(&["systemctl", "start", SENDER])?;
        machine.run(&["systemctl", "start", "signals-alone.service"])?;
        machine.run(&["systemctl", "reload", "signals-alone.service"])?;
        machine.run(&["systemctl", "stop", "signals-alone.service"])?;
    }
    let alone = Written::of(&agent, &machine, "signals-alone.service")?;
    let profile = &alone.profile;
    ensure!(!profile.contains("[other-processes]"), "{profile}");

    let written = Written::of(&agent, &machine, SENDER)?;
    let told = "WARNING[other-processes]: /usr/bin/dash signals processes of other units";
    ensure!(written.profile.contains(told), "{}", written.profile);
    let drop_in = written.drop_in;
    ensure!(
        drop_in.contains("\nCapabilityBoundingSet=CAP_KILL\n"),
        "{drop_in}"
    );
    let lives_under = |text: &str| -> Result<String> {
        let path = format!("/run/systemd/system/{SENDER}.d/50-harden.conf");
        machine.write(&path, text)?;
        machine.run(&["systemctl", "daemon-reload"])?;
        machine.run(&["systemctl", "start", SENDER])
    };
    lives_under(&drop_in)?;
    let without = drop_in.replace("CapabilityBoundingSet=CAP_KILL", "CapabilityBoundingSet=");
    ensure!(lives_under(&without).is_err(), "{without}");
    machine.run(&["systemctl", "stop", "signals-victim.service"])?;
    Ok(())
}

#[test]
fn another_user_than_root_needs_kill_for_processes_of_root() -> Result<()> {
    let Some(machine) = Machine::here("another user than root needs CAP_KILL")? else {
        return Ok(());
    };
    let signals = |properties: &[&str]| {
        let properties = properties.iter().flat_map(|one| ["--property", one]);
        let mut command = vec!["systemd-run", "--quiet", "--wait", "--collect"];
        command.extend(properties);
        // The first process catches it.
        command.extend(["/bin/sh", "-c", "kill -CONT 1"]);
        machine.run(&command)
    };
    signals(&[])?;
    signals(&["User=nobody", "AmbientCapabilities=CAP_KILL"])?;
    ensure!(signals(&["User=nobody"]).is_err(), "it needs nothing");
    Ok(())
}
