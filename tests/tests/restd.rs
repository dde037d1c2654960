//! The guide's restd: a daemon of its shape runs as root, is observed, and goes on without root as it was told to:
//! with the account, the groups, the directories and the capability that were proposed, and no others.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use harden_tests::{Agent, Machine, Scratch, Setup};

const UNIT: &str = "restd.service";

/// A port below 1024, a secret in /run, a database's socket with its group, audit over netlink, a log, a key.
const DAEMON: &str = r#"
import http.server, os, socket
run = os.environ.get("RESTD_RUN", "/run")
with open(run + "/persistent_cookie_secret", "w") as secret:
    secret.write("secret")
os.makedirs("/var/log/restd", exist_ok=True)
log = open("/var/log/restd/restd.log", "a")
key = open("/etc/restd/key.pem").read()
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
        self.wfile.write(b"uid %d " % os.getuid() + row + key.encode())
    def log_message(self, *rest):
        pass
http.server.HTTPServer(("127.0.0.1", 443), Handler).serve_forever()
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

fn set_up(machine: &Machine) -> Result<()> {
    machine.run(&["groupadd", "--system", "--force", "ovsdb-client"])?;
    machine.write("/opt/restd.py", DAEMON)?;
    machine.write("/opt/ovsdb.py", DATABASE)?;
    machine.write("/etc/restd/key.pem", "key")?;
    machine.run(&["chmod", "0600", "/etc/restd/key.pem"])?;
    machine.run(&["chown", "root:root", "/etc/restd/key.pem"])?;
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

/// The daemon's own test: started, asked, stopped; what it answered.
fn live(machine: &Machine) -> Result<String> {
    let ask = "for turn in 1 2 3 4 5 6 7 8 9 10; do curl -sf http://127.0.0.1:443/ && exit; sleep 0.3; done; false";
    machine.run(&["systemctl", "start", UNIT])?;
    let answer = machine.run(&["timeout", "30", "sh", "-c", ask]);
    machine.run(&["systemctl", "stop", UNIT])?;
    answer
}

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

/// The lines of tmpfiles.d and of the unit that stand in the comments.
fn told(text: &str) -> (Vec<&str>, Vec<&str>) {
    let unit = text
        .lines()
        .filter_map(|line| line.strip_prefix("# In the unit: "));
    let tmpfiles = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("# in tmpfiles.d: ")?;
        rest.split_once(": for ").map(|(line, _)| line)
    });
    (unit.collect(), tmpfiles.collect())
}

#[test]
fn restd_goes_on_without_root_as_it_was_told_to() -> Result<()> {
    let Some(machine) = Machine::here("restd goes on without root as it was told to")? else {
        return Ok(());
    };
    set_up(&machine)?;
    let agent = Agent::start(&Setup::default())?;
    for _ in 0..2 {
        let answer = live(&machine)?;
        ensure!(answer == "uid 0 row key", "{answer}");
    }
    let out = Scratch::new(std::path::Path::new("/run"))?;
    let directory = out.path().to_str().context("a path in UTF-8")?;
    let key = machine.key(UNIT);
    agent.say(&[
        "snapshot",
        "--format",
        "accounts,systemd",
        "--out",
        directory,
        &key,
    ])?;
    drop(agent);
    let account = rendered(&out, ".sysusers.conf")?;
    let drop_in = rendered(&out, ".drop-in.conf")?;
    let (mut unit, tmpfiles) = told(&account);
    for line in [
        "User=opsrestd",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "LogsDirectory=restd",
        "RuntimeDirectory=opsrestd",
    ] {
        ensure!(unit.contains(&line), "no {line}:\n{account}");
    }
    ensure!(
        tmpfiles == ["z /etc/restd/key.pem 0640 - opsrestd"],
        "{account}"
    );

    // Of sockets no mode is recorded: somebody looks, as is proposed, and sees that a group may.
    ensure!(
        account.contains("stat -c '%A %G' /run/ovsdb/db.sock"),
        "{account}"
    );
    let seen = machine.run(&["stat", "-c", "%A %G", "/run/ovsdb/db.sock"])?;
    ensure!(seen == "srwxrwx--- ovsdb-client", "{seen}");
    unit.push("SupplementaryGroups=ovsdb-client");

    // As written, and where the secret is to be kept, as the comment says.
    machine.write("/etc/sysusers.d/restd.conf", &account)?;
    machine.run(&["systemd-sysusers", "/etc/sysusers.d/restd.conf"])?;
    machine.write("/etc/tmpfiles.d/restd.conf", &(tmpfiles.join("\n") + "\n"))?;
    machine.run(&["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/restd.conf"])?;
    machine.run(&[
        "rm",
        "-rf",
        "/var/log/restd",
        "/run/persistent_cookie_secret",
    ])?;
    let with = |lines: &[&str]| -> Result<()> {
        let text = format!(
            "[Service]\nEnvironment=RESTD_RUN=/run/opsrestd\n{}\n",
            lines.join("\n")
        );
        machine.write("/run/systemd/system/restd.service.d/40-account.conf", &text)?;
        machine.run(&["systemctl", "daemon-reload"]).map(drop)
    };
    with(&unit)?;
    machine.write(
        "/run/systemd/system/restd.service.d/50-harden.conf",
        &drop_in,
    )?;
    machine.run(&["systemctl", "daemon-reload"])?;
    let uid = machine.run(&["id", "-u", "opsrestd"])?;
    let expected = format!("uid {uid} row key");
    let answer = live(&machine).with_context(|| format!("{account}\n{drop_in}"))?;
    ensure!(answer == expected, "{answer}");

    // Each of them is needed.
    for needed in [
        "AmbientCapabilities",
        "LogsDirectory",
        "RuntimeDirectory",
        "SupplementaryGroups",
    ] {
        let less: Vec<&str> = unit
            .iter()
            .copied()
            .filter(|line| !line.starts_with(needed))
            .collect();
        if needed == "LogsDirectory" {
            machine.run(&["rm", "-rf", "/var/log/restd"])?;
        }
        with(&less)?;
        ensure!(
            live(&machine).is_err(),
            "it works without {needed}:\n{account}"
        );
        let _ = machine.try_run(&["systemctl", "reset-failed", UNIT])?;
    }
    with(&unit)?;
    ensure!(live(&machine)? == expected, "it does not work any more");
    Ok(())
}
