//! Whether a unit has come up, and whether what was installed is in force: in `/proc/PID/status` of its daemon.

use std::{
    collections::BTreeMap,
    path::Path,
    str::FromStr as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{Files, Unit, interruption, payload, unit::Before};
use crate::{
    machine::{
        proc::{self, Status},
        systemd,
    },
    observation::Text,
    plural::plural,
    policy::firejail::service::UnitFile,
};

/// What a daemon's status has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    user: u32,
    /// The bounding set, and the line that asks for it.
    bounding: Option<(u64, String)>,
    /// The line that makes a filter.
    filter: Option<String>,
    /// The line that makes it so.
    no_new_privileges: Option<String>,
}

impl Expected {
    pub(super) fn of(files: &Files, before: Before) -> Self {
        match &files.profile {
            Some(profile) => Self::of_profile(profile, before.user),
            None => Self::of_drop_in(&files.drop_in, before.user),
        }
    }

    fn of_drop_in(text: &str, user: u32) -> Self {
        /// These make a filter on every architecture that harden runs on.
        const FILTERS: [&str; 6] = [
            "SystemCallFilter",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "MemoryDenyWriteExecute",
            "RestrictRealtime",
            "RestrictSUIDSGID",
        ];
        let unit = UnitFile::parse(text);
        let line = |name: &str| format!("{name}=");
        let set = "CapabilityBoundingSet";
        let bounding = unit.is_set(set).then(|| {
            let names = unit.list(set);
            bits(names.iter().flat_map(|value| value.split_whitespace()))
        });
        let filter = FILTERS.iter().find(|name| unit.has(name));
        let switch = "NoNewPrivileges";
        Self {
            user,
            bounding: bounding.map(|bits| (bits, line(set))),
            filter: filter.map(|name| line(name)),
            no_new_privileges: unit.is_on(switch).then(|| line(switch)),
        }
    }

    fn of_profile(text: &str, user: u32) -> Self {
        let rules: Vec<&str> = text.lines().map(str::trim).collect();
        let rule = |wanted: &dyn Fn(&str) -> bool| {
            let found = rules.iter().find(|rule| wanted(rule));
            found.map(|rule| (*rule).to_owned())
        };
        let keep = rule(&|rule| rule.starts_with("caps.keep "));
        let bounding = match keep {
            Some(rule) => {
                let names = rule["caps.keep ".len()..].split(',');
                Some((bits(names.map(str::trim)), "caps.keep".to_owned()))
            }
            None => rule(&|rule| rule == "caps.drop all").map(|rule| (0, rule)),
        };
        let first = |rule: String| rule.split(' ').next().unwrap_or_default().to_owned();
        Self {
            user,
            bounding,
            filter: rule(&|rule| rule.starts_with("seccomp")).map(first),
            no_new_privileges: rule(&|rule| rule == "nonewprivs"),
        }
    }

    /// What is not as it has to be.
    fn faults(&self, status: &Status) -> Vec<String> {
        let mut faults = Vec::new();
        match status.user {
            Some(user) if user == self.user => {}
            Some(user) => faults.push(format!("it runs as user {user}, and ran as {}", self.user)),
            None => faults.push("it does not say as whom it runs".to_owned()),
        }
        if let Some((allowed, line)) = &self.bounding {
            let more = status.bounding & !allowed;
            if more != 0 {
                faults.push(format!(
                    "its bounding set has {} too (line {line})",
                    proc::capability_names(more).join(" ")
                ));
            }
        }
        if let Some(line) = &self.filter
            && !status.is_filtered()
        {
            faults.push(format!("no filter of calls is in force (line {line})"));
        }
        if let Some(line) = &self.no_new_privileges
            && !status.no_new_privileges
        {
            faults.push(format!("no_new_privs is not set (line {line})"));
        }
        faults
    }
}

/// The bits of these capabilities; of those that nobody knows, none.
fn bits<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let full = names.map(|name| {
        let name = name.to_ascii_uppercase();
        if name.starts_with("CAP_") {
            name
        } else {
            format!("CAP_{name}")
        }
    });
    let known = full.filter_map(|name| caps::Capability::from_str(&name).ok());
    known.fold(0, |set, capability| set | capability.bitmask())
}

/// How long a daemon may take, after it is up, to become who it is and to be started by Firejail.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Looks whether the unit stays up for this time, and what is in force then. Returns what was found, for people.
///
/// # Errors
/// What is wrong, and with which line, where that is known.
pub(super) fn look(
    unit: &Unit,
    files: &Files,
    drop_in: &Path,
    before: Before,
    settle: Duration,
) -> Result<String> {
    let main = stays_up(unit, drop_in, settle)?;
    let expected = Expected::of(files, before);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let is_late = Instant::now() >= deadline;
        let pid = payload::of(files.backend, main);
        let found = pid.and_then(|pid| Some((pid, proc::status(&pid.to_string())?)));
        match found {
            Some((pid, status)) => {
                let faults = expected.faults(&status);
                let who = format!("process {pid} ({})", Text::from(status.name.as_bytes()));
                if faults.is_empty() {
                    return Ok(format!("{who}: {}", in_force(&status)));
                }
                ensure!(!is_late, "{who}: {}", faults.join("; "));
            }
            None => ensure!(!is_late, "the daemon has no process"),
        }
        interruption::check()?;
        thread::sleep(PAUSE);
    }
}

/// The main process, if the unit is up with this drop-in, and stays so.
fn stays_up(unit: &Unit, drop_in: &Path, settle: Duration) -> Result<u32> {
    let ask = || {
        unit.properties(&[
            "ActiveState",
            "MainPID",
            "NRestarts",
            "DropInPaths",
            "Result",
            "ExecMainStatus",
            "ExecStartPre",
        ])
    };
    let first = ask()?;
    let of =
        |found: &BTreeMap<String, String>, name: &str| found.get(name).cloned().unwrap_or_default();
    let paths = of(&first, "DropInPaths");
    ensure!(
        has_path(&paths, drop_in),
        "systemd does not read {}, but {}",
        drop_in.display(),
        if paths.is_empty() {
            "no drop-in"
        } else {
            &paths
        }
    );
    let deadline = Instant::now() + settle;
    loop {
        let now = ask()?;
        let is_up = of(&now, "ActiveState") == "active"
            && ["MainPID", "NRestarts"]
                .iter()
                .all(|name| of(&now, name) == of(&first, name));
        if !is_up {
            bail!("{}", ended(unit, &now));
        }
        if Instant::now() >= deadline {
            break;
        }
        interruption::check()?;
        thread::sleep(PAUSE);
    }
    match of(&first, "MainPID").parse() {
        Ok(pid) if pid != 0 => Ok(pid),
        _ => bail!("{} has no main process", unit.name()),
    }
}

/// Whether the path is among those that systemd lists.
fn has_path(paths: &str, path: &Path) -> bool {
    let paths = systemd::paths(paths);
    paths.iter().any(|one| Path::new(one) == path)
}

/// Why the unit is not up, as far as systemd says.
///
/// # Errors
/// systemd does not answer.
pub(super) fn why_not_up(unit: &Unit) -> Result<String> {
    let properties = unit.properties(&["Result", "ExecMainStatus", "ExecStartPre"])?;
    Ok(ended(unit, &properties))
}

fn ended(unit: &Unit, properties: &BTreeMap<String, String>) -> String {
    let property = |name: &str| properties.get(name).map_or("", String::as_str);
    let main: u32 = property("ExecMainStatus").parse().unwrap_or_default();
    let status = if main == 0 {
        status_of(property("ExecStartPre"))
    } else {
        main
    };
    let line = at_fault(status).map_or_else(String::new, |lines| {
        format!("; systemd could not do what is asked for by {lines}")
    });
    format!(
        "{name} does not stay up: {}, exit status {status}{line}; see journalctl -u {name}",
        property("Result"),
        name = unit.name()
    )
}

/// The number in `{ path=… ; code=exited ; status=226 }`.
fn status_of(command: &str) -> u32 {
    let status = command.rsplit_once("status=").map_or("", |(_, rest)| rest);
    let digits = status.split(|character: char| !character.is_ascii_digit());
    let first = digits.into_iter().next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

/// The lines to which systemd's own exit statuses belong (systemd.exec(5), "Process Exit Codes").
fn at_fault(status: u32) -> Option<&'static str> {
    Some(match status {
        216 => "Group=",
        217 => "User=",
        218 => "CapabilityBoundingSet=",
        225 => "PrivateNetwork=",
        226 => "Protect*=, Private*=, ReadOnlyPaths= or ReadWritePaths=",
        228 => "SystemCallFilter= or Restrict*=",
        233 => "RuntimeDirectory=",
        238 => "StateDirectory=",
        239 => "CacheDirectory=",
        240 => "LogsDirectory=",
        _ => return None,
    })
}

/// What is in force, for people.
fn in_force(status: &Status) -> String {
    let filters = match status.seccomp_filters {
        Some(filters) => plural(filters as usize, "filter"),
        None if status.is_filtered() => "filtered".to_owned(),
        None => "no filter".to_owned(),
    };
    let set = match proc::capability_names(status.bounding).join(" ") {
        none if none.is_empty() => "empty".to_owned(),
        names => names,
    };
    let user = status.user.unwrap_or_default();
    let privileges = if status.no_new_privileges {
        ", no_new_privs"
    } else {
        ""
    };
    format!("user {user}, {filters} of calls, bounding set {set}{privileges}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            user: Some(33),
            seccomp: 2,
            seccomp_filters: Some(4),
            no_new_privileges: true,
            bounding: bits(["CAP_CHOWN"].into_iter()),
            ..Status::default()
        }
    }

    #[test]
    fn a_drop_in_says_what_has_to_be_in_force() {
        let text = "# CapabilityBoundingSet=CAP_KILL\n[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_CHOWN\n\
                    NoNewPrivileges=yes\nSystemCallFilter=\nSystemCallFilter=read write\n";
        let expected = Expected::of_drop_in(text, 33);
        assert_eq!(expected.faults(&status()), Vec::<String>::new());
        let free = Status {
            user: Some(0),
            bounding: bits(["CAP_CHOWN", "CAP_KILL"].into_iter()),
            ..Status::default()
        };
        assert_eq!(
            expected.faults(&free),
            [
                "it runs as user 0, and ran as 33",
                "its bounding set has CAP_KILL too (line CapabilityBoundingSet=)",
                "no filter of calls is in force (line SystemCallFilter=)",
                "no_new_privs is not set (line NoNewPrivileges=)",
            ]
        );
        let none = Expected::of_drop_in("[Service]\nCapabilityBoundingSet=\n", 33);
        assert_eq!(none.faults(&status()).len(), 1);
        // What is not asked for is not looked for.
        let nothing = Expected::of_drop_in("[Service]\nUMask=0077\nNoNewPrivileges=no\n", 0);
        assert_eq!(nothing.faults(&free), Vec::<String>::new());
    }

    #[test]
    fn so_does_a_profile() {
        let expected =
            Expected::of_profile("# x\ncaps.keep chown\nseccomp.keep read\nnonewprivs\n", 33);
        assert_eq!(expected.faults(&status()), Vec::<String>::new());
        let free = Status {
            user: Some(33),
            bounding: u64::MAX,
            ..Status::default()
        };
        let faults = expected.faults(&free);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[1].ends_with("(line seccomp.keep)"), "{faults:?}");
        let none = Expected::of_profile("caps.drop all\n", 33);
        assert!(none.faults(&status())[0].contains("CAP_CHOWN"));
    }

    #[test]
    fn systemds_own_exit_status_names_the_line() {
        let command = "{ path=/bin/a ; argv[]=/bin/a status=7 ; code=exited ; status=226 }";
        assert_eq!(status_of(command), 226);
        assert_eq!(status_of(""), 0);
        let unit = Unit::called("a.service");
        let properties = [
            ("Result", "exit-code"),
            ("ExecMainStatus", "0"),
            ("ExecStartPre", command),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let said = ended(&unit, &properties.into());
        assert!(said.contains("ReadWritePaths="), "{said}");
        assert!(said.contains("journalctl -u a.service"), "{said}");
    }
}
