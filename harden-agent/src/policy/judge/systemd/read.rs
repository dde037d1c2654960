//! Reading a unit or a drop-in (systemd.syntax(7)). What is not understood is handed back.

use super::{
    super::{
        super::systemd::LISTS,
        limits,
        line::{Fault, Read, Rules, Sandbox, Shape, not_judged},
        source::{self, SourceLine},
    },
    sets::{self, NAMESPACES},
    syntax::{self, Says},
    words,
};

/// Whose assignments add up, until an empty one takes all back.
const ADDED: &[&str] = &[
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
const NOTHING: &[&str] = &["no", "all", "auto", "default"];
/// An empty value takes these back.
const EMPTIED: [&str; 2] = ["SystemCallErrorNumber", "UMask"];
/// How much a service may have, of which harden does not know how much it needs.
const LIMITS: [&str; 5] = [
    "MemoryHigh",
    "MemoryLimit",
    "MemoryMax",
    "MemorySwapMax",
    "TasksMax",
];

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
    for whole in syntax::parse(lines) {
        let line = whole.line;
        rules.stand_at(&line.position);
        let result = match whole.says {
            Says::Assignment(name, value) => add(&name, &value, &mut rules),
            Says::Nothing => Ok(()),
            Says::Fault(fault) => Err(fault),
        };
        if let Err(fault) = result {
            unread.push(fault.at(&line.position, &line.text));
        }
    }
    imply(&mut rules);
    Read { rules, unread }
}

/// What a user of the unit's own brings with it (`unit_patch_contexts` in src/core/unit.c).
fn imply(rules: &mut Rules) {
    let Some(line) = rules.line("DynamicUser").cloned() else {
        return;
    };
    if let Some(position) = rules.position(&line).cloned() {
        rules.stand_at(&position);
    }
    rules.clear("ProtectSystem");
    word("ProtectSystem", "strict", rules);
    if rules.line("ProtectHome").is_none() {
        word("ProtectHome", "read-only", rules);
    }
    for name in ["NoNewPrivileges", "PrivateTmp", "RestrictSUIDSGID"] {
        rules.clear(name);
        word(name, "yes", rules);
    }
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
    let is_judged = [
        &LISTS,
        ADDED,
        SWITCHES,
        MODES,
        &["User", "AmbientCapabilities", NAMESPACES],
    ];
    if !is_word && !is_judged.iter().any(|names| known(names).is_some()) {
        return beside(name, value);
    }
    if value.contains(['"', '\'', '\\', '%']) {
        return not_judged("quotes, escapes and specifiers are not read");
    }
    if let Some(name) = known(&LISTS).or(known(&["AmbientCapabilities", NAMESPACES])) {
        return sets::assign(name, value, rules);
    }
    if let Some(name) = known(ADDED) {
        return added(name, value, rules);
    }
    if let Some(name) = known(SWITCHES) {
        return switch(name, value, rules);
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
    match WORDS.iter().find(|(one, _)| *one == name) {
        Some((name, values)) => one_of(name, values, value, rules),
        None => beside(name, value),
    }
}

/// What is neither yes nor no changes nothing, and an empty value is neither.
fn switch(name: &'static str, value: &str, rules: &mut Rules) -> Result<(), Fault> {
    match words::boolean(value) {
        Some(is_on) => {
            rules.clear(name);
            if is_on {
                word(name, "yes", rules);
            }
            Ok(())
        }
        None if value.is_empty() => Ok(()),
        None => not_judged("neither yes nor no"),
    }
}

fn one_of(
    name: &'static str,
    values: &[&str],
    value: &str,
    rules: &mut Rules,
) -> Result<(), Fault> {
    let value = match words::boolean(value) {
        Some(true) if values.contains(&"yes") => "yes",
        Some(false) if values.contains(&"yes") => NOTHING[0],
        _ => value,
    };
    if values.contains(&value) || values.is_empty() && !value.is_empty() {
        rules.clear(name);
        word(name, value, rules);
        return match name {
            "UMask" if !words::is_for_the_owner(value) => {
                not_judged("what the program may do with its own files is not known")
            }
            _ => Ok(()),
        };
    }
    // An empty value changes nothing, but for these.
    if value.is_empty() && !EMPTIED.contains(&name) {
        return Ok(());
    }
    if NOTHING.contains(&value) || value.is_empty() {
        rules.clear(name);
        return Ok(());
    }
    not_judged("harden does not judge this value")
}

/// A directive that no judgement rests on.
fn beside(name: &str, value: &str) -> Result<(), Fault> {
    if let Some(resource) = name.strip_prefix("Limit") {
        let is_enough = match words::limit(value) {
            Some(soft) => limits::is_enough(resource, soft),
            None => value.is_empty(),
        };
        return if is_enough {
            Ok(())
        } else {
            not_judged(limits::LOWER)
        };
    }
    if LIMITS.contains(&name) && !matches!(value, "" | "infinity" | "100%") {
        return not_judged(limits::LOWER);
    }

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
    match name {
        "DeviceAllow" => device(value, rules),
        "IPAddressAllow" | "IPAddressDeny" => {
            let mut words = value.split_whitespace();
            if words.any(|word| super::network::Range::of(word).is_none()) {
                return not_judged("no address, and no range of addresses");
            }
            each(name, value, rules);
            Ok(())
        }
        "TemporaryFileSystem" => {
            each(name, value, rules);
            let words = value.split_whitespace();
            let mut options = words
                .filter_map(|word| word.split_once(':'))
                .flat_map(|(_, all)| all.split(','));
            if options.any(|option| !OPTIONS.contains(&option)) {
                return not_judged("an option of the mount is not judged");
            }
            Ok(())
        }
        _ if OF_PATHS.contains(&name) => {
            let words = || value.split_whitespace();
            let plain = words().filter(|word| words::path(word).is_some());
            rules.add(name, Shape::Each, plain.map(str::to_owned));
            if words().any(|word| words::path(word).is_none()) {
                return not_judged("systemd passes over what is no whole path");
            }
            Ok(())
        }
        _ => {
            each(name, value, rules);
            Ok(())
        }
    }
}

fn each(name: &'static str, value: &str, rules: &mut Rules) {
    let words = value.split_whitespace();
    rules.add(name, Shape::Each, words.map(str::to_owned));
}

fn device(value: &str, rules: &mut Rules) -> Result<(), Fault> {
    let (device, rights) = value
        .split_once(char::is_whitespace)
        .unwrap_or((value, "rwm"));
    if !device.starts_with('/') {
        return not_judged("a group of devices is not judged");
    }
    let rights = rights.trim();
    if rights.is_empty() || !rights.chars().all(|right| "rwm".contains(right)) {
        return not_judged("systemd passes over rights that it does not know");
    }
    let line = if rights == "rwm" && device == value {
        device.to_owned()
    } else {
        format!("{device} {rights}")
    };
    word("DeviceAllow", &line, rules);
    Ok(())
}

/// Lists of paths in which a `-` says that one may be missing.
pub(super) const OF_PATHS: [&str; 5] = [
    "ExecPaths",
    "InaccessiblePaths",
    "NoExecPaths",
    "ReadOnlyPaths",
    "ReadWritePaths",
];
/// Options of `TemporaryFileSystem=` that refuse nothing, or are judged.
const OPTIONS: [&str; 13] = [
    "",
    "dev",
    "exec",
    "mode=0755",
    "mode=1777",
    "mode=755",
    "nodev",
    "noexec",
    "nosuid",
    "ro",
    "rw",
    "strictatime",
    "suid",
];
