//! Daemons of Debian as a distribution would confine them: each is recorded by the agent while it lives, then does
//! the same under the drop-in, and under Firejail as the edited unit starts it.
//!
//! Three of them; with `HARDEN_DAEMONS`, which `cargo xtask daemons` sets, those that it names, or all. What they
//! came to goes as a table into the file `HARDEN_DAEMONS_TABLE`, where that is set.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, sync::Mutex};

use anyhow::{Context as _, Result, anyhow, ensure};
use harden_tests::{Agent, Machine, Setup, Written, exposure};

mod table;

use table::{DAEMONS, Daemon};

/// On so many machines at once, at the most.
const MACHINES: usize = 4;

/// Those of the image that every run of the tests has.
const USUAL: [&str; 3] = ["dnsmasq", "openssh-server", "rsyslog"];

/// Takes the packager's filters back, with which `User=` leaves Firejail without privileges.
const UNFILTERED: &str = "LockPersonality=no\nMemoryDenyWriteExecute=no\nNoNewPrivileges=no\nPrivateDevices=no\n\
    ProtectClock=no\nProtectHostname=no\nProtectKernelLogs=no\nProtectKernelModules=no\nProtectKernelTunables=no\n\
    RestrictAddressFamilies=\nRestrictNamespaces=no\nRestrictRealtime=no\nRestrictSUIDSGID=no\n\
    SystemCallArchitectures=\nSystemCallFilter=\n";

/// A line of the table.
struct Row {
    package: &'static str,
    version: String,
    before: f64,
    after: f64,
    drop_in_calls: usize,
    capabilities: String,
    firejail: String,
    warnings: String,
    writable: usize,
    others: Vec<&'static str>,
    nature: &'static str,
}

/// What was recorded of a daemon.
struct Recordings {
    written: Written,
    /// Without the packager's filters, where Firejail cannot start it with them.
    unfiltered: Option<Written>,
}

/// A daemon on a machine.
struct Case<'a> {
    daemon: &'a Daemon,
    machine: &'a Machine,
    unit: String,
}

impl<'a> Case<'a> {
    fn new(daemon: &'a Daemon, machine: &'a Machine) -> Result<Self> {
        let unit = match daemon.unit.split_once('*') {
            None => daemon.unit.to_owned(),
            Some((start, end)) => {
                let clusters = machine.run(&["pg_lsclusters", "-h"])?;
                let version = clusters.split_whitespace().next().context("no cluster")?;
                format!("{start}{version}{end}")
            }
        };
        let case = Self {
            daemon,
            machine,
            unit,
        };
        machine.try_run(&["systemctl", "stop", &case.unit])?;
        machine.run(&["sh", "-c", daemon.prepare])?;
        case.install("10-rig", daemon.options)?;
        Ok(case)
    }

    /// Installs a drop-in, or, with nothing in it, none.
    fn install(&self, name: &str, text: &str) -> Result<()> {
        let path = format!("/run/systemd/system/{}.d/{name}.conf", self.unit);
        let section = if text.contains("[Service]") {
            ""
        } else {
            "[Service]\n"
        };
        self.machine.write(&path, &format!("{section}{text}"))?;
        self.machine.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    fn start(&self) -> Result<()> {
        let start = ["timeout", "60", "systemctl", "start", &self.unit];
        self.machine.run(&start)?;
        self.machine.work(self.daemon.work)
    }

    fn stop(&self) -> Result<()> {
        // One that died and was started again works too; a stop forgets it.
        let restarts = self.machine.property(&self.unit, "NRestarts")?;
        self.machine.run(&["systemctl", "stop", &self.unit])?;
        let result = self.machine.property(&self.unit, "Result")?;
        ensure!(
            result == "success" && restarts == "0",
            "{result}, {restarts} restarts"
        );
        Ok(())
    }

    /// Starts, works, works after a reload and after a rotation, and stops.
    fn live(&self) -> Result<()> {
        let step = |what: &'static str, result: Result<()>| result.context(what);
        step("start", self.start())?;
        if self.machine.property(&self.unit, "CanReload")? == "yes" {
            let reload = ["timeout", "60", "systemctl", "reload", &self.unit];
            step("reload", self.machine.run(&reload).map(drop))?;
            self.machine.settle();
            step("after the reload", self.machine.work(self.daemon.work))?;
        }
        step("rotate", self.machine.work(self.daemon.rotate))?;
        step("after the rotation", self.machine.work(self.daemon.work))?;
        step("stop", self.stop())
    }

    /// Starts, does the other work, whatever becomes of one of them, and stops.
    fn do_others(&self, run: &str) -> Result<()> {
        if self.daemon.others.is_empty() {
            return Ok(());
        }
        self.start()?;
        let mut failed = Vec::new();
        for (name, work) in self.daemon.others {
            if let Err(error) = self.machine.work(&format!("RUN={run}; {work}")) {
                failed.push(format!("{name}: {error:#}"));
            }
        }
        ensure!(failed.is_empty(), "other work fails: {}", failed.join("; "));
        self.stop()
    }

    /// What there is of it to confine it by.
    fn recordings(&self, agent: &Agent) -> Result<Recordings> {
        let written = self.recorded(agent)?;
        let is_usable = match &written.edit {
            Ok(edit) => !edit.contains("record it once without"),
            Err(said) => said.contains(".socket passes sockets"),
        };
        if is_usable {
            let unfiltered = None;
            return Ok(Recordings {
                written,
                unfiltered,
            });
        }
        if let Err(said) = &written.edit {
            ensure!(said.contains("no_new_privs"), "{said}");
        }
        self.install("20-unfiltered", UNFILTERED)?;
        let unfiltered = Some(self.recorded(agent)?);
        self.install("20-unfiltered", "")?;
        Ok(Recordings {
            written,
            unfiltered,
        })
    }

    /// Two lives, and what harden writes after them.
    fn recorded(&self, agent: &Agent) -> Result<Written> {
        self.live().context("when recorded")?;
        self.live().context("when recorded once more")?;
        Written::of(agent, self.machine, &self.unit)
    }

    /// systemd understands the drop-in of that name, and has nothing to say of it.
    fn is_verified(&self, name: &str) -> Result<()> {
        let verify = ["systemd-analyze", "verify", "--man=no", &self.unit];
        let output = self.machine.try_run(&verify)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!said.contains(name), "{said}");
        Ok(())
    }

    /// Lives under the drop-in. Returns the exposure.
    fn under_the_drop_in(&self, text: &str) -> Result<f64> {
        self.install("50-harden", text)?;
        self.is_verified("50-harden")?;
        self.live()?;
        self.do_others("dropin")?;
        let after = exposure(self.machine, &self.unit)?;
        self.install("50-harden", "")?;
        Ok(after)
    }

    /// Lives under Firejail, which is seen to be there.
    fn under_firejail(&self, written: &Written) -> Result<()> {
        let edit = written.edit.as_deref();
        let edit = edit.map_err(|said| anyhow!("{said}"))?;
        self.machine
            .write(written.profile_path()?, &written.profile)?;
        self.install("60-harden-firejail", edit)?;
        self.is_verified("60-harden-firejail")?;
        self.live()?;
        self.do_others("firejail")?;
        self.start()?;
        let main = self.machine.property(&self.unit, "MainPID")?;
        let name = self.machine.run(&["cat", &format!("/proc/{main}/comm")])?;
        ensure!(name == "firejail", "the main process is {name}");
        let pids = self.machine.run(&["pgrep", "-x", self.daemon.program])?;
        for pid in pids.lines() {
            let status = self.machine.run(&["cat", &format!("/proc/{pid}/status")])?;
            ensure!(status.contains("Seccomp:\t2"), "{status}");
        }
        self.stop()?;
        self.install("60-harden-firejail", "")
    }

    /// What Firejail comes to. Where the unit forbids it by its filters, those are taken back.
    fn firejailed(&self, recordings: &Recordings) -> Result<String> {
        let Recordings {
            written,
            unfiltered,
        } = recordings;
        let under_firejail = |written: &Written| {
            self.under_firejail(written)
                .with_context(|| shown(written))?;
            let list = value(&written.profile, "seccomp.keep ").unwrap_or_default();
            anyhow::Ok(format!("{} calls", list.split(',').count()))
        };
        if let Some(unfiltered) = unfiltered {
            self.install("20-unfiltered", UNFILTERED)?;
            let calls = under_firejail(unfiltered)?;
            self.install("20-unfiltered", "")?;
            return Ok(format!("{calls}, the unit's filters taken out"));
        }
        if written.edit.is_err() {
            return Ok("refused: socket activation".to_owned());
        }
        under_firejail(written)
    }

    fn confined(&self, recordings: &Recordings) -> Result<Row> {
        let version = ["dpkg-query", "-W", "-f", "${Version}", self.daemon.package];
        let before = exposure(self.machine, &self.unit)?;
        let written = &recordings.written;
        let drop_in = &written.drop_in;
        let after = self
            .under_the_drop_in(drop_in)
            .with_context(|| format!("under the drop-in\n{drop_in}"))?;
        let mut lines = drop_in.lines();
        let said = lines.find(|line| line.contains("--offline security: "));
        let said = said.with_context(|| format!("no exposure in\n{drop_in}"))?;
        let numbers = said.split_whitespace().filter_map(|word| word.parse().ok());
        let numbers: Vec<f64> = numbers.collect();
        // From files alone systemd does not see that mounts are private where other directives imply it.
        let is_near = |(said, measured): (&f64, f64)| (-0.05..0.25).contains(&(said - measured));
        let is_said = numbers.len() == 2 && numbers.iter().zip([before, after]).all(is_near);
        ensure!(is_said, "{said}, and not {before} and {after}");
        let firejail = self.firejailed(recordings).context("under Firejail")?;
        // Last, so that nothing of it is there already when it is done confined.
        self.do_others("free").context("without a sandbox")?;
        let set = value(drop_in, "CapabilityBoundingSet=").context("no bounding set")?;
        let calls = value(drop_in, "SystemCallFilter=").context("no list of calls")?;
        // Debian's own units may have all that systemd counts: an exact list of calls adds nothing to that, and
        // capset, which systemd needs itself, takes a little away.
        ensure!(
            after <= self.daemon.exposure && (after < before || before <= 2.5),
            "exposure {before} → {after}\n{drop_in}"
        );
        Ok(Row {
            package: self.daemon.package,
            version: self.machine.run(&version)?,
            before,
            after,
            drop_in_calls: calls.split(' ').count(),
            capabilities: set.replace("CAP_", "").to_lowercase(),
            firejail,
            warnings: warnings(&[drop_in, &written.profile]),
            writable: value(drop_in, "ReadWritePaths=").map_or(0, |paths| paths.split(' ').count()),
            others: self.daemon.others.iter().map(|(name, _)| *name).collect(),
            nature: self.daemon.nature,
        })
    }
}

/// What the last line that starts so has behind that.
fn value<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let mut lines = text.lines().rev();
    lines.find_map(|line| line.strip_prefix(start))
}

fn shown(written: &Written) -> String {
    format!(
        "{}\n{}",
        written.edit.as_deref().unwrap_or_default(),
        written.profile
    )
}

/// The names of the warnings.
fn warnings(texts: &[&str]) -> String {
    let lines = texts.iter().flat_map(|text| text.lines());
    let names = lines.filter_map(|line| line.strip_prefix("# WARNING[")?.split(']').next());
    let names: BTreeSet<&str> = names.collect();
    Vec::from_iter(names).join(", ")
}

fn table(rows: &[Row]) -> String {
    let mut text =
        "| package | version | exposure | calls | capabilities | writable | under Firejail | other work | warnings |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for row in rows {
        let nature = match row.nature {
            "" => String::new(),
            nature => format!(" ({nature})"),
        };
        let capabilities = match row.capabilities.as_str() {
            "" => "none",
            names => names,
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} → {}{nature} | {} | {capabilities} | {} | {} | {} | {} |",
            row.package,
            row.version,
            row.before,
            row.after,
            row.drop_in_calls,
            row.writable,
            row.firejail,
            match &row.others[..] {
                [] => "none yet".to_owned(),
                names => names.join(", "),
            },
            row.warnings
        );
    }
    text
}

/// Those that were asked for.
fn chosen() -> Result<Vec<&'static Daemon>> {
    let names = env::var("HARDEN_DAEMONS").unwrap_or_else(|_| USUAL.join(","));
    if names == "all" {
        return Ok(DAEMONS.iter().collect());
    }
    let find = |name: &str| {
        let mut daemons = DAEMONS.iter();
        let found = daemons.find(|one| one.package == name || one.program == name);
        let all: Vec<&str> = DAEMONS.iter().map(|one| one.package).collect();
        found.with_context(|| format!("no daemon {name}: there are {}", all.join(", ")))
    };
    names.split(',').map(find).collect()
}

#[test]
fn daemons_live_under_both_sandboxes() -> Result<()> {
    let daemons = chosen()?;
    let count = daemons.len().min(MACHINES);
    let machines = Machine::several("daemons live under both sandboxes", count)?;
    if machines.is_empty() {
        return Ok(());
    }
    let agent = Agent::start(&Setup::default())?;
    let cases = Machine::share(&machines, &daemons, |machine, daemon| {
        println!("{} …", daemon.package);
        let case = Case::new(daemon, machine)?;
        let recordings = case
            .recordings(&agent)
            .map_err(|error| format!("{error:#}"));
        Ok((case, recordings))
    })?;
    drop(agent);
    let rows = Mutex::new(Vec::new());
    let result = Machine::share(&machines, &cases, |_, (case, recordings)| {
        let recordings = recordings.as_ref().map_err(|error| anyhow!("{error}"));
        let row = recordings.and_then(|recordings| case.confined(recordings));
        let row = row.context(case.daemon.package)?;
        rows.lock().expect("no panic").push(row);
        Ok(())
    });
    let mut rows = rows.into_inner().expect("no panic");
    rows.sort_by_key(|row| daemons.iter().position(|one| one.package == row.package));
    let table = table(&rows);
    println!("{table}");
    if let (Some(file), true) = (env::var_os("HARDEN_DAEMONS_TABLE"), result.is_ok()) {
        fs::write(file, table)?;
    }
    result.map(drop)
}

#[test]
fn sessions_that_are_units_of_their_own_are_told_of() -> Result<()> {
    let Some(machine) = Machine::here("sessions that are units of their own are told of")? else {
        return Ok(());
    };
    let daemon = DAEMONS.iter().find(|one| one.unit == "ssh.service");
    let daemon = Daemon {
        // Debian's own: with PAM.
        options: "",
        ..*daemon.context("no sshd")?
    };
    let case = Case::new(&daemon, &machine)?;
    let agent = Agent::start(&Setup::default())?;
    let written = case.recorded(&agent)?;
    for text in [&written.drop_in, &written.profile] {
        ensure!(
            text.contains("# WARNING[login-sessions]: /usr/sbin/sshd opens login sessions"),
            "{text}"
        );
    }
    Ok(())
}
