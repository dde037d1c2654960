//! A trial of what the agent has of the unit. The agent goes on recording, and has more of it when the trial is resumed.

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Forwarded, Machine, Setup, Written};

use super::{Daemon, NGINX, OUT, WITHIN, as_patient, prepare};

/// nginx, by a name that it has on no other machine: the agent records what all of them do.
const RESUMED: Daemon = Daemon {
    unit: "resumed.service",
    set_up: |machine| {
        machine.unit(
            "resumed.service",
            "[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStart=/usr/sbin/nginx\n\
             ExecReload=/usr/sbin/nginx -s reload\n",
        )
    },
    ..NGINX
};

const SOCKET: &str = "/run/agent-of-the-test.socket";

#[test]
fn it_goes_on_with_what_the_agent_had() -> Result<()> {
    let machines = Machine::several("it goes on with what the agent had", 1)?;
    let Some(machine) = machines.first() else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    let (drop_in, _) = RESUMED.drop_in(&agent, machine)?;
    let _forwarded = Forwarded::new(&agent, machine, SOCKET)?;
    let rig = prepare(machine, &RESUMED, &drop_in)?;
    let before = rig.state()?;
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    let trial = |more: &[&str], status| {
        let common = [
            "trial", "--socket", SOCKET, "--out", OUT, "--settle", "200ms",
        ];
        let own = ["--within", &within, rig.unit, "--test", rig.work];
        rig.says(&[&common[..], &own, more].concat(), status)
    };
    let said = trial(&["--runs", "7"], 1)?;
    ensure!(said.contains("is reached"), "{said}");
    rig.is_as(&before)?;

    machine.run(&["systemctl", "reload", rig.unit])?;
    machine.work(rig.work)?;
    let now = Written::of(&agent, machine, rig.unit)?.drop_in;
    ensure!(now != drop_in, "a reload brought nothing new:\n{now}");
    let said = trial(&["--resume"], 0)?;
    ensure!(said.contains("7 test runs are known already"), "{said}");
    let line = said.lines().find(|line| line.contains(": the test passes"));
    line.with_context(|| said.clone())?;
    rig.is_as(&before)
}
