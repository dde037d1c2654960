//! `--format login`: a user is logged in to the recorded program under Firejail, and to nothing else.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Machine, Scratch, Setup};

/// What is done when it is recorded, and at a login.
const WORK: &str = "id -un; cat /proc/self/status";

#[test]
fn a_user_is_logged_in_under_firejail() -> Result<()> {
    let Some(machine) = Machine::here("a user is logged in under firejail")? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    machine.run(&["useradd", "-m", "-s", "/bin/bash", "rig"])?;
    let unit = "login-rig.service";
    machine.run(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "--unit",
        unit,
        "-p",
        "User=rig",
        "--",
        "/bin/bash",
        "-c",
        WORK,
    ])?;
    let out = Scratch::new(Path::new("/run"))?;
    let directory = out.path().to_str().context("a path in UTF-8")?;
    let formats = [
        "snapshot",
        "--format",
        "firejail,login",
        "--start",
        "direct",
        "--out",
        directory,
    ];
    agent.say(&[&formats[..], &[&machine.key(unit)]].concat())?;
    drop(agent);
    let read = |ending: &str| -> Result<String> {
        for entry in fs::read_dir(out.path())? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(ending) {
                return Ok(fs::read_to_string(path)?);
            }
        }
        anyhow::bail!("no {ending}")
    };
    let (script, profile) = (read(".login.sh")?, read(".profile")?);
    let path = script
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--profile="));
    machine.write(path.context("no profile in the script")?, &profile)?;
    let shell = "/usr/local/libexec/rig-login";
    machine.write(shell, &script)?;
    machine.run(&["chmod", "755", shell])?;
    machine.run(&["usermod", "-s", shell, "rig"])?;

    let login = |work: &str| machine.try_run(&["timeout", "30", "su", "-", "rig", "-c", work]);
    let output = login(WORK)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success()
            && said.lines().next() == Some("rig")
            && said.contains("Seccomp:\t2"),
        "{output:?}\n{script}\n{profile}"
    );
    // What was never seen is not there.
    let other = login("ls / && echo listed")?;
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    ensure!(
        !other.status.success() && !said.contains("listed"),
        "{other:?}"
    );
    Ok(())
}
