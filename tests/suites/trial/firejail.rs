//! A profile: one call is left out of it, and found; what is written confines the unit, and it works.

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation;
use harden_tests::{Machine, as_patient};

use super::super::apply::OBSERVATION;
use super::{Daemon, LIGHTTPD, OUT, WITHIN, prepare, relaxed};

pub(super) fn a_profile_is_tried_too(machine: &Machine, observation: &str) -> Result<()> {
    let before = it_is_found(machine, &LIGHTTPD, observation)?;
    is_enough(machine, &before)?;
    prepare(machine, &LIGHTTPD, "")?.is_as(&before)
}

/// Returns how the unit was before.
pub(super) fn it_is_found(machine: &Machine, daemon: &Daemon, observation: &str) -> Result<String> {
    let rig = prepare(machine, daemon, "")?;
    rig.without(&observation::from_json(observation.as_bytes())?, "accept4")?;
    let before = rig.state()?;
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    let trial = [
        "trial",
        daemon.unit,
        OBSERVATION,
        "--backend",
        "firejail",
        "--out",
        OUT,
        "--settle",
        "200ms",
        "--within",
        &within,
        "--test",
        daemon.work,
    ];
    let said = rig.says(&trial, 0)?;
    ensure!(relaxed(&said) == ["seccomp.keep accept4"], "{said}");
    let runs = said.lines().find(|line| line.contains(" test run"));
    println!("{}: {}", daemon.unit, runs.unwrap_or_default());
    rig.is_as(&before)?;
    Ok(before)
}

/// What was written, where the administrator puts it.
fn is_enough(machine: &Machine, before: &str) -> Result<()> {
    let (profile, drop_in) = (
        "/etc/firejail/lighttpd.service.profile",
        "/etc/systemd/system/lighttpd.service.d/60-trial.conf",
    );
    let written = machine.run(&["cat", &format!("{OUT}/lighttpd.service.profile")])?;
    let note = format!(
        "# Relaxed by harden trial: without it this test fails: {}\n# seccomp.keep: accept4\nseccomp.keep ",
        LIGHTTPD.work
    );
    ensure!(written.contains(&note), "no {note}:\n{written}");
    let overrides = machine.run(&["cat", &format!("{OUT}/lighttpd.service.overrides.toml")])?;
    ensure!(overrides.contains("syscalls = ['accept4']"), "{overrides}");
    let edit = format!("{OUT}/lighttpd.service.firejail.conf");
    machine.run(&["install", "-D", "-m", "644", &edit, drop_in])?;
    machine.write(profile, &written)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "restart", LIGHTTPD.unit])?;
    machine.work(LIGHTTPD.work)?;
    let pid = machine.run(&["pgrep", "-o", "-x", "lighttpd"])?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    ensure!(status.contains("Seccomp:\t2"), "{status}");
    ensure!(!before.contains(profile), "it was there before: {before}");
    for file in [profile, drop_in] {
        machine.run(&["rm", file]).context(file.to_owned())?;
    }
    machine.try_run(&["rmdir", "/etc/systemd/system/lighttpd.service.d"])?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine
        .run(&["systemctl", "restart", LIGHTTPD.unit])
        .map(drop)
}
