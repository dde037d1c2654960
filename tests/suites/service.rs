//! The package and its service, as an operator has them: dpkg, systemd, the journal, users and groups.
//!
//! The tests share the one installation, and take turns; each brings it about as it needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Output,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::loaded_programs;
use harden_agent::agent::request::KernelSide;
use harden_tests::Installed;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Group, Pid, User},
};
use serde_json::Value;

const SERVICE: &str = "harden.service";
const PINS: &str = "/sys/fs/bpf/harden";
const STATE: &str = "/var/lib/harden";
const SOCKET: &str = "/run/harden/io.harden.Agent";

/// Leaves a trace that no other program here leaves. Without a semicolon: systemd 252 writes a transient unit's
/// as `\;`, which it does not understand when it reads the unit again, as it does if it reloads before the exec.
const WORK: [&str; 3] = [
    "/usr/bin/python3",
    "-c",
    "__import__('os').sched_yield(), __import__('os').getpgid(0)",
];

fn works(agent: &Installed, unit: &str) -> Result<()> {
    agent.run_unit(unit, &WORK)
}

/// What systemd and the program itself said of a unit.
fn said_of(agent: &Installed, unit: &str) -> String {
    let journal = agent.run(&["journalctl", "--no-pager", "--unit", unit]);
    journal.unwrap_or_else(|error| format!("{error:#}"))
}

/// Whether the agent has all of what [`works`] did.
fn has_worked(agent: &Installed, unit: &str) -> Result<()> {
    let observation = agent.snapshot(unit)?;
    let programs: Vec<_> = observation
        .runs
        .values()
        .flat_map(|run| run.executables.iter().chain(run.control.values().flatten()))
        .collect();
    let python = programs
        .iter()
        .find(|(path, _)| path.to_string().starts_with("/usr/bin/python3"));
    let (_, python) = python.with_context(|| format!("{unit}: {programs:#?}"))?;
    for name in ["sched_yield", "getpgid", "exit_group"] {
        let mut calls = python.syscalls.values().flat_map(BTreeMap::keys);
        ensure!(calls.any(|call| call.as_str() == name), "{unit}: no {name}");
    }
    ensure!(
        python
            .files
            .keys()
            .any(|path| path.to_string().ends_with("libc.so.6"))
    );
    Ok(())
}

/// Tracing programs in the kernel: systemd has only such as belong to cgroups.
fn tracing_programs() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for program in loaded_programs() {
        // One may go while they are listed.
        let Ok(program) = program else { continue };
        // include/uapi/linux/bpf.h: raw tracepoint, tracing, LSM.
        if [17, 26, 29].contains(&(program.program_type() as u32)) {
            found.insert(program.id());
        }
    }
    found
}

/// What is pinned of one kind: `programs`, `maps` or `links`.
fn pinned(kind: &str) -> Result<Vec<PathBuf>> {
    let versions: Vec<_> = fs::read_dir(PINS)?.collect::<Result<_, _>>()?;
    ensure!(versions.len() == 1, "{versions:?}");
    let entries = fs::read_dir(versions[0].path().join(kind))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn it_runs_with_what_it_needs_and_no_more() -> Result<()> {
    let agent = Installed::fresh()?;
    assert_eq!(agent.property(SERVICE, "ActiveState")?, "active");
    assert_eq!(agent.run(&["systemctl", "is-enabled", SERVICE])?, "enabled");
    let user = User::from_name("harden")?.context("no user")?;
    assert_ne!(user.uid.as_raw(), 0);

    let status = fs::read_to_string(format!("/proc/{}/status", agent.main()?))?;
    let field = |name: &str| -> Result<String> {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("{name}:")));
        Ok(value
            .context(name.to_owned())?
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "))
    };
    assert_eq!(field("Uid")?, vec![user.uid.to_string(); 4].join(" "));
    assert_eq!(field("Gid")?, vec![user.gid.to_string(); 4].join(" "));
    // include/uapi/linux/capability.h: dac_read_search, sys_ptrace, syslog, perfmon, bpf.
    let five = [2, 19, 34, 38, 39]
        .map(|number| 1_u64 << number)
        .iter()
        .sum::<u64>();
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(set)?, 16)?, five, "{set}");
    }
    assert_eq!(field("NoNewPrivs")?, "1");
    assert_eq!(field("Seccomp")?, "2");

    for (path, mode) in [
        (PINS, 0o700),
        (STATE, 0o700),
        (SOCKET, 0o660),
        ("/run/harden", 0o750),
    ] {
        let metadata = fs::metadata(path)?;
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!(metadata.uid(), user.uid.as_raw(), "{path}");
        assert_eq!(metadata.gid(), user.gid.as_raw(), "{path}");
    }
    for kind in ["programs", "maps", "links"] {
        assert!(!pinned(kind)?.is_empty(), "{kind}");
    }
    // systemd 252 leaves /run writable under ProtectSystem=strict where it mounts below it.
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", agent.main()?))?;
    for (path, option) in [("/run", "ro"), ("/run/harden", "rw"), ("/usr", "ro")] {
        // proc_pid_mountinfo(5): the fifth field is where, the sixth are the options; the last mount is on top.
        let fields = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let over = fields.filter(|fields| Path::new(path).starts_with(fields[4]));
        let top = over.max_by_key(|fields| fields[4].len());
        let top = top.context("no mount")?;
        assert!(
            top[5].split(',').any(|one| one == option),
            "{path}: {top:?}"
        );
    }
    // Without these addresses, what runs as root seems to need CAP_SYS_ADMIN where the kernel's security hooks cannot be used.
    let symbols = fs::read_to_string(format!("/proc/{}/root/proc/kallsyms", agent.main()?))?;
    assert!(symbols.contains(" security_vm_enough_memory_mm\n"));
    // Files of units are there, and nobody else can read them.
    agent.until(|| {
        let files = fs::read_dir(Path::new(STATE).join("units"))?.count();
        ensure!(files > 0, "no file of a unit");
        Ok(())
    })?;

    let security = agent.run(&["systemd-analyze", "security", "--no-pager", SERVICE])?;
    let score = security
        .split("Overall exposure level for harden.service: ")
        .nth(1);
    let score: f64 = score
        .and_then(|rest| rest.split(' ').next())
        .context(security.clone())?
        .parse()?;
    assert!(score <= 3.0, "{security}");

    let said = agent.status()?;
    assert_eq!(Pid::from_raw(said.pid.cast_signed()), agent.main()?);
    assert_eq!(said.errors, [""; 0]);
    // The sandbox refuses no hook that this kernel allows: docs/kernels.md has both.
    for (fact, hook) in &said.hooks {
        let is_needless = hook.contains("not needed");
        assert!(!hook.starts_with("none") || is_needless, "{fact}: {hook}");
    }
    assert_eq!(said.hooks["capabilities"], "lsm:capable");
    Ok(())
}

#[test]
fn whoever_may_asks_and_root_alone_changes() -> Result<()> {
    let agent = Installed::fresh()?;
    for (name, groups) in [("member", "harden"), ("stranger", "")] {
        if User::from_name(name)?.is_none() {
            agent.run(&["useradd", "--no-create-home", "--groups", groups, name])?;
        }
    }
    ensure!(Group::from_name("harden")?.is_some_and(|group| group.mem == ["member"]));
    let ask = |user: &str, command: &[&str]| -> Result<(Option<i32>, String)> {
        let id = User::from_name(user)?
            .context(user.to_owned())?
            .uid
            .to_string();
        let mut argv = vec![
            "setpriv",
            "--reuid",
            &id,
            "--regid",
            &id,
            "--init-groups",
            "harden",
        ];
        argv.extend(command);
        let output = agent.try_run(&argv)?;
        Ok((output.status.code(), text(&output)))
    };
    for command in [&["status", "--json"][..], &["units", "--json"], &["status"]] {
        let (status, said) = ask("member", command)?;
        assert_eq!(status, Some(0), "{said}");
        let (status, said) = ask("stranger", command)?;
        assert_eq!(status, Some(4), "{said}");
        assert!(said.contains("group harden"), "{said}");
    }
    let (status, said) = ask("member", &["mark", "a-case"])?;
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("root"), "{said}");
    agent.run(&["harden", "mark", "a-case"])?;
    agent.run(&["harden", "mark", "--end"])?;
    Ok(())
}

/// One call of the interface, as any language would make it.
fn varlink(method: &str) -> Result<Value> {
    let mut socket = UnixStream::connect(SOCKET)?;
    let call = format!("{{\"method\": \"{method}\", \"parameters\": {{}}}}\0");
    socket.write_all(call.as_bytes())?;
    let mut reply = Vec::new();
    let mut byte = [0];
    while socket.read(&mut byte)? == 1 && byte != [0] {
        reply.extend(byte);
    }
    serde_json::from_slice(&reply).with_context(|| String::from_utf8_lossy(&reply).into_owned())
}

#[test]
fn it_speaks_varlink() -> Result<()> {
    let agent = Installed::fresh()?;
    let info = varlink("org.varlink.service.GetInfo")?;
    let interfaces = info["parameters"]["interfaces"]
        .as_array()
        .context("interfaces")?;
    assert!(interfaces.contains(&"io.harden.Agent".into()), "{info}");
    let status = varlink("io.harden.Agent.Status")?;
    assert_eq!(
        status["parameters"]["status"]["pid"],
        agent.main()?.as_raw(),
        "{status}"
    );
    let error = varlink("io.harden.Agent.NoSuchMethod")?;
    assert_eq!(
        error["error"], "org.varlink.service.MethodNotFound",
        "{error}"
    );
    // systemd 255 brought it.
    if Path::new("/usr/bin/varlinkctl").exists() {
        let said = agent.run(&["varlinkctl", "introspect", SOCKET, "io.harden.Agent"])?;
        assert!(said.contains("method Status"), "{said}");
        let said = agent.run(&["varlinkctl", "call", SOCKET, "io.harden.Agent.Status", "{}"])?;
        assert!(said.contains("kernel_side"), "{said}");
    }
    Ok(())
}

#[test]
fn a_restart_misses_nothing() -> Result<()> {
    let agent = Installed::fresh()?;
    works(&agent, "harden-before.service")?;
    has_worked(&agent, "harden-before.service")?;
    let programs = tracing_programs();
    let before = agent.status()?;

    agent.run(&["systemctl", "restart", SERVICE])?;
    let status = agent.status()?;
    assert_eq!(status.kernel_side, KernelSide::Adopted);
    assert_ne!(status.pid, before.pid);
    assert_eq!(status.since, before.since);
    has_worked(&agent, "harden-before.service")?;

    agent.run(&["systemctl", "stop", SERVICE])?;
    assert!(!Path::new(SOCKET).exists());
    let output = agent.try_run(&["harden", "status"])?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    works(&agent, "harden-between.service")?;
    agent.run(&["systemctl", "start", SERVICE])?;
    assert_eq!(agent.status()?.kernel_side, KernelSide::Adopted);
    has_worked(&agent, "harden-between.service")?;
    has_worked(&agent, "harden-before.service")?;
    assert_eq!(tracing_programs(), programs);
    // What the kernel skips has nothing to do with that.
    let mut losses = agent.status()?.losses;
    losses.retain(|kind, _| !kind.starts_with("skipped-"));
    assert_eq!(losses, BTreeMap::new());
    assert!(agent.journal()?.contains("is taken over"));
    Ok(())
}

#[test]
fn killed_it_is_back_and_misses_nothing() -> Result<()> {
    let agent = Installed::fresh()?;
    agent.edit("RestartSec=3s")?;
    works(&agent, "harden-living.service")?;
    let programs = tracing_programs();
    let killed = agent.main()?;
    kill(killed, Signal::SIGKILL)?;
    agent.until(|| {
        let state = agent.property(SERVICE, "SubState")?;
        ensure!(state == "auto-restart", "{state}");
        Ok(())
    })?;
    works(&agent, "harden-meanwhile.service")?;
    agent.until(|| {
        ensure!(agent.property(SERVICE, "ActiveState")? == "active");
        ensure!(agent.main()? != killed);
        agent.status().map(drop)
    })?;
    assert_eq!(agent.status()?.kernel_side, KernelSide::Adopted);
    has_worked(&agent, "harden-living.service")?;
    has_worked(&agent, "harden-meanwhile.service")?;
    assert_eq!(tracing_programs(), programs);
    Ok(())
}

#[test]
fn the_watchdog_is_fed_and_bites() -> Result<()> {
    let agent = Installed::fresh()?;
    let fed = || -> Result<u64> {
        Ok(agent
            .property(SERVICE, "WatchdogTimestampMonotonic")?
            .parse()?)
    };
    let begin = fed()?;
    agent.until(|| {
        ensure!(fed()? > begin, "not fed since {begin}");
        Ok(())
    })?;
    agent.edit("WatchdogSec=10s")?;
    agent.run(&["systemctl", "restart", SERVICE])?;
    let stopped = agent.main()?;
    kill(stopped, Signal::SIGSTOP)?;
    agent.until(|| {
        ensure!(agent.property(SERVICE, "ActiveState")? == "active");
        ensure!(
            agent.main()? != stopped,
            "the one that hangs is still there"
        );
        agent.status().map(drop)
    })?;
    assert_eq!(agent.status()?.kernel_side, KernelSide::Adopted);
    Ok(())
}

/// The bus, which answers nobody until it is dropped.
struct Silenced(Pid);

impl Silenced {
    fn bus(agent: &Installed) -> Result<Self> {
        let pid = Pid::from_raw(agent.property("dbus.service", "MainPID")?.parse()?);
        kill(pid, Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Silenced {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn what_nobody_answered_is_asked_again() -> Result<()> {
    let agent = Installed::fresh()?;
    let unit = "harden-unanswered.service";
    let file = format!("/run/systemd/system/{unit}");
    fs::write(&file, "[Service]\nExecStart=/usr/bin/sleep infinity\n")?;
    agent.run(&["systemctl", "daemon-reload"])?;
    let silenced = Silenced::bus(&agent)?;
    agent.run(&["systemctl", "start", unit])?;
    // It waits five seconds for an answer.
    thread::sleep(Duration::from_secs(8));
    drop(silenced);
    let invocation = agent.property(unit, "InvocationID")?;
    agent.until(|| {
        let observation = agent.snapshot(unit)?;
        let told = observation
            .runs
            .values()
            .find_map(|run| run.invocation.clone());
        let told = told.map(|word| word.to_string());
        ensure!(told.as_ref() == Some(&invocation), "{told:?}");
        Ok(())
    })?;
    agent.run(&["systemctl", "stop", unit])?;
    Ok(fs::remove_file(&file)?)
}

#[test]
fn an_upgrade_goes_on_recording() -> Result<()> {
    let agent = Installed::fresh()?;
    works(&agent, "harden-old.service")?;
    let programs = tracing_programs();
    let old = agent.main()?;
    let upgraded = thread::scope(|scope| -> Result<u32> {
        let upgrade = scope.spawn(|| agent.install());
        let mut number = 0;
        while !upgrade.is_finished() {
            let unit = format!("harden-upgrade-{number}.service");
            works(&agent, &unit).with_context(|| said_of(&agent, &unit))?;
            number += 1;
        }
        match upgrade.join() {
            Ok(installed) => installed.map(|()| number),
            Err(_) => bail!("the installation panicked"),
        }
    })?;
    assert!(upgraded > 0);
    assert_ne!(agent.main()?, old);
    assert_eq!(agent.status()?.kernel_side, KernelSide::Adopted);
    assert_eq!(tracing_programs(), programs);
    has_worked(&agent, "harden-old.service")?;
    for number in 0..upgraded {
        has_worked(&agent, &format!("harden-upgrade-{number}.service"))?;
    }
    Ok(())
}

#[test]
fn another_size_starts_afresh_and_says_so() -> Result<()> {
    let agent = Installed::fresh()?;
    works(&agent, "harden-kept.service")?;
    has_worked(&agent, "harden-kept.service")?;
    let (programs, before) = (tracing_programs(), agent.status()?);
    agent.configure("#slots = 4096", "slots = 2048")?;
    agent.run(&["systemctl", "restart", SERVICE])?;
    let status = agent.status()?;
    assert_eq!(status.kernel_side, KernelSide::Loaded);
    assert_eq!((before.slots_total, status.slots_total), (4096, 2048));
    assert!(tracing_programs().is_disjoint(&programs));
    let journal = agent.journal()?;
    assert!(journal.contains("recording starts afresh"), "{journal}");
    // What was seen before is kept, and what comes is seen.
    has_worked(&agent, "harden-kept.service")?;
    works(&agent, "harden-next.service")?;
    has_worked(&agent, "harden-next.service")
}

#[test]
fn what_stops_it_is_said_in_the_journal() -> Result<()> {
    let agent = Installed::fresh()?;
    agent.edit("Restart=no")?;
    agent.configure("#slots = 4096", "slotz = 2048")?;
    assert!(
        !agent
            .try_run(&["systemctl", "restart", SERVICE])?
            .status
            .success()
    );
    let journal = agent.journal()?;
    assert!(journal.contains("/etc/harden/harden.toml"), "{journal}");
    assert!(journal.contains("slotz"), "{journal}");
    // Where the agent's message names no way out, somebody has to ask why.
    drop(agent);

    let agent = Installed::fresh()?;
    agent.edit("Restart=no")?;
    agent.run(&["systemctl", "stop", SERVICE])?;
    agent.run(&["harden", "agent", "--unload"])?;
    let _ = fs::remove_dir(PINS);
    assert!(!Path::new(PINS).exists());
    assert!(
        !agent
            .try_run(&["systemctl", "start", SERVICE])?
            .status
            .success()
    );
    let journal = agent.journal()?;
    assert!(
        journal.contains("systemd-tmpfiles --create harden.conf"),
        "{journal}"
    );
    agent.run(&["systemd-tmpfiles", "--create", "harden.conf"])?;
    agent.run(&["systemctl", "start", SERVICE])?;
    agent.status().map(drop)
}

#[test]
fn the_journal_has_lines_with_levels() -> Result<()> {
    let agent = Installed::fresh()?;
    agent.run(&["systemctl", "restart", SERVICE])?;
    let ours = format!("_PID={}", agent.main()?);
    let lines = agent.run(&["journalctl", "-b", "-u", SERVICE, "-o", "json", &ours])?;
    let mut said = BTreeMap::new();
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let message = entry["MESSAGE"].as_str().context("no text")?.to_owned();
        assert!(!message.contains('\u{1b}'), "{message}");
        said.insert(message, entry["PRIORITY"].as_str().map(str::to_owned));
    }
    let observing = said
        .iter()
        .find(|(message, _)| message.starts_with("observing "));
    // LOG_INFO.
    assert_eq!(
        observing.context(lines.clone())?.1.as_deref(),
        Some("6"),
        "{said:?}"
    );
    let grave = agent.run(&[
        "journalctl",
        "-b",
        "-u",
        SERVICE,
        "-p",
        "warning",
        "-o",
        "cat",
        &ours,
    ])?;
    // Nothing is wrong; what a slow machine loses is worth a warning, and journalctl says where there is nothing.
    let usual = |line: &str| line.contains(" lost (") || line == "-- No entries --";
    assert!(grave.lines().all(usual), "{grave}");
    Ok(())
}

#[test]
fn removal_leaves_nothing_and_purging_no_data() -> Result<()> {
    let agent = Installed::fresh()?;
    works(&agent, "harden-removed.service")?;
    assert!(!tracing_programs().is_empty());
    agent.run(&["dpkg", "-r", "harden"])?;
    assert_ne!(agent.property(SERVICE, "ActiveState")?, "active");
    assert!(!Path::new("/usr/bin/harden").exists());
    assert!(!Path::new("/usr/lib/systemd/system/harden.service").exists());
    assert!(!Path::new("/run/harden").exists());
    let left: Vec<_> = fs::read_dir(PINS).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    // Detached programs are freed a grace period later.
    agent.until(|| {
        let left = tracing_programs();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    assert!(
        Path::new(STATE)
            .join("units/harden-removed.service.json")
            .exists()
    );
    assert!(Path::new("/etc/harden/harden.toml").exists());

    // Back again, with what was seen before.
    agent.install()?;
    assert_eq!(agent.status()?.kernel_side, KernelSide::Loaded);
    has_worked(&agent, "harden-removed.service")?;

    // As `harden why --accept` makes it.
    fs::create_dir_all("/etc/harden/overrides")?;
    agent.run(&["dpkg", "-P", "harden"])?;
    for path in [STATE, "/etc/harden", "/usr/bin/harden", PINS] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert_eq!(agent.property(SERVICE, "LoadState")?, "not-found");
    agent.until(|| {
        let left = tracing_programs();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    // As on a new machine.
    agent.install()?;
    works(&agent, "harden-new.service")?;
    has_worked(&agent, "harden-new.service")?;
    Ok(())
}
