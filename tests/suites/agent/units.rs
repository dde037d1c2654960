//! Which units are observed, and under which names.

use std::{
    collections::BTreeSet,
    fs,
    sync::mpsc::{self, TryRecvError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Observation, Operation, Text};
use harden_tests::{
    Agent, Machine, Setup,
    deeds::Workshop,
    harden,
    observed::{self, assert_same},
    scaled,
};

use super::{alone, assert_whole, beside, calls, done, ended};

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
    // The container's root is not that of nsenter.
    let name = match leader {
        Some(_) => "true (on another root)",
        None => "true",
    };
    Ok(calls(observed::facts(&recorded.observation, name)))
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

/// Each run of it is `true`, and has the calls of it.
fn is_only_true(observation: &Observation, expected: &BTreeSet<String>) -> Result<()> {
    let name = &observation.name;
    for run in observation.runs.values() {
        assert!(run.control.is_empty(), "{name}: {:?}", run.control.keys());
        let programs: Vec<_> = run.executables.keys().map(ToString::to_string).collect();
        assert_eq!(programs, ["/usr/bin/true"], "{name}");
        let calls = calls(run.executables.values().next().context("one")?);
        assert_same(expected, &calls);
    }
    assert_whole(observation);
    Ok(())
}

#[test]
fn what_systemd_does_before_exec_is_not_the_units() -> Result<()> {
    let Some(machine) = Machine::here("what systemd does before exec is not the unit's")? else {
        return Ok(());
    };
    let _turn = beside();
    let expected = calls_of_true(&machine)?;
    ensure!(
        expected.contains("execve") || expected.len() > 5,
        "{expected:?}"
    );
    let bare = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    machine.write("/run/systemd/system/harden-bare.service", bare)?;
    machine.unit("harden-hardened.service", HARDENED)?;
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
    // Units of a few milliseconds: once and again when that is over, and then one on the heels of the other.
    let names = ["harden-bare.service", "harden-hardened.service"];
    for rounds in [1..=1, 2..=2, 3..=5] {
        let last = *rounds.end();
        for _ in rounds {
            for name in names {
                machine.run(&["systemctl", "start", name])?;
            }
        }
        for name in names {
            let observation = ended(&mut agent, &machine.key(name), last)?;
            is_only_true(&observation, &expected)?;
        }
    }
    Ok(())
}

#[test]
fn of_a_thousand_units_none_is_missing() -> Result<()> {
    let Some(machine) = Machine::here("of a thousand units none is missing")? else {
        return Ok(());
    };
    let _turn = alone();
    let count = scaled(1000)?.max(20);
    machine.run(&["mkdir", "-p", "/run/harden-many"])?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-many-*"],
        ..Setup::default()
    })?;
    let script = "for first in 1 2 3 4; do for i in $(seq $first 4 $1); do \
        systemd-run --quiet --collect --unit=harden-many-$i touch /run/harden-many/$i || : >/run/harden-failed
        done & done; wait; ! [ -e /run/harden-failed ]";
    machine.run(&["sh", "-c", script, "sh", &count.to_string()])?;
    // Not one of them is left in the kernel. What takes long is asked for then.
    agent.until(|agent| {
        let (status, units) = (agent.status()?, agent.units()?.len());
        ensure!(status.slots_used == 0, "{} slots", status.slots_used);
        ensure!(units >= count as usize, "{units} units");
        Ok(())
    })?;
    let prefix = machine.key("harden-many-");
    let missing = |snapshots: &[Observation]| -> Vec<String> {
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
        missing
    };
    let snapshots = agent.until(|agent| {
        let snapshots = agent.snapshots(&["--all"])?;
        let missing = missing(&snapshots);
        ensure!(
            missing.is_empty(),
            "{} are missing: {missing:#?}",
            missing.len()
        );
        Ok(snapshots)
    })?;
    snapshots.iter().for_each(assert_whole);
    Ok(())
}

const ACCEPTING: &str =
    "[Socket]\nListenStream=/run/harden-calls\nAccept=yes\nMaxConnections=100\n";
const ANSWERING: &str = "[Service]\nExecStart=-/bin/cat /etc/hostname\nStandardInput=socket\n";
/// Each connection waits until the unit has answered and is done.
const CALLING: &str = "
import socket, sys
for _ in range(int(sys.argv[1])):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect('/run/harden-calls')
        while peer.recv(100):
            pass
";

/// Three times.
const LOGGING_IN: &str = "systemctl start ssh.service && useradd -m -s /bin/sh -p '*' rig && \
    ssh-keygen -q -t ed25519 -N '' -f /root/key && install -d -o rig -m 700 /home/rig/.ssh && \
    install -o rig -m 600 /root/key.pub /home/rig/.ssh/authorized_keys && for i in 1 2 3; do \
    ssh -o StrictHostKeyChecking=no -o LogLevel=ERROR -i /root/key rig@127.0.0.1 cat /etc/hostname || exit; done";

/// Connections are units of their own to systemd, and without end: they are kept as one, like what systemd-run names, and a
/// template whose instances have names of their own is not.
#[test]
fn units_without_end_are_kept_as_one() -> Result<()> {
    let Some(machine) = Machine::here("units without end are kept as one")? else {
        return Ok(());
    };
    let _turn = alone();
    let count: usize = 60;
    machine.write("/run/systemd/system/harden-calls.socket", ACCEPTING)?;
    machine.write("/run/systemd/system/harden-calls@.service", ANSWERING)?;
    machine.write(
        "/run/systemd/system/harden-named@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    )?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", "harden-calls.socket"])?;
    let mut agent = Agent::start(&Setup {
        include: &["harden-calls@*", "harden-named@*", "run-*", "session-*"],
        ..Setup::default()
    })?;
    machine.run(&["python3", "-c", CALLING, &count.to_string()])?;
    machine.run(&[
        "systemctl",
        "start",
        "harden-named@one.service",
        "harden-named@two-2.service",
    ])?;
    machine.run(&[
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do systemd-run --quiet --collect --wait /bin/true; done",
    ])?;
    // Of Debian: a scope for each login.
    machine.run(&["sh", "-c", LOGGING_IN])?;
    let calls = machine.key("harden-calls@.service");
    let sessions = machine.key("session-.scope");
    let named = ["one", "two-2"].map(|one| machine.key(&format!("harden-named@{one}.service")));
    let programs = machine.key("run:/usr/bin/true");
    let expected: BTreeSet<String> = named
        .into_iter()
        .chain([calls.clone(), programs, sessions])
        .collect();
    agent.until(|agent| {
        let units = agent.units()?.into_iter();
        let units: BTreeSet<String> = units.map(|unit| unit.unit.to_string()).collect();
        ensure!(units == expected, "{units:?}");
        Ok(())
    })?;
    let observation = agent.snapshot(&calls)?;
    assert_eq!(observation.runs.len(), count);
    assert!(done(&observation, Operation::Read).contains("/etc/hostname"));
    // One that has ended is asked for by the name that it had.
    let one = machine.key("harden-calls@0-1-0.service");
    assert_eq!(agent.snapshot(&one)?.name, Text::from(&*calls));
    Ok(())
}

const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

#[test]
fn what_nobody_asked_for_is_left_alone() -> Result<()> {
    let Some(machine) = Machine::here("what nobody asked for is left alone")? else {
        return Ok(());
    };
    let _turn = alone();
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
    let _turn = beside();
    let agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
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
    let _turn = beside();
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
    let mut agent = Agent::start(&Setup {
        beside: true,
        ..Setup::default()
    })?;
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
    let _turn = alone();
    let mut agent = Agent::start(&Setup {
        include: &["harden-app-*.service"],
        exclude: &["harden-app-2.service"],
        ..Setup::default()
    })?;
    // The manager is a unit that nobody asked for: its units are told of all the same.
    machine.run(&["systemctl", "start", "user@0.service"])?;
    let user = machine.property("user@0.service", "ControlGroup")?;
    let key = format!("{}{user}:harden-app-1.service", machine.cgroup().display());
    agent.until(|agent| {
        ensure!(agent.status()?.slots_used == 0, "it is not left alone");
        Ok(())
    })?;
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

#[test]
fn a_unit_in_a_slice_that_is_made_while_the_agent_starts_is_seen() -> Result<()> {
    /// As many as are made in two seconds: a start takes a fraction of one.
    const MOST: usize = 1000;
    let Some(_machine) = Machine::here("a unit in a slice that is made while the agent starts")?
    else {
        return Ok(());
    };
    let (done, is_done) = mpsc::channel::<()>();
    let slices = thread::spawn(move || -> Result<Vec<Workshop>> {
        let mut slices = Vec::new();
        while slices.len() < MOST && is_done.try_recv() == Err(TryRecvError::Empty) {
            slices.push(Workshop::new()?);
            thread::sleep(Duration::from_millis(2));
        }
        Ok(slices)
    });
    let mut agent = Agent::start(&Setup {
        include: &["early-*"],
        // It does not wait for the other tests: slices are made meanwhile.
        beside: true,
        ..Setup::default()
    })?;
    // The slices are all there already, if this took long.
    let _ = done.send(());
    let slices = slices.join().expect("no panic")?;
    let mut started = BTreeSet::new();
    for (number, slice) in slices.iter().enumerate() {
        let name = format!("early-{number}.service");
        slice.run(&name, 0, 1, Duration::ZERO)?;
        started.insert(name);
    }
    println!("{} slices", started.len());
    assert!(started.len() > 10, "{started:?}");
    agent.until(|agent| {
        let units = agent.units()?;
        let seen: BTreeSet<String> = units.iter().map(|unit| unit.unit.to_string()).collect();
        ensure!(
            seen == started,
            "{:?}",
            started.difference(&seen).collect::<Vec<_>>()
        );
        Ok(())
    })
}
