//! Directives of the drop-in that no daemon of the other suites shows: each is given for what was seen, in force, and
//! the same work passes.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Machine, Setup, Written, harden, met};

const UNIT: &str = "directives.service";

/// The settings of a program in Python.
const PYTHON: &str = "RuntimeDirectory=directives\nRuntimeDirectoryMode=0700\n\
                      ExecStart=/usr/bin/python3 -S -B /opt/directives.py\n";

/// A unit that works, says so in a file, and stays.
struct Case<'a> {
    machine: &'a Machine,
    written: Written,
}

impl<'a> Case<'a> {
    /// Two lives of a unit with these settings.
    fn recorded(machine: &'a Machine, settings: &str) -> Result<Self> {
        machine.unit(UNIT, &format!("[Service]\n{settings}"))?;
        let agent = Agent::start(&Setup::default())?;
        for _ in 0..2 {
            live(machine)?;
            machine.run(&["systemctl", "stop", UNIT])?;
        }
        let written = Written::of(&agent, machine, UNIT)?;
        Ok(Self { machine, written })
    }

    fn has(&self, line: &str) -> Result<()> {
        let drop_in = &self.written.drop_in;
        let has = drop_in.lines().any(|one| one == line);
        ensure!(has, "no {line}:\n{drop_in}");
        Ok(())
    }

    /// Installs the drop-in, without lines that start so, and has the unit work.
    fn lives_without(&self, start: Option<&str>) -> Result<()> {
        let lines = self.written.drop_in.lines();
        let less = lines.filter(|line| start.is_none_or(|start| !line.starts_with(start)));
        self.lives_under(less.collect::<Vec<_>>().join("\n") + "\n")
    }

    /// Installs this drop-in, and has the unit work.
    fn lives_under(&self, text: String) -> Result<()> {
        let path = format!("/run/systemd/system/{UNIT}.d/50-harden.conf");
        self.machine.write(&path, &text)?;
        self.machine.run(&["systemctl", "daemon-reload"])?;
        // One that runs already is not started.
        self.machine.run(&["systemctl", "stop", UNIT])?;
        let _ = self.machine.try_run(&["systemctl", "reset-failed", UNIT])?;
        live(self.machine).with_context(|| text)
    }

    /// The link of a namespace, in the unit and outside.
    fn namespaces(&self, kind: &str) -> Result<[String; 2]> {
        let pid = self.machine.property(UNIT, "MainPID")?;
        let link = |pid: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            self.machine.run(&["readlink", &path])
        };
        Ok([link(&pid)?, link("1")?])
    }
}

#[test]
fn who_finds_nothing_in_a_home_directory_has_empty_ones() -> Result<()> {
    let Some(machine) = Machine::here("who finds nothing in homes has empty ones")? else {
        return Ok(());
    };
    machine.write(
        "/opt/directives.py",
        "import os, time\n\
         os.stat('/root')\n\
         try:\n    \
             os.stat('/root/.directives')\n\
         except FileNotFoundError:\n    \
             os.close(os.open('/run/directives/done', os.O_CREAT | os.O_WRONLY, 0o600))\n\
         time.sleep(1000)\n",
    )?;
    let case = Case::recorded(&machine, PYTHON)?;
    case.has("ProtectHome=tmpfs")?;
    case.lives_without(None)?;
    let hidden = case
        .written
        .drop_in
        .replace("ProtectHome=tmpfs", "ProtectHome=yes");
    ensure!(
        case.lives_under(hidden).is_err(),
        "it lives where they are hidden"
    );
    // A process that puts one there does not put it into the unit.
    machine.write("/root/.directives", "secret")?;
    case.lives_without(None)?;
    ensure!(
        case.lives_without(Some("ProtectHome")).is_err(),
        "it is hidden without the line"
    );
    machine.run(&["systemctl", "stop", UNIT])?;
    machine.run(&["rm", "/root/.directives"]).map(drop)
}

/// Whether the control groups are the unified ones alone.
fn is_unified() -> bool {
    fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok()
}

fn live(machine: &Machine) -> Result<()> {
    machine.run(&["rm", "-f", "/run/directives/done"])?;
    machine.run(&["timeout", "30", "systemctl", "start", UNIT])?;
    machine.work_within(Machine::BRIEF, "test -e /run/directives/done")
}

#[test]
fn who_needs_no_network_no_other_user_and_shows_nobody_its_files_has_none_of_them() -> Result<()> {
    let Some(machine) = Machine::here("who needs none has no network, user or umask")? else {
        return Ok(());
    };
    machine.write(
        "/opt/directives.py",
        "import os, socket, time\n\
         os.close(os.open('/run/directives/secret', os.O_CREAT | os.O_WRONLY, 0o600))\n\
         with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:\n    \
             log.connect('/run/systemd/journal/socket')\n    \
             log.send(b'MESSAGE=directives')\n\
         os.close(os.open('/run/directives/done', os.O_CREAT | os.O_WRONLY, 0o600))\n\
         time.sleep(1000)\n",
    )?;
    let case = Case::recorded(&machine, PYTHON)?;
    for line in [
        "UMask=0077",
        "PrivateUsers=yes",
        "PrivateNetwork=yes",
        "IPAddressDeny=any",
    ] {
        case.has(line)?;
    }
    case.lives_without(None)?;
    for kind in ["net", "user"] {
        let [inside, outside] = case.namespaces(kind)?;
        ensure!(inside != outside, "the namespace {kind} is {outside}");
    }
    let pid = machine.property(UNIT, "MainPID")?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    ensure!(status.contains("Umask:\t0077\n"), "{status}");
    machine.run(&["systemctl", "stop", UNIT]).map(drop)
}

#[test]
fn by_control_groups_who_stays_on_the_machine_is_kept_there() -> Result<()> {
    let Some(machine) = Machine::here("who stays on the machine is kept there")? else {
        return Ok(());
    };
    // The second connection is refused by nobody but the kernel, in a recording: nobody listens.
    machine.write(
        "/opt/directives.py",
        "import os, socket, sys, time\n\
         server = socket.create_server(('127.0.0.1', 8090))\n\
         with socket.create_connection(('127.0.0.1', 8090)) as client:\n    \
             server.accept()[0].send(b'x')\n    \
             assert client.recv(1) == b'x'\n\
         if os.path.exists('/run/directives/try'):\n    \
             out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    \
             try:\n        \
                 out.sendto(b'x', ('198.51.100.1', 9))\n    \
             except PermissionError:\n        \
                 open('/run/directives/refused', 'w')\n    \
             except OSError:\n        \
                 pass\n\
         os.close(os.open('/run/directives/done', os.O_CREAT | os.O_WRONLY, 0o600))\n\
         time.sleep(1000)\n",
    )?;
    let case = Case::recorded(
        &machine,
        "RuntimeDirectory=directives\nRuntimeDirectoryPreserve=yes\n\
         ExecStart=/usr/bin/python3 -S -B /opt/directives.py\n",
    )?;
    case.has("IPAddressDeny=any")?;
    case.has("IPAddressAllow=localhost")?;
    case.has("# no PrivateNetwork=: inet sockets were made")?;
    machine.run(&["touch", "/run/directives/try"])?;
    // An address that a packet can be sent to, and not one of 127.0.0.0/8. A container's network is that of the host.
    let address = ["ip", "address", "add", "198.51.100.1/32", "dev", "lo"];
    if is_unified() {
        machine.run(&address)?;
    }
    case.lives_without(None)?;
    machine.run(&["systemctl", "stop", UNIT])?;
    // systemd has its firewall in the unified control groups alone.
    let refused = machine.try_run(&["test", "-e", "/run/directives/refused"])?;
    ensure!(refused.status.success() == is_unified(), "{refused:?}");
    Ok(())
}

#[test]
fn by_control_groups_a_device_that_was_used_is_there_and_no_other() -> Result<()> {
    let Some(machine) = Machine::here("a device that was used is there and no other")? else {
        return Ok(());
    };
    // The kernel's log by another name.
    machine.run(&["mknod", "/dev/directives", "c", "1", "11"])?;
    let case = Case::recorded(
        &machine,
        "RuntimeDirectory=directives\n\
         ExecStart=/bin/sh -c 'dd if=/dev/directives of=/dev/null bs=8192 count=1 && : >/run/directives/done && exec sleep 1000'\n",
    )?;
    case.has("DevicePolicy=closed")?;
    case.has("DeviceAllow=/dev/directives r")?;
    case.lives_without(None)?;
    // systemd has a filter of devices in the unified control groups alone, but for one that is the host's first.
    let without = case.lives_without(Some("DeviceAllow="));
    ensure!(without.is_err() == is_unified(), "{without:?}");
    let _ = machine.try_run(&["systemctl", "stop", UNIT])?;
    machine.run(&["rm", "/dev/directives"]).map(drop)
}

/// A unit that works and ends.
const ASKS: &str = "asks.service";

#[test]
fn a_call_that_was_refused_each_time_takes_no_directive_away() -> Result<()> {
    const NAME: &str = "a_call_that_was_refused_each_time_takes_no_directive_away";
    const LINES: [&str; 3] = [
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
    ];
    const REFUSED: &str =
        "! unshare --uts true && ! chrt --fifo 1 true && ! chmod u+s /etc/hostname";
    const WORKED: &str =
        "touch /run/asks && unshare --uts true && chrt --fifo 1 true && chmod u+s /run/asks";
    if !met(NAME, &["sh", "unshare", "chrt", "chmod"]) {
        return Ok(());
    }
    let Some(machine) = Machine::here(NAME)? else {
        return Ok(());
    };
    for (user, script) in [("games", REFUSED), ("root", WORKED)] {
        // How often a call failed is counted by `harden run` alone.
        let options = ["--user", user, "--format", "firejail,systemd"];
        let recorded = harden::record("asks", &options, &["/bin/sh", "-c", script])?;
        let _ = fs::remove_file("/run/asks");
        ensure!(recorded.status == 0, "{}", recorded.output);
        let drop_in = fs::read_to_string(recorded.dir.path().join("asks.drop-in.conf"))?;
        let unit =
            format!("[Service]\nType=oneshot\nUser={user}\nExecStart=/bin/sh -c '{script}'\n");
        machine.unit(ASKS, &unit)?;
        let works = |drop_in: &str| -> Result<()> {
            machine.write(
                &format!("/run/systemd/system/{ASKS}.d/50-harden.conf"),
                drop_in,
            )?;
            machine.run(&["systemctl", "daemon-reload"])?;
            let _ = machine.try_run(&["systemctl", "reset-failed", ASKS])?;
            machine
                .run(&["timeout", "30", "systemctl", "start", ASKS])
                .map(drop)
        };
        works(&drop_in).with_context(|| drop_in.clone())?;
        for line in LINES {
            let is_given = drop_in.lines().any(|one| one == line);
            ensure!(is_given == (user == "games"), "{user}: {line}\n{drop_in}");
            if !is_given {
                let more = works(&format!("{drop_in}\n[Service]\n{line}\n"));
                ensure!(more.is_err(), "it works with {line}");
            }
        }
    }
    Ok(())
}

#[test]
fn who_opens_what_it_gave_away_needs_more_at_the_second_start() -> Result<()> {
    const REMARK: &str = "perhaps dac_override at the next start: /var/lib/directives/log ";
    let Some(machine) =
        Machine::here("who opens what it gave away needs more at the second start")?
    else {
        return Ok(());
    };
    machine.write(
        "/opt/directives.py",
        "import os, time\n\
         log = os.open('/var/lib/directives/log', os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o640)\n\
         os.fchown(log, 65534, -1)\n\
         os.close(os.open('/run/directives/done', os.O_CREAT | os.O_WRONLY, 0o600))\n\
         time.sleep(1000)\n",
    )?;
    let settings = format!("[Service]\nStateDirectory=directives\n{PYTHON}");
    machine.unit(UNIT, &settings)?;
    let agent = Agent::start(&Setup::default())?;
    let case = || -> Result<Case<'_>> {
        live(&machine)?;
        machine.run(&["systemctl", "stop", UNIT])?;
        let written = Written::of(&agent, &machine, UNIT)?;
        Ok(Case {
            machine: &machine,
            written,
        })
    };
    let once = case()?;
    once.has("CapabilityBoundingSet=CAP_CHOWN")?;
    let drop_in = &once.written.drop_in;
    ensure!(drop_in.contains(REMARK), "{drop_in}");
    ensure!(once.lives_without(None).is_err(), "it needs no more");

    machine.run(&["systemctl", "stop", UNIT])?;
    machine.run(&["rm", "-r", &format!("/run/systemd/system/{UNIT}.d")])?;
    machine.run(&["systemctl", "daemon-reload"])?;
    let _ = machine.try_run(&["systemctl", "reset-failed", UNIT])?;
    let twice = case()?;
    let drop_in = &twice.written.drop_in;
    ensure!(!drop_in.contains(REMARK), "{drop_in}");
    ensure!(drop_in.contains("CAP_DAC_OVERRIDE"), "{drop_in}");
    twice.lives_without(None)?;
    machine.run(&["systemctl", "stop", UNIT])?;
    machine.run(&["rm", "-r", "/var/lib/directives"]).map(drop)
}
