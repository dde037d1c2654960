//! `harden agent` on a machine with a systemd: what the units do is recorded, whole, and for the right unit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::{
    agent::request::NewFact,
    observation::{Abi, Executable, File, Join as _, Observation, Operation, RunKind, Text},
};
use harden_tests::{
    Agent, Machine, Process, Scratch, Setup, as_patient, harden,
    observed::{self, acts, assert_same, printed_acts},
    programs::install,
    scaled, trees,
};

/// Slots are counted here: beside a test whose daemons come and go, there is always one more.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all programs of the unit did, in all runs and commands.
fn programs(observation: &Observation) -> BTreeMap<Text, Executable> {
    let mut all = BTreeMap::new();
    for run in observation.runs.values() {
        all.join(run.executables.clone());
        run.control
            .values()
            .for_each(|programs| all.join(programs.clone()));
    }
    all
}

fn calls(facts: &Executable) -> BTreeSet<String> {
    let native = facts.syscalls.get(&Abi::Native).into_iter().flatten();
    native.map(|(call, _)| call.to_string()).collect()
}

/// The paths with which this was done, whatever came of it.
fn done(observation: &Observation, operation: Operation) -> BTreeSet<String> {
    let programs = programs(observation);
    let files = programs.values().flat_map(|facts| &facts.files);
    files
        .filter(|(_, file)| file.operations.contains_key(&operation))
        .map(|(path, _)| path.as_path().display().to_string())
        .collect()
}

/// Of no run was anything lost.
fn assert_whole(observation: &Observation) {
    for (id, run) in &observation.runs {
        let losses = observed::losses(run);
        assert!(losses.is_empty(), "{} {id}: {losses:?}", observation.name);
    }
}

/// The snapshot of a unit, once it has this many runs, all of which have ended.
fn ended(agent: &mut Agent, unit: &str, runs: usize) -> Result<Observation> {
    agent.until(|agent| {
        let observation = agent.snapshot(unit)?;
        let found = observation.runs.len();
        ensure!(found == runs, "{unit}: {found} runs, not {runs}");
        let on_disk = agent.state().join("units");
        let stem = harden_agent::output::file_stem(&Text::from(unit));
        let file = on_disk.join(format!("{stem}.json"));
        let written = harden_agent::observation::read(&file)?;
        ensure!(
            of_the_agent(&written) == of_the_agent(&observation),
            "{unit}: more is known than written"
        );
        Ok(observation)
    })
}

/// Without what `harden snapshot` adds from the file system, which the agent does not see.
fn of_the_agent(observation: &Observation) -> Observation {
    let mut observation = observation.clone();
    for run in observation.runs.values_mut() {
        run.symlinks.clear();
        let others = run.control.values_mut().flat_map(BTreeMap::values_mut);
        for executable in run.executables.values_mut().chain(others) {
            executable.interpreters.clear();
            executable.invoked_as.clear();
            let connected = |file: &&mut File| file.operations.contains_key(&Operation::Connect);
            for file in executable.files.values_mut().filter(connected) {
                file.inodes.clear();
            }
        }
    }
    observation
}

/// A daemon of Debian, and what it does at the least.
struct Daemon {
    unit: &'static str,
    /// What its drop-in has, beside that it is restarted when it crashes.
    options: &'static str,
    /// What it is to serve.
    files: &'static [(&'static str, &'static str)],
    /// A request; it has to succeed.
    work: &'static str,
    reloads: bool,
    /// What would start it again after it was stopped.
    socket: Option<&'static str>,
    programs: &'static [&'static str],
    calls: &'static [&'static str],
    reads: &'static [&'static str],
    /// The beginnings of addresses.
    binds: &'static [&'static str],
}

const NOTHING: Daemon = Daemon {
    unit: "",
    options: "",
    files: &[],
    work: "",
    reloads: true,
    socket: None,
    programs: &[],
    calls: &[],
    reads: &[],
    binds: &[],
};

const DAEMONS: [Daemon; 12] = [
    Daemon {
        unit: "nginx.service",
        work: "curl -sf http://127.0.0.1:80/",
        programs: &["/usr/sbin/nginx"],
        calls: &["accept4", "epoll_wait", "setuid"],
        reads: &["/etc/nginx/nginx.conf"],
        binds: &["inet 0.0.0.0:80"],
        ..NOTHING
    },
    Daemon {
        unit: "lighttpd.service",
        options: "ExecStartPre=\nExecStart=\nExecStart=/usr/sbin/lighttpd -D -f /run/harden-lighttpd.conf\n",
        files: &[(
            "/run/harden-lighttpd.conf",
            "server.document-root = \"/etc\"\nserver.port = 8081\nserver.bind = \"127.0.0.1\"\n",
        )],
        work: "curl -sf http://127.0.0.1:8081/hostname",
        programs: &["/usr/sbin/lighttpd"],
        calls: &["accept4", "epoll_wait"],
        reads: &["/run/harden-lighttpd.conf", "/etc/hostname"],
        binds: &["inet 127.0.0.1:8081"],
        ..NOTHING
    },
    Daemon {
        unit: "haproxy.service",
        options: "Environment=CONFIG=/run/harden-haproxy.cfg\n",
        files: &[(
            "/run/harden-haproxy.cfg",
            "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
             frontend f\n bind 127.0.0.1:8082\n http-request return status 200\n",
        )],
        work: "curl -sf http://127.0.0.1:8082/",
        programs: &["/usr/sbin/haproxy"],
        calls: &["accept4", "epoll_wait", "recvfrom"],
        reads: &["/run/harden-haproxy.cfg"],
        binds: &["inet 127.0.0.1:8082"],
        ..NOTHING
    },
    Daemon {
        unit: "redis-server.service",
        work: "redis-cli set key value && redis-cli save",
        reloads: false,
        programs: &["/usr/bin/redis-check-rdb"],
        calls: &["accept4", "epoll_wait", "rename"],
        reads: &["/etc/redis/redis.conf"],
        binds: &["inet 127.0.0.1:6379"],
        ..NOTHING
    },
    Daemon {
        unit: "memcached.service",
        work: "printf 'set k 0 0 1\\r\\nv\\r\\nquit\\r\\n' | nc -N 127.0.0.1 11211 | grep STORED",
        reloads: false,
        programs: &["/usr/bin/memcached", "/usr/bin/perl"],
        calls: &["accept4", "epoll_wait"],
        reads: &["/etc/memcached.conf"],
        binds: &["inet 127.0.0.1:11211"],
        ..NOTHING
    },
    Daemon {
        unit: "dnsmasq.service",
        work: "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); \
               s.sendto(bytes.fromhex(\"123401000001000000000000096c6f63616c686f73740000010001\"), (\"127.0.0.1\", 53)); \
               s.recv(512)'",
        programs: &["/usr/sbin/dnsmasq"],
        calls: &["recvmsg", "sendmsg", "poll"],
        reads: &["/etc/dnsmasq.conf", "/etc/hosts"],
        binds: &["inet 0.0.0.0:53"],
        ..NOTHING
    },
    Daemon {
        unit: "chrony.service",
        // The clock is this machine's, also in a container.
        options: "EnvironmentFile=\nEnvironment=\"DAEMON_OPTS=-F 1 -x\"\n",
        work: "chronyc -n tracking",
        reloads: false,
        programs: &["/usr/sbin/chronyd"],
        calls: &["seccomp", "recvmmsg"],
        reads: &["/etc/chrony/chrony.conf"],
        binds: &["inet 127.0.0.1:323", "unix /run/chrony/chronyd.sock"],
        ..NOTHING
    },
    Daemon {
        unit: "rsyslog.service",
        work: "logger harden-was-here && for i in 1 2 3 4 5 6 7 8 9 10; do \
               grep -q harden-was-here /var/log/syslog && exit; sleep 0.2; done; exit 1",
        reloads: false,
        socket: Some("syslog.socket"),
        programs: &["/usr/sbin/rsyslogd"],
        calls: &["recvmsg", "write"],
        reads: &["/etc/rsyslog.conf"],
        // systemd hands it the socket.
        binds: &[],
        ..NOTHING
    },
    Daemon {
        unit: "cron.service",
        work: "true",
        reloads: false,
        programs: &["/usr/sbin/cron"],
        calls: &["clock_nanosleep"],
        reads: &["/etc/crontab"],
        binds: &[],
        ..NOTHING
    },
    Daemon {
        unit: "ssh.service",
        work: "ssh-keyscan -T 5 127.0.0.1 | grep ssh-ed25519",
        programs: &["/usr/sbin/sshd"],
        calls: &["accept", "chroot", "ppoll"],
        reads: &["/etc/ssh/sshd_config"],
        binds: &["inet 0.0.0.0:22"],
        ..NOTHING
    },
    Daemon {
        unit: "stunnel@harden.service",
        files: &[(
            "/etc/stunnel/harden.conf",
            "foreground = yes\n[s]\nclient = yes\naccept = 127.0.0.1:8083\nconnect = 127.0.0.1:22\n",
        )],
        // It listens some time after it has started, and takes a connection when its turn comes.
        work: "for turn in 1 2 3 4 5 6 7 8 9 10; do nc -z -w 1 127.0.0.1 8083 && sleep 0.3 && exit 0; sleep 0.3; done; false",
        reloads: false,
        programs: &["/usr/bin/stunnel4"],
        calls: &["accept4", "poll"],
        reads: &["/etc/stunnel/harden.conf"],
        binds: &["inet 127.0.0.1:8083"],
        ..NOTHING
    },
    // A bus of its own: the system's is not to be restarted.
    Daemon {
        unit: "harden-dbus.service",
        files: &[(
            "/run/systemd/system/harden-dbus.service",
            "[Service]\nExecStart=/usr/bin/dbus-daemon --session --nofork --address=unix:path=/run/harden-bus\n\
             ExecReload=/bin/kill -HUP $MAINPID\n",
        )],
        work: "busctl --address=unix:path=/run/harden-bus list",
        programs: &["/usr/bin/dbus-daemon"],
        calls: &["accept4", "epoll_wait", "recvmsg"],
        reads: &["/usr/share/dbus-1/session.conf"],
        binds: &["unix /run/harden-bus"],
        ..NOTHING
    },
];

impl Daemon {
    /// Starts, works, reloads, is started again, crashes, stops.
    fn live(&self, machine: &Machine) -> Result<()> {
        let systemctl =
            |words: &[&str]| machine.run(&[&["systemctl"], words, &[self.unit]].concat());
        systemctl(&["start"])?;
        self.work(machine)?;
        if self.reloads {
            systemctl(&["reload"])?;
            self.work(machine)?;
        }
        systemctl(&["restart"])?;
        self.work(machine)?;
        systemctl(&["kill", "--signal=KILL", "--kill-who=main"])?;
        let deadline = Instant::now() + as_patient(Duration::from_secs(20));
        loop {
            let restarts = machine.property(self.unit, "NRestarts")?;
            let state = machine.property(self.unit, "ActiveState")?;
            if restarts == "1" && state == "active" {
                break;
            }
            ensure!(Instant::now() < deadline, "{restarts} restarts, {state}");
            thread::sleep(Duration::from_millis(20));
        }
        self.work(machine)?;
        if let Some(socket) = self.socket {
            machine.run(&["systemctl", "stop", socket, self.unit])?;
        }
        systemctl(&["stop"]).map(drop)
    }

    fn work(&self, machine: &Machine) -> Result<()> {
        let deadline = Instant::now() + as_patient(Duration::from_secs(10));
        loop {
            match machine.run(&["sh", "-c", self.work]) {
                // Not every daemon says when it is ready.
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                result => return result.map(drop),
            }
        }
    }

    fn check(&self, observation: &Observation) {
        let unit = self.unit;
        let programs = programs(observation);
        let mut calls_of_all = BTreeSet::new();
        let mut binds = BTreeSet::new();
        for facts in programs.values() {
            calls_of_all.extend(calls(facts));
            let addresses = facts
                .addresses
                .get(&harden_agent::observation::AddressOperation::Bind);
            binds.extend(
                addresses
                    .into_iter()
                    .flatten()
                    .map(|(text, _)| text.to_string()),
            );
        }
        for program in self.programs {
            let names: Vec<_> = programs.keys().collect();
            assert!(
                programs.contains_key(&Text::from(*program)),
                "{unit}: {names:?}"
            );
        }
        for call in self.calls {
            assert!(
                calls_of_all.contains(*call),
                "{unit}: {call} in {calls_of_all:?}"
            );
        }
        let read = done(observation, Operation::Read);
        for file in self.reads {
            assert!(read.contains(*file), "{unit}: {file} in {read:?}");
        }
        for address in self.binds {
            assert!(
                binds.iter().any(|bound| bound.starts_with(address)),
                "{unit}: {address} in {binds:?}"
            );
        }
        assert_eq!(observation.runs.len(), 3, "{unit}");
        for run in observation.runs.values() {
            assert_eq!(run.kind, RunKind::Invocation, "{unit}");
            assert!(run.ended > run.started, "{unit}");
        }
        assert_whole(observation);
    }
}

#[test]
fn twelve_daemons_live_and_every_fact_is_there() -> Result<()> {
    let Some(machine) = Machine::here("twelve daemons live and every fact is there")? else {
        return Ok(());
    };
    let _turn = turn();
    for daemon in &DAEMONS {
        for (file, content) in daemon.files {
            machine.write(file, content)?;
        }
        let drop_in = format!("/run/systemd/system/{}.d/harden.conf", daemon.unit);
        let options = daemon.options;
        machine.write(
            &drop_in,
            &format!("[Service]\nRestart=on-failure\nRestartSec=50ms\n{options}"),
        )?;
    }
    machine.run(&["systemctl", "daemon-reload"])?;
    // Its socket wants it by its other name.
    machine.run(&[
        "systemctl",
        "enable",
        "--runtime",
        "--quiet",
        "rsyslog.service",
    ])?;
    let mut agent = Agent::start(&Setup::default())?;
    let mut faults = Vec::new();
    for daemon in &DAEMONS {
        if let Err(error) = daemon.live(&machine) {
            let status = machine.try_run(&["journalctl", "-n", "20", "--no-pager"])?;
            let status = String::from_utf8_lossy(&status.stdout).into_owned();
            faults.push(format!("{}: {error:#}\n{status}", daemon.unit));
        }
    }
    machine.run(&[
        "systemctl",
        "disable",
        "--runtime",
        "--quiet",
        "rsyslog.service",
    ])?;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for daemon in &DAEMONS {
        let observation = ended(&mut agent, &machine.key(daemon.unit), 3)?;
        daemon.check(&observation);
    }
    let units = agent.units()?;
    for daemon in &DAEMONS {
        let key = Text::from(machine.key(daemon.unit));
        let unit = units.iter().find(|unit| unit.unit == key);
        let unit = unit.with_context(|| format!("{key} is not listed"))?;
        assert_eq!(unit.runs, 3, "{key}");
        assert!(unit.calls > 10 && unit.paths > 1, "{unit:?}");
    }
    Ok(())
}

/// What the `true` of the machine does, as `harden run` sees it.
fn calls_of_true(machine: &Machine) -> Result<BTreeSet<String>> {
    let leader = machine
        .container()
        .map(|container| container.leader().to_string());
    let enter = ["nsenter", "--all", "--wd=/", "--target"];
    let mut command = Vec::new();
    if let Some(leader) = &leader {
        command.extend(enter);
        command.extend([leader.as_str(), "--"]);
    }
    command.push("/bin/true");
    let recorded = harden::record("true", &[], &command)?;
    ensure!(recorded.status == 0, "{}", recorded.output);
    Ok(calls(observed::facts(&recorded.observation, "true")))
}

const HARDENED: &str = "[Service]
Type=oneshot
ExecStart=/bin/true
User=nobody
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
PrivateIPC=yes
PrivateUsers=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX
MemoryDenyWriteExecute=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077
StateDirectory=harden-hardened
RuntimeDirectory=harden-hardened
ReadOnlyPaths=/etc
InaccessiblePaths=/srv
TemporaryFileSystem=/mnt
LimitNOFILE=1024
Nice=1
OOMScoreAdjust=100
";

#[test]
fn what_systemd_does_before_exec_is_not_the_units() -> Result<()> {
    let Some(machine) = Machine::here("what systemd does before exec is not the unit's")? else {
        return Ok(());
    };
    let _turn = turn();
    let expected = calls_of_true(&machine)?;
    ensure!(
        expected.contains("execve") || expected.len() > 5,
        "{expected:?}"
    );
    let bare = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    machine.write("/run/systemd/system/harden-bare.service", bare)?;
    machine.unit("harden-hardened.service", HARDENED)?;
    let mut agent = Agent::start(&Setup::default())?;
    // Units of a few milliseconds.
    for name in ["harden-bare.service", "harden-hardened.service"] {
        for round in 1..=5 {
            machine.run(&["systemctl", "start", name])?;
            let observation = ended(&mut agent, &machine.key(name), round)?;
            for run in observation.runs.values() {
                assert!(run.control.is_empty(), "{name}: {:?}", run.control.keys());
                let programs: Vec<_> = run.executables.keys().map(ToString::to_string).collect();
                assert_eq!(programs, ["/usr/bin/true"], "{name}");
                let calls = calls(run.executables.values().next().context("one")?);
                assert_same(&expected, &calls);
            }
            assert_whole(&observation);
        }
    }
    Ok(())
}

#[test]
fn of_a_thousand_units_none_is_missing() -> Result<()> {
    let Some(machine) = Machine::here("of a thousand units none is missing")? else {
        return Ok(());
    };
    let _turn = turn();
    let count = scaled(1000)?.max(20);
    machine.run(&["mkdir", "-p", "/run/harden-many"])?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-many-*"],
        ..Setup::default()
    })?;
    let script = "for i in $(seq $1); do systemd-run --quiet --collect --unit=harden-many-$i touch /run/harden-many/$i; done";
    machine.run(&["sh", "-c", script, "sh", &count.to_string()])?;
    let prefix = machine.key("harden-many-");
    let missing = |agent: &Agent| -> Result<Vec<String>> {
        let snapshots = agent.snapshots(&["--all"])?;
        let mut missing = Vec::new();
        for number in 1..=count {
            let name = format!("{prefix}{number}.service");
            let found = snapshots
                .iter()
                .find(|seen| seen.name == Text::from(&*name));
            let Some(found) = found else {
                missing.push(name);
                continue;
            };
            let own = format!("/run/harden-many/{number}");
            let made: BTreeSet<String> = done(found, Operation::Create)
                .into_iter()
                .filter(|path| path.starts_with("/run/harden-many/"))
                .collect();
            if made != [own].into() || found.runs.len() != 1 {
                missing.push(format!("{name}: {made:?} in {} runs", found.runs.len()));
            }
        }
        Ok(missing)
    };
    agent.until(|agent| {
        let missing = missing(agent)?;
        ensure!(
            missing.is_empty(),
            "{} are missing: {missing:#?}",
            missing.len()
        );
        Ok(())
    })?;
    for observation in agent.snapshots(&["--all"])? {
        assert_whole(&observation);
    }
    // Not one of them is left in the kernel.
    agent.until(|agent| {
        let status = agent.status()?;
        ensure!(status.slots_used == 0, "{} slots", status.slots_used);
        Ok(())
    })
}

const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

#[test]
fn what_nobody_asked_for_is_left_alone() -> Result<()> {
    let Some(machine) = Machine::here("what nobody asked for is left alone")? else {
        return Ok(());
    };
    let _turn = turn();
    for name in ["harden-a1", "harden-a2", "harden-b1"] {
        machine.write(&format!("/run/systemd/system/{name}.service"), SLEEPS)?;
    }
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", "harden-b1.service"])?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-a*.service", "harden.service"],
        exclude: &["harden-a2*"],
        ..Setup::default()
    })?;
    for name in ["harden-a1.service", "harden-a2.service"] {
        machine.run(&["systemctl", "start", name])?;
    }
    machine.run(&["systemctl", "restart", "harden-b1.service"])?;
    agent.until(|agent| {
        let names: Vec<_> = agent
            .units()?
            .into_iter()
            .map(|unit| unit.unit.to_string())
            .collect();
        ensure!(names == [machine.key("harden-a1.service")], "{names:?}");
        let used = agent.status()?.slots_used;
        ensure!(used == 1, "{used} slots");
        Ok(())
    })?;
    machine.run(&[
        "systemctl",
        "stop",
        "harden-a1.service",
        "harden-a2.service",
        "harden-b1.service",
    ])?;
    ended(&mut agent, &machine.key("harden-a1.service"), 1)?;
    let files: Vec<_> = fs::read_dir(agent.state().join("units"))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    assert_eq!(files.len(), 1, "{files:?}");
    // The kernel side keeps no names of those that are gone.
    agent.until(|agent| {
        ensure!(agent.status()?.slots_used == 0);
        Ok(())
    })
}

#[test]
fn the_agent_does_not_observe_itself() -> Result<()> {
    let Some(_machine) = Machine::here("the agent does not observe itself")? else {
        return Ok(());
    };
    let _turn = turn();
    let agent = Agent::start(&Setup::default())?;
    let binary = Text::from(
        fs::canonicalize(harden::binary())?
            .as_os_str()
            .as_encoded_bytes(),
    );
    for _ in 0..10 {
        let units = agent.units()?;
        let own = units.iter().find(|unit| unit.executables.contains(&binary));
        assert!(own.is_none(), "{own:?}");
        thread::sleep(Duration::from_millis(100));
    }
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .context("a cgroup")?;
    if let Some(unit) = harden_agent::collect::unit::unit(own.as_bytes()) {
        let units = agent.units()?;
        assert!(
            units
                .iter()
                .all(|seen| seen.unit != Text::from(unit.to_string()))
        );
    }
    Ok(())
}

#[test]
fn every_kind_of_unit_has_its_name() -> Result<()> {
    let Some(machine) = Machine::here("every kind of unit has its name")? else {
        return Ok(());
    };
    let _turn = turn();
    machine.write(
        "/run/systemd/system/harden@.service",
        "[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/harden-%i\n",
    )?;
    machine.unit(
        "harden-delegate.service",
        "[Service]\nDelegate=yes\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c '\
            tree=/sys/fs/cgroup; [ -d $tree/unified ] && tree=$tree/unified; \
            own=$tree$(sed -n s/^0:://p /proc/self/cgroup); \
            mkdir $own/main $own/payload && echo 0 >$own/main/cgroup.procs && systemd-notify --ready; \
            touch /run/harden-main; exec sleep infinity'\n\
         ExecReload=/usr/bin/touch /run/harden-control\n",
    )?;
    // The user's manager: before the agent, and its unit after it.
    machine.run(&["systemctl", "start", "user@0.service"])?;
    let mut agent = Agent::start(&Setup::default())?;
    for instance in ["one", r"two\x2dthree"] {
        machine.run(&["systemctl", "start", &format!("harden@{instance}.service")])?;
    }
    machine.run(&["systemctl", "start", "harden-delegate.service"])?;
    machine.run(&["systemctl", "reload", "harden-delegate.service"])?;
    machine.run(&[
        "systemd-run",
        "--scope",
        "--quiet",
        "--unit=harden-scope",
        "touch",
        "/run/harden-scoped",
    ])?;
    machine.run(&[
        "env",
        "XDG_RUNTIME_DIR=/run/user/0",
        "systemd-run",
        "--user",
        "--quiet",
        "--unit=harden-app",
        "touch",
        "/run/harden-app",
    ])?;
    let user = machine.property("user@0.service", "ControlGroup")?;
    let user = format!("{}{user}", machine.cgroup().display());
    let expected = [
        (machine.key("harden@one.service"), "/run/harden-one"),
        // %i is as it stands in the name.
        (
            machine.key(r"harden@two\x2dthree.service"),
            r"/run/harden-two\x2dthree",
        ),
        (machine.key("harden-delegate.service"), "/run/harden-main"),
        (
            machine.key("harden-delegate.service"),
            "/run/harden-control",
        ),
        (machine.key("harden-scope.scope"), "/run/harden-scoped"),
        (format!("{user}:harden-app.service"), "/run/harden-app"),
    ];
    for (unit, file) in &expected {
        agent.until(|agent| {
            let observation = agent.snapshot(unit)?;
            let made = done(&observation, Operation::Create);
            ensure!(made.contains(*file), "{unit}: {made:?}");
            ensure!(
                observation.runs.len() == 1,
                "{unit}: {} runs",
                observation.runs.len()
            );
            Ok(())
        })?;
    }
    // Nothing of one is another's.
    for observation in agent.snapshots(&["--all"])? {
        let name = String::from_utf8_lossy(observation.name.as_bytes()).into_owned();
        let own: BTreeSet<&str> = expected
            .iter()
            .filter(|(unit, _)| *unit == name)
            .map(|(_, file)| *file)
            .collect();
        let made = done(&observation, Operation::Create);
        for (_, file) in &expected {
            assert_eq!(made.contains(*file), own.contains(file), "{name}: {file}");
        }
    }
    machine.run(&[
        "systemctl",
        "stop",
        "harden-delegate.service",
        "user@0.service",
    ])?;
    Ok(())
}

#[test]
fn below_a_unit_that_is_left_alone_others_are_observed() -> Result<()> {
    let Some(machine) = Machine::here("below a unit that is left alone others are observed")?
    else {
        return Ok(());
    };
    let _turn = turn();
    let mut agent = Agent::start(&Setup {
        include: &["harden-app-*.service"],
        exclude: &["harden-app-2.service"],
        ..Setup::default()
    })?;
    // The manager is a unit that nobody asked for: its units are told of all the same.
    machine.run(&["systemctl", "start", "user@0.service"])?;
    let user = machine.property("user@0.service", "ControlGroup")?;
    let key = format!("{}{user}:harden-app-1.service", machine.cgroup().display());
    // It is by now.
    thread::sleep(as_patient(Duration::from_millis(2500)));
    for number in 1..=2 {
        let unit = format!("--unit=harden-app-{number}");
        machine.run(&[
            "env",
            "XDG_RUNTIME_DIR=/run/user/0",
            "systemd-run",
            "--user",
            "--quiet",
            &unit,
            "sh",
            "-c",
            "touch /run/harden-app; exec sleep infinity",
        ])?;
    }
    agent.until(|agent| {
        let made = done(&agent.snapshot(&key)?, Operation::Create);
        ensure!(made.contains("/run/harden-app"), "{made:?}");
        let units = agent.units()?;
        ensure!(units.len() == 1, "{units:?}");
        let slots = agent.status()?.slots_used;
        // The shell, touch, sleep.
        ensure!(slots == 3, "{slots} slots");
        Ok(())
    })?;
    machine.run(&["systemctl", "stop", "user@0.service"])?;
    agent.until(|agent| {
        ensure!(agent.status()?.slots_used == 0);
        Ok(())
    })
}

/// Does what it reads from a FIFO, a line at a time.
const OBEYS: &str = "[Service]
ExecStartPre=/bin/sh -c 'rm -f /run/harden-orders; mkfifo /run/harden-orders'
ExecStart=/bin/sh -c 'exec 3<>/run/harden-orders; while read -r order <&3; do eval \"$order\"; done'
";

fn order(machine: &Machine, order: &str) -> Result<()> {
    let script = format!("echo '{order}' >/run/harden-orders");
    machine.run(&["sh", "-c", &script]).map(drop)
}

#[test]
fn a_new_fact_is_told_within_a_second_and_once() -> Result<()> {
    let Some(machine) = Machine::here("a new fact is told within a second and once")? else {
        return Ok(());
    };
    let _turn = turn();
    machine.unit("harden-obeys.service", OBEYS)?;
    let mut agent = Agent::start(&Setup::default())?;
    machine.run(&["systemctl", "start", "harden-obeys.service"])?;
    let key = machine.key("harden-obeys.service");
    order(&machine, ": >/run/harden-order-0")?;
    agent.until(|agent| {
        let made = done(&agent.snapshot(&key)?, Operation::Create);
        ensure!(made.contains("/run/harden-order-0"), "{made:?}");
        Ok(())
    })?;
    let mut watch = Process::start(&mut agent.command(&["watch", &key, "--json"]))?;
    // It asks for the unit first, and has no sign for being there.
    thread::sleep(as_patient(Duration::from_secs(1)));
    let facts = |watch: &Process| -> Result<Vec<NewFact>> {
        let output = watch.output();
        // The last line may be half a line.
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?)
    };
    for number in 1..=3 {
        let file = format!("/run/harden-order-{number}");
        order(&machine, &format!(": >{file}"))?;
        let asked = Instant::now();
        watch.until(|| Ok(())).context("it watches")?;
        let told = loop {
            let told = facts(&watch)?;
            let fact = told
                .iter()
                .find(|fact| fact.fact.to_string().contains(&file))
                .cloned();
            if fact.is_some() || asked.elapsed() > as_patient(Duration::from_secs(10)) {
                break fact;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let took = asked.elapsed();
        println!("told after {took:?}");
        let fact = told.with_context(|| format!("{file} is not told: {}", watch.output()))?;
        assert_eq!(fact.unit, Text::from(&*key));
        assert_eq!(fact.executable, Text::from("/usr/bin/dash"));
        assert!(took < as_patient(Duration::from_secs(1)), "{took:?}");
    }
    for _ in 0..2 {
        for number in 0..=3 {
            order(&machine, &format!(": >/run/harden-order-{number}"))?;
        }
    }
    // And in another invocation.
    machine.run(&["systemctl", "restart", "harden-obeys.service"])?;
    order(&machine, ": >/run/harden-order-1")?;
    order(&machine, ": >/run/harden-order-last")?;
    watch.until(|| {
        ensure!(watch_has(&facts_of(&agent, &key)?, "harden-order-last"));
        Ok(())
    })?;
    thread::sleep(as_patient(Duration::from_millis(500)));
    let told = facts(&watch)?;
    let mut seen = BTreeSet::new();
    for fact in &told {
        let key = (
            fact.executable.to_string(),
            fact.kind,
            fact.fact.to_string(),
        );
        assert!(seen.insert(key.clone()), "told twice: {key:?}");
        assert_eq!(fact.lagged, 0);
    }
    assert!(!watch.output().contains("harden-order-0"), "known before");

    ages(&machine, &mut agent, &key)
}

/// The time since the last new fact grows, and what is not new does not end it.
fn ages(machine: &Machine, agent: &mut Agent, key: &str) -> Result<()> {
    let last_new = |agent: &Agent| -> Result<_> {
        let unit = agent
            .units()?
            .into_iter()
            .find(|unit| unit.unit == Text::from(key));
        unit.context("listed")?.last_new.context("a time")
    };
    // What the restart brought that is only in the records of slots.
    thread::sleep(as_patient(Duration::from_secs(2)));
    let before = last_new(agent)?;
    thread::sleep(Duration::from_secs(2));
    order(machine, ": >/run/harden-order-1")?;
    assert_eq!(last_new(agent)?, before);
    let table = agent.say(&["units"])?;
    let line = table
        .lines()
        .find(|line| line.contains("harden-obeys.service"))
        .context("listed")?;
    let age: Vec<_> = line.split_whitespace().rev().skip(1).take(2).collect();
    let seconds: u64 = age
        .get(1)
        .context("an age")?
        .parse()
        .context(line.to_owned())?;
    assert!(age[0] == "s" && seconds >= 2 || age[0] == "min", "{line}");
    order(machine, ": >/run/harden-order-newest")?;
    agent.until(|agent| {
        ensure!(last_new(agent)? > before);
        Ok(())
    })?;
    Ok(())
}

/// Opens a file, and looks at it by its descriptor when that is on disk already.
const LOOKS_LATER: &str = "[Service]
ExecStart=/usr/bin/python3 -c 'import os, time; f = os.open(\"/etc/passwd\", os.O_RDONLY); time.sleep(6); os.fstat(f); \
os.open(\"/etc/group\", os.O_RDONLY); time.sleep(1000)'
";

#[test]
fn what_was_written_is_no_stranger_later() -> Result<()> {
    let Some(machine) = Machine::here("what was written is no stranger later")? else {
        return Ok(());
    };
    let _turn = turn();
    machine.unit("harden-looks.service", LOOKS_LATER)?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-looks.service"],
        state: "compact_every = \"1s\"",
        ..Setup::default()
    })?;
    machine.run(&["systemctl", "start", "harden-looks.service"])?;
    let key = machine.key("harden-looks.service");
    agent.until(|agent| {
        let read = done(&agent.snapshot(&key)?, Operation::Read);
        ensure!(read.contains("/etc/group"), "{read:?}");
        Ok(())
    })?;
    let looked = done(&agent.snapshot(&key)?, Operation::Stat);
    assert!(looked.contains("/etc/passwd"), "{looked:?}");
    machine
        .run(&["systemctl", "stop", "harden-looks.service"])
        .map(drop)
}

fn facts_of(agent: &Agent, unit: &str) -> Result<BTreeSet<String>> {
    Ok(done(&agent.snapshot(unit)?, Operation::Create))
}

fn watch_has(paths: &BTreeSet<String>, name: &str) -> bool {
    paths.iter().any(|path| path.ends_with(name))
}

#[test]
fn a_second_instance_records_at_the_same_time() -> Result<()> {
    let Some(machine) = Machine::here("a second instance records at the same time")? else {
        return Ok(());
    };
    let _turn = turn();
    let bin = Scratch::new(Path::new("/run"))?;
    let program = install("acts", &bin)?;
    let inside = machine.root().join("usr/local/bin/harden-acts");
    fs::create_dir_all(inside.parent().context("a directory")?)?;
    fs::copy(&program, &inside)?;
    let agent = Agent::start(&Setup::default())?;
    let mut agent = agent;
    let (of_unit, of_run) = (
        machine.root().join("var/tmp/harden-acts"),
        Scratch::new(Path::new("/var/tmp"))?,
    );
    fs::create_dir_all(&of_unit)?;
    trees::for_acts(&of_unit)?;
    trees::for_acts(of_run.path())?;
    let (printed, recorded) = thread::scope(|scope| {
        let unit = scope.spawn(|| {
            machine.run(&[
                "systemd-run",
                "--quiet",
                "--pipe",
                "--wait",
                "--unit=harden-acts",
                "/usr/local/bin/harden-acts",
                "/var/tmp/harden-acts",
            ])
        });
        let recorded = harden::record(
            "acts",
            &[],
            &[program.as_os_str(), of_run.path().as_os_str()],
        );
        (unit.join().expect("no panic"), recorded)
    });
    let recorded = recorded?;
    let expected = printed_acts(&recorded.output);
    assert!(expected.len() > 70, "{}", recorded.output);
    assert_same(
        &expected,
        &acts(
            observed::facts(&recorded.observation, "acts"),
            of_run.path(),
        ),
    );

    let observation = ended(&mut agent, &machine.key("harden-acts.service"), 1)?;
    let expected = printed_acts(&printed?);
    assert!(expected.len() > 70);
    let facts = programs(&observation);
    let facts = facts
        .get(&Text::from("/usr/local/bin/harden-acts"))
        .context("the program")?;
    assert_same(&expected, &acts(facts, Path::new("/var/tmp/harden-acts")));
    assert_whole(&observation);
    let _ = fs::remove_dir_all(&of_unit);
    let _ = fs::remove_file(&inside);
    Ok(())
}

/// How long it takes to write all of a hundred units, at best, into memory: what a disk takes to keep hundreds of files
/// is another matter.
fn fastest_snapshot(agent: &Agent, format: &str) -> Result<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let out = Scratch::new(Path::new("/dev/shm"))?;
        let directory = out.path().to_str().context("a path in UTF-8")?;
        let begun = Instant::now();
        agent.say(&["snapshot", "--all", "--format", format, "--out", directory])?;
        fastest = fastest.min(begun.elapsed());
        // Beside each profile lies what it was made from.
        let files = fs::read_dir(out.path())?.count();
        assert_eq!(files, if format == "observation" { 100 } else { 200 });
    }
    Ok(fastest)
}

#[test]
fn a_hundred_units_are_told_of_at_once() -> Result<()> {
    let Some(machine) = Machine::here("a hundred units are told of at once")? else {
        return Ok(());
    };
    let _turn = turn();
    machine.unit(
        "harden-hundred@.service",
        "[Service]\nExecStart=/bin/sh -c 'cat /etc/passwd /etc/hosts >/run/harden-%i; exec sleep infinity'\n",
    )?;
    let agent = Agent::start(&Setup {
        include: &["harden-hundred@*"],
        ..Setup::default()
    })?;
    let mut start = vec!["systemctl".to_owned(), "start".to_owned()];
    start.extend((0..100).map(|number| format!("harden-hundred@{number}.service")));
    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    machine.run(&start)?;
    let mut agent = agent;
    agent.until(|agent| {
        let all = agent.snapshots(&["--all"])?;
        ensure!(all.len() == 100, "{} units", all.len());
        for observation in &all {
            ensure!(programs(observation).contains_key(&Text::from("/usr/bin/sleep")));
        }
        Ok(())
    })?;
    // With what the command itself takes to start and to write; without optimisation many times as long.
    let is_optimised = harden::binary().iter().any(|part| part == "release");
    let most = as_patient(Duration::from_millis(if is_optimised { 200 } else { 5000 }));
    for format in ["observation", "firejail"] {
        let fastest = fastest_snapshot(&agent, format)?;
        println!("a snapshot of 100 units as {format} takes {fastest:?}");
        assert!(fastest < most, "{format}: {fastest:?}");
    }
    machine.run(&["systemctl", "stop", "harden-hundred@*.service"])?;
    Ok(())
}

#[test]
fn an_agent_that_is_ended_leaves_nothing() -> Result<()> {
    let Some(_machine) = Machine::here("an agent that is ended leaves nothing")? else {
        return Ok(());
    };
    let _turn = turn();
    let mut agent = Agent::start(&Setup::default())?;
    let before = agent.status()?;
    agent.end(nix::sys::signal::Signal::SIGTERM)?;
    agent.begin(&[])?;
    let after = agent.status()?;
    assert_ne!(before.pid, after.pid);
    assert_eq!(
        after.kernel_side,
        harden_agent::agent::request::KernelSide::Adopted
    );
    assert_eq!(before.since, after.since);
    let pins = agent.home().join("bpf/harden");
    assert_eq!(fs::read_dir(&pins)?.count(), 1);
    agent.end(nix::sys::signal::Signal::SIGTERM)?;
    let unload = agent
        .command(&["agent", "--unload", "--config"])
        .arg(agent.config())
        .output()?;
    assert!(unload.status.success(), "{unload:?}");
    assert!(!pins.exists() || fs::read_dir(&pins)?.count() == 0);
    let again = Command::new(harden::binary())
        .args(["agent", "--unload", "--config"])
        .arg(agent.config())
        .output()?;
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("no kernel side"),
        "{again:?}"
    );
    Ok(())
}
