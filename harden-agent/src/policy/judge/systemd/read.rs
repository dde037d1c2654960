//! Reading a unit or a drop-in (systemd.syntax(7)). What is not understood is handed back.

use super::super::{
    super::systemd::LISTS,
    line::{Fault, REFUSED, Read, Rules, Sandbox, Shape, not_judged},
    source::{self, SourceLine},
};

/// Whose assignments add up, until an empty one takes all back.
const ADDED: &[&str] = &[
    "AmbientCapabilities",
    "CacheDirectory",
    "DeviceAllow",
    "ExecPaths",
    "IPAddressAllow",
    "IPAddressDeny",
    "InaccessiblePaths",
    "LogsDirectory",
    "NoExecPaths",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RuntimeDirectory",
    "StateDirectory",
    "TemporaryFileSystem",
];
/// Modes of those directories: no fact is about them.
const MODES: &[&str] = &[
    "CacheDirectoryMode",
    "LogsDirectoryMode",
    "RuntimeDirectoryMode",
    "StateDirectoryMode",
];
/// Yes or no.
const SWITCHES: &[&str] = &[
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RuntimeDirectoryPreserve",
];
/// One word of these, or any word.
const WORDS: &[(&str, &[&str])] = &[
    ("DevicePolicy", &["closed", "strict"]),
    ("ProcSubset", &["pid"]),
    ("ProtectHome", &["yes", "tmpfs", "read-only"]),
    ("ProtectProc", &["invisible", "noaccess"]),
    ("ProtectSystem", &["strict", "full", "yes"]),
    ("SystemCallErrorNumber", &[]),
    ("UMask", &[]),
];
/// Words of those directives that change nothing.
const NOTHING: &[&str] = &["all", "auto", "default"];
const YES: &[&str] = &["1", "on", "true", "y", "yes"];
const NO: &[&str] = &["0", "off", "false", "n", "no"];
const NAMESPACES: &str = "RestrictNamespaces";

/// Can refuse something, and what is not judged.
const UNJUDGED: &[(&str, &str)] = &[
    ("AppArmorProfile", "what AppArmor refuses is not judged"),
    ("BindPaths", ROOT),
    ("BindReadOnlyPaths", ROOT),
    ("MountAPIVFS", ROOT),
    (
        "NetworkNamespacePath",
        "what is reached through another network is not judged",
    ),
    ("PrivateMounts", "what is mounted is not judged"),
    (
        "RestrictFileSystems",
        "of which file system a file is is not recorded",
    ),
    (
        "RestrictNetworkInterfaces",
        "through which interface packets go is not recorded",
    ),
    ("RootDirectory", ROOT),
    ("RootImage", ROOT),
    ("SELinuxContext", "what SELinux refuses is not judged"),
    ("SecureBits", "which capabilities are left is not judged"),
    ("SmackProcessLabel", "what SMACK refuses is not judged"),
    ("SocketBindAllow", "which ports may be bound is not judged"),
    ("SocketBindDeny", "which ports may be bound is not judged"),
];
const ROOT: &str = "what is in the directories that it puts there is not known";

/// Other directives of [Service] that refuse nothing of what is recorded, by how their names begin.
const SILENT: &[&str] = &[
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "BlockIO",
    "BPFProgram",
    "BusName",
    "CPU",
    "ConfigurationDirectory",
    "CoredumpFilter",
    "DefaultMemory",
    "Delegate",
    "DisableControllers",
    "Environment",
    "ExitType",
    "FailureAction",
    "FileDescriptorStore",
    "FinalKillSignal",
    "Group",
    "GuessMainPID",
    "IO",
    "IgnoreSIGPIPE",
    "ImportCredential",
    "JobTimeout",
    "KeyringMode",
    "KillMode",
    "KillSignal",
    "Limit",
    "LoadCredential",
    "Log",
    "ManagedOOM",
    "Memory",
    "MountFlags",
    "NUMA",
    "Nice",
    "NonBlocking",
    "NotifyAccess",
    "OOM",
    "OpenFile",
    "PAMName",
    "PIDFile",
    "PassEnvironment",
    "Personality",
    "ReloadSignal",
    "RemainAfterExit",
    "RemoveIPC",
    "Restart",
    "RestartKillSignal",
    "RootDirectoryStartOnly",
    "Send",
    "SetCredential",
    "SetLoginEnvironment",
    "Slice",
    "Sockets",
    "Standard",
    "StartLimit",
    "Startup",
    "SuccessExitStatus",
    "SupplementaryGroups",
    "SurviveFinalKillSignal",
    "Syslog",
    "SystemCallErrorNumber",
    "SystemCallLog",
    "TTY",
    "Tasks",
    "Timeout",
    "TimerSlackNSec",
    "Type",
    "UMask",
    "USBFunction",
    "UnsetEnvironment",
    "Utmp",
    "WatchdogS",
    "WorkingDirectory",
];

/// Reads the text of a drop-in or a unit.
#[must_use]
pub fn read(text: &str) -> Read {
    read_lines(&source::lines("drop-in", text))
}

/// Reads the lines of a unit, followed by those of its drop-ins.
#[must_use]
pub fn read_lines(lines: &[SourceLine]) -> Read {
    let mut rules = Rules::new(Sandbox::Systemd);
    let mut unread = Vec::new();
    let mut section = Section::None;
    for whole in joined(lines) {
        let line = whole.text.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        rules.stand_at(&whole.position);
        let result = match (line.split_once('='), &section) {
            _ if line.starts_with('[') => {
                section = Section::of(line);
                Ok(())
            }
            (Some((name, value)), Section::Service) => add(name.trim(), value.trim(), &mut rules),
            (Some(_), Section::Other) => Ok(()),
            (Some(_), Section::None) => not_judged("before the first section"),
            (None, _) => not_judged("neither a section nor an assignment"),
        };
        if let Err(fault) = result {
            unread.push(fault.at(&whole.position, &whole.text));
        }
    }
    Read { rules, unread }
}

enum Section {
    None,
    Service,
    /// Of which no directive is about what a service may do.
    Other,
}

impl Section {
    fn of(line: &str) -> Self {
        if line == "[Service]" {
            Self::Service
        } else {
            Self::Other
        }
    }
}

/// Lines that end in a backslash go on in the next one that is no comment.
fn joined(lines: &[SourceLine]) -> Vec<SourceLine> {
    let mut all: Vec<SourceLine> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let is_comment = line.text.trim_start().starts_with(['#', ';']);
        let text = line.text.strip_suffix('\\').filter(|_| !is_comment);
        match all.last_mut() {
            Some(_) if goes_on && is_comment => continue,
            Some(last) if goes_on => {
                last.text.push(' ');
                last.text.push_str(text.unwrap_or(&line.text));
            }
            _ => all.push(SourceLine {
                position: line.position.clone(),
                text: text.unwrap_or(&line.text).to_owned(),
            }),
        }
        goes_on = text.is_some();
    }
    all
}

/// Names from before systemd 231 that mean the same (src/core/load-fragment-gperf.gperf.in).
const OLD_NAMES: [(&str, &str); 3] = [
    ("InaccessibleDirectories", "InaccessiblePaths"),
    ("ReadOnlyDirectories", "ReadOnlyPaths"),
    ("ReadWriteDirectories", "ReadWritePaths"),
];

fn add(name: &str, value: &str, rules: &mut Rules) -> Result<(), Fault> {
    let old = OLD_NAMES.iter().find(|(old, _)| *old == name);
    let name = old.map_or(name, |(_, now)| now);
    if name.starts_with("Exec") && name != "ExecPaths" {
        return command(value);
    }
    let known = |names: &[&'static str]| names.iter().find(|one| **one == name).copied();
    let is_word = WORDS.iter().any(|(one, _)| *one == name);
    let is_judged = [&LISTS, ADDED, SWITCHES, MODES, &["User", NAMESPACES]];
    if !is_word && !is_judged.iter().any(|names| known(names).is_some()) {
        return beside(name);
    }
    if value.contains(['"', '\'', '\\', '%']) {
        return not_judged("quotes, escapes and specifiers are not read");
    }
    if let Some(name) = known(&LISTS) {
        list(name, value, rules);
        return Ok(());
    }
    if let Some(name) = known(ADDED) {
        return added(name, value, rules);
    }
    if name == NAMESPACES && !YES.contains(&value) && !NO.contains(&value) && !value.is_empty() {
        list(NAMESPACES, value, rules);
        return Ok(());
    }
    if let Some(name) = known(SWITCHES).or(known(&[NAMESPACES])) {
        rules.clear(name);
        return match value {
            _ if YES.contains(&value) => {
                word(name, "yes", rules);
                Ok(())
            }
            _ if NO.contains(&value) || value.is_empty() => Ok(()),
            _ => not_judged("neither yes nor no"),
        };
    }
    if let Some(name) = known(MODES).or(known(&["User"])) {
        rules.clear(name);
        rules.add(
            name,
            Shape::Each,
            value.split_whitespace().map(str::to_owned),
        );
        return Ok(());
    }
    let found = WORDS.iter().find(|(one, _)| *one == name);
    let Some((name, values)) = found else {
        return beside(name);
    };
    rules.clear(name);
    let value = if YES.contains(&value) { "yes" } else { value };
    if values.contains(&value) || values.is_empty() && !value.is_empty() {
        word(name, value, rules);
        return Ok(());
    }
    if NO.contains(&value) || NOTHING.contains(&value) || value.is_empty() {
        return Ok(());
    }
    not_judged("harden does not judge this value")
}

/// A directive that no judgement rests on.
fn beside(name: &str) -> Result<(), Fault> {
    if let Some((_, reason)) = UNJUDGED.iter().find(|(one, _)| *one == name) {
        return not_judged(reason);
    }
    if SILENT.iter().any(|start| name.starts_with(start)) {
        return Ok(());
    }
    not_judged("harden does not judge this directive")
}

fn word(name: &'static str, value: &str, rules: &mut Rules) {
    rules.add(name, Shape::Each, std::iter::once(value.to_owned()));
}

/// A prefix can free a command of all that the unit says (`ExecStart=` in systemd.service(5)).
fn command(value: &str) -> Result<(), Fault> {
    let mut prefix = value.chars().take_while(|one| "@-:+!".contains(*one));
    if prefix.any(|one| matches!(one, '+' | '!')) {
        return not_judged(
            "this command runs with more privileges than the unit gives, and is judged as the others are",
        );
    }
    Ok(())
}

fn added(name: &'static str, value: &str, rules: &mut Rules) -> Result<(), Fault> {
    if value.is_empty() {
        rules.clear(name);
        return Ok(());
    }
    let words = || value.split_whitespace();
    match name {
        "DeviceAllow" if !value.starts_with('/') => not_judged("a group of devices is not judged"),
        "DeviceAllow" => {
            word(name, value, rules);
            Ok(())
        }
        "IPAddressAllow" | "IPAddressDeny"
            if words().any(|word| super::network::Range::of(word).is_none()) =>
        {
            not_judged("no address, and no range of addresses")
        }
        _ => {
            rules.add(name, Shape::Each, words().map(str::to_owned));
            Ok(())
        }
    }
}

/// Adds to a list, or takes from it. An empty assignment takes it away; of capabilities it leaves an empty one.
fn list(name: &'static str, value: &str, rules: &mut Rules) {
    let refuses = value.starts_with(REFUSED);
    let value = value.trim_start_matches(REFUSED);
    if value.trim().is_empty() {
        rules.clear(name);
        // All of them: `~` is all but none.
        if name == "CapabilityBoundingSet" && !refuses {
            rules.add(name, Shape::List, std::iter::empty());
        }
        return;
    }
    let sign = if refuses { REFUSED } else { "" };
    let words = value.split_whitespace();
    let words = words.map(|word| format!("{sign}{}", word.trim_start_matches(REFUSED)));
    rules.extend(name, refuses, words);
}
