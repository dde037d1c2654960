//! `harden trial`: words are taken out of good drop-ins of three daemons, and it finds exactly those; killed at each of
//! its steps, it leaves the unit as it was, and goes on from there; so it does after a reboot, and under Firejail.

use std::{fs, os::unix::process::ExitStatusExt as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_agent::apply::TRIAL_STEPS;
use harden_tests::{Agent, Machine, Setup, Written, as_patient, harden, programs};

use super::{
    apply::{self, HARDEN, MACHINES, Rig},
    drop_in::without,
    restd,
};

mod firejail;
mod reboot;
mod resume;
mod tighten;

/// A daemon, what it does, and what it cannot do that without.
struct Daemon {
    unit: &'static str,
    work: &'static str,
    /// What is recorded beside that.
    more: &'static str,
    set_up: fn(&Machine) -> Result<()>,
    needed: &'static [(&'static str, &'static str)],
}

const NGINX: Daemon = Daemon {
    unit: "nginx.service",
    work: "curl -sf -m 2 http://127.0.0.1/ >/dev/null",
    more: "true",
    set_up: |_| Ok(()),
    needed: &[
        ("SystemCallFilter", "accept4"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("RestrictAddressFamilies", "AF_INET"),
        ("SystemCallFilter", "setuid"),
        ("ReadWritePaths", "-/var/log/nginx"),
        ("SystemCallFilter", "listen"),
        ("SystemCallFilter", "epoll_ctl"),
    ],
};

const REDIS: Daemon = Daemon {
    unit: "redis-server.service",
    work: "timeout 2 redis-cli set key value | grep -q OK && timeout 2 redis-cli save | grep -q OK",
    more: tighten::MORE,
    set_up: |_| Ok(()),
    needed: &[
        ("SystemCallFilter", "accept4"),
        ("SystemCallFilter", "bind"),
        ("SystemCallFilter", "epoll_wait"),
        ("RestrictAddressFamilies", "AF_INET"),
    ],
};

const RESTD: Daemon = Daemon {
    unit: restd::UNIT,
    work: "for i in 1 2 3 4 5 6 7 8 9 10; do curl -skf -m 2 https://127.0.0.1/ >/dev/null; s=$?; [ $s = 7 ] || exit $s; sleep 0.1; done; exit 7",
    more: "true",
    set_up: restd::set_up,
    needed: &[
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("RestrictAddressFamilies", "AF_NETLINK"),
        ("SystemCallFilter", "accept4"),
        ("SystemCallFilter", "connect"),
    ],
};

/// Under Firejail.
const LIGHTTPD: Daemon = Daemon {
    unit: apply::LIGHTTPD,
    work: apply::DOCUMENT,
    more: "true",
    set_up: apply::set_up_lighttpd,
    needed: &[],
};

const DAEMONS: [Daemon; 4] = [NGINX, REDIS, RESTD, LIGHTTPD];

impl Daemon {
    /// The good drop-in, of two lives, and what it was made from.
    fn drop_in(&self, agent: &Agent, machine: &Machine) -> Result<(String, String)> {
        (self.set_up)(machine)?;
        machine.try_run(&["systemctl", "stop", self.unit])?;
        for _ in 0..2 {
            machine.run(&["systemctl", "start", self.unit])?;
            machine.work(self.work)?;
            machine.work(self.more)?;
            machine.run(&["systemctl", "stop", self.unit])?;
        }
        let written = Written::of(agent, machine, self.unit)?;
        Ok((written.drop_in, written.observation))
    }

    /// Some of what it needs, by chance, and the drop-in without that.
    fn planted(&self, text: &str, seed: u64) -> Result<(String, Vec<Needed>)> {
        let mut chance = Chance(seed);
        let mut left = self.needed.to_vec();
        let mut planted = Vec::new();
        let mut text = text.to_owned();
        for _ in 0..=chance.below(3) {
            let (directive, word) = left.swap_remove(chance.below(left.len()));
            text = without(&text, directive, word)?;
            planted.push((directive, word));
        }
        Ok((text, planted))
    }
}

/// A directive, and a word of it.
type Needed = (&'static str, &'static str);

/// Numbers by chance, the same each time (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) >> 1).unwrap_or_default() % limit
    }
}

const DROP_IN: &str = "/run/planted.conf";
const SEEN: &str = "/run/seen.observation.json";
const OUT: &str = "/run/trial-out";
/// How long a run may take; after a kill the timer waits for a few seconds more.
const WITHIN: Duration = Duration::from_secs(8);

/// The unit runs, and the program and the drop-in are on the machine.
fn prepare<'a>(machine: &'a Machine, daemon: &Daemon, drop_in: &str) -> Result<Rig<'a>> {
    programs::copy(harden::binary(), machine.root().join(&HARDEN[1..]))?;
    machine.write(DROP_IN, drop_in)?;
    machine.run(&["mkdir", "-p", OUT])?;
    machine.run(&["systemctl", "start", daemon.unit])?;
    Ok(Rig {
        machine,
        unit: daemon.unit,
        work: daemon.work,
    })
}

fn arguments<'a>(rig: &Rig<'a>, within: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let common = [
        "trial",
        "--drop-in",
        DROP_IN,
        "--out",
        OUT,
        "--settle",
        "200ms",
        "--within",
        within,
        rig.unit,
    ];
    [&common[..], options].concat()
}

fn trial(rig: &Rig<'_>, options: &[&str], status: i32) -> Result<String> {
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    rig.says(&arguments(rig, &within, options), status)
}

/// What harden says that it has relaxed.
fn relaxed(said: &str) -> Vec<&str> {
    let is_listed = |line: &&str| {
        line.starts_with("  ") && !line.starts_with("  passed") && !line.starts_with("  failed")
    };
    let mut lines: Vec<_> = said.lines().filter(is_listed).map(str::trim).collect();
    lines.sort_unstable();
    lines
}

fn expected(planted: &[Needed]) -> Vec<String> {
    let words = planted.iter();
    let words =
        words.map(|(directive, word)| format!("{directive} {}", word.trim_start_matches('-')));
    let mut words: Vec<_> = words.collect();
    words.sort();
    words
}

fn it_is_found(rig: &Rig<'_>, planted: &[Needed], seen: Option<&str>) -> Result<()> {
    let before = rig.state()?;
    let mut options = vec!["--test", rig.work];
    if let Some(seen) = seen {
        rig.machine.write(SEEN, seen)?;
        options.extend(["--seen", SEEN]);
    }
    let said = trial(rig, &options, 0)?;
    ensure!(relaxed(&said) == expected(planted), "{planted:?}: {said}");
    println!(
        "{}: {planted:?}: {}",
        rig.unit,
        said.lines()
            .find(|line| line.contains(" test run"))
            .unwrap_or_default()
    );
    rig.is_as(&before)?;
    // Five unconfined, two as it is, one with all relaxed, three at the end, and a few for each culprit.
    let last = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("run "))
        .unwrap_or_default();
    let runs: usize = last.split(',').next().unwrap_or_default().parse()?;
    ensure!(seen.is_none() || runs <= 11 + 5 * planted.len(), "{said}");
    let written = rig
        .machine
        .run(&["cat", &format!("{OUT}/{}.drop-in.conf", rig.unit)])?;
    for (directive, word) in planted {
        let lines = format!(
            "# Relaxed by harden trial: without it this test fails: {}\n{directive}={word}",
            rig.work
        );
        ensure!(written.contains(&lines), "no {lines}:\n{written}");
    }
    let overrides = rig
        .machine
        .run(&["cat", &format!("{OUT}/{}.overrides.toml", rig.unit)])?;
    ensure!(overrides.contains("[allow]\n"), "{overrides}");
    Ok(())
}

fn what_is_not_the_profiles_fault_is_said(rig: &Rig<'_>) -> Result<()> {
    let before = rig.state()?;
    let said = trial(rig, &["--test", apply::INTERRUPTED], 2)?;
    ensure!(said.contains("interrupted"), "{said}");
    rig.is_as(&before)?;
    apply::is_ended(rig)?;
    // As Ctrl-C does, `harden revert` ends it, here from another session.
    let revert = format!(
        "setsid {HARDEN} revert {} >/run/reverted 2>&1 & sleep 611 & wait",
        rig.unit
    );
    let said = trial(rig, &["--test", &revert], 2)?;
    ensure!(said.contains("interrupted"), "{said}");
    let over = "for i in $(seq 100); do grep 'the trial is over' /run/reverted && exit; sleep 0.1; done; cat /run/reverted; exit 1";
    rig.machine.run(&["sh", "-c", over])?;
    rig.is_as(&before)?;
    apply::is_ended(rig)?;
    // Its standard error is gone.
    let script = format!("exec {HARDEN} \"$@\" 2>/dev/full");
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    let options = arguments(rig, &within, &["--test", "false"]);
    let output = rig
        .machine
        .try_run(&[&["sh", "-c", &script, "sh"], &options[..]].concat())?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    rig.is_as(&before)?;
    let said = trial(rig, &["--test", "false"], 1)?;
    ensure!(
        said.contains("without any confinement, in 5 of 5 runs"),
        "{said}"
    );
    rig.is_as(&before)?;
    let said = trial(rig, &["--test", rig.work, "--runs", "9"], 1)?;
    ensure!(said.contains("is reached"), "{said}");
    rig.is_as(&before)?;
    // Another test is another trial.
    let said = trial(rig, &["--test", "true", "--resume"], 2)?;
    ensure!(said.contains("have changed"), "{said}");
    rig.is_as(&before)
}

/// Its stop takes longer than the half of a test run.
const STUBBORN: Daemon = Daemon {
    unit: "stubborn.service",
    work: "true",
    more: "true",
    set_up: |machine| {
        let unit = "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=8\n";
        machine.unit("stubborn.service", unit)
    },
    needed: &[],
};

fn a_daemon_that_does_not_stop_is_killed_and_this_is_said(machine: &Machine) -> Result<()> {
    (STUBBORN.set_up)(machine)?;
    let rig = prepare(machine, &STUBBORN, "[Service]\nProtectClock=yes\n")?;
    let said = trial(&rig, &["--test", rig.work, "--runs", "1"], 1)?;
    ensure!(
        said.contains("did not stop under what was tried before, and was killed after "),
        "{said}"
    );
    machine
        .run(&["systemctl", "kill", "--signal=KILL", rig.unit])
        .map(drop)
}

fn a_kill_leaves_it_as_it_was(rig: &Rig<'_>, step: &str, planted: &[Needed]) -> Result<()> {
    let before = rig.state()?;
    rig.calm()?;
    // The eighth run is one of bisection; there is one arming only.
    let count = if step == "apply-armed" { 1 } else { 8 };
    let crash = format!("HARDEN_CRASH_AT={step}:{count}");
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    let arguments = arguments(rig, &within, &["--test", rig.work]);
    let output = rig
        .machine
        .try_run(&[&["env", &crash, HARDEN], &arguments[..]].concat())?;
    let status = output.status;
    let is_killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    ensure!(is_killed, "{step}: {output:?}");
    let killed = rig.state().unwrap_or_default();
    let timer = "harden-revert-nginx.timer";
    ensure!(
        killed.is_empty() || killed.contains(timer),
        "{step}: {killed}"
    );
    rig.becomes(&before, WITHIN + Duration::from_secs(15))
        .with_context(|| step.to_owned())?;
    if step == "trial-saved" {
        let said = trial(rig, &["--test", rig.work, "--resume"], 0)?;
        ensure!(said.contains("8 test runs are known already"), "{said}");
        ensure!(relaxed(&said) == expected(planted), "{said}");
        rig.is_as(&before)?;
    }
    Ok(())
}

/// What is done on a machine.
enum Case {
    Find(usize, u64),
    Refuse,
    Kill(&'static str),
    Firejail,
}

impl Case {
    fn run(&self, machine: &Machine, good: &[(String, String)]) -> Result<()> {
        let without_listen = || without(&good[0].0, "SystemCallFilter", "listen");
        match self {
            Self::Find(number, round) => {
                let daemon = &DAEMONS[*number];
                let (drop_in, observation) = &good[*number];
                let (less, planted) = daemon.planted(drop_in, *round)?;
                let rig = prepare(machine, daemon, &less)?;
                // What was seen and is refused now is tried first, where there is such.
                let seen = (*round == 1).then_some(observation.as_str());
                it_is_found(&rig, &planted, seen)
            }
            Self::Refuse => {
                let rig = prepare(machine, &NGINX, &without_listen()?)?;
                what_is_not_the_profiles_fault_is_said(&rig)?;
                a_daemon_that_does_not_stop_is_killed_and_this_is_said(machine)
            }
            Self::Firejail => {
                firejail::it_is_found(machine, &NGINX, &good[0].1)?;
                firejail::a_profile_is_tried_too(machine, &good[3].1)
            }
            Self::Kill(step) => {
                let rig = prepare(machine, &NGINX, &without_listen()?)?;
                a_kill_leaves_it_as_it_was(&rig, step, &[("SystemCallFilter", "listen")])
            }
        }
    }
}

#[test]
fn it_finds_what_was_taken_out_and_leaves_the_unit_as_it_was() -> Result<()> {
    let test = "it finds what was taken out and leaves the unit as it was";
    let machines = Machine::several(test, MACHINES)?;
    if machines.is_empty() {
        return Ok(());
    }
    let agent = Agent::start(&Setup::default())?;
    let good = Machine::share(&machines, &DAEMONS, |machine, daemon| {
        daemon.drop_in(&agent, machine)
    })?;
    drop(agent);
    // The machine of each daemon is set up already, and is the one with its number.
    let finds = [0, 1].map(|round| [0, 1, 2].map(|number| Case::Find(number, round)));
    let [first, second] = finds;
    let mut kills = TRIAL_STEPS.into_iter().map(Case::Kill);
    let mut cases: Vec<Case> = first.into_iter().chain([Case::Refuse]).collect();
    cases.extend(second.into_iter().chain(kills.next()));
    cases.extend(kills);
    cases.push(Case::Firejail);
    let done = Machine::share(&machines, &cases, |machine, case| case.run(machine, &good));
    for machine in &machines {
        let _ = fs::remove_file(machine.root().join(&HARDEN[1..]));
    }
    done.map(drop)
}
