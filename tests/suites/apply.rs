//! `harden apply`: a daemon of Debian is confined by what was recorded of it, and is as it was where that fails: a test
//! that fails, a daemon that does not come up, nobody who confirms, a SIGKILL at each step.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    apply::STEPS,
    observation::{self, Observation},
};
use harden_tests::{Agent, Machine, Setup, as_patient, harden, programs};
use serde_json::Value;

/// How many machines share the cases.
pub(super) const MACHINES: usize = 4;

/// Where the program is put: a container does not see this machine's files.
pub(super) const HARDEN: &str = "/run/harden-under-test";
pub(super) const OBSERVATION: &str = "/run/observation.json";

pub(super) const NGINX: &str = "nginx.service";
pub(super) const WORK: &str = "curl -sf -m 2 http://127.0.0.1/ >/dev/null";
pub(super) const LASTING: &str = "/etc/systemd/system/nginx.service.d/50-harden.conf";

/// What there is of a unit: its files, all others in /etc, what systemd has read of it, the confinement of its main
/// process, and what harden has left.
const STATE: &str = r#"
find /etc /run/systemd/system /run/systemd/system.control /run/systemd/transient /run/harden-apply /var/lib/harden-apply -type f ! -name lock \
    2>/dev/null | sort | xargs -d '\n' cksum
systemctl show "$1" -p ActiveState,DropInPaths,NeedDaemonReload,CapabilityBoundingSet,SystemCallFilter,NoNewPrivileges,ProtectSystem,ReadWritePaths,Type
systemctl list-units --all --plain --no-legend 'harden-revert*'
grep -E '^(Name|Uid|CapBnd|NoNewPrivs|Seccomp)' /proc/$(systemctl show -P MainPID "$1")/status
"#;

/// A unit that runs on a machine.
#[derive(Clone, Copy)]
pub(super) struct Rig<'a> {
    pub(super) machine: &'a Machine,
    pub(super) unit: &'static str,
    pub(super) work: &'static str,
}

impl Rig<'_> {
    pub(super) fn state(&self) -> Result<String> {
        self.machine.run(&["sh", "-c", STATE, "sh", self.unit])
    }

    /// Restarts after restarts are what systemd would stop at.
    pub(super) fn calm(&self) -> Result<()> {
        // One that systemd has forgotten has no count.
        self.machine
            .try_run(&["systemctl", "reset-failed", self.unit])
            .map(drop)
    }

    pub(super) fn harden(&self, arguments: &[&str]) -> Result<Output> {
        self.calm()?;
        self.machine.try_run(&[&[HARDEN], arguments].concat())
    }

    /// How harden ends, and what it says.
    pub(super) fn says(&self, arguments: &[&str], status: i32) -> Result<String> {
        let output = self.harden(arguments)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let ended = output.status.code();
        ensure!(ended == Some(status), "{arguments:?}: {ended:?}: {said}");
        Ok(said)
    }

    pub(super) fn apply(&self, options: &[&str], status: i32) -> Result<String> {
        let rest = ["--settle", "300ms", self.unit, OBSERVATION];
        self.says(&[&["apply"], options, &rest].concat(), status)
    }

    /// The state, once it is this one.
    pub(super) fn becomes(&self, state: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + as_patient(limit);
        loop {
            let now = self.state().unwrap_or_default();
            if now == state {
                return self.machine.work(self.work);
            }
            ensure!(Instant::now() < deadline, "{}", differ(state, &now));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A SIGKILL in the middle of an application.
    fn dies(&self, step: &str, options: &[&str]) -> Result<()> {
        self.calm()?;
        let crash = format!("HARDEN_CRASH_AT={step}:1");
        let within = format!("{}s", as_patient(WITHIN).as_secs());
        let apply = [
            "env", &crash, HARDEN, "apply", "--settle", "100ms", "--within", &within,
        ];
        let command = [&apply[..], options, &[self.unit, OBSERVATION]].concat();
        let output = self.machine.try_run(&command)?;
        let status = output.status;
        let is_killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
        ensure!(is_killed, "{step}: {output:?}");
        Ok(())
    }

    pub(super) fn is_as(&self, state: &str) -> Result<()> {
        let now = self.state()?;
        ensure!(now == state, "{}", differ(state, &now));
        self.machine.work(self.work)
    }
}

/// What two states do not share.
pub(super) fn differ(old: &str, new: &str) -> String {
    let only = |one: &str, other: &str| {
        let lines = one
            .lines()
            .filter(|line| !other.lines().any(|two| two == *line));
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "only before:\n{}\nonly now:\n{}",
        only(old, new),
        only(new, old)
    )
}

/// The lines about files in /etc, which a reboot keeps.
pub(super) fn etc(state: &str) -> Vec<&str> {
    let lines = state.lines();
    lines.filter(|line| line.contains(" /etc/")).collect()
}

/// What is in force in the main process is what the drop-in says; and the state names where it comes from.
pub(super) fn is_in_force(rig: &Rig<'_>) -> Result<()> {
    /// include/uapi/linux/capability.h, from 0.
    const CAPABILITIES: [&str; 11] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
    ];
    let drop_in = rig.machine.run(&["cat", LASTING])?;
    let mut line = drop_in.lines().filter_map(|line| {
        let names = line.strip_prefix("CapabilityBoundingSet=CAP_")?;
        Some(names.replace("CAP_", ""))
    });
    let names = line.next_back().context("no CapabilityBoundingSet=")?;
    let mut set = 0_u64;
    for name in names.split(' ') {
        let bit = CAPABILITIES.iter().position(|one| *one == name);
        set |= 1 << bit.with_context(|| format!("{name} is in no list here"))?;
    }
    let state = rig.state()?;
    for line in [
        format!("CapBnd:\t{set:016x}"),
        "Seccomp:\t2".to_owned(),
        format!("DropInPaths={LASTING}"),
        "NeedDaemonReload=no".to_owned(),
    ] {
        ensure!(state.lines().any(|one| one == line), "no {line}:\n{state}");
    }
    let sum = rig.machine.run(&["sha256sum", OBSERVATION])?;
    let digest = sum.split(' ').next().context("no digest")?;
    // No agent answers in there.
    let status = rig.says(&["status"], 3)?;
    let line = format!("applied: {NGINX} (systemd) since ");
    ensure!(
        status.contains(&line) && status.contains(&format!("; observation sha256 {digest}")),
        "{digest}: {status}"
    );
    Ok(())
}

fn it_is_applied_and_reverted(rig: &Rig<'_>, _: &Observation) -> Result<()> {
    let before = rig.state()?;
    let said = rig.apply(&["--dry-run"], 0)?;
    ensure!(
        said.contains(&format!("+++ {LASTING}")) && said.contains("\n+SystemCallFilter="),
        "{said}"
    );
    rig.is_as(&before)?;
    let said = rig.apply(&["--test", WORK], 0)?;
    ensure!(said.contains("bounding set CAP_"), "{said}");
    is_in_force(rig)?;
    let applied = rig.state()?;

    // A newer one in its place: a failure leaves the older one in force.
    rig.apply(&["--test", "false"], 1)?;
    rig.is_as(&applied)?;
    rig.apply(&["--widen", "kernel", "--test", WORK], 0)?;
    is_in_force(rig)?;
    ensure!(rig.state()? != applied, "nothing has changed");
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)?;
    rig.says(&["revert", NGINX], 1)?;

    rig.apply(&["--runtime"], 0)?;
    let runtime = rig.state()?;
    ensure!(etc(&runtime) == etc(&before), "{runtime}");
    ensure!(runtime.contains("Seccomp:\t2"), "{runtime}");
    let status = rig.says(&["status"], 3)?;
    ensure!(status.contains(", until a reboot;"), "{status}");
    rig.apply(&[], 2)?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)
}

fn what_does_not_work_is_put_back(rig: &Rig<'_>, recorded: &Observation) -> Result<()> {
    let before = rig.state()?;
    let said = rig.apply(&["--test", "echo seen >&2; false"], 1)?;
    ensure!(said.contains("the test fails: echo seen"), "{said}");
    rig.is_as(&before)?;

    // It comes up, and cannot take a connection.
    rig.without(recorded, "accept4")?;
    let said = rig.apply(&["--test", WORK], 1)?;
    ensure!(said.contains("the test fails: curl"), "{said}");
    rig.is_as(&before)?;

    // It does not come up.
    rig.without(recorded, "bind")?;
    let said = rig.apply(&[], 1)?;
    ensure!(said.contains("nginx.service does not stay up"), "{said}");
    rig.is_as(&before)?;

    // Ctrl-C in the middle of the test.
    rig.record(recorded)?;
    let said = rig.apply(&["--within", "10m", "--test", INTERRUPTED], 1)?;
    ensure!(said.contains("interrupted"), "{said}");
    rig.is_as(&before)?;
    is_ended(rig)?;

    // A signal that was ignored from the start.
    let test = "kill -HUP $PPID";
    let command = [
        "nohup",
        HARDEN,
        "apply",
        "--settle",
        "300ms",
        "--test",
        test,
        rig.unit,
        OBSERVATION,
    ];
    rig.calm()?;
    rig.machine.run(&command)?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)?;

    // A daemon that does not end, and for which systemd waits for ever.
    rig.machine.write(STUBBORN, "[Service]\nTimeoutStopSec=infinity\nExecStop=/bin/sh -c 'test ! -e /run/stubborn || sleep 1000'\n")?;
    rig.machine.run(&["systemctl", "daemon-reload"])?;
    let stubborn = rig.state()?;
    let within = format!("{}s", as_patient(WITHIN).as_secs());
    let test = "touch /run/stubborn; false";
    rig.apply(&["--within", &within, "--test", test], 1)?;
    rig.machine.run(&["rm", "/run/stubborn"])?;
    rig.is_as(&stubborn)?;
    rig.machine.run(&["rm", STUBBORN])?;
    rig.machine.run(&["systemctl", "daemon-reload"])?;

    // A test that takes too long.
    let said = rig.apply(&["--within", "3s", "--test", "sleep 60"], 1)?;
    ensure!(said.contains("too long"), "{said}");
    // systemd's timer is as late as harden.
    rig.becomes(&before, Duration::from_secs(10))
}

const STUBBORN: &str = "/run/systemd/system/nginx.service.d/10-stubborn.conf";

/// A test in which somebody interrupts harden.
pub(super) const INTERRUPTED: &str = "sleep 611 & kill -INT $PPID; wait";

/// Nothing is left of that test.
pub(super) fn is_ended(rig: &Rig<'_>) -> Result<()> {
    let found = rig.machine.try_run(&["pgrep", "-f", "^sleep 611"])?;
    ensure!(!found.status.success(), "the test goes on: {found:?}");
    Ok(())
}

impl Rig<'_> {
    pub(super) fn record(&self, observation: &Observation) -> Result<()> {
        let json = String::from_utf8(observation::to_json(observation)?)?;
        self.machine.write(OBSERVATION, &json)
    }

    /// The observation, as if a call had not been seen, nor what needs it.
    pub(super) fn without(&self, recorded: &Observation, call: &str) -> Result<()> {
        let mut value: Value = serde_json::from_slice(&observation::to_json(recorded)?)?;
        let found = take(&mut value, call);
        ensure!(found > 0, "{call} was not seen");
        self.machine.write(OBSERVATION, &value.to_string())
    }
}

/// Takes every member of this name out. Returns how many there were.
fn take(value: &mut Value, name: &str) -> usize {
    match value {
        Value::Object(members) => {
            let found = usize::from(members.remove(name).is_some());
            found
                + members
                    .values_mut()
                    .map(|one| take(one, name))
                    .sum::<usize>()
        }
        Value::Array(items) => items.iter_mut().map(|one| take(one, name)).sum(),
        _ => 0,
    }
}

fn what_nobody_confirms_is_put_back(rig: &Rig<'_>, _: &Observation) -> Result<()> {
    let before = rig.state()?;
    // Long enough to be looked at on a busy machine.
    let said = rig.apply(&["--confirm", "10s"], 0)?;
    ensure!(said.contains("harden confirm nginx.service"), "{said}");
    let waiting = rig.state()?;
    ensure!(waiting.contains("Seccomp:\t2"), "{waiting}");
    ensure!(
        etc(&waiting) == etc(&before),
        "a reboot would keep:\n{waiting}"
    );
    let status = rig.says(&["status"], 3)?;
    ensure!(status.contains(" unless confirmed;"), "{status}");
    let said = rig.apply(&[], 2)?;
    ensure!(said.contains("waits for harden confirm"), "{said}");
    rig.becomes(&before, Duration::from_secs(25))?;
    rig.says(&["confirm", NGINX], 1)?;

    rig.apply(&["--confirm", "1m"], 0)?;
    rig.says(&["confirm", NGINX], 0)?;
    is_in_force(rig)?;
    let kept = rig.state()?;
    ensure!(!kept.contains("harden-revert"), "{kept}");
    rig.says(&["confirm", NGINX], 1)?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)?;

    rig.apply(&["--confirm", "1m"], 0)?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)
}

fn what_is_somebody_elses_is_left_alone(rig: &Rig<'_>, _: &Observation) -> Result<()> {
    rig.machine.write(LASTING, "[Service]\nUMask=0022\n")?;
    rig.machine.run(&["systemctl", "daemon-reload"])?;
    let before = rig.state()?;
    let said = rig.apply(&[], 2)?;
    ensure!(said.contains("harden did not write"), "{said}");
    rig.says(&["revert", NGINX], 1)?;
    rig.is_as(&before)?;
    rig.machine.run(&["rm", LASTING])?;
    rig.machine.run(&["systemctl", "daemon-reload"])?;
    for (name, said) in [
        ("../../etc/passwd", "cannot be the name"),
        ("-.mount", "cannot be the name"),
        ("a b", "cannot be the name"),
        ("absent", "absent.service is no unit of this system"),
        ("memcached", "is an observation of"),
    ] {
        let found = rig.says(&["apply", "--", name, OBSERVATION], 2)?;
        ensure!(found.contains(said), "{name}: {found}");
    }
    rig.machine.run(&["systemctl", "stop", NGINX])?;
    let said = rig.apply(&[], 2)?;
    rig.machine.run(&["systemctl", "start", NGINX])?;
    ensure!(said.contains("start it first"), "{said}");
    Ok(())
}

/// A signal that comes while it is taken away, at whatever moment: it is still there, or it is gone.
fn an_interrupted_revert_is_done_or_was_not_begun(rig: &Rig<'_>, _: &Observation) -> Result<()> {
    let before = rig.state()?;
    for delay in ["0.01", "0.03", "0.06", "0.1", "0.2", "0.4"] {
        rig.apply(&[], 0)?;
        let applied = rig.state()?;
        rig.calm()?;
        let revert = ["timeout", "--signal=TERM", delay, HARDEN, "revert", NGINX];
        rig.machine.try_run(&revert)?;
        let now = rig.state()?;
        ensure!(
            now == before || now == applied,
            "{delay} s: {}",
            differ(&before, &now)
        );
        rig.machine.work(rig.work)?;
        if now == applied {
            rig.says(&["revert", NGINX], 0)?;
        }
        rig.is_as(&before)?;
    }
    // One that is killed is taken up by the next: the files are gone, and the process is still confined.
    rig.apply(&[], 0)?;
    rig.calm()?;
    let revert = [
        "env",
        "HARDEN_CRASH_AT=revert-removed:1",
        HARDEN,
        "revert",
        NGINX,
    ];
    rig.machine.try_run(&revert)?;
    let killed = rig.state()?;
    ensure!(
        killed.contains("Seccomp:\t2") && killed != before,
        "{killed}"
    );
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before)?;
    rig.says(&["revert", NGINX], 1).map(drop)
}

/// How long the timer waits after a kill; long enough to reach each step.
const WITHIN: Duration = Duration::from_secs(8);

fn a_kill_leaves_it_as_it_was(rig: &Rig<'_>, step: &str) -> Result<()> {
    let before = rig.state()?;
    rig.dies(step, &[])?;
    let killed = rig.state()?;
    ensure!(
        killed.contains("harden-revert-nginx.timer"),
        "{step}: {killed}"
    );
    let is_kept = ["apply-kept", "apply-cleared"].contains(&step);
    if step == "apply-tested" {
        ensure!(killed.contains("Seccomp:\t2"), "{killed}");
    }
    if !is_kept {
        // All that a reboot keeps.
        ensure!(
            etc(&killed) == etc(&before),
            "{step}: {}",
            differ(&before, &killed)
        );
        let limit = WITHIN + Duration::from_secs(10);
        return rig.becomes(&before, limit).with_context(|| step.to_owned());
    }
    let deadline = Instant::now() + as_patient(WITHIN + Duration::from_secs(10));
    // While it is restarted, it has no main process whose state could be read.
    while rig
        .state()
        .map_or(true, |now| now.contains("harden-revert"))
    {
        ensure!(
            Instant::now() < deadline,
            "{step}: the timer is still there"
        );
        thread::sleep(Duration::from_millis(100));
    }
    is_in_force(rig).with_context(|| step.to_owned())?;
    rig.says(&["revert", NGINX], 0)?;
    rig.is_as(&before).with_context(|| step.to_owned())
}

/// Two lives of a unit that runs when this is called.
pub(super) fn recorded(machine: &Machine, unit: &str, work: &str) -> Result<Observation> {
    machine.run(&["systemctl", "stop", unit])?;
    let agent = Agent::start(&Setup::default())?;
    for _ in 0..2 {
        machine.run(&["systemctl", "start", unit])?;
        machine.work(work)?;
        machine.run(&["systemctl", "stop", unit])?;
    }
    agent.snapshot(&machine.key(unit))
}

/// Puts harden and the observation on the machine, and has the unit run.
pub(super) fn prepare<'a>(
    machine: &'a Machine,
    unit: &'static str,
    work: &'static str,
    seen: &Observation,
) -> Result<Rig<'a>> {
    programs::copy(harden::binary(), machine.root().join(&HARDEN[1..]))?;
    let rig = Rig {
        machine,
        unit,
        work,
    };
    rig.record(seen)?;
    machine.run(&["systemctl", "start", unit])?;
    Ok(rig)
}

type Case = fn(&Rig<'_>, &Observation) -> Result<()>;

#[test]
fn it_works_or_is_put_back_by_itself() -> Result<()> {
    let machines = Machine::several("it works or is put back by itself", MACHINES)?;
    let Some(first) = machines.first() else {
        return Ok(());
    };
    let seen = recorded(first, NGINX, WORK)?;
    let cases: [Case; 5] = [
        it_is_applied_and_reverted,
        what_does_not_work_is_put_back,
        what_nobody_confirms_is_put_back,
        what_is_somebody_elses_is_left_alone,
        an_interrupted_revert_is_done_or_was_not_begun,
    ];
    let cases: Vec<_> = cases.into_iter().map(Ok).chain(STEPS.map(Err)).collect();
    let done = Machine::share(&machines, &cases, |machine, case| {
        let rig = prepare(machine, NGINX, WORK, &seen)?;
        match case {
            Ok(case) => case(&rig, &seen),
            Err(step) => a_kill_leaves_it_as_it_was(&rig, step),
        }
    });
    for machine in &machines {
        let _ = fs::remove_file(machine.root().join(&HARDEN[1..]));
    }
    done.map(drop)
}

/// lighttpd's own, and what the tests have it serve.
pub(super) const LIGHTTPD: &str = "lighttpd.service";
pub(super) const DOCUMENT: &str = "curl -sf -m 2 http://127.0.0.1:8081/hostname >/dev/null";

pub(super) fn set_up_lighttpd(machine: &Machine) -> Result<()> {
    machine.write(
        "/etc/edit-lighttpd.conf",
        "server.document-root = \"/etc\"\nserver.port = 8081\nserver.username = \"www-data\"\n",
    )?;
    machine.write(
        &format!("/run/systemd/system/{LIGHTTPD}.d/10-test.conf"),
        "[Service]\nExecStartPre=\nExecStart=\nExecStart=/usr/sbin/lighttpd -D -f /etc/edit-lighttpd.conf\n",
    )?;
    machine.run(&["systemctl", "daemon-reload"]).map(drop)
}

#[test]
fn so_it_is_under_firejail() -> Result<()> {
    let Some(machine) = Machine::here("so it is under firejail")? else {
        return Ok(());
    };
    set_up_lighttpd(&machine)?;
    let seen = recorded(&machine, LIGHTTPD, DOCUMENT)?;
    let rig = prepare(&machine, LIGHTTPD, DOCUMENT, &seen)?;
    let before = rig.state()?;
    let firejail = ["--backend", "firejail"];
    rig.apply(&[&firejail[..], &["--test", "false"]].concat(), 1)?;
    rig.is_as(&before)?;
    for step in ["apply-profile", "apply-kept-profile"] {
        rig.dies(step, &firejail)?;
        rig.becomes(&before, WITHIN + Duration::from_secs(10))
            .with_context(|| step.to_owned())?;
    }
    let said = rig.apply(&[&firejail[..], &["--test", DOCUMENT]].concat(), 0)?;
    ensure!(said.contains("(lighttpd): user 33,"), "{said}");
    let state = rig.state()?;
    for word in [
        "/etc/systemd/system/lighttpd.service.d/60-harden-firejail.conf",
        "/etc/firejail/lighttpd.service.profile",
        "Name:\tfirejail",
    ] {
        ensure!(state.contains(word), "no {word}:\n{state}");
    }
    ensure!(!state.contains("/run/harden-apply/"), "{state}");
    // What stays is what a next start reads.
    machine.run(&["systemctl", "restart", LIGHTTPD])?;
    machine.work(DOCUMENT)?;
    let pid = machine.run(&["pgrep", "-o", "-x", "lighttpd"])?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    ensure!(status.contains("Seccomp:\t2"), "{status}");
    let said = rig.apply(&firejail, 2)?;
    ensure!(said.contains("first harden revert"), "{said}");
    rig.says(&["revert", LIGHTTPD], 0)?;
    rig.is_as(&before)?;
    fs::remove_file(machine.root().join(&HARDEN[1..]))?;
    Ok(())
}
