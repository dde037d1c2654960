//! Daemons of Debian, from their start to their end.

use std::{
    collections::BTreeSet,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Observation, Operation, RunKind, Text};
use harden_tests::{Agent, Machine, Setup, as_patient};

use super::{assert_whole, beside, calls, done, ended, programs};

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

static DAEMONS: [Daemon; 12] = [
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

/// All of them, some at once. What went wrong.
fn live_at_once(machine: &Machine) -> Vec<String> {
    let live = |daemon: &Daemon| {
        let error = daemon.live(machine).err()?;
        let log = machine.try_run(&["journalctl", "-n", "40", "--no-pager"]);
        let log = log.map(|log| String::from_utf8_lossy(&log.stdout).into_owned());
        let log = log.unwrap_or_default();
        Some(format!("{}: {error:#}\n{log}", daemon.unit))
    };
    thread::scope(|scope| {
        let start = |daemons: &'static [Daemon]| {
            scope.spawn(move || daemons.iter().filter_map(live).collect::<Vec<_>>())
        };
        let threads: Vec<_> = DAEMONS.chunks(3).map(start).collect();
        let faults = threads.into_iter().map(ScopedJoinHandle::join);
        faults
            .flat_map(|faults| faults.expect("no panic"))
            .collect()
    })
}

#[test]
fn twelve_daemons_live_and_every_fact_is_there() -> Result<()> {
    let Some(machine) = Machine::here("twelve daemons live and every fact is there")? else {
        return Ok(());
    };
    let _turn = beside();
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
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
    let faults = live_at_once(&machine);
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
