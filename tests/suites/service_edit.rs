//! `--format service`: daemons of Debian are recorded by the agent, started under Firejail by the drop-in and the
//! profile exactly as written, and do the same work again. Without one line of the drop-in, they do not.

use anyhow::{Context as _, Result, ensure};
use harden_tests::{Agent, Machine, Setup, Written, as_patient};

/// A daemon, its work, and what of the drop-in it cannot do without.
struct Daemon {
    unit: &'static str,
    /// A drop-in for the tests: the file, and what stands in it.
    options: &'static str,
    /// Its configuration: the file, and what stands in it.
    config: (&'static str, &'static str),
    work: &'static str,
    /// The program that has to run in the sandbox.
    program: &'static str,
    /// Whether systemd can have it reload still.
    reloads: bool,
    /// The setting, without which something fails.
    needed: &'static [&'static str],
}

const DAEMONS: [Daemon; 3] = [
    // Type=simple, and `kill -USR1 $MAINPID` to reload.
    Daemon {
        unit: "lighttpd.service",
        options: "ExecStartPre=\nExecStart=\nExecStart=/usr/sbin/lighttpd -D -f /etc/edit-lighttpd.conf\n",
        config: (
            "/etc/edit-lighttpd.conf",
            "server.document-root = \"/etc\"\nserver.port = 8081\nserver.username = \"www-data\"\n",
        ),
        work: "curl -sf http://127.0.0.1:8081/hostname",
        program: "lighttpd",
        reloads: true,
        needed: &["ExecReload", "SuccessExitStatus"],
    },
    // Type=notify, by a process that is not the first, and two commands to reload.
    Daemon {
        unit: "haproxy.service",
        options: "Environment=CONFIG=/etc/edit-haproxy.cfg\n",
        config: (
            "/etc/edit-haproxy.cfg",
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\nfrontend f\n \
             bind 127.0.0.1:8082\n http-request return status 200 content-type text/plain string ok\n",
        ),
        work: "curl -sf http://127.0.0.1:8082/",
        program: "haproxy",
        reloads: true,
        needed: &["ExecReload", "NotifyAccess"],
    },
    // Type=forking, a PID file, and commands that signal the process of that number.
    Daemon {
        unit: "nginx.service",
        options: "ExecStartPre=\nExecStart=\n\
                  ExecStart=/usr/sbin/nginx -c /etc/edit-nginx.conf -g 'daemon on; master_process on;'\n",
        config: (
            "/etc/edit-nginx.conf",
            "pid /run/nginx.pid;\nevents {}\nhttp { server { listen 8083; location / { return 200 ok; } } }\n",
        ),
        work: "curl -sf http://127.0.0.1:8083/",
        program: "nginx",
        reloads: false,
        needed: &["Type"],
    },
];

impl Daemon {
    fn drop_in(&self, name: &str) -> String {
        format!("/run/systemd/system/{}.d/{name}.conf", self.unit)
    }

    /// Starts, works, works again after a reload where it has one, and stops.
    fn live(&self, machine: &Machine) -> Result<()> {
        machine.run(&["timeout", "20", "systemctl", "start", self.unit])?;
        machine.work(self.work)?;
        if machine.property(self.unit, "CanReload")? == "yes" {
            machine.run(&["systemctl", "reload", self.unit])?;
            machine.settle();
            machine.work(self.work)?;
        }
        // One that died and was started again works too; a stop forgets it.
        let restarts = machine.property(self.unit, "NRestarts")?;
        machine.run(&["systemctl", "stop", self.unit])?;
        let result = machine.property(self.unit, "Result")?;
        ensure!(
            result == "success" && restarts == "0",
            "{}: {result}, {restarts} restarts",
            self.unit
        );
        Ok(())
    }

    fn install(&self, machine: &Machine, edit: &str) -> Result<()> {
        machine.write(&self.drop_in("60-harden-firejail"), edit)?;
        machine.run(&["systemctl", "daemon-reload"])?;
        Ok(())
    }

    /// The main process is Firejail's, and every process of the program is under its filter.
    fn is_in_the_sandbox(&self, machine: &Machine) -> Result<()> {
        machine.run(&["timeout", "20", "systemctl", "start", self.unit])?;
        machine.work(self.work)?;
        let main = machine.property(self.unit, "MainPID")?;
        let comm = machine.run(&["cat", &format!("/proc/{main}/comm")])?;
        ensure!(comm == "firejail", "the main process is {comm}");
        let pids = machine.run(&["pgrep", "-x", self.program])?;
        for pid in pids.lines() {
            let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
            ensure!(status.contains("Seccomp:\t2"), "{status}");
        }
        let can = machine.property(self.unit, "CanReload")? == "yes";
        ensure!(can == self.reloads, "CanReload: {can}");
        machine.run(&["systemctl", "stop", self.unit])?;
        let left = machine.try_run(&["pgrep", "-x", self.program])?;
        ensure!(!left.status.success(), "{} lives on", self.program);
        Ok(())
    }

    fn is_started_under_firejail(&self, machine: &Machine, files: &Written) -> Result<()> {
        let edit = files.edit.as_deref();
        let edit = edit.map_err(|said| anyhow::anyhow!("{said}"))?;
        machine.write(files.profile_path()?, &files.profile)?;
        self.install(machine, edit)?;
        let verified = machine.try_run(&["systemd-analyze", "verify", "--man=no", self.unit])?;
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        ensure!(!said.contains("60-harden-firejail"), "{said}");
        self.live(machine)?;
        self.is_in_the_sandbox(machine)?;
        for setting in self.needed {
            self.install(machine, &without(edit, setting)?)?;
            let Err(error) = self.live(machine) else {
                anyhow::bail!("the work is done without {setting}=");
            };
            println!("{} without {setting}=: {}", self.unit, error.root_cause());
            let _ = machine.try_run(&["systemctl", "stop", self.unit])?;
            let _ = machine.try_run(&["systemctl", "reset-failed", self.unit])?;
        }
        Ok(())
    }
}

/// The drop-in without one setting.
fn without(edit: &str, setting: &str) -> Result<String> {
    let start = format!("{setting}=");
    let lines = edit.lines().filter(|line| !line.starts_with(&start));
    let left: Vec<&str> = lines.collect();
    ensure!(
        left.len() < edit.lines().count(),
        "no {setting}= in:\n{edit}"
    );
    // What it waits for in vain need not be waited for long.
    let limit = as_patient(Machine::BRIEF).as_secs();
    Ok(format!("{}\nTimeoutStartSec={limit}\n", left.join("\n")))
}

#[test]
fn daemons_work_under_firejail_as_the_drop_in_starts_them() -> Result<()> {
    let test = "daemons work under firejail as the drop in starts them";
    let machines = Machine::several(test, DAEMONS.len())?;
    if machines.is_empty() {
        return Ok(());
    }
    let agent = Agent::start(&Setup::default())?;
    let all = Machine::share(&machines, &DAEMONS, |machine, daemon| {
        machine.try_run(&["systemctl", "stop", daemon.unit])?;
        machine.write(daemon.config.0, daemon.config.1)?;
        machine.write(
            &daemon.drop_in("10-test"),
            &format!("[Service]\n{}", daemon.options),
        )?;
        machine.run(&["systemctl", "daemon-reload"])?;
        for _ in 0..2 {
            daemon.live(machine)?;
        }
        Written::of(&agent, machine, daemon.unit)
    })?;
    drop(agent);
    let cases: Vec<_> = DAEMONS.iter().zip(all).collect();
    Machine::share(&machines, &cases, |machine, (daemon, files)| {
        let started = daemon.is_started_under_firejail(machine, files);
        machine.try_run(&["systemctl", "stop", daemon.unit])?;
        daemon.install(machine, "")?;
        started.with_context(|| format!("{}\n{:?}\n{}", daemon.unit, files.edit, files.profile))
    })
    .map(drop)
}

#[test]
fn a_daemon_that_systemd_strips_of_privileges_is_left_to_systemd() -> Result<()> {
    let test = "a daemon that systemd strips of privileges is left to systemd";
    let Some(machine) = Machine::here(test)? else {
        return Ok(());
    };
    let agent = Agent::start(&Setup::default())?;
    // User=redis with NoNewPrivileges=yes and more of the kind.
    let unit = "redis-server.service";
    machine.run(&["systemctl", "restart", unit])?;
    machine.run(&["systemctl", "stop", unit])?;
    let Err(said) = Written::of(&agent, &machine, unit)?.edit else {
        anyhow::bail!("a drop-in was written");
    };
    assert!(said.contains("is not written"), "{said}");
    assert!(said.contains("User=redis"), "{said}");
    assert!(said.contains("--format systemd"), "{said}");
    Ok(())
}
