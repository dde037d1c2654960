//! The filters that Firejail, systemd and a container runtime make of what harden writes, read back from the kernel:
//! evaluated for every call, they allow what was recorded, what is known to be added, and nothing else.

#![cfg(target_arch = "x86_64")]

use std::{collections::BTreeSet, fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use harden_agent::observation::{Abi, Observation};
use harden_tests::{
    Agent, Machine, Process, Scratch, Setup, Written,
    filter::{Filters, I386, X32, X86_64},
    harden, met, programs,
};
use serde_json::{Value, json};
use syscalls::x86_64::Sysno;

/// What is recorded, and then goes on for as long as it is looked at.
fn work(seconds: &str) -> String {
    format!(
        "ls -l /etc >/dev/null; mkdir /tmp/filters-d; rmdir /tmp/filters-d; exec sleep {seconds}"
    )
}

/// For how long those sleep that are looked at: no other process does for so long.
const LONG: [&str; 3] = ["271.828", "314.159", "161.803"];

/// The numbers of all calls, and some that are none.
const NUMBERS: std::ops::Range<u32> = 0..600;

type Calls = BTreeSet<String>;

/// What is said of a recording that was not free.
const ALREADY: &str =
    "# WARNING[already-filtered]: 1 of 3 runs were under filters already (seccomp): ";

/// The family of sockets that `ls` makes, when it asks for users' names, and those that nobody makes
/// (bits/socket.h).
const AF_UNIX: u32 = 1;
const OTHERS: std::ops::Range<u32> = 2..46;

/// No socket of another family can be made.
fn no_other_family(filters: &Filters) -> Result<()> {
    for family in OTHERS {
        let number = u32::try_from(Sysno::socket.id())?;
        ensure!(
            !filters.allow(X86_64, number, family)?,
            "sockets of family {family} are allowed"
        );
    }
    Ok(())
}

/// The 64-bit calls that were made.
fn recorded(observation: &Observation) -> Calls {
    let runs = observation.runs.values();
    let programs = runs.flat_map(|run| run.executables.values());
    let calls = programs.filter_map(|program| program.syscalls.get(&Abi::Native));
    calls
        .flat_map(|calls| calls.keys().map(ToString::to_string))
        .collect()
}

/// The calls that are allowed; of the other conventions none may be.
fn allowed(filters: &Filters) -> Result<Calls> {
    let mut calls = Calls::new();
    for number in NUMBERS {
        for (convention, architecture, number) in
            [("32-bit", I386, number), ("x32", X86_64, number | X32)]
        {
            ensure!(
                !filters.allow(architecture, number, 0)?,
                "{convention} call {number} is allowed"
            );
        }
        let call = Sysno::new(number as usize);
        let first = if call == Some(Sysno::socket) {
            AF_UNIX
        } else {
            0
        };
        if filters.allow(X86_64, number, first)? {
            calls.insert(call.map_or_else(|| number.to_string(), |call| call.name().to_owned()));
        }
    }
    Ok(calls)
}

/// What is allowed is what is listed, with what is known to be `added` where the kernel and libseccomp know it; and
/// all that was recorded is.
fn exact(allowed: &Calls, recorded: &Calls, listed: &Calls, added: &Calls) -> Result<()> {
    let lacking: Vec<_> = recorded.difference(allowed).collect();
    ensure!(lacking.is_empty(), "recorded and refused: {lacking:?}");
    let expected: Calls = listed.union(added).cloned().collect();
    let more: Vec<_> = allowed.difference(&expected).collect();
    ensure!(more.is_empty(), "neither recorded nor listed: {more:?}");
    let less: Vec<_> = listed.difference(allowed).collect();
    ensure!(less.is_empty(), "listed and refused: {less:?}");
    ensure!(allowed.len() < 100, "{} calls", allowed.len());
    Ok(())
}

/// The process that sleeps, once it does.
fn sleeper(seconds: &str) -> Result<u32> {
    for _ in 0..100 {
        let pattern = format!("^sleep {seconds}$");
        let found = Command::new("pgrep").args(["-xf", &pattern]).output()?;
        if let Some(pid) = String::from_utf8_lossy(&found.stdout).lines().next() {
            return Ok(pid.parse()?);
        }
        thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("nobody sleeps")
}

fn words(list: &str) -> Calls {
    list.split([',', ' ', '\n'])
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn firejail_s() -> Result<()> {
    if !met("Firejail's filters", &["firejail", "pgrep"]) {
        return Ok(());
    }
    let recording = harden::record("filters", &[], &["sh", "-c", &work("0.1")])?;
    ensure!(recording.status == 0, "{}", recording.output);
    let profile = &recording.profile;
    let file = recording.dir.path().join("filters.profile");
    profile.write(&file)?;
    let mut firejail = Command::new("firejail");
    firejail.arg(format!("--profile={}", file.display()));
    firejail.arg("--").args(["sh", "-c", &work(LONG[0])]);
    let process = Process::start(&mut firejail)?;
    let filters = sleeper(LONG[0]).and_then(Filters::of);
    let filters = filters.with_context(|| process.output())?;
    no_other_family(&filters)?;
    let listed = profile.list("seccomp.keep");
    let listed: Calls = listed.into_iter().map(str::to_owned).collect();
    exact(
        &allowed(&filters)?,
        &recorded(&recording.observation),
        &listed,
        // Its @default-keep (src/fseccomp/syscall.c).
        &words("execve,execveat,prctl"),
    )
    .with_context(|| profile.text().to_owned())
}

#[test]
fn systemd_s() -> Result<()> {
    let Some(machine) = Machine::here("systemd's filters")? else {
        return Ok(());
    };
    let unit = "filters.service";
    let start = |seconds: &str| format!("[Service]\nExecStart=/bin/sh -c '{}'\n", work(seconds));
    machine.unit(unit, &start("0.1"))?;
    let mut agent = Agent::start(&Setup::default())?;
    for _ in 0..2 {
        machine.run(&["systemctl", "start", unit])?;
        machine.run(&["sleep", "1"])?;
    }
    let observation = agent.snapshot(&machine.key(unit))?;
    ensure!(observation.runs.values().all(|run| run.filters.is_empty()));
    let files = Written::of(&agent, &machine, unit)?;
    ensure!(!files.drop_in.contains(ALREADY), "{}", files.drop_in);
    machine.unit(unit, &start(LONG[1]))?;
    let drop_in = format!("/run/systemd/system/{unit}.d/50-harden.conf");
    machine.write(&drop_in, &files.drop_in)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", unit])?;
    let filters = sleeper(LONG[1]).and_then(Filters::of);
    // What the agent saw of that says so, once systemd has answered it.
    agent.until(|agent| {
        let again = Written::of(agent, &machine, unit)?;
        for text in [&again.drop_in, &again.profile] {
            ensure!(text.contains(ALREADY), "{text}");
        }
        Ok(())
    })?;
    machine.run(&["systemctl", "stop", unit])?;
    let filters = filters?;
    drop(agent);
    no_other_family(&filters)?;
    let values = files.drop_in.lines();
    let values = values.filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let listed: Calls = values.flat_map(words).collect();
    // systemd.exec(5): where calls are allowed by their names, those of @default are, too.
    let default = machine.run(&[
        "systemd-analyze",
        "syscall-filter",
        "--no-pager",
        "@default",
    ])?;
    let default = default.lines().filter(|line| !line.trim().starts_with('#'));
    let added: Calls = default.skip(1).flat_map(words).collect();
    exact(
        &allowed(&filters)?,
        &recorded(&observation),
        &listed,
        &added,
    )
    .with_context(|| files.drop_in.clone())
}

#[test]
fn a_container_s() -> Result<()> {
    if !met("a container's filters", &["runc", "busybox", "pgrep"]) {
        return Ok(());
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"];
    let busybox = busybox.iter().find(|path| Path::new(path).exists());
    let bundle = Scratch::new(Path::new("/run"))?;
    let root = bundle.path().join("rootfs");
    for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(directory))?;
    }
    programs::copy(busybox.context("no busybox")?, root.join("bin/busybox"))?;
    for applet in ["sh", "ls", "mkdir", "rmdir", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    let place = root.to_str().context("a path in UTF-8")?;
    let recording = harden::record(
        "filters",
        &["--format", "oci,firejail"],
        &["chroot", place, "/bin/sh", "-c", &work("0.1")],
    )?;
    ensure!(recording.status == 0, "{}", recording.output);
    let text = fs::read_to_string(recording.dir.path().join("filters.seccomp.json"))?;
    let seccomp: Value = serde_json::from_str(&text)?;
    let made = Command::new("runc")
        .arg("spec")
        .current_dir(bundle.path())
        .status()?;
    ensure!(made.success(), "runc spec failed");
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", work(LONG[2])]);
    config["root"]["readonly"] = json!(false);
    config["linux"]["seccomp"] = seccomp.clone();
    fs::write(&path, serde_json::to_vec(&config)?)?;
    let mut command = Command::new("runc");
    command.arg("run").arg("--bundle").arg(bundle.path());
    command.arg(bundle.path().file_name().context("a name")?);
    let process = Process::start(&mut command)?;
    let filters = sleeper(LONG[2]).and_then(Filters::of);
    let filters = filters.with_context(|| process.output())?;
    let entries = seccomp["syscalls"].as_array().context("entries")?;
    let names = entries.iter().filter_map(|entry| entry["names"].as_array());
    let names = names.flatten().filter_map(Value::as_str);
    let mut listed: Calls = names.map(str::to_owned).collect();
    listed.retain(|name| name.parse::<Sysno>().is_ok());
    exact(
        &allowed(&filters)?,
        &recorded(&recording.observation),
        &listed,
        &Calls::new(),
    )
    .context(text)
}
