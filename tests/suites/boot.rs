//! A system that was started with the agent installed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use harden_agent::{
    agent::request::KernelSide,
    observation::{RunKind, Word},
};
use harden_tests::Installed;

#[test]
fn what_starts_at_boot_is_observed_from_its_first_call() -> Result<()> {
    let agent = Installed::as_it_is()?;
    let started =
        |unit: &str, name: &str| -> Result<u64> { Ok(agent.property(unit, name)?.parse()?) };
    assert_eq!(
        agent.property("harden.service", "ActiveState")?,
        "active",
        "{}\n{}",
        agent.journal()?,
        std::fs::read_to_string("/harden/installed").unwrap_or_default()
    );
    let ready = started("harden.service", "ActiveEnterTimestampMonotonic")?;
    let basic = started("basic.target", "ActiveEnterTimestampMonotonic")?;
    assert!(
        ready <= basic,
        "ready at {ready} us, basic.target at {basic} us"
    );
    assert_eq!(agent.property("harden.service", "NRestarts")?, "0");

    let status = agent.status()?;
    assert_eq!(status.kernel_side, KernelSide::Loaded);
    assert_eq!(status.errors, [""; 0]);
    // It was ready before there was a bus, and has asked since.
    let invocation = agent.property("dbus.service", "InvocationID")?;
    agent.until(|| {
        let bus = agent.snapshot("dbus.service")?;
        let runs: Vec<_> = bus.runs.values().collect();
        let [run] = runs[..] else {
            bail!("{} runs", runs.len());
        };
        ensure!(run.kind == RunKind::Invocation, "{:?}", run.kind);
        let told = run.invocation.as_ref().map(Word::as_str);
        ensure!(told == Some(&invocation), "{told:?}");
        let programs: Vec<_> = run.executables.keys().map(ToString::to_string).collect();
        let daemon = run.executables.values().next().context("no program")?;
        ensure!(programs == ["/usr/bin/dbus-daemon"], "{programs:?}");
        let calls: Vec<_> = daemon.syscalls.values().flat_map(BTreeMap::keys).collect();
        // The first is made once, at its start.
        for name in ["epoll_create1", "accept4", "recvmsg", "sendmsg"] {
            let is_there = calls.iter().any(|call| call.as_str() == name);
            ensure!(is_there, "{name}: {calls:?}");
        }
        Ok(())
    })?;
    let observed = |name: &str| -> Result<bool> {
        let units = agent.units()?;
        Ok(units.iter().any(|unit| unit.unit.to_string() == name))
    };
    // On a slow machine it may not be there yet.
    agent.until(|| {
        ensure!(observed("systemd-logind.service")?, "systemd-logind lacks");
        Ok(())
    })?;
    if agent.property("systemd-udevd.service", "ActiveState")? == "active" {
        assert!(observed("systemd-udevd.service")?);
    }
    // Never itself.
    assert!(!observed("harden.service")?);
    Ok(())
}

#[test]
fn nothing_waits_in_a_circle() -> Result<()> {
    let agent = Installed::as_it_is()?;
    let output = agent.try_run(&["systemd-analyze", "verify", "--man=no", "default.target"])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("cycle"), "{text}");
    assert!(!text.contains("harden"), "{text}");
    let log = agent.run(&["journalctl", "-b", "--no-pager", "-o", "cat", "_PID=1"])?;
    assert!(!log.contains("ordering cycle"), "{log}");
    Ok(())
}
