//! Which capability checks a call depends on: told by the same call without the capability.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use harden_agent::observation::{CapabilityCheck, Executable};
use harden_tests::{Scratch, harden, met, observed::facts, programs::install};

/// What `setpcap` does, and whether the kernel lets it without `CAP_SETPCAP`. Each but `bits` asks
/// for it.
const ACTS: [(&str, bool); 5] = [
    ("same", true),
    ("fewer", true),
    ("inherit", false),
    ("bits", false),
    ("bound", false),
];

#[test]
fn a_check_that_nothing_depends_on_is_no_need() -> Result<()> {
    if !met("a_check_that_nothing_depends_on_is_no_need", &["setpriv"]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let setpcap = install("setpcap", &bin)?;
    let setpcap = setpcap.display().to_string();
    for (act, passes) in ACTS {
        let without = ["--inh-caps", "-setpcap", "--bounding-set", "-setpcap"];
        let mut confined = Command::new("setpriv");
        let status = confined.args(without).args([&setpcap, act]).status()?;
        assert_eq!(status.success(), passes, "{act}: {status}");

        let recorded = harden::record("setpcap", &[], &[&setpcap, act])?;
        assert_eq!(recorded.status, 0, "{act}: {}", recorded.output);
        let checks = &facts(&recorded.observation, "setpcap").capabilities;
        let needs = checks.iter().any(|(name, seen)| {
            name.as_str() == "setpcap" && seen.contains_key(&CapabilityCheck::Granted)
        });
        assert_eq!(needs, !passes, "{act}: {checks:?}");
        let calls = match act {
            "inherit" => vec!["capset".to_owned()],
            "bits" | "bound" => vec!["prctl".to_owned()],
            _ => vec![],
        };
        let facts = facts(&recorded.observation, "setpcap");
        assert_eq!(asked(facts, "setpcap"), (calls, vec![]), "{act}");
        assert_eq!(recorded.profile.has("caps.drop all"), passes, "{act}");
    }
    Ok(())
}

/// Each in a file descriptor, a path or an address of its own, or in none of them.
const USES: &str = "
import os, socket, sys
path = sys.argv[1]
os.chown(path, 1, 1)
os.chown(path, 2, 2)
with socket.socket() as server:
    server.bind(('127.0.0.1', 81))
os.setgid(7)
os.setuid(7)
";

/// What a fact is for, its call, and what that is about.
fn asked(facts: &Executable, capability: &str) -> (Vec<String>, Vec<String>) {
    let calls = facts.capability_calls.iter();
    let mut calls = calls.filter(|(name, _)| name.as_str() == capability);
    let objects = facts.capability_objects.iter();
    let mut objects = objects.filter(|(name, _)| name.as_str() == capability);
    let calls = calls.next().map(|(_, calls)| calls.keys());
    let objects = objects.next().map(|(_, objects)| objects.keys());
    (
        calls
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
        objects
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
    )
}

#[test]
fn it_is_told_in_which_call_for_what_and_how_often() -> Result<()> {
    const NAME: &str = "it_is_told_in_which_call_for_what_and_how_often";
    if !met(NAME, &["python3"]) {
        return Ok(());
    }
    let dir = Scratch::new(Path::new("/run"))?;
    let script = dir.path().join("uses.py");
    fs::write(&script, USES)?;
    let (script, path) = (script.display().to_string(), dir.path().join("file"));
    fs::write(&path, "")?;
    let path = path.display().to_string();
    let recorded = harden::record("uses", &[], &["python3", "-S", "-E", &script, &path])?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let runs = recorded.observation.runs.values();
    let programs = runs.flat_map(|run| &run.executables);
    let mut python = programs.filter(|(path, _)| path.to_string().contains("python3"));
    let (_, facts) = python.next().context("no python")?;
    for (capability, call, object) in [
        ("chown", "chown", Some(format!("chown {path}"))),
        (
            "net_bind_service",
            "bind",
            Some("bind inet 127.0.0.1:81".to_owned()),
        ),
        ("setgid", "setgid", None),
        ("setuid", "setuid", None),
    ] {
        let expected = (vec![call.to_owned()], object.iter().cloned().collect());
        assert_eq!(asked(facts, capability), expected, "{capability}");
        let object = object.map(|object| format!(": {object}"));
        let says = format!("asked for in {call}{}\n", object.unwrap_or_default());
        let profile = recorded.profile.text();
        assert!(profile.contains(&says), "no {says} in {profile}");
    }
    let counted = |name: &str| {
        let mut checks = facts.capabilities.iter();
        let (_, checks) = checks.find(|(one, _)| one.as_str() == name)?;
        checks.get(&CapabilityCheck::Granted)?.count()
    };
    // For the owner and for the group, twice.
    assert_eq!(counted("chown"), Some(4));
    assert_eq!(counted("net_bind_service"), Some(1));
    Ok(())
}

#[test]
fn in_a_user_namespace_it_is_no_need_outside() -> Result<()> {
    const NAME: &str = "in_a_user_namespace_it_is_no_need_outside";
    if !met(NAME, &["unshare"]) {
        return Ok(());
    }
    let bin = Scratch::new(Path::new("/run"))?;
    let setpcap = install("setpcap", &bin)?;
    let setpcap = setpcap.display().to_string();
    let command = ["unshare", "--user", "--map-root-user", &setpcap, "bits"];
    let recorded = harden::record("setpcap", &[], &command)?;
    assert_eq!(recorded.status, 0, "{}", recorded.output);
    let facts = facts(&recorded.observation, "setpcap");
    let setpcap = facts
        .capabilities
        .iter()
        .find(|(name, _)| name.as_str() == "setpcap");
    let checks: Vec<_> = setpcap
        .into_iter()
        .flat_map(|(_, checks)| checks.keys())
        .collect();
    assert_eq!(checks, [&CapabilityCheck::ChildUserNamespace]);
    Ok(())
}

/// What capset(2) or an ambient raise names is kept, though no check asks for it; what a program has from capget(2) is not.
#[test]
fn what_is_asked_to_be_kept_is() -> Result<()> {
    const NAME: &str = "what_is_asked_to_be_kept_is";
    if !met(NAME, &["capsh", "setpriv", "python3"]) {
        return Ok(());
    }
    let bracket = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
sets = (ctypes.c_uint32 * 6)()
assert libc.capget(header, sets) == 0
sets[0] = sets[3] = 0
assert libc.capset(header, sets) == 0
sets[0] = 1 << 13
assert libc.capset(header, sets) == 0
";
    let ambient = ["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let cases: [(Vec<&str>, Vec<&str>); 3] = [
        (
            vec![
                "capsh",
                "--shell=/bin/sh",
                "--caps=cap_net_bind_service,cap_sys_time=ep",
                "--",
                "-c",
                "true",
            ],
            vec!["net_bind_service", "sys_time"],
        ),
        (
            [&["setpriv"], &ambient[..], &["true"]].concat(),
            vec!["net_raw"],
        ),
        // It takes what it has into effect again: all of that is from capget, but for the one that it names.
        (vec!["python3", "-S", "-c", bracket], vec!["net_raw"]),
    ];
    for (command, expected) in cases {
        let recorded = harden::record("keeps", &[], &command)?;
        assert_eq!(recorded.status, 0, "{}", recorded.output);
        let runs = recorded.observation.runs.values();
        let facts = runs.flat_map(|run| run.executables.values());
        let checks = facts.flat_map(|facts| &facts.capabilities);
        let mut kept: Vec<String> = checks
            .filter(|(_, seen)| seen.contains_key(&CapabilityCheck::Kept))
            .map(|(name, _)| name.to_string())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, expected, "{command:?}");
        let keep = recorded.profile.list("caps.keep");
        for name in expected {
            assert!(keep.contains(&name), "{command:?}: {keep:?}");
        }
    }
    Ok(())
}
