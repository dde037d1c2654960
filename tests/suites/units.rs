//! Units of a real systemd.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use harden_tests::{harden, met};
use serde_json::Value;

/// A transient service that does nothing; gone when dropped.
struct Unit(&'static str);

impl Unit {
    fn start(name: &'static str, properties: &[&str]) -> Result<Self> {
        let mut start = Command::new("systemd-run");
        start.args(["--quiet", "--unit", name]);
        start.args(properties.iter().flat_map(|property| ["-p", property]));
        let status = start.args(["sleep", "infinity"]).status()?;
        ensure!(status.success(), "{name}: {status}");
        Ok(Self(name))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _gone = Command::new("systemctl").args(["stop", self.0]).status();
    }
}

fn doctor(unit: &str) -> Result<(Value, Value)> {
    let mut doctor = Command::new(harden::binary());
    let output = doctor.args(["doctor", "--json", "--unit", unit]).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
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
    if !met(
        "doctor tells which unit runs under a filter",
        &["systemd-run"],
    ) {
        return Ok(());
    }
    let _free = Unit::start("harden-free.service", &[])?;
    let (unit, check) = doctor("harden-free.service")?;
    assert_eq!(check["status"], "ok", "{check}");
    assert_eq!(unit["processes"][0]["name"], "sleep", "{unit}");
    assert_eq!(unit["processes"][0]["seccomp"], 0, "{unit}");
    assert_eq!(unit["cgroup"], "/system.slice/harden-free.service");

    let confined = [
        "SystemCallFilter=~@mount",
        "CapabilityBoundingSet=CAP_CHOWN",
        "NoNewPrivileges=yes",
    ];
    let _confined = Unit::start("harden-confined.service", &confined)?;
    let (unit, check) = doctor("harden-confined.service")?;
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

    let (unit, check) = doctor("harden-absent.service")?;
    assert_eq!(check["status"], "warning", "{check}");
    assert!(unit["error"].is_string(), "{unit}");
    Ok(())
}
