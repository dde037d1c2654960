//! A reboot in the middle of a test run: of `harden apply`, of `harden trial`, and when the drop-in was just made lasting.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::Observation;
use harden_tests::{Machine, harden, programs};

use super::super::apply::{HARDEN, LASTING, NGINX, OBSERVATION, Rig, WORK, is_in_force, recorded};
use super::{NGINX as DAEMON, prepare, relaxed, trial, without};

/// At once, as if the power was cut: nothing is stopped before.
const REBOOT: [&str; 4] = ["systemctl", "reboot", "--force", "--force"];
/// How long the unit may take to be up after a boot.
const START: Duration = Duration::from_secs(20);

/// With what a reboot has taken away put there again.
fn rig<'a>(machine: &'a Machine, seen: &Observation) -> Result<Rig<'a>> {
    programs::copy(harden::binary(), machine.root().join(&HARDEN[1..]))?;
    let rig = Rig {
        machine,
        unit: NGINX,
        work: WORK,
    };
    rig.record(seen)?;
    Ok(rig)
}

#[test]
fn a_reboot_leaves_it_as_it_was() -> Result<()> {
    let Some(mut machine) = Machine::that_reboots("a reboot leaves it as it was")? else {
        return Ok(());
    };
    machine.run(&["systemctl", "enable", "--now", NGINX])?;
    let seen = recorded(&machine, NGINX, WORK)?;
    machine.run(&["systemctl", "start", NGINX])?;
    let before = rig(&machine, &seen)?.state()?;

    let test = format!("{}; sleep 60", REBOOT.join(" "));
    machine.reboots_in(&[HARDEN, "apply", NGINX, OBSERVATION, "--test", &test])?;
    rig(&machine, &seen)?
        .becomes(&before, START)
        .context("a reboot in harden apply")?;

    let drop_in = what_is_kept_stays(&mut machine, &seen, &before)?;
    a_trial_goes_on(&mut machine, &drop_in, &before)
}

/// Killed when the drop-in is in /etc, and before the rest is done. Returns that drop-in.
fn what_is_kept_stays(machine: &mut Machine, seen: &Observation, before: &str) -> Result<String> {
    let apply = [HARDEN, "apply", "--settle", "100ms", NGINX, OBSERVATION];
    machine.try_run(&[&["env", "HARDEN_CRASH_AT=apply-kept:1"], &apply[..]].concat())?;
    machine.reboots_in(&REBOOT)?;
    let rig = rig(machine, seen)?;
    machine.work(WORK)?;
    is_in_force(&rig).context("a reboot after what is kept")?;
    let state = rig.state()?;
    ensure!(!state.contains(" /run/"), "{state}");
    let installed = machine.run(&["cat", LASTING])?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(before)?;
    let (_, drop_in) = installed.split_once('\n').context("one line")?;
    Ok(format!("{drop_in}\n"))
}

/// The reboot comes in the eighth run that gets as far as the test.
fn a_trial_goes_on(machine: &mut Machine, drop_in: &str, before: &str) -> Result<()> {
    let runs = "/var/tmp/runs";
    let test = format!(
        "n=$(cat {runs} 2>/dev/null || echo 0); echo $((n + 1)) >{runs}
         if [ $n = 7 ]; then {}; sleep 60; fi; {WORK}",
        REBOOT.join(" ")
    );
    let planted = without(drop_in, "SystemCallFilter", "listen")?;
    let options = ["--test", &test];
    let words: Vec<String> = {
        let rig = prepare(machine, &DAEMON, &planted)?;
        rig.calm()?;
        let words = super::arguments(&rig, "30s", &options);
        words.into_iter().map(str::to_owned).collect()
    };
    let words = words.iter().map(String::as_str);
    machine.reboots_in(&[HARDEN].into_iter().chain(words).collect::<Vec<_>>())?;
    let rig = prepare(machine, &DAEMON, &planted)?;
    rig.becomes(before, START)
        .context("a reboot in harden trial")?;
    let said = trial(&rig, &["--test", &test, "--resume"], 0)?;
    let known = said.lines().find_map(|line| {
        let number = line.strip_suffix(" test runs are known already")?;
        number.parse::<usize>().ok()
    });
    ensure!(known.is_some_and(|known| known >= 7), "{said}");
    ensure!(relaxed(&said) == ["SystemCallFilter listen"], "{said}");
    ensure!(machine.run(&["cat", runs])? != "8", "{said}");
    let rig = prepare(machine, &DAEMON, &planted)?;
    rig.is_as(before)
}
