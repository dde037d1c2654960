//! `harden doctor` on units of a real systemd: which of them run under a filter.

use std::fs;

use anyhow::{Context as _, Result};
use harden_tests::{Machine, harden, programs};
use serde_json::Value;

/// Where the program is put: a container does not see this machine's files.
const HARDEN: &str = "/run/harden-under-test";

/// Starts a transient service that does nothing.
fn start(machine: &Machine, name: &str, properties: &[&str]) -> Result<()> {
    let mut command = vec!["systemd-run", "--quiet", "--unit", name];
    command.extend(properties.iter().flat_map(|property| ["-p", property]));
    command.extend(["sleep", "infinity"]);
    machine.run(&command).map(drop)
}

fn doctor(machine: &Machine, unit: &str) -> Result<(Value, Value)> {
    // That something is amiss is in the report.
    let output = machine.try_run(&[HARDEN, "doctor", "--json", "--unit", unit])?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let name = format!("unit {unit}");
    let mut checks = report["checks"].as_array().context("a list")?.iter();
    let check = checks.find(|check| check["name"] == *name);
    Ok((
        report["units"][0].clone(),
        check.context("a check")?.clone(),
    ))
}

#[test]
fn doctor_tells_which_unit_runs_under_a_filter() -> Result<()> {
    let Some(machine) = Machine::here("doctor tells which unit runs under a filter")? else {
        return Ok(());
    };
    programs::copy(harden::binary(), machine.root().join(&HARDEN[1..]))?;
    start(&machine, "harden-free.service", &[])?;
    let (unit, check) = doctor(&machine, "harden-free.service")?;
    assert_eq!(check["status"], "ok", "{check}");
    assert_eq!(unit["processes"][0]["name"], "sleep", "{unit}");
    assert_eq!(unit["processes"][0]["seccomp"], 0, "{unit}");
    assert_eq!(unit["cgroup"], "/system.slice/harden-free.service");

    let confined = [
        "SystemCallFilter=~@mount",
        "CapabilityBoundingSet=CAP_CHOWN",
        "NoNewPrivileges=yes",
    ];
    start(&machine, "harden-confined.service", &confined)?;
    let (unit, check) = doctor(&machine, "harden-confined.service")?;
    assert_eq!(check["status"], "warning", "{check}");
    let process = &unit["processes"][0];
    assert_eq!(process["seccomp"], 2, "{unit}");
    assert_eq!(process["no_new_privileges"], true, "{unit}");
    assert_eq!(
        process["bounding_set"],
        serde_json::json!(["CAP_CHOWN"]),
        "{unit}"
    );
    let filter = unit["properties"]["SystemCallFilter"].as_str();
    assert!(
        filter.is_some_and(|filter| filter.contains("mount")),
        "{unit}"
    );

    let (unit, check) = doctor(&machine, "harden-absent.service")?;
    assert_eq!(check["status"], "warning", "{check}");
    assert!(unit["error"].is_string(), "{unit}");
    machine.run(&[
        "systemctl",
        "stop",
        "harden-free.service",
        "harden-confined.service",
    ])?;
    fs::remove_file(machine.root().join(&HARDEN[1..]))?;
    Ok(())
}
