//! What a unit has to say for its daemon to live under Firejail: `ExecStart=` starts Firejail, whose process
//! systemd then takes for the daemon.
//!
//! As measured with Firejail 0.9.72 and systemd 252: the main process is firejail, its child is the first of
//! the sandbox's processes, and that one's child is the daemon.

mod command;
mod unit;

use serde::Serialize;

use crate::observation::{Abi, ControlCommand, Executable, Observation, Text, Word};

use super::super::basis::Basis;
use super::super::evidence::Decision;
use super::{Launch, Profile};
use command::Command;

pub use unit::UnitFile;

/// A drop-in that starts a unit's daemon under Firejail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// The unit.
    pub subject: Text,
    /// What it says; withheld where the daemon cannot be started so.
    pub settings: Decision<Vec<Setting>>,
    /// What nobody but the reader can decide.
    pub left: Vec<String>,
}

/// A setting with all its values, and why it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `ExecStart`
    pub name: &'static str,
    /// A line for each; none takes back what the unit has.
    pub values: Vec<String>,
    /// Whether what the unit has goes first.
    pub replaces: bool,
    /// Why.
    pub why: String,
}

/// Where Debian, and every distribution with a merged /usr, has it.
const FIREJAIL: &str = "/usr/bin/firejail";

/// The options that make systemd install a filter, which takes `no_new_privs` where the unit has a `User=`
/// (systemd.exec(5)): Firejail, which is setuid root, then starts without its privileges.
const FILTERS: [&str; 15] = [
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
];

/// What Firejail 0.9.72 itself does not start, or not sandbox, without.
const CAPABILITIES: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_MKNOD CAP_SETGID CAP_SETPCAP \
                            CAP_SETUID CAP_SYS_ADMIN CAP_SYS_CHROOT";

/// Calls that find a process by its number, for a signal.
const SIGNALS: [&str; 6] = [
    "kill",
    "pidfd_open",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "tgkill",
    "tkill",
];

impl Service {
    /// Decides for a unit whose daemon has this `profile`, in the file `path`.
    #[must_use]
    pub fn decide(basis: &Basis<'_>, unit: &UnitFile, profile: &Profile, path: &str) -> Self {
        let observation = basis.observation();
        let mut service = Self {
            subject: observation.name.clone(),
            settings: Decision::given_unless(refusals(basis, unit, profile), Vec::new()),
            left: Vec::new(),
        };
        if service.settings.given().is_none() {
            return service;
        }
        let mut settings = vec![start(unit, profile, path)];
        settings.extend(readiness(unit));
        if matches!(unit.last("Type"), Some("notify" | "notify-reload")) {
            service.left.push(
                "a daemon that tells systemd the number of its main process (MAINPID=, as haproxy -Ws does) tells one \
                 of the sandbox, and systemd believes root: see that systemctl status shows firejail as the main process"
                    .to_owned(),
            );
        }
        settings.extend(signalling(observation, unit, &mut service.left));
        service.left.extend(filtered(unit));
        settings.extend(restrictions(unit, profile));
        service.settings = Decision::Given(settings);
        service
    }
}

/// Why it cannot be done at all.
fn refusals(basis: &Basis<'_>, unit: &UnitFile, profile: &Profile) -> Vec<String> {
    let mut reasons = Vec::new();
    if unit.list("ExecStart").is_empty() {
        reasons.push("the unit starts no program: it has no ExecStart=".to_owned());
    }
    let commands = ["ExecStart", "ExecReload", "ExecStop"].map(|name| unit.list(name));
    if commands.iter().flatten().any(|line| line.ends_with('\\')) {
        reasons.push(
            "a command of the unit ends with a backslash, which would take the next line along. Take it out of the unit"
                .to_owned(),
        );
    }
    let sockets = unit.list("Sockets").into_iter();
    let mut triggers = unit
        .triggered_by
        .iter()
        .map(String::as_str)
        .chain(sockets)
        .chain(unit.own_socket());
    if let Some(socket) = triggers.find(|name| name.ends_with(".socket")) {
        reasons.push(format!(
            "{socket} passes sockets to the daemon, which takes them only if LISTEN_PID is its own number \
             (sd_listen_fds(3)): in the sandbox it has another. Confine it by systemd alone (--format systemd)"
        ));
    }
    let calls = basis.calls();
    let called = |name: &str| calls.keys().any(|call| call.as_str() == name);
    // `systemctl cat` does not say what starts the unit.
    if (called("accept") || called("accept4")) && !called("listen") {
        reasons.push(
            "accept was called and listen never: the daemon was handed its sockets, which does not work in the sandbox \
             (confine it by systemd alone, --format systemd), or was there before the recording (record it from its start)"
                .to_owned(),
        );
    }
    if unit.is_on("DynamicUser") {
        reasons.push(
            "DynamicUser= implies NoNewPrivileges=, under which Firejail, which is setuid root, has no \
             privileges. Confine it by systemd alone (--format systemd)"
                .to_owned(),
        );
    }
    let filters = FILTERS.iter().filter(|name| unit.has(name));
    let filters: Vec<&str> = filters.copied().collect();
    if let (Some(user), false) = (unit.account(), filters.is_empty()) {
        reasons.push(format!(
            "with User={user}, {} make systemd set no_new_privs, under which Firejail, which is setuid root, has \
             no privileges. Take them out of the unit, or confine it by systemd alone (--format systemd)",
            names(&filters)
        ));
    }
    let was_root = basis.observation().runs.values().all(|run| run.uid == 0);
    if let (Some(user), Some(_), true) = (unit.account(), profile.home.given(), was_root) {
        reasons.push(format!(
            "private would empty the home directory of {user} too, and what was recorded ran as root. Record it with \
             User={user}, and write this again"
        ));
    }
    let capabilities = ambient(unit, profile);
    if let (Some(user), false) = (unit.account(), capabilities.is_empty()) {
        let group = unit.last("Group").unwrap_or(user);
        reasons.push(format!(
            "with User={user}, AmbientCapabilities= does not get through Firejail, which is setuid root. Have the \
             daemon step down in the sandbox instead, record it so, and write this again: ExecStart=!{} COMMAND",
            step_down(user, group, &capabilities)
        ));
    }
    reasons
}

/// The capabilities that the unit gives its user, and that were used.
fn ambient<'a>(unit: &UnitFile, profile: &'a Profile) -> Vec<&'a str> {
    let given: Vec<String> = unit
        .list("AmbientCapabilities")
        .iter()
        .flat_map(|value| value.split_whitespace())
        .map(str::to_ascii_lowercase)
        .collect();
    let used = profile.capabilities.keep.given().into_iter().flatten();
    let used = used.map(|item| item.value.as_str());
    used.filter(|name| {
        given
            .iter()
            .any(|one| one.strip_prefix("cap_") == Some(name))
    })
    .collect()
}

/// What starts a program as `user` with these capabilities, where it is started as root itself: ambient ones survive
/// the user's number and the program that is run (capabilities(7)), and a filter does not take them away.
#[must_use]
pub fn step_down(user: &str, group: &str, capabilities: &[&str]) -> String {
    let names: Vec<String> = capabilities
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .map(|name| format!(",+{}", name.strip_prefix("cap_").unwrap_or(&name)))
        .collect();
    let set = format!("-all{}", names.concat());
    format!(
        "/usr/bin/setpriv --reuid={user} --regid={group} --init-groups --inh-caps={set} --ambient-caps={set} --"
    )
}

/// A filter of the unit's own hides what it refuses: seccomp comes before the tracepoint (`syscall_trace_enter` in
/// kernel/entry/common.c, 6.1).
fn filtered(unit: &UnitFile) -> Option<String> {
    let filters: Vec<&str> = FILTERS
        .iter()
        .copied()
        .filter(|name| unit.has(name))
        .collect();
    (!filters.is_empty()).then(|| {
        format!(
            "what {} refused was not seen, and the program got along with the answer; Firejail gives another one. Where \
             it does not start, record it once without them",
            names(&filters)
        )
    })
}

/// `A=, B= and C=`
fn names(settings: &[&str]) -> String {
    let (last, others) = match settings.split_last() {
        Some((last, others)) if !others.is_empty() => (last, others),
        _ => return format!("{}=", settings.join("")),
    };
    format!("{}= and {last}=", others.join("=, "))
}

/// `ExecStart=`, and what goes with its process being another.
fn start(unit: &UnitFile, profile: &Profile, path: &str) -> Setting {
    let dashes = match profile.target.launch {
        Launch::Direct => "",
        Launch::Shell(_) => "-- ",
    };
    let firejail = format!("{FIREJAIL} --quiet --profile={path} {dashes}");
    let values = unit.list("ExecStart");
    let values = values
        .iter()
        .map(|value| Command::read(value).under(&firejail));
    Setting {
        name: "ExecStart",
        values: values.collect(),
        replaces: true,
        why: "The unit's own command, started by Firejail".to_owned(),
    }
}

/// How systemd learns that the daemon is up, is well, and has ended well.
fn readiness(unit: &UnitFile) -> Vec<Setting> {
    let set = |name, value: &str, why: &str| Setting {
        name,
        values: vec![value.to_owned()],
        replaces: false,
        why: why.to_owned(),
    };
    let mut settings = Vec::new();
    match unit.last("Type") {
        Some("forking") => settings.push(set(
            "Type",
            "simple",
            "Firejail stays in the foreground as long as the sandbox has a process, whether the daemon forks or \
             not; systemd would wait for it to fork",
        )),
        Some("notify-reload") => settings.push(set(
            "Type",
            "notify",
            "notify-reload sends its signal to Firejail, which ends by it",
        )),
        _ => {}
    }
    if matches!(unit.last("Type"), Some("notify" | "notify-reload"))
        && unit.last("NotifyAccess") != Some("all")
    {
        settings.push(set(
            "NotifyAccess",
            "all",
            "Who says that it is up is not the main process, which is Firejail",
        ));
    }
    if unit.last("PIDFile").is_some() {
        settings.push(Setting {
            name: "PIDFile",
            values: Vec::new(),
            replaces: true,
            why: "The number that the daemon writes is one of the sandbox; outside it is another process's"
                .to_owned(),
        });
    }
    if unit.has("WatchdogSec") {
        settings.push(set(
            "WatchdogSec",
            "0",
            "The daemon keeps the watchdog only if WATCHDOG_PID is its own number (sd_watchdog_enabled(3)): in \
             the sandbox it has another",
        ));
    }
    settings.push(set(
        "SuccessExitStatus",
        "143",
        "Firejail ends with 143 when it is told to stop",
    ));
    settings
}

/// Commands that send signals: Firejail would take them, or a process that has nothing to do with it.
fn signalling(observation: &Observation, unit: &UnitFile, left: &mut Vec<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, which) in [
        ("ExecReload", ControlCommand::Reload),
        ("ExecStop", ControlCommand::Stop),
    ] {
        let own = unit.list(name);
        let mut values = Vec::new();
        let mut why = Vec::new();
        for value in &own {
            let command = Command::read(value);
            match command.signal_to_main() {
                Some(signal) if which == ControlCommand::Reload => {
                    why.push(format!(
                        "Signal {signal} for the daemon: the main process is Firejail, which ends by it; the daemon is \
                         its grandchild"
                    ));
                    values.push(command.instead(&to_daemon(&signal)));
                }
                _ if command.names_main() || signals(observation, which, &command, unit) => {
                    why.push(format!(
                        "Without {}: it sends a signal to a process by its number, and in the sandbox the daemon has \
                         another",
                        command.shown()
                    ));
                    let hint = format!(
                        "if the daemon reloads at SIGHUP, add ExecReload={}",
                        to_daemon("HUP")
                    );
                    if which == ControlCommand::Reload && !left.contains(&hint) {
                        left.push(hint);
                    }
                }
                _ => values.push((*value).to_owned()),
            }
        }
        if !why.is_empty() {
            settings.push(Setting {
                name,
                values,
                replaces: true,
                why: why.join(". "),
            });
        } else if !own.is_empty() && !was_seen(observation, which) {
            left.push(format!(
                "{name}= was not seen at work: if it finds the daemon by its number, as by a PID file, it would hit \
                 another process"
            ));
        }
    }
    if unit.last("KillMode") == Some("process") {
        left.push(
            "KillMode=process: what lived on when the daemon stopped ends now, with the sandbox"
                .to_owned(),
        );
    }
    settings
}

/// A command that sends `signal` to the children of the sandbox's first process. systemd fills in
/// `${MAINPID}`, and makes one dollar sign of two (systemd.service(5)).
fn to_daemon(signal: &str) -> String {
    format!("/bin/sh -c 'exec pkill -{signal} -P \"$$(pgrep -d, -P ${{MAINPID}})\"'")
}

fn was_seen(observation: &Observation, which: ControlCommand) -> bool {
    let mut runs = observation.runs.values();
    runs.any(|run| run.control.contains_key(&which))
}

/// Whether `command` was seen to send signals by number, or names the file with the number.
fn signals(
    observation: &Observation,
    which: ControlCommand,
    command: &Command<'_>,
    unit: &UnitFile,
) -> bool {
    if unit
        .last("PIDFile")
        .is_some_and(|file| command.mentions(file))
    {
        return true;
    }
    // Of another manager's units nobody says which process is which command: any may be this one.
    let seen = was_seen(observation, which);
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| {
        let commands = [which, ControlCommand::Other].map(|kind| run.control.get(&kind));
        let others = (!seen).then_some(&run.executables);
        commands.into_iter().flatten().chain(others).flatten()
    });
    let programs: Vec<_> = programs.collect();
    let is_own = |path: &Text, program: &Executable| {
        command.runs(path) || program.invoked_as.keys().any(|name| command.runs(name))
    };
    // A script has others send the signals.
    let is_script =
        |path: &Text, program: &Executable| is_own(path, program) && !command.runs(path);
    let any_script = programs
        .iter()
        .any(|(path, program)| is_script(path, program));
    let own = programs
        .iter()
        .filter(|(path, program)| any_script || is_own(path, program));
    own.filter_map(|(_, program)| program.syscalls.get(&Abi::Native))
        .flat_map(|calls| calls.keys())
        .map(Word::as_str)
        .any(|call| SIGNALS.contains(&call))
}

/// What of the unit's own sandbox Firejail cannot work in.
fn restrictions(unit: &UnitFile, profile: &Profile) -> Vec<Setting> {
    let mut settings = Vec::new();
    if unit.is_set("NoExecPaths") {
        settings.push(Setting {
            name: "NoExecPaths",
            values: Vec::new(),
            replaces: true,
            why: "Firejail is no program that it lets run; the profile has private-bin".to_owned(),
        });
    }
    for (name, why) in [
        ("RestrictNamespaces", "Firejail makes namespaces"),
        ("RestrictSUIDSGID", "Firejail sets modes that it refuses"),
        (
            "PrivateUsers",
            "In a user namespace Firejail's root is not the system's root",
        ),
    ] {
        if unit.has(name) {
            settings.push(Setting {
                name,
                values: vec!["no".to_owned()],
                replaces: false,
                why: why.to_owned(),
            });
        }
    }
    if unit.has("PrivateDevices") && profile.dev.given().is_some() {
        settings.push(Setting {
            name: "PrivateDevices",
            values: vec!["no".to_owned()],
            replaces: false,
            why: "Firejail makes the devices of private-dev itself".to_owned(),
        });
    }
    if unit.last("ProtectSystem") == Some("strict") {
        settings.push(Setting {
            name: "ReadWritePaths",
            values: vec!["-/run/firejail".to_owned()],
            replaces: false,
            why: "Firejail keeps its files there; ProtectSystem=strict takes them".to_owned(),
        });
        settings.push(Setting {
            name: "ExecStartPre",
            values: vec!["+/bin/mkdir -p -m 755 /run/firejail".to_owned()],
            replaces: false,
            why: "Firejail makes it when it first starts, which it cannot there".to_owned(),
        });
    }
    if unit.is_set("CapabilityBoundingSet") {
        settings.push(Setting {
            name: "CapabilityBoundingSet",
            values: vec![CAPABILITIES.to_owned()],
            replaces: false,
            why: "Firejail needs these besides; it gives the daemon what the profile says"
                .to_owned(),
        });
    }
    if !unit.list("SystemCallFilter").is_empty() {
        let has_own = profile.syscalls.filter.given().is_some();
        settings.push(Setting {
            name: "SystemCallFilter",
            values: if has_own {
                Vec::new()
            } else {
                vec!["@mount".to_owned()]
            },
            replaces: has_own,
            why: if has_own {
                "Firejail needs more calls than the daemon; the profile has the daemon's".to_owned()
            } else {
                "Firejail mounts".to_owned()
            },
        });
    }
    settings
}

#[cfg(test)]
mod tests;
