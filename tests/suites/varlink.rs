//! The control interface, as systemd's own `varlinkctl` speaks it.

use std::{
    env,
    ffi::OsString,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{
    Agent, Setup,
    deeds::{Then, Workshop},
    met,
};
use serde_json::Value;

/// `HARDEN_VARLINKCTL`, which `cargo xtask test` sets: systemd has it since 255 only.
fn varlinkctl(test: &str) -> Option<OsString> {
    match env::var_os("HARDEN_VARLINKCTL") {
        Some(program) => met(test, &["sh"]).then_some(program),
        None => met(test, &["varlinkctl", "sh"]).then(|| "varlinkctl".into()),
    }
}

fn told(output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {error}", output.status);
    Ok(String::from_utf8(output.stdout.clone())?)
}

#[test]
fn varlinkctl_describes_and_calls_it() -> Result<()> {
    let Some(program) = varlinkctl("varlinkctl_describes_and_calls_it") else {
        return Ok(());
    };
    let mut agent = Agent::start(&Setup::default())?;
    let socket = agent.socket();
    let run = |arguments: &[&str]| -> Result<Output> {
        let mut command = Command::new(&program);
        command.arg(arguments[0]).arg(&socket).args(&arguments[1..]);
        Ok(command.output()?)
    };
    let info = told(&run(&["info"])?)?;
    ensure!(info.contains("io.harden.Agent"), "{info}");
    // It parses the description, and refuses one that breaks the rules of the language.
    let said = told(&run(&["introspect", "io.harden.Agent"])?)?;
    for method in [
        "Status",
        "Units",
        "Observations",
        "Mark",
        "Unmark",
        "Forget",
        "Watch",
    ] {
        ensure!(said.contains(&format!("method {method}")), "{said}");
    }

    let workshop = Workshop::new()?;
    let unit = workshop.unit("spoken.service")?;
    let mut child = workshop.begin(&unit, 0, 1, std::time::Duration::ZERO, Then::Stay)?;
    let call = |method: &str, parameters: &str| -> Result<Output> {
        run(&["call", &format!("io.harden.Agent.{method}"), parameters])
    };
    agent.until(|_| {
        let units: Value = serde_json::from_str(&told(&call("Units", "{}")?)?)?;
        let units = units["units"].as_array().context("units")?;
        let found = units
            .iter()
            .find(|unit| unit["unit"] == "spoken.service")
            .context("the unit")?;
        ensure!(
            found["runs"] == 1 && found["calls"].as_u64() > Some(1),
            "{found}"
        );
        Ok(())
    })?;
    let marked = told(&call("Mark", r#"{"name": "a case"}"#)?)?;
    ensure!(marked.contains("spoken.service"), "{marked}");
    told(&call("Unmark", "{}")?)?;
    let refused = call("Mark", r#"{"name": 5}"#)?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && why.contains("InvalidParameter"),
        "{why}"
    );
    child.kill()?;
    child.wait()?;
    Ok(())
}
