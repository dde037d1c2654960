//! The guide's restd: a daemon of its shape runs as root, is observed, and goes on without root as it was told to:
//! with the account, the groups, the directories and the capability that were proposed, and no others. First under
//! the drop-in, then under Firejail.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Agent, Machine, Scratch, Setup, Written, as_patient};

pub(super) const UNIT: &str = "restd.service";

/// HTTPS on a port below 1024, a secret in /run, a database's socket with its group, audit over netlink, a log.
const DAEMON: &str = r#"
import http.server, os, socket, ssl
run = os.environ.get("RESTD_RUN", "/run")
with open(run + "/persistent_cookie_secret", "w") as secret:
    secret.write("secret")
os.makedirs("/var/log/restd", exist_ok=True)
log = open("/var/log/restd/restd.log", "a")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.socket(socket.AF_UNIX) as database:
            database.connect("/run/ovsdb/db.sock")
            row = database.recv(100)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9):
            pass
        log.write("request\n")
        log.flush()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"uid %d " % os.getuid() + row)
    def log_message(self, *rest):
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/restd/key.pem")
server = http.server.HTTPServer(("127.0.0.1", 443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

const DATABASE: &str = r#"
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("/run/ovsdb/db.sock")
os.chmod("/run/ovsdb/db.sock", 0o770)
server.listen()
while True:
    client, _ = server.accept()
    client.sendall(b"row ")
    client.close()
"#;

pub(super) fn set_up(machine: &Machine) -> Result<()> {
    machine.run(&["groupadd", "--system", "--force", "ovsdb-client"])?;
    machine.write("/opt/restd.py", DAEMON)?;
    machine.write("/opt/ovsdb.py", DATABASE)?;
    machine.run(&["mkdir", "/etc/restd"])?;
    let key = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=restd -keyout /etc/restd/key.pem -out /tmp/cert &&
               cat /tmp/cert >>/etc/restd/key.pem && chmod 0600 /etc/restd/key.pem";
    machine.run(&["sh", "-c", key])?;
    machine.unit(
        "ovsdb.service",
        "[Service]\nExecStart=/usr/bin/python3 /opt/ovsdb.py\nGroup=ovsdb-client\nRuntimeDirectory=ovsdb\n\
         RuntimeDirectoryMode=0750\n",
    )?;
    machine.unit(
        UNIT,
        "[Service]\nExecStart=/usr/bin/python3 /opt/restd.py\n",
    )?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", "ovsdb.service"])?;
    Ok(())
}

/// The daemon's own test: started, asked once it listens, stopped; what it answered.
fn live_for(machine: &Machine, patience: Duration) -> Result<String> {
    // curl(1): 7 is that nobody listens, which is no answer yet.
    let ask = "while :; do curl -skf https://127.0.0.1/; status=$?; [ $status = 7 ] || exit $status
               systemctl -q is-active \"$0\" || exit; sleep 0.05; done";
    let limit = as_patient(patience).as_secs().to_string();
    machine.run(&["systemctl", "start", UNIT])?;
    let answer = machine.run(&["timeout", &limit, "sh", "-c", ask, UNIT]);
    machine.run(&["systemctl", "stop", UNIT])?;
    answer
}

fn live(machine: &Machine) -> Result<String> {
    live_for(machine, Machine::PATIENCE)
}

/// That it does not live so.
fn fails(machine: &Machine, without: &str) -> Result<()> {
    let answer = live_for(machine, Machine::BRIEF);
    ensure!(answer.is_err(), "it works without {without}");
    machine.try_run(&["systemctl", "reset-failed", UNIT])?;
    Ok(())
}

/// What is proposed: an account, and a drop-in.
struct Proposal {
    account: String,
    drop_in: String,
}

impl Proposal {
    /// For the daemon as root.
    fn of(machine: &Machine) -> Result<Self> {
        let agent = Agent::start(&Setup::default())?;
        for _ in 0..2 {
            let answer = live(machine)?;
            ensure!(answer == "uid 0 row ", "{answer}");
        }
        let out = Scratch::new(Path::new("/run"))?;
        let directory = out.path().to_str().context("a path in UTF-8")?;
        let unit = machine.key(UNIT);
        let formats = "accounts,systemd";
        agent.say(&["snapshot", "--format", formats, "--out", directory, &unit])?;
        Ok(Self {
            account: rendered(&out, ".sysusers.conf")?,
            drop_in: rendered(&out, ".drop-in.conf")?,
        })
    }

    /// What the unit has to say.
    fn unit(&self) -> Vec<&str> {
        let lines = self.account.lines();
        lines
            .filter_map(|line| line.strip_prefix("# In the unit: "))
            .collect()
    }

    fn tmpfiles(&self) -> Vec<&str> {
        let lines = self.account.lines().filter_map(|line| {
            let rest = line.strip_prefix("# in tmpfiles.d: ")?;
            rest.split_once(": for ").map(|(line, _)| line)
        });
        lines.collect()
    }

    /// What starts the daemon as the account, where Firejail starts it as root.
    fn step_down(&self) -> Result<&str> {
        let start = self.account.lines().find_map(|line| {
            let (_, rest) = line.split_once("instead of it: ExecStart=")?;
            rest.split_once(" COMMAND").map(|(start, _)| start)
        });
        start.with_context(|| self.account.clone())
    }

    fn is_as_the_guide_has_it(&self) -> Result<()> {
        let (account, unit) = (&self.account, self.unit());
        for line in [
            "User=opsrestd",
            "SupplementaryGroups=ovsdb-client",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "LogsDirectory=restd",
            "RuntimeDirectory=opsrestd",
        ] {
            ensure!(unit.contains(&line), "no {line}:\n{account}");
        }
        let tmpfiles = self.tmpfiles();
        ensure!(
            tmpfiles == ["z /etc/restd/key.pem 0640 - opsrestd"],
            "{account}"
        );
        let useradd = "useradd -M -U -r -G ovsdb-client -s /bin/false opsrestd";
        ensure!(account.contains(useradd), "{account}");
        Ok(())
    }

    /// The account and its files, as written.
    fn install(&self, machine: &Machine) -> Result<()> {
        machine.write("/etc/sysusers.d/restd.conf", &self.account)?;
        machine.run(&["systemd-sysusers", "/etc/sysusers.d/restd.conf"])?;
        let tmpfiles = self.tmpfiles().join("\n") + "\n";
        machine.write("/etc/tmpfiles.d/restd.conf", &tmpfiles)?;
        machine.run(&["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/restd.conf"])?;
        machine.run(&["rm", "-rf", LOGS, "/run/persistent_cookie_secret"])?;
        Ok(())
    }
}

const LOGS: &str = "/var/log/restd";
const DROP_INS: &str = "/run/systemd/system/restd.service.d";

/// The text of the one file that ends so.
fn rendered(out: &Scratch, end: &str) -> Result<String> {
    for entry in fs::read_dir(out.path())? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            return Ok(fs::read_to_string(path)?);
        }
    }
    bail!("no file {end}")
}

/// The unit with these lines, and the secret where it is to be kept, as the comment says.
fn edit(machine: &Machine, lines: &[&str]) -> Result<()> {
    let text = format!(
        "[Service]\nEnvironment=RESTD_RUN=/run/opsrestd\n{}\n",
        lines.join("\n")
    );
    machine.write(&format!("{DROP_INS}/40-account.conf"), &text)?;
    machine.run(&["systemctl", "daemon-reload"]).map(drop)
}

#[test]
fn restd_goes_on_without_root_as_it_was_told_to() -> Result<()> {
    let Some(machine) = Machine::here("restd goes on without root as it was told to")? else {
        return Ok(());
    };
    set_up(&machine)?;
    let proposal = Proposal::of(&machine)?;
    proposal.is_as_the_guide_has_it()?;
    proposal.install(&machine)?;
    let uid = machine.run(&["id", "-u", "opsrestd"])?;
    let expected = format!("uid {uid} row ");
    under_the_drop_in(&machine, &proposal, &expected)?;
    under_firejail(&machine, &proposal, &expected)
}

fn under_the_drop_in(machine: &Machine, proposal: &Proposal, expected: &str) -> Result<()> {
    let unit = proposal.unit();
    edit(machine, &unit)?;
    let drop_in = format!("{DROP_INS}/50-harden.conf");
    machine.write(&drop_in, &proposal.drop_in)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    let answer =
        live(machine).with_context(|| format!("{}\n{}", proposal.account, proposal.drop_in))?;
    ensure!(answer == expected, "{answer}");

    // Each of them is needed.
    for needed in ["AmbientCapabilities", "LogsDirectory", "RuntimeDirectory"] {
        let lines = unit.iter().copied();
        let less: Vec<&str> = lines.filter(|line| !line.starts_with(needed)).collect();
        if needed == "LogsDirectory" {
            machine.run(&["rm", "-rf", LOGS])?;
        }
        edit(machine, &less)?;
        fails(machine, needed).with_context(|| proposal.account.clone())?;
    }
    // The group is its own by SupplementaryGroups= and as a member.
    machine.run(&["gpasswd", "--delete", "opsrestd", "ovsdb-client"])?;
    let lines = unit.iter().copied();
    let less: Vec<&str> = lines
        .filter(|line| !line.starts_with("SupplementaryGroups"))
        .collect();
    edit(machine, &less)?;
    fails(machine, "the group")?;
    edit(machine, &unit)?;
    ensure!(live(machine)? == expected, "it does not work any more");
    machine.run(&["systemd-sysusers", "/etc/sysusers.d/restd.conf"])?;
    machine.run(&["rm", &drop_in]).map(drop)
}

/// What steps down itself is recorded, and does so in the sandbox.
fn under_firejail(machine: &Machine, proposal: &Proposal, expected: &str) -> Result<()> {
    let mut unit = proposal.unit();
    unit.retain(|line| !line.starts_with("AmbientCapabilities"));
    let start = proposal.step_down()?;
    let start = format!("ExecStart=\nExecStart={start} /usr/bin/python3 /opt/restd.py");
    unit.push(&start);
    edit(machine, &unit)?;
    let agent = Agent::start(&Setup::default())?;
    for _ in 0..2 {
        let answer = live(machine)?;
        ensure!(answer == expected, "{answer}");
    }
    let files = Written::of(&agent, machine, UNIT)?;
    drop(agent);
    let start = files.edit.as_deref();
    let start = start.map_err(|said| anyhow::anyhow!("{said}"))?;
    let profile = files.profile_path()?;
    machine.write(profile, &files.profile)?;
    machine.write(&format!("{DROP_INS}/60-harden-firejail.conf"), start)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    let answer = live(machine).with_context(|| format!("{}\n{start}", files.profile))?;
    ensure!(answer == expected, "{answer}");
    is_confined(machine)?;

    // What the guide had to find out by trying.
    for (line, less) in [
        ("caps.keep ", ("net_bind_service", "chown")),
        ("protocol ", ("netlink", "packet")),
        ("seccomp.keep ", (",bind,", ",")),
    ] {
        let (from, to) = less;
        let change = |text: &str| {
            if text.starts_with(line) {
                text.replace(from, to)
            } else {
                text.to_owned()
            }
        };
        let changed: Vec<String> = files.profile.lines().map(change).collect();
        let changed = changed.join("\n") + "\n";
        ensure!(
            changed != files.profile,
            "no {line}{from}:\n{}",
            files.profile
        );
        machine.write(profile, &changed)?;
        fails(machine, from)?;
    }
    machine.write(profile, &files.profile)?;
    ensure!(live(machine)? == expected, "it does not work any more");
    Ok(())
}

/// It runs as the account, under a filter, with that one capability and no other.
fn is_confined(machine: &Machine) -> Result<()> {
    machine.run(&["systemctl", "start", UNIT])?;
    machine.work("curl -skf https://127.0.0.1/")?;
    let uid = machine.run(&["id", "-u", "opsrestd"])?;
    let pid = machine.run(&[
        "pgrep",
        "-u",
        "opsrestd",
        "-f",
        "^/usr/bin/python3 /opt/restd.py",
    ])?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    for line in [
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
        // include/uapi/linux/capability.h: CAP_NET_BIND_SERVICE is 10.
        "CapPrm:\t0000000000000400".to_owned(),
        "CapEff:\t0000000000000400".to_owned(),
        "Seccomp:\t2".to_owned(),
    ] {
        ensure!(
            status.lines().any(|one| one == line),
            "no {line}:\n{status}"
        );
    }
    machine.run(&["systemctl", "stop", UNIT]).map(drop)
}
