//! Reading a drop-in (systemd.syntax(7)): as far as its directives are those that harden writes.

use super::super::{
    super::systemd::LISTS,
    line::{REFUSED, Read, Rules, Sandbox, Shape, Unread},
};

/// Whose assignments add up, until an empty one takes all back.
const ADDED: &[&str] = &[
    "CacheDirectory",
    "DeviceAllow",
    "IPAddressAllow",
    "IPAddressDeny",
    "LogsDirectory",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RuntimeDirectory",
    "StateDirectory",
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
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RuntimeDirectoryPreserve",
];
/// One word of these.
const WORDS: &[(&str, &[&str])] = &[
    ("DevicePolicy", &["closed", "strict"]),
    ("ProcSubset", &["pid"]),
    ("ProtectHome", &["yes", "tmpfs", "read-only"]),
    ("ProtectProc", &["invisible"]),
    ("ProtectSystem", &["strict", "full", "yes"]),
    ("SystemCallErrorNumber", &["EPERM", "ENOSYS"]),
    ("UMask", &["0077", "0027"]),
];
const YES: &[&str] = &["1", "on", "true", "y", "yes"];
const NO: &[&str] = &["0", "off", "false", "n", "no"];

/// Reads the text of a drop-in.
#[must_use]
pub fn read(text: &str) -> Read {
    let mut rules = Rules::new(Sandbox::Systemd);
    let mut unread = Vec::new();
    let mut is_service = false;
    for (at, whole) in text.lines().enumerate() {
        let line = whole.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            is_service = line == "[Service]";
        }
        let result = match line.split_once('=') {
            _ if line == "[Service]" => Ok(()),
            Some((name, value)) if is_service => add(name.trim(), value.trim(), &mut rules),
            _ => Err("not of the section [Service]"),
        };
        if let Err(reason) = result {
            unread.push(Unread {
                number: at + 1,
                line: whole.to_owned(),
                reason,
            });
        }
    }
    Read { rules, unread }
}

fn add(name: &str, value: &str, rules: &mut Rules) -> Result<(), &'static str> {
    if value.contains(['"', '\'', '\\', '%']) {
        return Err("quotes, escapes and specifiers are not read");
    }
    let known = |names: &[&'static str]| names.iter().find(|one| **one == name).copied();
    let words = || value.split_whitespace().map(str::to_owned);
    if let Some(name) = known(&LISTS) {
        return list(name, value, rules);
    }
    if let Some(name) = known(ADDED) {
        if value.is_empty() {
            rules.clear(name);
        }
        let element = (!value.is_empty()).then(|| value.to_owned());
        match name {
            "DeviceAllow" if value.starts_with('/') || value.is_empty() => {
                rules.add(name, Shape::Each, element.into_iter());
            }
            "DeviceAllow" => return Err("a group of devices is not judged"),
            "IPAddressAllow" if words().any(|word| word != "localhost") => {
                return Err("addresses other than localhost are not judged");
            }
            "IPAddressDeny" if words().any(|word| word != "any") => {
                return Err("addresses other than any are not judged");
            }
            _ => rules.add(name, Shape::Each, words()),
        }
        return Ok(());
    }
    if let Some(name) = known(SWITCHES) {
        rules.clear(name);
        return match value {
            _ if YES.contains(&value) => {
                rules.add(name, Shape::Each, std::iter::once("yes".to_owned()));
                Ok(())
            }
            _ if NO.contains(&value) || value.is_empty() => Ok(()),
            _ => Err("neither yes nor no"),
        };
    }
    if let Some(name) = known(MODES) {
        rules.clear(name);
        rules.add(name, Shape::Each, words());
        return Ok(());
    }
    let word = WORDS.iter().find(|(one, _)| *one == name);
    let (name, values) = word.ok_or("harden does not judge this directive")?;
    rules.clear(name);
    let value = if YES.contains(&value) { "yes" } else { value };
    if values.contains(&value) {
        rules.add(name, Shape::Each, std::iter::once(value.to_owned()));
        return Ok(());
    }
    if NO.contains(&value) || value.is_empty() {
        return Ok(());
    }
    Err("harden does not judge this value")
}

/// Adds to a list. An empty assignment takes it away; of capabilities it leaves an empty one.
fn list(name: &'static str, value: &str, rules: &mut Rules) -> Result<(), &'static str> {
    let added: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
    if added.is_empty() {
        rules.clear(name);
        if name == "CapabilityBoundingSet" {
            rules.add(name, Shape::List, std::iter::empty());
        }
        return Ok(());
    }
    let refuses = value.starts_with(REFUSED);
    if refuses && name != "SystemCallFilter" {
        return Err("a list of what is refused is not judged here");
    }
    if added
        .iter()
        .any(|one| one.trim_start_matches(REFUSED).starts_with('@') || one.contains(':'))
    {
        return Err("groups and errors of their own are not judged");
    }
    if rules.line(name).is_some() && rules.refuses(name) != refuses {
        return Err("a list of what is allowed and one of what is refused are not judged together");
    }
    let before: Vec<String> = rules
        .elements(name)
        .map(|(one, _)| one.to_owned())
        .collect();
    rules.clear(name);
    rules.add(name, Shape::List, before.into_iter().chain(added));
    Ok(())
}
