//! `harden shadow` against what enforces: the same tests are done in shadow and under the profile, with systemd's drop-in
//! and with Firejail, and what would be refused is what is refused, in both directions.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::Output,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::{FactKind, NewFact, Shadow},
    apply::Backend,
    observation::{Deed, Observation, Text},
};
use harden_tests::{Agent, Machine, Process, Scratch, Setup, Written, programs};
use nix::sys::signal::Signal;

/// A daemon, and what it is told.
struct Daemon {
    unit: &'static str,
    /// Its unit on these machines, or what differs: the name of the file below /run/systemd/system, and its text.
    file: (&'static str, &'static str),
    /// Its configuration.
    config: (&'static str, &'static str),
    /// Makes the files that tests find, and takes away what they made.
    prepare: &'static str,
    /// Has it do the deed `$1`, and prints 0, or why it was not done.
    tell: &'static str,
    /// What it answers once it is up, and what is no test.
    up: &'static str,
    /// What is recorded, and part of every plan.
    usual: &'static [&'static str],
    /// What comes later, each a test of its own.
    other: &'static [&'static str],
}

/// Says the number of each error. It is a program of these tests.
const SERVANT: Daemon = Daemon {
    unit: "servant.service",
    file: (
        "servant.service",
        "[Service]\nExecStart=/usr/bin/servant 9100\n",
    ),
    config: ("/run/servant", ""),
    prepare: "rm -rf /srv/servant /var/lib/servant /home/servant && mkdir -p /srv/servant /var/lib/servant \
              && echo there | tee /srv/servant/there /var/lib/servant/there >/home/servant",
    tell: "echo \"$1\" | nc -N 127.0.0.1 9100",
    up: "nothing at-all",
    usual: &USUAL,
    other: &OTHER,
};

/// Its own directories are not where Firejail always puts an empty one (/var/lib/nginx).
const NGINX: Daemon = Daemon {
    unit: "nginx.service",
    file: (
        "nginx.service.d/10-test.conf",
        "[Service]\nExecStartPre=\nExecStart=\n\
         ExecStart=/usr/sbin/nginx -c /etc/shadow-nginx.conf -g 'daemon on; master_process on;'\n",
    ),
    config: (
        "/etc/shadow-nginx.conf",
        "user www-data;\npid /run/nginx.pid;\nevents {}\nhttp { client_body_temp_path /srv/made/a; proxy_temp_path /srv/made/b;\n\
         fastcgi_temp_path /srv/made/c; uwsgi_temp_path /srv/made/d; scgi_temp_path /srv/made/e;\n\
         server { listen 8083; root /srv/site;\n\
         location /up/ { dav_methods PUT DELETE MKCOL; } location /other/ { alias /opt/other/; } } }\n",
    ),
    prepare: "rm -rf /srv/site /opt/other && mkdir -p /srv/site/up /srv/made /opt/other \
              && echo there | tee /srv/site/a /srv/site/b /srv/site/up/there >/opt/other/c \
              && chown -R www-data /srv/site/up",
    tell: "set -- $1; [ $1 = PUT ] && body='--data-binary text' || body=
           code=$(curl -s -o /dev/null -w '%{http_code}' -X $1 $body http://127.0.0.1:8083$2)
           case $code in 2*) echo 0;; *) echo $code;; esac",
    up: "GET /nothing",
    usual: &["GET /a"],
    other: &[
        "GET /a",
        "GET /b",
        "GET /up/there",
        "GET /other/c",
        "PUT /up/new",
        "MKCOL /up/directory/",
        "DELETE /up/there",
    ],
};

const PROGRAM: &str = "/usr/bin/servant";

/// What is recorded, and part of every plan.
const USUAL: [&str; 8] = [
    "read /etc/hostname",
    "make /var/lib/servant/data",
    "write /var/lib/servant/there",
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

/// The unit on a machine, and the agent that observes it.
struct Rig<'a> {
    machine: &'a Machine,
    agent: &'a Agent,
    daemon: &'static Daemon,
    backend: Backend,
    directory: Scratch,
}

impl Rig<'_> {
    fn key(&self) -> String {
        self.machine.key(self.daemon.unit)
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
        self.prepare()?;
        self.machine
            .run(&["systemctl", "restart", self.daemon.unit])?;
        // Its start may be over before it listens.
        let Daemon { up, tell, .. } = self.daemon;
        let answers = format!("answer=$(set -- '{up}'\n{tell}); [ \"${{answer:-000}}\" != 000 ]");
        self.machine.work(&answers)
    }

    fn prepare(&self) -> Result<()> {
        let prepare = ["sh", "-c", self.daemon.prepare];
        self.machine.run(&prepare).map(drop)
    }

    /// Has the unit do something. Returns its answer.
    fn tell(&self, deed: &str) -> Result<i32> {
        let tell = ["sh", "-c", self.daemon.tell, "sh", deed];
        let answer = self.machine.run(&tell)?;
        answer
            .trim()
            .parse()
            .with_context(|| format!("{deed}: {answer:?}"))
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

    /// Puts the profile in force.
    fn enforce(&self, written: &Written, profile: &str) -> Result<()> {
        let file = match self.backend {
            Backend::Systemd => ("50-harden", profile),
            Backend::Firejail => {
                self.machine.write(written.profile_path()?, profile)?;
                let edit = written.edit.as_deref();
                (
                    "60-harden-firejail",
                    edit.map_err(|said| anyhow::anyhow!("{said}"))?,
                )
            }
        };
        let path = format!("/run/systemd/system/{}.d/{}.conf", self.daemon.unit, file.0);
        self.machine.write(&path, file.1)?;
        self.machine.run(&["systemctl", "daemon-reload"])?;
        self.restart()
    }
}

/// The tests in which something would be refused.
fn denied(shadow: &Shadow, name: &str) -> BTreeSet<usize> {
    let denials = shadow.denials.iter();
    let marks = denials.filter_map(|denial| denial.mark.as_ref());
    marks.filter_map(|mark| number(mark, name)).collect()
}

/// The number of a test in a group of them.
fn number(mark: &Text, name: &str) -> Option<usize> {
    let mark = mark.to_string();
    mark.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

fn named<'d>(numbers: &BTreeSet<usize>, deeds: &[&'d str]) -> Vec<&'d str> {
    numbers.iter().map(|number| deeds[*number]).collect()
}

/// Both are the same.
fn same<T: Ord + Clone + std::fmt::Debug>(
    predicted: &BTreeSet<T>,
    found: &BTreeSet<T>,
) -> Result<()> {
    ensure!(
        predicted == found,
        "predicted and not found: {:#?}\nfound and not predicted: {:#?}",
        predicted - found,
        found - predicted
    );
    Ok(())
}

/// Paths, each with the test and the program.
type Paths = BTreeSet<(usize, String, String)>;

/// The paths that would be refused, programs among them.
fn predicted_paths(shadow: &Shadow, name: &str) -> Paths {
    let paths = shadow.denials.iter().filter_map(|denial| {
        let number = number(denial.mark.as_ref()?, name)?;
        let program = denial.executable.to_string();
        match denial.kind {
            FactKind::Path => {
                let fact = denial.fact.to_string();
                let path = fact.splitn(3, ' ').nth(2)?.to_owned();
                Some((number, program, path))
            }
            // Who starts it gets the error.
            FactKind::Program => Some((number, String::new(), program)),
            _ => None,
        }
    });
    paths.collect()
}

/// The paths for which there was an error, as harden itself has recorded it.
fn refused_paths(observation: &Observation, name: &str) -> Paths {
    let mut paths = Paths::new();
    for run in observation.runs.values() {
        let Some(number) = run.label.as_ref().and_then(|mark| number(mark, name)) else {
            continue;
        };
        for fact in run.facts() {
            if let Deed::File(path, _, outcome) = fact.what
                && outcome.0.as_str() != "ok"
            {
                let program = fact.executable.to_string();
                paths.insert((number, program, path.to_string()));
            }
        }
    }
    paths
}

/// A profile without some elements of its lists, and without some lines.
fn without(profile: &str, elements: &[(&str, &str)], lines: &[&str]) -> Result<String> {
    let mut found = BTreeSet::new();
    let mut text = String::new();
    for line in profile.lines() {
        let mut line = line.to_owned();
        for (start, element) in elements {
            let separator = if start.ends_with('=') { ' ' } else { ',' };
            let Some(list) = line.strip_prefix(start) else {
                continue;
            };
            let left = list.split(separator).filter(|one| one != element);
            let left = left.collect::<Vec<_>>().join(&separator.to_string());
            if left.len() < list.len() {
                found.insert(*element);
                line = format!("{start}{left}");
            }
        }
        if let Some(taken) = lines.iter().find(|one| **one == line) {
            found.insert(taken);
            continue;
        }
        text.push_str(&line);
        text.push('\n');
    }
    let all = elements.len() + lines.len();
    ensure!(
        found.len() == all,
        "only {found:?} of {elements:?} {lines:?} in:\n{profile}"
    );
    Ok(text)
}

/// The profile with a few lines less.
fn shorter(backend: Backend, profile: &str) -> Result<String> {
    match backend {
        Backend::Systemd => without(
            profile,
            &[
                ("SystemCallFilter=", "sysinfo"),
                ("CapabilityBoundingSet=", "CAP_CHOWN"),
                ("ReadWritePaths=", "-/var/lib/servant"),
            ],
            &[],
        ),
        Backend::Firejail => {
            // A list cannot be empty.
            let other = profile.replace("\ncaps.keep chown\n", "\ncaps.keep chown,kill\n");
            without(
                &other,
                &[
                    ("seccomp.keep ", "sysinfo"),
                    ("caps.keep ", "chown"),
                    ("private-etc ", "hostname"),
                ],
                &["read-write /var/lib/servant"],
            )
        }
    }
}

/// What of [`USUAL`] the shorter profile refuses, and by which line.
fn refused_by_shorter(backend: Backend) -> &'static [(usize, FactKind, &'static str)] {
    use FactKind::{Capability, Path, Syscall};
    match backend {
        Backend::Systemd => &[
            (1, Path, "ProtectSystem=strict"),
            (2, Path, "ProtectSystem=strict"),
            (3, Capability, "CapabilityBoundingSet="),
            (3, Path, "ProtectSystem=strict"),
            (5, Syscall, "SystemCallFilter="),
        ],
        Backend::Firejail => &[
            (0, Path, "private-etc"),
            (1, Path, "read-only /var"),
            (2, Path, "read-only /var"),
            (3, Capability, "caps.keep"),
            (3, Path, "read-only /var"),
            (5, Syscall, "seccomp.keep"),
        ],
    }
}

/// The same work is not refused: in the same run of the daemon, and in the next.
fn the_same_work_is_not_refused(rig: &Rig<'_>) -> Result<()> {
    let (key, usual) = (rig.key(), rig.daemon.usual);
    rig.says(&["shadow", &key, "--ready"], 1)?;
    rig.freeze(&["--backend", rig.backend.name()])?;
    let said = rig.says(&["shadow", &key, "--ready"], 1)?;
    ensure!(said.contains("0 of 5 marked tests"), "{said}");
    rig.prepare()?;
    rig.tests("same", usual)?;
    rig.restart()?;
    rig.tests("again", usual)?;
    let tests = |count: usize| count.to_string();
    let (done, more) = (tests(2 * usual.len()), tests(2 * usual.len() + 1));
    let said = rig.says(&["shadow", &key, "--ready", "--tests", &done], 0)?;
    ensure!(said.contains(": ready"), "{said}");
    rig.says(&["shadow", &key, "--ready", "--tests", &more], 1)?;
    rig.says(&["shadow", &key, "--ready", "--for", "1h"], 1)?;
    rig.says(&["shadow", &key, "--tests", "1"], 2)?;
    rig.says(&["shadow", &key], 1).map(drop)
}

/// What the plan does not allow is noted where people look.
fn other_work_is_told(rig: &Rig<'_>) -> Result<Shadow> {
    let key = rig.key();
    let mut watch = Process::start(&mut rig.agent.command(&["watch", &key, "--json"]))?;
    let other = rig.daemon.other;
    let refused = rig.tests("other", other)?;
    ensure!(
        refused.is_empty(),
        "not confined: {:?}",
        named(&refused, other)
    );
    let shadow = rig.shadow()?;
    rig.says(&["shadow", &key, "--ready", "--tests", "1"], 1)?;
    let units = rig.agent.units()?;
    let unit = units.iter().find(|unit| unit.unit.to_string() == key);
    ensure!(unit.context("no such unit")?.denials == Some(shadow.denials.len() as u64));
    let said = watch.output_so_far();
    let told = || -> Result<BTreeSet<String>> {
        let lines = said();
        let facts = lines.lines().filter(|line| line.ends_with('}'));
        let facts: Vec<NewFact> = facts.map(serde_json::from_str).collect::<Result<_, _>>()?;
        let refused = facts.iter().filter_map(|fact| {
            fact.refused_by.as_ref()?;
            Some(format!("{} {}", fact.executable, fact.fact))
        });
        Ok(refused.collect())
    };
    let all = shadow.denials.iter();
    let all: BTreeSet<String> = all
        .map(|denial| format!("{} {}", denial.executable, denial.fact))
        .collect();
    watch.until(|| same(&all, &told()?))?;
    Ok(shadow)
}

/// What would be refused is refused, and nothing else is.
fn reality_agrees(rig: &Rig<'_>, shadow: &Shadow) -> Result<()> {
    let predicted = denied(shadow, "other");
    let other = rig.daemon.other;
    let refused = rig.tests("enforced", other)?;
    // It goes on without what it is refused: what that is, is compared below.
    let bears = other.iter().position(|deed| *deed == "run /usr/bin/id");
    let answers = |set: &BTreeSet<usize>| {
        let set = set.iter().filter(|number| Some(**number) != bears);
        named(&set.copied().collect(), other).into_iter().collect()
    };
    same(&answers(&predicted), &answers(&refused))?;
    ensure!(!refused.is_empty() && refused.len() < other.len());
    let recorded = rig.agent.snapshot(&rig.key())?;
    let usual = refused_paths(&recorded, "other");
    let refused = refused_paths(&recorded, "enforced");
    let mut refused: Paths = &refused - &usual;
    let mut predicted = predicted_paths(shadow, "other");
    // A call that its filter refuses never reaches the recording, and a program that is refused does nothing.
    let unseen = |number: usize, program: &str| {
        let mut denials = shadow.denials.iter();
        denials.any(|denial| {
            let mark = denial.mark.as_ref();
            let is_call = denial.kind == FactKind::Syscall;
            is_call
                && denial.executable.to_string() == program
                && mark.and_then(|mark| self::number(mark, "other")) == Some(number)
        })
    };
    predicted.retain(|(number, program, _)| !unseen(*number, program));
    refused.retain(|(number, program, _)| !unseen(*number, program));
    let paths = |all: Paths| {
        let all = all.into_iter();
        all.map(|(number, _, path)| (number, path)).collect()
    };
    same(&paths(predicted), &paths(refused))
}

/// The daemon, with what is its own on the machine.
fn is_set_up(rig: &Rig<'_>) -> Result<()> {
    let daemon = rig.daemon;
    rig.machine.write(daemon.config.0, daemon.config.1)?;
    rig.machine.unit(daemon.file.0, daemon.file.1)?;
    for _ in 0..2 {
        rig.restart()?;
        rig.tests("usual", daemon.usual)?;
    }
    Ok(())
}

fn shadow_and_reality_agree(rig: &Rig<'_>) -> Result<()> {
    is_set_up(rig)?;
    let written = Written::of(rig.agent, rig.machine, rig.daemon.unit)?;
    let profile = match rig.backend {
        Backend::Systemd => &written.drop_in,
        Backend::Firejail => &written.profile,
    };
    the_same_work_is_not_refused(rig)?;
    let other = other_work_is_told(rig)?;
    let less = match rig.daemon.unit {
        "servant.service" => Some(less_is_told(rig, profile)?),
        _ => None,
    };
    rig.enforce(&written, profile)?;
    reality_agrees(rig, &other).with_context(|| format!("{other:#?}\n{profile}"))?;
    let Some((less, shorter)) = less else {
        return Ok(());
    };
    rig.enforce(&written, &shorter)?;
    let refused = rig.tests("shorter", &USUAL)?;
    let predicted = denied(&less, "less");
    let names = |set| named(set, &USUAL).into_iter().collect();
    same(&names(&predicted), &names(&refused)).with_context(|| shorter.clone())
}

/// Of a profile with a few lines less, what needs them is noted, and nothing else. Returns that, and the profile.
fn less_is_told(rig: &Rig<'_>, profile: &str) -> Result<(Shadow, String)> {
    let shorter = shorter(rig.backend, profile)?;
    let file = rig.directory.path().join("shorter.profile");
    fs::write(&file, &shorter)?;
    let file = file.to_str().context("a path in UTF-8")?;
    let backend = rig.backend.name();
    rig.freeze(&["--replace", "--backend", backend, "--profile", file])?;
    rig.restart()?;
    rig.tests("less", &USUAL)?;
    let less = rig.shadow()?;
    let found = less.denials.iter().filter_map(|denial| {
        let number = number(denial.mark.as_ref()?, "less")?;
        Some((number, denial.kind, denial.line.to_string()))
    });
    let expected = refused_by_shorter(rig.backend).iter();
    let expected = expected.map(|(number, kind, line)| (*number, *kind, (*line).to_owned()));
    same(&expected.collect(), &found.collect()).with_context(|| format!("{less:#?}\n{shorter}"))?;
    Ok((less, shorter))
}

/// The agent's figures, as a collector gets them.
fn page(metrics: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(metrics).context("no figures")?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// What was frozen and noted survives a SIGKILL, and goes with what was recorded of the unit.
fn shadows_last(agent: &mut Agent, metrics: &Path) -> Result<()> {
    let shadows = |agent: &Agent| -> Result<Vec<Shadow>> {
        let said = agent.say(&["shadow", "--json"])?;
        let mut all: Vec<Shadow> = serde_json::from_str(&said)?;
        for one in &mut all {
            // It goes on.
            one.summary.seconds = 0;
        }
        Ok(all)
    };
    let before = shadows(agent)?;
    ensure!(before.len() == Backend::ALL.len(), "{before:#?}");
    agent.end(Signal::SIGKILL)?;
    agent.begin(&[])?;
    let after = shadows(agent)?;
    for (one, other) in before.iter().zip(&after) {
        // The kernel side went on recording.
        ensure!(other.summary.gaps == 0, "{other:#?}");
        let what = |shadow: &Shadow| (shadow.denials.clone(), shadow.summary.tests);
        ensure!(what(one) == what(other), "{one:#?}\n{other:#?}");
    }
    let status = agent.say(&["status"])?;
    let page = page(metrics)?;
    for shadow in &after {
        let unit = shadow.summary.unit.to_string();
        ensure!(status.contains(&format!("shadow: {unit} (")), "{status}");
        let denials = shadow.denials.len();
        let line = format!("harden_shadow_denials{{unit=\"{unit}\"}} {denials}\n");
        ensure!(page.contains(&line), "no {line}in {page}");
    }
    let [first, second] = &after[..] else {
        anyhow::bail!("{after:#?}");
    };
    a_unit_without_an_agent_is_not_ready(agent, &first.summary.unit.to_string())?;
    agent.say(&["shadow", &first.summary.unit.to_string(), "--off"])?;
    agent.say(&["forget", &second.summary.unit.to_string()])?;
    ensure!(shadows(agent)?.is_empty());
    let left = fs::read_dir(agent.state().join("shadows"))?.count();
    ensure!(left == 0, "{left} files");
    Ok(())
}

/// Without pinned programs nothing is recorded while no agent runs: the gate is shut from then on.
fn a_unit_without_an_agent_is_not_ready(agent: &mut Agent, unit: &str) -> Result<()> {
    let config = fs::read_to_string(agent.config())?;
    let lines = config.lines().map(|line| {
        if line.starts_with("pin = ") {
            "pin = \"\""
        } else {
            line
        }
    });
    let unpinned: Vec<&str> = lines.collect();
    agent.end(Signal::SIGTERM)?;
    fs::write(agent.config(), unpinned.join("\n"))?;
    agent.begin(&[])?;
    agent.say(&["shadow", unit, "--replace"])?;
    let reasons = |agent: &Agent| -> Result<String> {
        let output = agent.harden(&["shadow", unit, "--ready", "--for", "1s"])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let gap = "may have done something that was not recorded";
    let said = reasons(agent)?;
    ensure!(
        said.contains("not ready: ") && !said.contains(gap),
        "{said}"
    );
    for _ in 0..2 {
        agent.end(Signal::SIGKILL)?;
        agent.begin(&[])?;
    }
    let said = reasons(agent)?;
    ensure!(said.contains(&format!("{gap}, 2 times")), "{said}");
    Ok(())
}

/// Does it with the daemon on machines of its own, one for each of what enforces.
fn agree(
    test: &str,
    daemon: &'static Daemon,
    then: impl Fn(&mut Agent, &Path) -> Result<()>,
) -> Result<()> {
    let machines = Machine::several(test, Backend::ALL.len())?;
    if machines.is_empty() {
        return Ok(());
    }
    let directory = Scratch::new(Path::new("/run"))?;
    let metrics = directory.path().join("metrics");
    let mut agent = Agent::start(&Setup {
        metrics: Some(&metrics),
        ..Setup::default()
    })?;
    let observer = &agent;
    Machine::share(&machines, &Backend::ALL, |machine, backend| {
        let directory = Scratch::new(Path::new("/run"))?;
        let program = programs::install("servant", &directory)?;
        programs::copy(program, machine.root().join(&PROGRAM[1..]))?;
        let rig = Rig {
            machine,
            agent: observer,
            daemon,
            backend: *backend,
            directory,
        };
        let result = shadow_and_reality_agree(&rig);
        if machine.container().is_none() {
            machine.try_run(&["systemctl", "stop", daemon.unit])?;
            machine.try_run(&[
                "rm",
                "-rf",
                PROGRAM,
                "/srv/servant",
                "/var/lib/servant",
                "/home/servant",
            ])?;
            machine.try_run(&["rm", "-rf", "/srv/site", "/srv/made", "/opt/other"])?;
        }
        result.with_context(|| backend.to_string())
    })?;
    then(&mut agent, &metrics)
}

#[test]
fn what_would_be_refused_is_what_is_refused() -> Result<()> {
    let test = "what would be refused is what is refused";
    agree(test, &SERVANT, shadows_last)
}

#[test]
fn so_it_is_of_a_daemon_of_debian() -> Result<()> {
    let test = "so it is of a daemon of debian";
    agree(test, &NGINX, |_, _| Ok(()))
}
