//! systemd drop-ins: daemons of Debian are recorded by the agent, confined by what it saw of them, and do the
//! same work again. Without one word of it, they do not.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Machine, Setup, Written, exposure};

/// How many of them are worked on at once.
const MACHINES: usize = 4;
/// How many words are left out on one machine, one after the other.
const WORDS: usize = 3;

/// A daemon, its work, and what it cannot do without.
pub(super) struct Daemon {
    pub(super) unit: &'static str,
    work: &'static str,
    /// The highest overall exposure, of 10, that it may have when it is confined.
    exposure: f64,
    /// A directory that is read-only to it.
    frozen: &'static str,
    /// A word of a directive, without which the work cannot be done.
    needed: &'static [(&'static str, &'static str)],
}

pub(super) const DAEMONS: [Daemon; 3] = [
    Daemon {
        unit: "nginx.service",
        work: "curl -sf http://127.0.0.1:80/",
        exposure: 2.5,
        frozen: "/var/lib",
        needed: &[
            ("SystemCallFilter", "accept4"),
            ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
            ("RestrictAddressFamilies", "AF_INET"),
            ("SystemCallFilter", "setuid"),
            ("ReadWritePaths", "-/var/log/nginx"),
        ],
    },
    Daemon {
        unit: "redis-server.service",
        work: "redis-cli set key value | grep OK && redis-cli save | grep OK",
        exposure: 2.5,
        frozen: "/run",
        needed: &[("SystemCallFilter", "accept4")],
    },
    Daemon {
        unit: "memcached.service",
        work: "printf 'set k 0 0 1\\r\\nv\\r\\nquit\\r\\n' | nc -N 127.0.0.1 11211 | grep STORED",
        exposure: 2.5,
        frozen: "/run",
        needed: &[("SystemCallFilter", "accept4")],
    },
];

impl Daemon {
    fn file(&self) -> String {
        format!("/run/systemd/system/{}.d/50-harden.conf", self.unit)
    }

    /// Starts, works, works again after a reload where it has one, and stops.
    pub(super) fn live(&self, machine: &Machine, patience: Duration) -> Result<()> {
        machine.run(&["systemctl", "start", self.unit])?;
        machine.work_within(patience, self.work)?;
        if machine.property(self.unit, "CanReload")? == "yes" {
            machine.run(&["systemctl", "reload", self.unit])?;
            machine.work_within(patience, self.work)?;
        }
        machine.run(&["systemctl", "stop", self.unit])?;
        let result = machine.property(self.unit, "Result")?;
        ensure!(result == "success", "{}: {result}", self.unit);
        Ok(())
    }

    /// Installs a drop-in, or none.
    pub(super) fn install(&self, machine: &Machine, text: &str) -> Result<()> {
        machine.write(&self.file(), text)?;
        machine.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    /// The drop-in is all that it needs, and it needs these words of it.
    fn is_confined_by(&self, text: &str, machine: &Machine, needed: &[(&str, &str)]) -> Result<()> {
        let before = exposure(machine, self.unit)?;
        self.install(machine, text)?;
        let verified = machine.try_run(&["systemd-analyze", "verify", "--man=no", self.unit])?;
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        ensure!(!said.contains("50-harden.conf"), "{said}");
        let after = exposure(machine, self.unit)?;
        println!("{}: exposure {before} → {after}", self.unit);
        // Debian's own unit of redis has all that systemd counts: an exact list of calls adds nothing to that,
        // and capset, which systemd needs itself, takes a little away.
        let is_better = after < before || before <= self.exposure;
        ensure!(after <= self.exposure && is_better, "{before} → {after}");
        self.live(machine, Machine::PATIENCE)?;
        for (directive, word) in needed {
            self.install(machine, &without(text, directive, word)?)?;
            let Err(error) = self.live(machine, Machine::BRIEF) else {
                anyhow::bail!("the work is done without {word} in {directive}");
            };
            println!("without {word} in {directive}: {}", error.root_cause());
            let _ = machine.try_run(&["systemctl", "stop", self.unit])?;
            let _ = machine.try_run(&["systemctl", "reset-failed", self.unit])?;
        }
        self.install(machine, text)?;
        self.live(machine, Machine::PATIENCE)?;
        self.is_frozen(machine)
    }

    /// What stands in the drop-in about files is in force: systemd goes on without what it cannot mount.
    fn is_frozen(&self, machine: &Machine) -> Result<()> {
        machine.run(&["systemctl", "start", self.unit])?;
        // Its start may be over before its mounts are made.
        machine.work(self.work)?;
        let pid = machine.property(self.unit, "MainPID")?;
        let mounts = machine.run(&["cat", &format!("/proc/{pid}/mountinfo")])?;
        // proc_pid_mountinfo(5): the fifth field is where, the sixth are the options; the last mount is on top.
        let fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let over = fields.filter(|fields| Path::new(self.frozen).starts_with(fields[4]));
        let top = over.max_by_key(|fields| fields[4].len());
        let top = top.with_context(|| format!("no mount over {}:\n{mounts}", self.frozen))?;
        ensure!(top[5].split(',').any(|option| option == "ro"), "{top:?}");
        machine.run(&["systemctl", "stop", self.unit]).map(drop)
    }
}

/// The drop-in without one word.
pub(super) fn without(text: &str, directive: &str, word: &str) -> Result<String> {
    let start = format!("{directive}=");
    let mut found = false;
    let lines = text.lines().map(|line| {
        let Some(words) = line.strip_prefix(&start) else {
            return line.to_owned();
        };
        let left: Vec<&str> = words.split(' ').filter(|one| *one != word).collect();
        found |= left.len() < words.split(' ').count();
        format!("{start}{}", left.join(" "))
    });
    let changed: Vec<String> = lines.collect();
    ensure!(found, "no {word} in {directive}:\n{text}");
    Ok(changed.join("\n") + "\n")
}

#[test]
fn daemons_work_under_their_drop_ins_and_not_with_less() -> Result<()> {
    let test = "daemons work under their drop-ins and not with less";
    let machines = Machine::several(test, MACHINES)?;
    if machines.is_empty() {
        return Ok(());
    }
    let agent = Agent::start(&Setup::default())?;
    let texts = Machine::share(&machines, &DAEMONS, |machine, daemon| {
        machine.try_run(&["systemctl", "stop", daemon.unit])?;
        for _ in 0..2 {
            daemon.live(machine, Machine::PATIENCE)?;
        }
        Ok(Written::of(&agent, machine, daemon.unit)?.drop_in)
    })?;
    drop(agent);
    let with_text = DAEMONS.iter().zip(&texts);
    let cases: Vec<_> = with_text
        .flat_map(|(daemon, text)| {
            let needed = daemon.needed.chunks(WORDS);
            needed.map(move |needed| (daemon, text, needed))
        })
        .collect();
    Machine::share(&machines, &cases, |machine, (daemon, text, needed)| {
        let confined = daemon.is_confined_by(text, machine, needed);
        daemon.install(machine, "")?;
        confined.with_context(|| format!("{}\n{text}", daemon.unit))
    })
    .map(drop)
}
