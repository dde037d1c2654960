//! `harden shadow` against what enforces: the same tests are done in shadow and under the profile, with systemd's drop-in
//! and with Firejail, and what would be refused is what is refused, in both directions.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::Shadow,
    apply::Backend,
};
use harden_tests::{Agent, Machine, Scratch, Setup, Written, programs};

const UNIT: &str = "servant.service";
const PROGRAM: &str = "/usr/bin/servant";
const SERVICE: &str = "[Service]\nExecStart=/usr/bin/servant 9100\n";

/// What is recorded, and part of every plan.
const USUAL: [&str; 8] = [
    "read /etc/hostname",
    "make /var/lib/servant/data",
    "write /var/lib/servant/data",
    "chown /var/lib/servant/data",
    "family 2",
    "call sysinfo",
    "call times",
    "run /usr/bin/true",
];

/// What comes later, each a test of its own.
const OTHER: [&str; 16] = [
    "read /etc/hostname",
    "read /etc/debian_version",
    "read /srv/servant/there",
    "read /home/servant",
    "read /usr/bin/id",
    "make /srv/servant/new",
    "write /srv/servant/there",
    "make /var/lib/servant/second",
    "mkdir /var/lib/servant/directory",
    "chown /srv/servant/there",
    "family 10",
    "family 16",
    "call inotify_init1",
    "call timerfd_create",
    "call setpriority",
    "run /usr/bin/id",
];

/// The files that tests find, and nothing of what they made.
const PREPARE: &str = "rm -rf /srv/servant /var/lib/servant /home/servant && mkdir -p /srv/servant /var/lib/servant \
                       && echo there >/srv/servant/there && echo home >/home/servant";

/// The unit on a machine, and the agent that observes it.
struct Rig<'a> {
    machine: &'a Machine,
    agent: &'a Agent,
    backend: Backend,
    directory: Scratch,
}

impl Rig<'_> {
    fn key(&self) -> String {
        self.machine.key(UNIT)
    }

    fn harden(&self, arguments: &[&str]) -> Result<Output> {
        self.agent.harden(arguments)
    }

    /// How harden ends, and what it prints.
    fn says(&self, arguments: &[&str], status: i32) -> Result<String> {
        let output = self.harden(arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.code() == Some(status),
            "{arguments:?}: {}: {said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    fn restart(&self) -> Result<()> {
        self.machine.run(&["sh", "-c", PREPARE])?;
        self.machine.run(&["systemctl", "restart", UNIT])?;
        self.machine.work("echo call getpid | nc -N 127.0.0.1 9100")
    }

    /// Has the unit do something. Returns its answer.
    fn tell(&self, deed: &str) -> Result<i32> {
        let tell = "echo \"$1\" | nc -N 127.0.0.1 9100";
        let answer = self.machine.run(&["sh", "-c", tell, "sh", deed])?;
        answer.trim().parse().with_context(|| format!("{deed}: {answer:?}"))
    }

    /// Has it do all of it, each under a name. Returns what was refused.
    fn tests(&self, name: &str, deeds: &[&str]) -> Result<BTreeSet<usize>> {
        let key = self.key();
        let mut refused = BTreeSet::new();
        for (number, deed) in deeds.iter().enumerate() {
            let mark = format!("{name}-{number}");
            self.says(&["mark", &mark, "--unit", &key], 0)?;
            if self.tell(deed)? != 0 {
                refused.insert(number);
            }
        }
        self.says(&["mark", "--end", "--unit", &key], 0)?;
        Ok(refused)
    }

    fn freeze(&self, arguments: &[&str]) -> Result<String> {
        self.says(&[&["shadow", &self.key()], arguments].concat(), 0)
    }

    fn shadow(&self) -> Result<Shadow> {
        let said = self.says(&["shadow", &self.key(), "--show", "--json"], 0)?;
        let mut all: Vec<Shadow> = serde_json::from_str(&said)?;
        all.pop().context("no shadow")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts the profile in force.
    fn enforce(&self, written: &Written, profile: &str) -> Result<()> {
        let file = match self.backend {
            Backend::Systemd => ("50-harden", profile),
            Backend::Firejail => {
                self.machine.write(written.profile_path()?, profile)?;
                let edit = written.edit.as_deref();
                ("60-harden-firejail", edit.map_err(|said| anyhow::anyhow!("{said}"))?)
            }
        };
        let path = format!("/run/systemd/system/{UNIT}.d/{}.conf", file.0);
        self.machine.write(&path, file.1)?;
        self.machine.run(&["systemctl", "daemon-reload"])?;
        self.restart()
    }
}

/// The tests in which something would be refused.
fn denied(shadow: &Shadow, name: &str) -> BTreeSet<usize> {
    let marks = shadow.denials.iter().filter_map(|denial| denial.mark.as_ref());
    let numbers = marks.filter_map(|mark| {
        let mark = mark.to_string();
        mark.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
    });
    numbers.collect()
}

fn named<'d>(numbers: &BTreeSet<usize>, deeds: &[&'d str]) -> Vec<&'d str> {
    numbers.iter().map(|number| deeds[*number]).collect()
}

fn shadow_and_reality_agree(rig: &Rig<'_>) -> Result<()> {
    let key = rig.key();
    rig.machine.unit(UNIT, SERVICE)?;
    for _ in 0..2 {
        rig.restart()?;
        rig.tests("usual", &USUAL)?;
    }
    let written = Written::of(rig.agent, rig.machine, UNIT)?;
    let profile = match rig.backend {
        Backend::Systemd => &written.drop_in,
        Backend::Firejail => &written.profile,
    };

    // The same work.
    rig.says(&["shadow", &key, "--ready"], 1)?;
    rig.freeze(&["--backend", rig.backend.name()])?;
    let said = rig.says(&["shadow", &key, "--ready"], 1)?;
    ensure!(said.contains("0 of 5 marked tests"), "{said}");
    rig.tests("same", &USUAL)?;
    rig.restart()?;
    rig.tests("again", &USUAL)?;
    let said = rig.says(&["shadow", &key, "--ready", "--tests", "16"], 0)?;
    ensure!(said.contains("ready"), "{said}");

    // Other work.
    let refused = rig.tests("other", &OTHER)?;
    ensure!(refused.is_empty(), "not confined: {:?}", named(&refused, &OTHER));
    let shadow = rig.shadow()?;
    let predicted = denied(&shadow, "other");
    println!("{}: {:#?}", rig.backend, shadow);
    println!("{:?}", named(&predicted, &OTHER));

    rig.enforce(&written, profile)?;
    let refused = rig.tests("enforced", &OTHER)?;
    ensure!(
        refused == predicted,
        "predicted and not refused: {:?}; refused and not predicted: {:?}",
        named(&(&predicted - &refused), &OTHER),
        named(&(&refused - &predicted), &OTHER)
    );
    Ok(())
}

#[test]
fn what_would_be_refused_is_what_is_refused() -> Result<()> {
    let test = "what would be refused is what is refused";
    let machines = Machine::several(test, Backend::ALL.len())?;
    if machines.is_empty() {
        return Ok(());
    }
    let agent = Agent::start(&Setup::default())?;
    Machine::share(&machines, &Backend::ALL, |machine, backend| {
        let directory = Scratch::new(Path::new("/run"))?;
        let program = programs::install("servant", &directory)?;
        fs::copy(program, machine.root().join(&PROGRAM[1..]))?;
        let rig = Rig {
            machine,
            agent: &agent,
            backend: *backend,
            directory,
        };
        let result = shadow_and_reality_agree(&rig);
        if machine.container().is_none() {
            machine.try_run(&["systemctl", "stop", UNIT])?;
            machine.try_run(&["rm", "-rf", PROGRAM, "/srv/servant", "/var/lib/servant", "/home/servant"])?;
        }
        result.with_context(|| backend.to_string())
    })
    .map(drop)
}
